"""Memory does not grow with the length of a recording."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from surgrl.segments import join_videos

ROOT = Path(__file__).parents[2]
# MB, of growth; measured: 36. What FFmpeg keeps of each frame's place in the mp4s that are read and joined, some 150 B;
# beside these it stood still while 60 segments of 10 s went by.
MOST = 48.0


def peak(video: Path, bundle: Path, out: Path, *options: str) -> float:
    """MB, the most that a replay of it held at a time."""
    process = subprocess.Popen([sys.executable, "-m", "surgrl", "replay", str(bundle), str(video), "--out", str(out),
                                *options], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hours_take_the_memory_of_two_minutes(tmp_path, make_video, bundle):
    minute = make_video(tmp_path / "minute.mp4", count=1800, noise=True)
    join_videos([minute] * 2, tmp_path / "short.mp4")
    join_videos([minute] * 120, tmp_path / "long.mp4")
    few, many = (peak(tmp_path / f"{name}.mp4", bundle, tmp_path / name, "--rate", "10") for name in ("short", "long"))
    rows = (tmp_path / "long" / "actions.csv").read_bytes().count(b"\n")
    assert rows == 72_001
    assert many < few + MOST, f"{few:.0f} MB for two minutes, {many:.0f} MB for two hours"
