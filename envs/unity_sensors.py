"""What a Unity behaviour's observations are to us: the camera's picture, the instrument's mask, the vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .geometry import Array
from .scenes.unity import Behaviour, Sight
from .scenes.unity_sight import as_bytes, fit, newest_rgb
from .unity_presets import Preset

REWARD = "reward/"      # statistics of such names are terms of the reward
MASK = "mask"           # a sensor of this name shows the instrument, white on black


class Sensors:
    """Picks from what an agent is told."""

    def __init__(self, behaviour: Behaviour, preset: Preset, *, camera: Any, needed: bool):
        """camera: name or number among the sensors with pictures; needed: whether there has to be one."""
        entries = behaviour.observations
        pictures = [k for k, entry in enumerate(entries) if entry.picture]
        self._mask = next((k for k in pictures if entries[k].name.lower() == MASK), None)
        pictures = [k for k in pictures if k != self._mask]
        self._camera = next((k for k in pictures if entries[k].name == camera), None)
        if isinstance(camera, int) and 0 <= camera < len(pictures):
            self._camera = pictures[camera]
        if self._camera is None and (needed or camera != 0):
            raise ValueError(f"camera {camera!r}: the scene's sensors with pictures are "
                             f"{[entries[k].name for k in pictures]}; choose one by its name or number, or "
                             "observation=state where there is none")
        self.size = None if self._camera is None else entries[self._camera].shape[:2]   # px, height and width
        self._vectors = [k for k, entry in enumerate(entries) if len(entry.shape) == 1]
        sizes = [entries[k].shape[0] for k in self._vectors]
        start = sum(sizes[:sizes.index(preset.vector)]) if preset.vector else 0
        told = ([(name, start + place) for name, place in preset.proprio] if preset.vector
                else [(f"vector_{k}", k) for k in range(sum(sizes))])
        self.names = tuple(name for name, _ in told)        # of the proprio
        self.own = [place for _, place in told]             # where in `state` it is
        self.numbers = sum(sizes)                           # of `state`

    @property
    def tells_mask(self) -> bool:
        """Whether the scene shows where its instrument is."""
        return self._mask is not None

    def state(self, sight: Sight) -> Array:
        """All vectors in a row: (S,) float32."""
        vectors = [sight.observation(k) for k in self._vectors]
        return np.concatenate(vectors).astype(np.float32, copy=False) if vectors else np.zeros(0, np.float32)

    def picture(self, sight: Sight) -> Array:
        """The camera's newest frame, at its own size: (h, w, 3) uint8 RGB."""
        seen = as_bytes(sight.observation(self._camera))
        return newest_rgb(seen, sight.message.observations[self._camera].mapping,
                          sight.behaviour.observations[self._camera].frames)

    def mask(self, sight: Sight, size: tuple[int, int] | None) -> Array:
        """Where the instrument is: (H, W) uint8, 1 = instrument, fitted as the picture is."""
        seen = as_bytes(sight.observation(self._mask))
        white = fit(np.repeat(seen[:, :, :1], 3, axis=2), size)[:, :, 0]
        return (white > 127).astype(np.uint8)


class Tally:
    """What a scene recorded on the way to a step, and whether it means success."""

    def __init__(self, success: float | str):
        """success: `statistic`, `end`, or the least reward of a step that tells of it."""
        if not (success in ("statistic", "end") or isinstance(success, (int, float))):
            raise ValueError(f"success is {success!r}; it must be statistic, end, or the least reward that tells it")
        self._success, self._values, self.won = success, {}, False

    def begin(self, *, episode: bool) -> None:
        """Of a step, or of an episode."""
        self._values = {}
        self.won = self.won and not episode

    def hear(self, statistics: dict[str, Sequence[Any]]) -> None:
        """Of one message."""
        for name, values in statistics.items():
            self._values.setdefault(name, []).extend(value.value for value in values)

    def judge(self, reward: float, ended: bool) -> None:
        """A step is over. ended: whether the scene ended the episode, not a limit. Success stays for the episode."""
        if self._success == "statistic":
            self.won = self.won or (self._last("success") or 0.0) > 0.5
        else:
            self.won = self.won or (ended if self._success == "end" else reward >= self._success)

    def terms(self, agent: float, group: float) -> dict[str, float]:
        """The reward's named terms: those that the scene records as Reward/<name>, and what is left of the agent's."""
        named = {key.split("/", 1)[1]: sum(values) for key, values in self._values.items()
                 if key.lower().startswith(REWARD)}
        return {"agent": agent - sum(named.values()), "group": group, **named}

    def told(self) -> dict[str, Any]:
        """For info: all that was recorded, the last of each name; and cost and distance, if they are among it."""
        found: dict[str, Any] = {"statistics": {name: values[-1] for name, values in self._values.items()}}
        for name in ("cost", "distance"):
            value = self._last(name)
            if value is not None:
                found[name] = value
        return found

    def _last(self, name: str) -> float | None:
        """Of the statistic of that name, or at the end of a path: Episode/Success. Not of a term of the reward."""
        return next((values[-1] for key, values in self._values.items()
                     if key.split("/")[-1].lower() == name and not key.lower().startswith(REWARD)), None)
