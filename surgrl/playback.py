"""A policy and the gate after it, on recorded pictures instead of a robot."""

from time import perf_counter
from typing import NamedTuple

import numpy as np

from .annotate import Box, Note
from .decoded import TIMESTAMP
from .policy.bundle import PolicyBundle
from .policy.errors import UserError
from .policy.limits import Limits
from .policy.motion import ZERO, Motion, State
from .policy.runtime import PolicyRuntime
from .policy.spec import Array
from .recordings import Track
from .ticks import Tick

MAX_AGE = 0.1           # s, oldest image that may be acted on: three frames at 30 Hz
RAMP = 0.05             # s, to full speed at the highest acceleration, as gate_node has it by default
ONSET = 0.02            # s, to the highest acceleration, likewise
GATE_RATE = 100         # Hz, about, of the gate's own steps
NOWHERE = 1e3           # m, workspace and lead of a robot that is not there: never reached
AXES = ("v_x", "v_y", "v_z")


class Answer(NamedTuple):
    """What a policy says to one picture."""

    action: Array           # (A,) SI; NaN when it was not asked
    age: float              # s, of the picture
    seconds: float          # s that it took: prepare, stack, network


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
        self._told: tuple[Array, Array] | None = None       # what the robot tells: (N,) s, (N, P)

    def hear_robot(self, state: Track | None) -> None:
        """What the policy reads beside the picture comes from there. UserError where it is not told."""
        names = self.bundle.proprio.names
        missing = [name for name in names if state is None or name not in state.names]
        if missing:
            raise UserError(f"{self.bundle.folder}: this policy reads the state of the robot too ({', '.join(names)}), "
                            f"and the recording does not tell {', '.join(missing)}; take another of either")
        if state is not None and names:
            self._told = state.time, state.values[:, [state.names.index(name) for name in names]]

    def ask(self, tick: Tick) -> Answer:
        """Ask the policy, unless the picture is too old to act on. Keeps to itself, so that it may run in a thread."""
        age = max(0.0, round(tick.time - tick.picture.time, 6))     # 3 / 30 s is 0.1 s, not a hair more
        if not age <= MAX_AGE:
            return Answer(np.full(len(self.bundle.action.names), np.nan), age, 0.0)
        began, proprio = perf_counter(), None
        if self._told is not None:      # the newest by then; before the first, the first
            times, values = self._told
            proprio = values[max(0, int(np.searchsorted(times, tick.time + TIMESTAMP, side="right")) - 1)]
        action = self.runtime.act(self.seen(tick), proprio)
        return Answer(action, age, perf_counter() - began)

    def judge(self, tick: Tick, answer: Answer) -> Note:
        """Let the gate speak; to be told every answer, in order."""
        age, action = answer.age, answer.action
        velocity = np.array([0.0 if axis is None else action[axis] for axis in self.axes])
        if not np.isfinite(action).all():
            velocity = np.full(3, np.nan)       # one entry that is no number condemns the others
        hold = ""
        if age > MAX_AGE:
            hold = f"image is {age * 1e3:.0f} ms old, limit {MAX_AGE * 1e3:.0f} ms"
        elif not np.isfinite(velocity).all():
            hold = f"the policy's action {np.round(action, 4)} is not finite"
        assert self.motion.state is not None
        before = np.array(self.motion.state.position)
        remarks = [self.motion.step(ZERO if hold else tuple(velocity)) for _ in range(self.steps)][-1]
        sent = (np.array(self.motion.state.position) - before) * self.rate
        return Note(tick.time, tick.picture.number, age, action, velocity / self.limits.speed,
                    sent / self.limits.speed, bool(hold), (hold,) if hold else remarks)

    def seen(self, tick: Tick) -> Array:
        """The region of a tick's picture, (h, w, 3) uint8 RGB."""
        top, left, height, width = self.region
        return tick.rgb[top:top + height, left:left + width]

    def gate_memory(self) -> Array:
        """(9,) position, velocity and acceleration of the gate's tip, for `recall`."""
        assert self.motion.state is not None
        return np.array(self.motion.state).ravel()

    def recall(self, memory: dict[str, Array], gate: Array) -> None:
        """Go on where another playback stood: its runtime's memory and its gate's."""
        self.runtime.recall(memory)
        self.motion.state = State(*(tuple(row) for row in gate.reshape(3, 3).tolist()))

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
        return ["frame", "time_s", *entries, "speed [m/s]", "sent_speed [m/s]", "age_ms", "hold", "reasons",
                *(f"sent_{name} [m/s]" for name in AXES)]

    def row(self, note: Note) -> list[str]:
        """One line of actions.csv; empty where the policy was not asked."""
        asked = note.age <= MAX_AGE
        speeds = (float(np.linalg.norm(part)) * self.limits.speed for part in (note.wanted, note.sent))
        numbers = [f"{value:.6g}" if asked else "" for value in (*note.action, next(speeds))]
        return [str(note.number), f"{note.time:.6f}", *numbers, f"{next(speeds):.6g}",
                f"{note.age * 1e3:.1f}", str(int(note.hold)), "; ".join(note.reasons),
                *(f"{value:.6g}" for value in (note.sent * self.limits.speed).tolist())]

    def told(self) -> str:
        """What the gate can and cannot check on a recording."""
        limits = self.limits
        return (f"checks age of the image (at most {MAX_AGE * 1e3:.0f} ms), finite numbers, speed "
                f"({limits.speed:g} m/s), acceleration ({limits.acceleration:g} m/s2) and jerk "
                f"({limits.jerk:g} m/s3); the workspace and the robot's lag need a robot")

