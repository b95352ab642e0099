"""Demonstrations as a task leaves them, made once."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("rosbags")

from surgrl.demo_file import Demo, write_demo  # noqa: E402
from tests.recordings.samples import frames  # noqa: E402


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two episodes of Reach, with noise for measurements, so that every digit counts."""
    pytest.importorskip("pybullet")
    folder, rng = tmp_path_factory.mktemp("demos"), np.random.default_rng(0)
    names = ("x", "y", "z", "qx", "qy", "qz", "qw", "jaw")
    for number in range(2):
        steps = 6 + number
        numbers = [rng.uniform(-1, 1, shape).astype(np.float32) for shape in
                   ((steps + 1, len(names)), (steps, 3), (steps + 1, 3), (steps,))]
        write_demo(folder / f"episode-{number:06d}.npz", Demo(
            "surgrl/Reach-v0", 7 + number, {"noise": 0.0, "size": 48}, np.stack(frames(steps + 1)), names, numbers[0],
            rng.integers(0, 2, (steps + 1, 48, 64), dtype=np.uint8), numbers[1], numbers[2], numbers[3], True,
            bool(number)))
    return folder
