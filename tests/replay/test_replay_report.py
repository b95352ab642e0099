"""The report in a real browser: hovering tells values, a click moves the video, nothing is fetched or complained of."""

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from surgrl.cli import main
from surgrl.video_writer import write_video

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser import Browser, find_chromium  # noqa: E402  tests/ is no package

CHROMIUM = find_chromium()
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
PLOT = "document.querySelector('#timeline svg').getBoundingClientRect()"


@pytest.fixture(scope="module")
def reports(tmp_path_factory, make_bundle):
    """A folder with an index over two replays, one of them of a video too large for its page."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8), (0, 0), 4)
    ground = np.asarray(cv2.normalize(ground, None, 20, 230, cv2.NORM_MINMAX))
    frames = [ground[k % 60:k % 60 + 240, k % 80:k % 80 + 320] for k in range(120)]
    (folder / "films").mkdir()
    write_video(folder / "films" / "a film.mp4", frames, 30)
    write_video(folder / "films" / "second.mp4", frames[:45], 30)
    make_bundle(folder / "one", (0.5, -0.4, 0.1))
    make_bundle(folder / "two", (0.4, 0.2, -0.1))
    assert main(["replay", str(folder / "one"), str(folder / "films"), "--out", str(folder / "out"), "--against",
                 str(folder / "two"), "--acceleration", "0.2"]) == 0
    return folder / "out"


@pytest.fixture
def browser(tmp_path):
    with Browser(str(CHROMIUM), tmp_path / "profile") as tab:
        yield tab


def _watched(browser: Browser, page: Path) -> Browser:
    """The page, with its videos ready to play."""
    browser.open(page)
    browser.wait("[...document.querySelectorAll('video')].every((video) => video.readyState >= 2)")
    browser.run("document.querySelector('#timeline').scrollIntoView({block: 'center', behavior: 'instant'})")
    return browser


def _point(browser: Browser, share: float) -> tuple[float, float]:
    """px, of a place along the timeline."""
    left, top, width = browser.run(f"(() => {{ const r = {PLOT}; return [r.left, r.top + 40, r.width]; }})()")
    return left + share * width, top


@in_browser
@pytest.mark.parametrize("inline", [True, False], ids=["inside the page", "beside it"])
def test_hovering_tells_values_and_a_click_moves_the_video(reports, browser, monkeypatch, inline):
    page = reports / "a film" / "report.html"
    if not inline:
        text = re.sub(r'src="data:video/mp4;base64,[^"]*"', 'src="replay.mp4"', page.read_text())
        page = page.with_name("beside.html")
        page.write_text(text)
    _watched(browser, page)
    x, y = _point(browser, 0.75)
    browser.mouse("mouseMoved", x, y)
    hovered = browser.run("document.querySelector('#readout').textContent")
    assert "3.0 s" in hovered and "frame 90" in hovered
    values = browser.run("[...document.querySelectorAll('.value')].map((value) => value.textContent)")
    assert any("25.0 mm/s" in value and "20.0 mm/s" in value for value in values)
    assert browser.run("document.querySelector('video').currentTime") == 0
    browser.mouse("mousePressed", x, y, pressed=True)
    browser.mouse("mouseReleased", x, y)
    browser.wait("[...document.querySelectorAll('video')].every((video) => Math.abs(video.currentTime - 3.0) < 0.1)")
    browser.wait("!document.querySelector('video').seeking")
    assert browser.complaints() == []


@in_browser
def test_keys_buttons_and_playing_move_it_too(reports, browser):
    _watched(browser, reports / "a film" / "report.html")
    browser.run("document.querySelector('#timeline').focus()")
    for _ in range(3):
        browser.key("ArrowRight")
    assert browser.run("document.querySelector('video').currentTime") == pytest.approx(3.5 / 30, abs=0.01)
    assert "0.1 s" in browser.run("document.querySelector('#timeline').getAttribute('aria-valuetext')")
    browser.run("[...document.querySelectorAll('.moments button')].pop().click()")
    assert browser.run("document.querySelector('video').currentTime") > 3.5
    browser.run("document.querySelector('video').currentTime = 1")
    browser.run("document.querySelector('video').play()")
    browser.wait("document.querySelectorAll('video')[1].currentTime > 1")       # the second follows the first
    assert browser.complaints() == []


@in_browser
def test_the_index_leads_to_the_reports_and_all_of_it_fits_a_narrow_window_by_night(reports, tmp_path):
    with Browser(str(CHROMIUM), tmp_path / "profile", dark=True, size=(500, 800)) as browser:
        browser.open(reports / "index.html")
        links = browser.run("[...document.querySelectorAll('a')].map((link) => link.href)")
        assert [link.rsplit("/", 2)[-2:] for link in links] == [["a%20film", "report.html"], ["second", "report.html"]]
        assert browser.complaints() == []
        _watched(browser, reports / "second" / "report.html")
        assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 28)"
        assert browser.complaints() == []


def test_the_page_names_nothing_outside_and_tells_what_the_summary_tells(reports):
    page = (reports / "a film" / "report.html").read_text()
    outside = [word for word in re.findall(r"""(?:src|href)=["']([^"']+)""", page) if not word.startswith("data:")]
    assert outside == [] and "http" not in re.sub(r"http://www\.w3\.org/2000/svg", "", page)
    data = json.loads(re.search(r'id="replay-data">(.*?)</script>', page, re.DOTALL)[1])
    summary = json.loads((reports / "a film" / "summary.json").read_text())
    assert data["ticks"] == summary["ticks"] == 120 and len(data["policies"]) == 2
    assert sum(level > 0 for level in data["policies"][0]["gate"]) == summary["policies"][0]["frames"]["limited"] > 0
    limited = data["policies"][0]["gate"].index(1)
    assert "acceleration" in data["words"][data["policies"][0]["words"][limited]]
