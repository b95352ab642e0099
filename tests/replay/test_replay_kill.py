"""A replay that is killed and started again leaves what an uninterrupted one leaves, byte for byte."""

import multiprocessing
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from surgrl.cli import main

MEASURED = re.compile(r"<section id='latency'>.*?</section>", re.DOTALL)        # of report.html: differs between runs
# Processes that have all imported before they begin, so that the time until a kill is that of the work.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["surgrl.replay"])


def start(video: Path, out: Path, *words: str) -> multiprocessing.Process:
    """The command in a process of its own; 3 Hz, so that 60 s of a recording are 180 frames in six segments."""
    argv = ["replay", *words, str(video), "--out", str(out), "--rate", "3"]
    process = SERVER.Process(target=main, args=(argv,))
    process.start()
    return process


def finish(video: Path, out: Path, *words: str) -> None:
    """Let it run to its end."""
    process = start(video, out, *words)
    process.join(250)
    assert process.exitcode == 0 and (out / "summary.json").is_file()
    process.close()


def kill_at(video: Path, out: Path, *words: str, sign: Callable[[], bool], more: float) -> bool:
    """SIGKILL `more` s after the sign; whether that came before the end."""
    process = start(video, out, *words)
    while process.is_alive() and not sign():
        time.sleep(0.002)
    time.sleep(more)
    process.kill()
    process.join()
    early = process.exitcode != 0
    process.close()
    return early


def left(folder: Path) -> dict[str, bytes]:
    """All files, hidden ones too, but for what was measured."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    assert files.pop("latency.json")
    page, found = MEASURED.subn("", files["report.html"].decode())
    assert found == 1
    return {**files, "report.html": page.encode()}


@pytest.fixture(scope="module")
def video(tmp_path_factory, make_video):
    return make_video(tmp_path_factory.mktemp("film") / "a.mp4", count=360, rate=6, noise=True)


@pytest.fixture(scope="module")
def policies(tmp_path_factory, make_bundle):
    """Words that name a policy that sees two pictures at once, and one to compare it with."""
    folder = tmp_path_factory.mktemp("policies")
    make_bundle(folder / "one", (0.5, -0.2, 0.1), stack=2)
    make_bundle(folder / "two", (0.4, 0.2, 0.1))
    return str(folder / "one"), "--against", str(folder / "two")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, video, policies):
    """What an uninterrupted replay leaves."""
    out = tmp_path_factory.mktemp("whole") / "out"
    finish(video, out, *policies)
    return left(out)


def test_killed_in_several_segments_and_at_the_end(tmp_path, video, policies, whole):
    out, rng = tmp_path / "out", random.Random(0)
    signs = [lambda at=at: (out / ".parts" / f"{at:06d}-actions.csv").exists() for at in (1, 3, 5)]
    signs.append((out / ".parts" / "actions.csv").exists)
    early = [kill_at(video, out, *policies, sign=sign, more=rng.uniform(0, 0.03)) for sign in signs]
    assert sum(early) >= 3, "the kills came too late to test anything"
    assert not (out / "report.html").exists() or not early[-1]
    finish(video, out, *policies)
    assert left(out) == whole


def test_done_is_not_done_again_but_what_is_asked_for_beyond_it_is(tmp_path, video, policies, whole):
    out = tmp_path / "out"
    finish(video, out, *policies, "--no-video")
    before = (out / "report.html").stat().st_mtime_ns
    finish(video, out, *policies, "--no-video")
    assert (out / "report.html").stat().st_mtime_ns == before
    finish(video, out, *policies)
    assert left(out) == whole


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_any_moment(tmp_path, video, policies, whole):
    rng, kills, done = random.Random(1), 0, 0
    while kills < 25:       # each folder is gone on with until it is done, then another is begun
        out = tmp_path / str(done)
        if kill_at(video, out, *policies, sign=(out / ".parts" / "lock").exists, more=rng.uniform(0, 0.5)):
            kills += 1
        else:
            assert left(out) == whole
            done += 1
    finish(video, tmp_path / str(done), *policies)
    assert left(tmp_path / str(done)) == whole and done < 25
