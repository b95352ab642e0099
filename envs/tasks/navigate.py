"""ColonNavigate: drive a colonoscope to the caecum, the lumen in view and the wall untouched.

The task of DVC (Pore et al. 2022, IROS, pp. 9582-9588) and of its safe successor (Corsi, Marzari, Pore et al. 2023,
arXiv 2303.03207). Differs from theirs: insertion is an action; the lumen's place in the image comes from geometry, so
that it is the same whatever is observed; contact has a force in N and is a cost of its own.
"""

from math import hypot, radians

import numpy as np

from ..geometry import Array
from ..scene import Channel
from ..scenes.colon import ColonScene
from ..scope import BENDING_SECTION
from ..task import Outcome

BEND_SPEED = radians(45)    # rad/s: 3 degrees in a step of 1/15 s, as in Corsi et al.
INSERTION_SPEED = 0.040     # m/s
ROLL_SPEED = radians(45)    # rad/s
CAECUM = 0.040              # m: reached this far before the pole, that is where the caecum opens
FORCE_LIMIT = 7.0           # N: half of what perforates porcine colon (Johnson et al. 2019: 14.1 N)
TOUCH = 0.05                # N, from which on a contact costs
BLIND_LIMIT = 30            # steps without lumen end the episode; DVC then calls for its human operator
AHEAD = 0.030               # m, the expert's look-ahead
SHY = 0.012                 # m, clearance below which the expert turns away from a wall
BACK_OFF = 1.0              # N, from which on it draws back


class Navigate:
    """Seen: the colonoscope's image; bending (rad), shaft inserted (m), roll (rad).

    Action, in [-1, 1] of: bend_x, bend_y 45 degrees/s towards the image's right and bottom; insertion 40 mm/s; roll
    45 degrees/s where asked for. Reward: see `reward`. Start: 20-50 mm in, the section bent by up to 9 degrees in each
    plane, in a colon of its own. End: success in the caecum; failure at FORCE_LIMIT, or after BLIND_LIMIT steps
    without the lumen in view.
    """

    def __init__(self, *, roll: bool = False):
        """roll: whether the shaft's roll is a fourth channel."""
        self.roll = bool(roll)
        self.channels = (Channel("bend_x", "rad/s", -BEND_SPEED, BEND_SPEED),      # to the image's right
                         Channel("bend_y", "rad/s", -BEND_SPEED, BEND_SPEED),      # to the image's bottom
                         Channel("insertion", "m/s", -INSERTION_SPEED, INSERTION_SPEED),
                         *([Channel("roll", "rad/s", -ROLL_SPEED, ROLL_SPEED)] if self.roll else []))
        self._blind, self._before = 0, 0.0

    def reset(self, scene: ColonScene, rng: np.random.Generator) -> None:
        """The tip 20-50 mm in, on the centre line, slightly bent."""
        scene.enter(rng.uniform(0.02, 0.05), rng.uniform(-0.15, 0.15, 2))
        self._blind, self._before = 0, scene.scope.arc

    def act(self, scene: ColonScene, action: Array) -> None:
        """Rates of bending and insertion; remembers where the step began."""
        self._blind = 0 if scene.lumen().offset < 1 else self._blind + 1
        self._before = scene.scope.arc
        scene.drive(action[:2] * BEND_SPEED, action[2] * INSERTION_SPEED, action[3] * ROLL_SPEED if self.roll else 0.0)

    def reward(self, scene: ColonScene) -> dict[str, float]:
        """Terms of a step. Full speed along the lumen earns 1; the caecum 50, a failure costs as much.

        `progress`: along the centre line. `centring`: -0.3 d, with DVC's d: the distance of the lumen from the image's
        centre in half images, 1 where it is out of sight. `wall`: -0.1 while touching. `force`: -1 at the limit.
        """
        force, outcome = scene.scope.force, self.outcome(scene)
        return {"progress": (scene.scope.arc - self._before) / (INSERTION_SPEED * scene.dt),
                "centring": -0.3 * scene.lumen().offset, "wall": -0.1 * (force > TOUCH), "force": -force / FORCE_LIMIT,
                "success": 50.0 * (outcome is Outcome.SUCCESS), "failure": -50.0 * (outcome is Outcome.FAILURE)}

    def outcome(self, scene: ColonScene) -> Outcome:
        """A wall pushed too hard fails even in the caecum."""
        if not scene.scope.force < FORCE_LIMIT or self._blind_steps(scene) >= BLIND_LIMIT:
            return Outcome.FAILURE
        return Outcome.SUCCESS if self._to_go(scene) <= 0 else Outcome.RUNNING

    def measures(self, scene: ColonScene) -> dict[str, float]:
        """`distance`: m of centre line left; `cost`: 1 while the wall is touched, for constrained learning."""
        force, off = scene.scope.force, scene.lumen().offset
        return {"distance": max(self._to_go(scene), 0.0), "progress_m": scene.scope.arc, "force_N": force,
                "cost": float(force > TOUCH), "clearance_m": scene.scope.wall.distance, "lumen_visible": float(off < 1),
                "lumen_offset": off, "blind_steps": self._blind_steps(scene)}

    def state(self, scene: ColonScene) -> Array:
        """(8,): in the camera's frame, unit vector to the lumen's vanishing point, its offset d, unit vector to the
        nearest wall, and the clearance in 3 cm."""
        direction, off = scene.lumen()
        wall = scene.scope.wall
        return np.clip([*direction, off, *(-scene.scope.rotation.T @ wall.normal), wall.distance / 0.03], -1.0, 1.0)

    def expert(self, scene: ColonScene) -> Array:
        """Turns to the centre line a look-ahead away, and from a wall that is near; slows down where it has to turn."""
        scope, colon = scene.scope, scene.colon
        aim = min(scope.arc + AHEAD, colon.length)
        target = np.array([np.interp(aim, colon.arc, axis) for axis in colon.centre.T]) - scope.position
        target /= np.linalg.norm(target)
        target += max(0.0, 1 - scope.wall.distance / SHY) * scope.wall.normal
        misaligned = float(np.arccos(np.clip(scope.rotation[:, 2] @ target / np.linalg.norm(target), -1, 1)))
        insertion = min(1.0, max(0.0, 1.1 - misaligned / 0.6)) if scope.force < BACK_OFF else -0.4
        x, y, z = scope.shaft.T @ target
        wanted = np.arctan2(hypot(x, y), z) / max(hypot(x, y), 1e-9) * np.array([x, y])     # rad, of the section
        # While the scope advances, the shaft turns after its tip by itself.
        error = wanted * (1 - insertion * INSERTION_SPEED * scene.dt / BENDING_SECTION) - scope.bend
        rates = np.clip(error / (BEND_SPEED * scene.dt), -1.0, 1.0)
        return np.float32([*rates, insertion, *([0.0] if self.roll else [])])

    def watch(self, scene: ColonScene) -> None:
        """Nothing: `act` remembers where the step began."""

    def get_state(self) -> dict[str, float]:
        """What the task remembers of the episode."""
        return {"blind": self._blind, "before": self._before}

    def set_state(self, state: dict[str, float]) -> None:
        """Be as `get_state` said."""
        self._blind, self._before = int(state["blind"]), float(state["before"])

    def _to_go(self, scene: ColonScene) -> float:
        return scene.colon.length - CAECUM - scene.scope.arc

    def _blind_steps(self, scene: ColonScene) -> int:
        return 0 if scene.lumen().offset < 1 else self._blind + 1
