"""The picture of docs/replay.md: a film of the scripted expert is replayed, its report opened in chromium, clicked on.

python docs/replay_picture.py [REPORT.html]     writes docs/images/replay.jpg; a report that is there saves the replay
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]
from browser import Browser, find_chromium  # noqa: E402

from surgrl.cli import main  # noqa: E402
from surgrl.demo import record  # noqa: E402
from surgrl.policy.bundle import PolicyBundle  # noqa: E402
from surgrl.pretrained import find_bundle  # noqa: E402


def make_report(folder: Path) -> Path:
    """Replay `reach` on a film that the simulator renders."""
    record(PolicyBundle.load(find_bundle("reach")), folder / "film.mp4")
    assert main(["replay", "reach", str(folder / "film.mp4"), "--out", str(folder / "out")]) == 0
    return folder / "out" / "report.html"


def photograph(page: Path, folder: Path) -> np.ndarray:
    """(H, W, 3) BGR: videos and timelines with the pointer on them, and what the policy looks at."""
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit("chromium is not installed: apt-get install chromium")
    shots = []
    with Browser(chromium, folder / "profile", size=(1000, 1400)) as browser:
        browser.open(page)
        browser.wait("[...document.querySelectorAll('video')].every((video) => video.readyState >= 2)")
        browser.run("document.querySelector('video').controls = false")
        browser.run("document.documentElement.style.overflow = 'hidden'")
        for share, click in ((0.52, True), (0.63, False)):
            left, top, width = browser.run("(() => { const r = document.querySelector('#timeline svg')"
                                           ".getBoundingClientRect(); return [r.left, r.top + 40, r.width]; })()")
            x = left + share * width
            browser.mouse("mousePressed" if click else "mouseMoved", x, top, pressed=click)
            if click:
                browser.mouse("mouseReleased", x, top)
        browser.wait("!document.querySelector('video').seeking")
        for begin, end in (("header", ".key"), ("h2:nth-of-type(4)", "h2:nth-of-type(4) ~ .strip")):
            top, bottom = browser.run(f"[document.querySelector('{begin}').getBoundingClientRect().top + scrollY - 10, "
                                      f"document.querySelector('{end}').getBoundingClientRect().bottom + scrollY + 10]")
            browser.picture(folder / "shot.png")
            shots.append(cv2.imread(str(folder / "shot.png"))[max(0, round(top)):round(bottom)])
    return np.vstack(shots)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        page = Path(sys.argv[1]) if len(sys.argv) > 1 else make_report(Path(scratch))
        picture = photograph(page, Path(scratch))
        cv2.imwrite(str(HERE / "images" / "replay.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 82])
