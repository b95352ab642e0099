"""An episode of `surgrl demos` as a recording: the scripted expert in the simulator."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from .decoded import BT601, GLIMPSES, TIMESTAMP, Picture
from .demo_file import read_demo
from .policy.errors import UserError
from .policy.spec import PROPRIO, Array
from .recordings import Track

Channels = tuple[tuple[str, str, float, float], ...]       # name, unit, low and high of each entry of an action


class DemoReader:
    """Pictures, what the arm measured and, in SI units, what was done. Reads as VideoReader does."""

    colour = BT601

    def __init__(self, path: str | Path, rate: float | None = None):
        """rate: Hz, of an old file that tells none; by default the task's.

        UserError when it is damaged, or neither it nor a simulator tells what its actions are.
        """
        self.path = Path(path)
        demo = read_demo(path)
        self.task, self._frames = demo.task, demo.frames
        self.demo: Path | None = self.path
        usual, channels = (demo.rate, demo.channels) if demo.rate else _asked(self.path, demo.task)
        self.rate = usual if demo.rate or rate is None else rate
        if len(channels) != demo.actions.shape[1]:      # made with an option of the task that adds some
            channels = ()
        times = np.arange(len(demo.frames)) / self.rate
        self.duration: float | None = len(times) / self.rate
        self.height, self.width = demo.frames.shape[1:3]
        self.tags: dict[str, str] = {}
        self.state: Track | None = None
        if demo.proprio_names:
            self.state = Track(demo.proprio_names, tuple(PROPRIO.get(name, "") for name in demo.proprio_names), times,
                               demo.proprio.astype(float))
        low, high = (np.array([channel[k] for channel in channels], float) for k in (2, 3))
        names = tuple(channel[0] for channel in channels) or tuple(f"action_{k}" for k in range(demo.actions.shape[1]))
        # -1..1 stands for low..high. Of a symmetric range nothing is lost: (x h) / h rounds to the float32 x again.
        values = demo.actions * (high - low) / 2 + (high + low) / 2 if channels else demo.actions.astype(float)
        self.action: Track | None = Track(names, tuple(channel[1] for channel in channels) or ("",) * len(names),
                                          times[:-1], values)

    def __enter__(self) -> "DemoReader":
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Nothing is open."""

    def pictures(self, start: float = 0.0) -> Iterator[Picture]:
        """Every picture from the one shown at `start` (s) on."""
        for number, pixels in enumerate(self._frames):
            until = (number + 1) / self.rate
            if until > start + TIMESTAMP:
                yield Picture(number, number / self.rate, until, av.VideoFrame.from_ndarray(pixels, format="rgb24"))

    def glimpses(self) -> list[Array]:
        """Some pictures from all over the recording, (H, W, 3) uint8 each."""
        count = len(self._frames)
        return [self._frames[k] for k in np.unique(np.linspace(0, count - 1, GLIMPSES).round().astype(int))]


def _asked(path: Path, task: str) -> tuple[float, Channels]:
    """What the task says, of a file that was recorded before files told it themselves."""
    try:
        return _task(task)
    except ModuleNotFoundError as error:
        raise UserError(f"{path}: an old file, which does not tell rate and actions of {task}, and the simulator, "
                        f"which does, lacks the package {error.name!r}: pip install '.[sim]' in surgrl's folder, or "
                        "record it anew with `surgrl demos`") from error


@lru_cache
def _task(task: str) -> tuple[float, Channels]:
    """Hz of a task's steps; name, unit, low and high of each entry of its actions."""
    from .world import make_env
    env = make_env(task, observation="state", eyes=())
    try:
        own: Any = env.unwrapped
        return 1 / own.dt, tuple(tuple(channel) for channel in own.channels)
    finally:
        env.close()
