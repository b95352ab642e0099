"""A policy and the gate after it, on recorded pictures instead of a robot."""

import sys
from collections.abc import Iterator
from math import gcd
from typing import NamedTuple

import numpy as np

from .annotate import Box, Note
from .policy.bundle import PolicyBundle
from .policy.errors import UserError
from .policy.image import parse_crop
from .policy.limits import Limits
from .policy.motion import ZERO, Motion
from .policy.runtime import PolicyRuntime
from .policy.spec import Array, ImageSpec
from .video import TIMESTAMP, Picture

MAX_AGE = 0.1           # s, oldest image that may be acted on: three frames at 30 Hz
RAMP = 0.05             # s, to full speed at the highest acceleration, as gate_node has it by default
ONSET = 0.02            # s, to the highest acceleration, likewise
GATE_RATE = 100         # Hz, about, of the gate's own steps
NOWHERE = 1e3           # m, workspace and lead of a robot that is not there: never reached
AXES = ("v_x", "v_y", "v_z")


class Tick(NamedTuple):
    """One moment at which the policy is asked."""

    time: float             # s of presentation
    picture: Picture        # the newest one by then
    rgb: Array              # (H, W, 3) uint8
    yuv: Array | None       # (height * 3 // 2, width) uint8 to draw on; None when no video is written


class Playback:
    """A policy and the gate after it, on pictures instead of a robot."""

    def __init__(self, bundle: PolicyBundle, *, rate: float, speed: float | None = None,
                 acceleration: float | None = None):
        """rate: Hz; speed: m/s and acceleration: m/s2 at most, by default from the range of the action."""
        self.bundle, self.rate, action = bundle, rate, bundle.action
        self.axes = [action.names.index(name) if name in action.names else None for name in AXES]
        self.drawable = action.frame == bundle.image.camera and any(axis is not None for axis in self.axes)
        fastest = [max(-action.low[axis], action.high[axis]) for axis in self.axes if axis is not None]
        if speed is None:       # what the policy can ask for, along all axes at once
            speed = float(np.linalg.norm(fastest)) if fastest else 1.0
        acceleration = speed / RAMP if acceleration is None else acceleration
        self.limits = Limits(speed, acceleration, acceleration / ONSET, (-NOWHERE,) * 3, (NOWHERE,) * 3)
        self.runtime = PolicyRuntime(bundle)
        self.steps = max(1, round(GATE_RATE / rate))        # of the gate for one of the policy
        self.motion = Motion(self.limits, 1 / rate / self.steps)
        self.motion.start(ZERO)
        self.region: Box = (0, 0, bundle.image.height, bundle.image.width)      # of the video

    def step(self, tick: Tick) -> Note:
        """Ask the policy, unless the picture is too old to act on, and let the gate speak."""
        age = max(0.0, round(tick.time - tick.picture.time, 6))     # 3 / 30 s is 0.1 s, not a hair more
        action = np.full(len(self.bundle.action.names), np.nan)
        if age <= MAX_AGE:
            top, left, height, width = self.region
            action = self.runtime.act(tick.rgb[top:top + height, left:left + width])
        velocity = np.array([0.0 if axis is None else action[axis] for axis in self.axes])
        if not np.isfinite(action).all():
            velocity = np.full(3, np.nan)       # one entry that is no number condemns the others
        hold = ""
        if age > MAX_AGE:
            hold = f"image is {age * 1e3:.0f} ms old, limit {MAX_AGE * 1e3:.0f} ms"
        elif not np.isfinite(velocity).all():
            hold = f"the policy's action {np.round(action, 4)} is not finite"
        before = np.array(self.motion.state.position)
        remarks = [self.motion.step(ZERO if hold else tuple(velocity)) for _ in range(self.steps)][-1]
        sent = (np.array(self.motion.state.position) - before) * self.rate
        return Note(tick.time, tick.picture.number, age, action, velocity / self.limits.speed,
                    sent / self.limits.speed, bool(hold), (hold,) if hold else remarks)

    def view(self, scale: float = 1.0) -> Box:
        """What the policy sees, in the video enlarged by `scale`."""
        top, left, height, width = self.bundle.image.crop_in(*self.region[2:])
        edges = top + self.region[0], left + self.region[1], height, width
        top, left, height, width = (round(edge * scale) for edge in edges)
        return top, left, height, width

    def header(self) -> list[str]:
        """Columns of actions.csv, with their units."""
        action = self.bundle.action
        entries = [f"{name} [{unit}]" for name, unit in zip(action.names, action.units, strict=True)]
        return ["frame", "time_s", *entries, "speed [m/s]", "sent_speed [m/s]", "age_ms", "hold", "reasons"]

    def row(self, note: Note) -> list[str]:
        """One line of actions.csv; empty where the policy was not asked."""
        asked = note.age <= MAX_AGE
        speeds = (float(np.linalg.norm(part)) * self.limits.speed for part in (note.wanted, note.sent))
        numbers = [f"{value:.6g}" if asked else "" for value in (*note.action, next(speeds))]
        return [str(note.number), f"{note.time:.6f}", *numbers, f"{next(speeds):.6g}",
                f"{note.age * 1e3:.1f}", str(int(note.hold)), "; ".join(note.reasons)]

    def told(self) -> str:
        """What the gate can and cannot check on a recording."""
        limits = self.limits
        return (f"checks age of the image (at most {MAX_AGE * 1e3:.0f} ms), finite numbers, speed "
                f"({limits.speed:g} m/s), acceleration ({limits.acceleration:g} m/s2) and jerk "
                f"({limits.jerk:g} m/s3); the workspace and the robot's lag need a robot")


def sample(pictures: Iterator[Picture], rate: float, start: float, duration: float,
           size: tuple[int, int] | None) -> Iterator[Tick]:
    """The newest picture every 1 / rate s, for as long as there is one; size: width, height px to draw on."""
    newest, number = None, 0
    for picture in pictures:
        if newest is None:
            start = max(start, picture.time)
        while newest is not None and start + number / rate < picture.time - TIMESTAMP:
            yield _tick(start + number / rate, newest, size)
            number += 1
            if not number / rate < duration - TIMESTAMP:
                return
        newest = picture
    while newest is not None and number / rate < duration - TIMESTAMP and (
            start + number / rate < max(newest.until, newest.time + TIMESTAMP) - TIMESTAMP):
        yield _tick(start + number / rate, newest, size)
        number += 1


def _tick(time: float, picture: Picture, size: tuple[int, int] | None) -> Tick:
    return Tick(time, picture, picture.rgb(), None if size is None else picture.yuv(*size))


def find_region(height: int, width: int, image: ImageSpec, crop: str | None) -> Box:
    """The part of a height x width picture that has the shape of the policy's frame."""
    top, left, rows, columns = (0, 0, height, width) if crop is None else parse_crop("--crop", crop, height, width)
    if rows * image.width == columns * image.height:
        return top, left, rows, columns
    shape = gcd(image.width, image.height)
    times = min(rows * shape // image.height, columns * shape // image.width)
    inner = times * image.height // shape, times * image.width // shape
    if not times:
        raise UserError(f"no part of a {columns}x{rows} picture has the shape of the policy's frame, "
                        f"{image.width}x{image.height}; scale the video to that")
    print(f"the {columns}x{rows} picture has not the shape of the policy's {image.width}x{image.height} "
          f"frame: its middle {inner[1]}x{inner[0]} is used; --crop picks another part", file=sys.stderr)
    return top + (rows - inner[0]) // 2, left + (columns - inner[1]) // 2, *inner
