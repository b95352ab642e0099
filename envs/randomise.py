"""Domain randomisation: one YAML of ranges, from which the looks and timing of each episode are drawn.

Tobin et al. 2017 (arXiv:1703.06907): a policy that has seen much variety takes the real world for one more of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .camera import Camera
from .effects import Effects
from .endoscope import EndoscopeLight
from .geometry import Array, rotation_by

LEVELS = Path(__file__).parent / "levels.yaml"
# RGB of the tissue's mean, in [0, 255]; vessels and mottling are painted around it.
PALETTES = {"rose": (205, 118, 104), "salmon": (214, 136, 112), "coral": (198, 100, 92), "wine": (176, 82, 84),
            "peach": (222, 152, 128), "liver": (138, 66, 52), "straw": (214, 178, 112), "plum": (158, 84, 118),
            "ash": (172, 150, 140)}
# range -> the least and most that it may reach
BOUNDS = {"camera_shift_mm": (-20, 20), "camera_turn_deg": (-30, 30), "fov_scale": (0.5, 2), "power": (0.05, 10),
          "cone": (0, 10), "warmth": (-1, 1), "instrument": (0.1, 3), "stiffness": (0.1, 10), "latency": (0, 30),
          "action_noise": (0, 1), **{entry.name: (0, 1) for entry in fields(Effects)}}
WORKING_DISTANCE = 0.15     # m, at most, from the camera to what the arms do
VECTORS = ("camera_shift_mm", "camera_turn_deg")        # drawn for each axis


@dataclass(frozen=True)
class Style:
    """Looks and timing of one episode. The defaults are the scene as it was built."""

    camera_shift: tuple[float, float, float] = (0.0, 0.0, 0.0)     # m, along the camera's axes
    camera_turn: tuple[float, float, float] = (0.0, 0.0, 0.0)      # rad, about them
    fov_scale: float = 1.0
    power: float = 1.0                  # factor of the light's power
    cone: float = 1.0                   # factor of its fall-off with the angle
    warmth: float = 0.0                 # -1 cold, +1 warm
    palette: str = ""                   # name in PALETTES; "": as built
    texture: int = -1                   # seed of the tissue's texture; -1: as built
    instrument: float = 1.0             # factor of the metal's brightness
    stiffness: float = 1.0              # factor of the tissue's
    latency: int = 0                    # control steps that an action comes late
    action_noise: float = 0.0           # standard deviation, of the action's [-1, 1]
    effects: Effects = field(default_factory=Effects)

    def factors(self) -> dict[str, Array | float | str]:
        """Everything that was drawn, by name: privileged information for info and for evaluation."""
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "effects"}
        return plain | {entry.name: getattr(self.effects, entry.name) for entry in fields(Effects)}


def styled_camera(camera: Camera, style: Style) -> Camera:
    """The camera, moved and turned along and about its own axes, with its field of view scaled."""
    if style.camera_shift == style.camera_turn == (0.0, 0.0, 0.0) and style.fov_scale == 1:
        return camera
    eye = np.array(camera.eye) + camera.rotation @ np.array(style.camera_shift)
    turned = camera.rotation @ rotation_by(np.array(style.camera_turn))
    reach = np.linalg.norm(np.subtract(camera.target, camera.eye))
    return replace(camera, eye=tuple(eye.tolist()), target=tuple((eye + reach * turned[:, 2]).tolist()),
                   up=tuple((-turned[:, 1]).tolist()), fov=camera.fov * style.fov_scale)


def styled_light(light: EndoscopeLight, style: Style) -> EndoscopeLight:
    """The light, brighter or darker, wider or narrower, warmer or colder."""
    red, green, blue = light.colour
    colour = (red, green * (1 - 0.10 * style.warmth), blue * (1 - 0.25 * style.warmth))
    return replace(light, power=light.power * style.power, cone=light.cone * style.cone, colour=colour)


class Randomiser:
    """Draws a Style for each episode from ranges."""

    def __init__(self, ranges: Mapping[str, Any], name: str = "ranges"):
        """ranges: as under a level of levels.yaml. ValueError names what is unknown, upside down or out of bounds."""
        self.name = name
        self.palettes = _pool(name, "palettes", ranges, PALETTES)
        self.textures = _pool(name, "textures", ranges, None)
        unknown = [key for key in ranges if key not in (*BOUNDS, "palettes", "textures")]
        if unknown:
            raise ValueError(f"randomisation {name}: {unknown[0]!r} is unknown; allowed: "
                             f"{', '.join((*BOUNDS, 'palettes', 'textures'))}")
        self._ranges = {key: _range(name, key, value) for key, value in ranges.items() if key in BOUNDS}

    @property
    def sight(self) -> float:
        """m, how far the camera's frame may stray from where it was built, at the working distance."""
        shift = max((abs(end) for end in self._ranges.get("camera_shift_mm", (0.0,))), default=0.0) * 1e-3
        turn = max((abs(end) for end in self._ranges.get("camera_turn_deg", (0.0,))), default=0.0)
        return np.sqrt(3) * (shift + np.radians(turn) * WORKING_DISTANCE)

    @property
    def widest(self) -> float:
        """The largest factor of the camera's field of view."""
        return self._ranges.get("fov_scale", (1.0, 1.0))[1]

    @property
    def none(self) -> bool:
        """Whether every episode is as the scene was built."""
        return not (self._ranges or self.palettes or self.textures)

    def draw(self, rng: np.random.Generator) -> Style:
        """The next episode's style. The order of drawing is fixed, so a seed gives the same style for ever."""
        drawn: dict[str, Any] = {}
        for key in BOUNDS:
            if key in self._ranges:
                low, high = self._ranges[key]
                drawn[key] = rng.uniform(low, high, 3) if key in VECTORS else float(rng.uniform(low, high))
        effects = Effects(**{entry.name: drawn.pop(entry.name, 0.0) for entry in fields(Effects)})
        shift, turn = drawn.pop("camera_shift_mm", np.zeros(3)), drawn.pop("camera_turn_deg", np.zeros(3))
        if "latency" in drawn:
            drawn["latency"] = round(drawn["latency"])
        if self.palettes:
            drawn["palette"] = self.palettes[rng.integers(len(self.palettes))]
        if self.textures:
            drawn["texture"] = int(self.textures[rng.integers(len(self.textures))])
        return Style(camera_shift=tuple(shift * 1e-3), camera_turn=tuple(np.radians(turn)), effects=effects, **drawn)


