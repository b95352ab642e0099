"""Unity scenes whose actions and observations we know: what their numbers mean, and how they tell of success."""

from math import pi
from typing import NamedTuple

from .scene import Channel
from .scenes.unity import Behaviour
from .unity_actions import Acting, Branch, plain

SIGNS = ((-1.0,), (0.0,), (1.0,))       # choices 0, 1, 2 of DVC's and SafeRLSurgery's branches
# As our own tasks have them (a test holds them equal): they stand here so that Unity needs no PyBullet.
RETRACT = (*(Channel(f"v_{axis}", "m/s", -0.03, 0.03) for axis in "xyz"), Channel("jaw", "rad", 0.0, 1.0))
COLON = (*(Channel(f"bend_{axis}", "rad/s", -pi / 4, pi / 4) for axis in "xy"),
         Channel("insertion", "m/s", -0.04, 0.04))


def unscaled(*names: str) -> tuple[Channel, ...]:
    """Channels whose 1 is whatever the scene makes of it."""
    return tuple(Channel(name, "", -1.0, 1.0) for name in names)


class Preset(NamedTuple):
    """A scene that is known."""

    told: str                       # what it is and where it comes from
    acting: Acting
    vector: int = 0                 # numbers in its vector observation; 0: it has none
    proprio: tuple[tuple[str, int], ...] = ()   # name and place in it of what a robot could tell of itself
    dt: float = 0.02                # s, of one decision: Unity's fixed step times the decision period
    success: float | str = "statistic"          # see UnityEnv

    def fits(self, behaviour: Behaviour) -> bool:
        """Whether a behaviour is the scene's."""
        vectors = [entry.shape for entry in behaviour.observations if len(entry.shape) == 1]
        return self.acting.fits(behaviour) and (not self.vector or (self.vector,) in vectors)


PRESETS = {
    "retract": Preset(
        "unity/RetractAgent.cs: the actions and the proprio of surgrl/Retract-v0",
        Acting(RETRACT, (0, 1, 2, 3), ()), vector=8, dt=1 / 30,
        proprio=tuple((name, k) for k, name in enumerate(("x", "y", "z", "qx", "qy", "qz", "qw", "jaw")))),
    "colon": Preset(
        "unity/ColonAgent.cs: the actions and the proprio of surgrl/ColonNavigate-v0",
        Acting(COLON, (0, 1, 2), ()), vector=4, dt=1 / 15,
        proprio=tuple((name, k) for k, name in enumerate(("bend_x", "bend_y", "inserted", "roll")))),
    # Read in the scenes' scripts. Axes are the scene's own; a step moves 0.005 of its units.
    "saferl": Preset(
        "Ameyapores/SafeRLSurgery (Pore et al. 2021, IROS): [3, 3, 3], motion along y, z, x; only success ends",
        Acting(unscaled("v_x", "v_y", "v_z"), (),
               (Branch((1,), SIGNS), Branch((2,), SIGNS), Branch((0,), SIGNS))),
        vector=8, proprio=(("x", 1), ("y", 2), ("z", 3), ("jaw", 0)), dt=0.1, success="end"),
    # The capsule advances along its own -y, by itself while it sees the lumen: torque about y rolls it, about z turns
    # it right (the scene's key D), about x down (key S).
    "dvc": Preset(
        "Ameyapores/DVC (Pore et al. 2022, IROS): [3, 3, 3], torque about y, z, x; only the goal ends",
        Acting(unscaled("bend_x", "bend_y", "roll"), (),
               (Branch((2,), SIGNS), Branch((0,), SIGNS), Branch((1,), SIGNS))), dt=0.04, success="end"),
    # Choices 1 to 4 are the scene's keys W, S, D, A: up, down, right, left; it always advances, as our own set `safe`.
    "safe": Preset(
        "Ameyapores/safe_colon_nav (Corsi et al. 2023, arXiv 2303.03207): [5], ahead and turns of 3 degrees",
        Acting(unscaled("bend_x", "bend_y", "insertion"),
               (), (Branch((0, 1, 2), ((0.0, 0.0, 0.7), (0.0, -1.0, 0.7), (0.0, 1.0, 0.7), (1.0, 0.0, 0.7),
                                       (-1.0, 0.0, 0.7))),)), success=1000.0)}


def chosen(name: str, candidates: tuple[str, ...], behaviour: Behaviour) -> Preset:
    """The preset of that name; for `auto` the first of the candidates that the behaviour fits. `none`: undescribed.

    ValueError where there is none, or it does not fit.
    """
    has = (f"its behaviour {behaviour.name!r} takes {behaviour.continuous} numbers and the branches "
           f"{list(behaviour.branches)}, and observes {[list(entry.shape) for entry in behaviour.observations]}")
    if name == "none" or (name == "auto" and not candidates):
        return Preset("a scene that nobody has described", plain(behaviour))
    if name == "auto":
        fitting = next((PRESETS[key] for key in candidates if PRESETS[key].fits(behaviour)), None)
        if fitting is None:
            raise ValueError(f"the player is none of the scenes {', '.join(candidates)}: {has}; "
                             "use surgrl/Unity-v0, or give preset=none")
        return fitting
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is unknown; allowed: auto, none, {', '.join(PRESETS)}")
    preset = PRESETS[name]
    if not preset.fits(behaviour):
        raise ValueError(f"the player is not the scene of preset {name!r} ({preset.told}): {has}")
    return preset
