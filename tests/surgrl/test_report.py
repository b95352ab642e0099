"""The report: one file that needs no other, and says what the runs' files say."""

import re

import numpy as np
import pytest

from surgrl import charts
from surgrl.cli import main
from surgrl.config import PretrainConfig
from surgrl.config_file import built, read_values
from surgrl.page import Page
from surgrl.policy.errors import UserError
from surgrl.records import differences, read_groups, success_curve
from surgrl.report import losses, write_report
from surgrl.rollout_video import rollout
from surgrl.run import Run


def test_a_page_is_one_file_without_outside_references_and_keeps_markup_in_texts_as_text(tmp_path):
    page = Page("A <title>", "lead & more")
    page.heading("Part")
    page.text("a < b")
    page.figures([("98%", "of episodes")])
    page.pictures([(np.full((8, 8, 3), 200, np.uint8), "a picture")], pixels=True)
    page.table(["a", "b"], [["1", "<script>"]])
    page.code("surgrl list")
    (tmp_path / "clip.mp4").write_bytes(b"not a real clip")
    page.video(tmp_path / "clip.mp4")
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "A &lt;title&gt;" in text and "&lt;script&gt;" in text and "<script>" not in text
    sources = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(sources) == 2 and all(source.startswith("data:") for source in sources)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def outside(text):
    """What a page would load from elsewhere."""
    return [source for source in re.findall(r'(?:src|href)="([^"]+)"', text) if not source.startswith(("data:", "#"))]


@pytest.fixture
def runs(tmp_path, make_run):
    """Two seeds of one config, one seed of another, one run of another task that is not yet evaluated."""
    score = {"policy": {"success": 0.75, "episodes": 100}}
    return [make_run(tmp_path, "plain", "agent.lr=1e-3", seed=1, measured={"eval-test-full": score}),
            make_run(tmp_path, "plain", "agent.lr=1e-3", seed=2, success=(0.3, 0.7, 1.0)),
            make_run(tmp_path, "slow", "agent.lr=1e-4", "objectives=[]", seed=1, success=(0.0, 0.1)),
            make_run(tmp_path, "other", "env.id=surgrl/Retract-v0", success=(0.0,))]


def test_runs_that_differ_in_their_seed_only_are_one_group_and_told_by_what_differs(runs):
    plain, slow, other = read_groups(runs)
    assert (plain.label, slow.label, other.label) == ("plain", "slow", "other")
    assert [record.config.seed for record in plain.records] == [1, 2]
    assert (plain.method, slow.method) == ("drqv2 + dear", "drqv2")
    changed = differences([plain, slow])
    assert changed[0]["agent.lr"] == "1e-3" and changed[1]["agent.lr"] == "1e-4" and "seed" not in changed[0]


@pytest.fixture
def odd(tmp_path):
    """A folder that is no run, a pretraining's run, and a file."""
    (tmp_path / "demo").mkdir()
    values = read_values("pretrain-tcn") | {"recordings": {"sources": ["a.mp4"]}}
    Run(tmp_path / "seen").begin(built(PretrainConfig, values))
    (tmp_path / "page.html").touch()
    return [tmp_path / name for name in ("demo", "seen", "page.html")]


def test_what_is_no_trainings_run_is_left_out_and_named_in_one_line(runs, odd, tmp_path, capsys):
    out = tmp_path / "out" / "page.html"
    words = ["report", "--videos", "0", "--out", str(out), *map(str, [odd[0], runs[0], *odd[1:], runs[1]])]
    assert main(words) == 0
    assert capsys.readouterr().err == f"left out, as no training's run: {', '.join(map(str, odd))}\n"
    assert main(["report", *map(str, odd)]) == 1 and "demo: no run here" in capsys.readouterr().err
    assert main(["report", str(runs[0]), str(tmp_path / "misspelt")]) == 1
    assert "misspelt: no run here" in capsys.readouterr().err


def test_the_same_seed_twice_is_refused_for_it_would_count_twice(tmp_path, make_run):
    again = [make_run(tmp_path, "a", seed=1), make_run(tmp_path, "b", seed=1)]
    with pytest.raises(UserError, match="would count twice"):
        read_groups(again)
    assert len(read_groups([again[0], again[0]])[0].records) == 1


def test_the_curve_is_the_mean_over_seeds_within_an_interval_wider_than_either_alone(runs):
    group = read_groups(runs)[0]
    curve = success_curve(group, "step")
    assert curve.x.tolist() == [100, 200, 300] and curve.mean == pytest.approx([0.2, 0.6, 0.95])
    assert all(curve.low <= curve.mean) and all(curve.high >= curve.mean)
    assert curve.low[0] == 0 and curve.high[0] == 1         # Student's t of two seeds is as wide as that
    assert group.final.episodes == 40 and group.final.seeds == 2


def test_seeds_that_agree_do_not_make_the_interval_vanish(tmp_path, make_run):
    group = read_groups([make_run(tmp_path, "sure", seed=seed, success=(1.0, 1.0)) for seed in (1, 2, 3)])[0]
    assert 0.9 < group.final.low < 0.95 and group.final.high == 1.0     # Wilson of 60 of 60


def test_losses_are_those_that_change_and_no_times(runs):
    assert losses(read_groups(runs)) == ["critic/loss", "imitation/error", "actor/loss"]


def test_the_report_is_one_file_that_tells_success_and_what_was_not_run(runs, tmp_path):
    write_report(read_groups(runs), tmp_path / "page.html", 0)
    text = (tmp_path / "page.html").read_text()
    assert outside(text) == [] and text.count("<svg") == 4
    assert "surgrl/Reach-v0" in text and "surgrl/Retract-v0" in text and "95%" in text
    assert "75%" in text and "not run" in text and "agent.lr 1e-4" in text and "(2 not finished)" in text


def test_the_command_shows_trained_runs_with_a_video_that_is_made_once(swept, tmp_path):
    runs = [swept.runs / f"tiny-lr1e-3-s{seed}" for seed in (1, 2)]
    code = main(["report", *map(str, runs), "--out", str(tmp_path / "page.html"), "--videos", "1"])
    text = (tmp_path / "page.html").read_text()
    assert code == 0 and outside(text) == [] and text.count("data:video/mp4;base64,") == 1
    assert "tiny-lr1e-3" in text and "1, 2" in text and "not finished" not in text
    video = runs[0] / "videos" / "rollout-1.mp4"
    assert 1e4 < video.stat().st_size < 1e6
    made = video.stat().st_mtime_ns
    assert rollout(runs[0], range(1)) == video and video.stat().st_mtime_ns == made


def test_a_folder_without_a_run_is_refused_in_a_line(tmp_path, capsys):
    assert main(["report", str(tmp_path / "none"), "--out", str(tmp_path / "page.html")]) == 1
    assert "no run here" in capsys.readouterr().err and not (tmp_path / "page.html").exists()


def test_charts_are_svg_and_take_what_a_short_run_has(tmp_path, make_run):
    short = read_groups([make_run(tmp_path, "short", success=(0.9,))])
    drawn = [charts.success_curves(short), charts.metric_curves(short, ["imitation/error", "not/there"]),
             charts.latency_histogram([3.0, 4.0, 9.0]),
             charts.success_bars(["a", "b"], [0.5, 1.0], [0.3, 0.8], [0.7, 1.0])]
    assert all(chart.startswith("<svg") and chart.rstrip().endswith("</svg>") for chart in drawn)
    assert charts.success_curves(short) == drawn[0]