def load_randomiser(source: str | Mapping[str, Any]) -> Randomiser:
    """A level by name (none, mild, full, test-mild, test-full), a YAML file of ranges, or the ranges themselves."""
    if isinstance(source, Mapping):
        return Randomiser(source)
    levels = yaml.safe_load(LEVELS.read_text())
    if isinstance(source, str) and source in levels:
        return Randomiser(levels[source], source)
    if not (isinstance(source, str | Path) and Path(source).is_file()):
        raise ValueError(f"randomise {source!r} is neither a level ({', '.join(levels)}) nor a YAML file")
    try:
        ranges = yaml.safe_load(Path(source).read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"randomise {source}: not readable as YAML: {error}") from error
    if not isinstance(ranges, Mapping):
        raise ValueError(f"randomise {source}: must hold `name: [low, high]` lines, as envs/levels.yaml does")
    return Randomiser(ranges, str(source))


def _range(name: str, key: str, value: Any) -> tuple[float, float]:
    sound = isinstance(value, (list, tuple)) and len(value) == 2 and all(
        isinstance(end, (int, float)) and not isinstance(end, bool) for end in value)
    if not sound:
        raise ValueError(f"randomisation {name}: {key} is {value!r}; it must be [low, high]")
    (low, high), (least, most) = value, BOUNDS[key]
    if not least <= low <= high <= most:
        raise ValueError(f"randomisation {name}: {key} runs from {low} to {high}; "
                         f"low must not be above high, both within {least} to {most}")
    return float(low), float(high)


def _pool(name: str, key: str, ranges: Mapping[str, Any], known: Mapping[str, Any] | None) -> tuple[Any, ...]:
    values = ranges.get(key, [])
    sound = isinstance(values, (list, tuple)) and all(
        value in known if known is not None else isinstance(value, int) and value >= 0 for value in values)
    if not sound:
        raise ValueError(f"randomisation {name}: {key} is {values!r}; it must be a list of "
                         + (f"names out of {', '.join(known)}" if known is not None else "seeds, whole numbers >= 0"))
    return tuple(values)
