"""Reach: bring the tip of the instrument to a marker on the tissue."""

from numbers import Real

import numpy as np

from ..geometry import Array
from ..scene import MARKER, Scene
from ..state import State
from ..task import Channel, Outcome

SPEED = 0.05            # m/s, what an action of 1 stands for, per axis
TOLERANCE = 0.005       # m, SurRoL's and LapGym's order for reaching (Xu et al. 2021; Scheikl et al. 2023)
GAIN = 6.0              # 1/s, of the expert's approach
NEEDLE_HEIGHT = 0.0015  # m, of a needle's middle above the tissue


class Reach:
    """Success when the tip is within `tolerance` of the marker's centre, or of the middle of the needle."""

    channels = tuple(Channel(f"v_{axis}", "m/s", -SPEED, SPEED) for axis in "xyz")

    def __init__(self, tolerance: float = TOLERANCE, target: str = "marker"):
        """tolerance: m. target: what the scene shows; a needle lies flat on the tissue, turned in any direction."""
        if not (isinstance(tolerance, Real) and 0 < tolerance < 0.05):
            raise ValueError(f"Reach tolerance is {tolerance!r}; it must be a number of m above 0 and below 0.05, "
                             "written as 0.002")
        self.tolerance, self.turned = tolerance, target == "needle"
        self.height = NEEDLE_HEIGHT if self.turned else MARKER

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Marker anywhere on the tissue in reach, tip anywhere above it at least 2 cm away from the marker."""
        x, y = rng.uniform([-0.028, -0.024], [0.028, 0.034])
        turn = rng.uniform(0, 2 * np.pi) if self.turned else 0.0
        target = np.array([x, y, scene.surface(x, y) + self.height])
        scene.place("target", target, turn)
        while True:
            tip = rng.uniform([-0.026, -0.022, 0.012], [0.026, 0.034, 0.036])
            if np.linalg.norm(tip - target) >= 0.02:
                break
        scene.place("PSM1", tip)

    def act(self, scene: Scene, action: Array) -> None:
        """Tip velocity in the camera frame; orientation and jaw stay."""
        twist = np.zeros(6)
        twist[:3] = action * SPEED
        scene.command("PSM1", twist, scene.jaw("PSM1"))

    def watch(self, scene: Scene) -> None:
        """Nothing: where the tip is now is all that counts."""

    def reward(self, scene: Scene) -> dict[str, float]:
        """`distance`: -1 at 5 cm, each step; `success`: +5, once."""
        distance = self._distance(scene)
        return {"distance": -distance / 0.05, "success": 5.0 * (distance < self.tolerance)}

    def outcome(self, scene: Scene) -> Outcome:
        """Success within the tolerance; a reach cannot fail, but it can run out of time."""
        return Outcome.SUCCESS if self._distance(scene) < self.tolerance else Outcome.RUNNING

    def measures(self, scene: Scene) -> dict[str, float]:
        """`distance`: m, from the tip to the centre of the marker."""
        return {"distance": self._distance(scene)}

    def state(self, scene: Scene) -> Array:
        """(3,) m: the marker seen from the tip, in the camera frame."""
        return scene.camera.rotation.T @ self._to_target(scene)

    def expert(self, scene: Scene) -> Array:
        """Straight to the marker, slowing down on the last centimetre; never faster than the action allows."""
        velocity = GAIN * (scene.camera.rotation.T @ self._to_target(scene)) / SPEED
        return (velocity / max(1.0, float(np.abs(velocity).max()))).astype(np.float32)

    def get_state(self) -> State:
        """Nothing is remembered."""
        return {}

    def set_state(self, state: State) -> None:
        """Nothing is remembered."""

    def _to_target(self, scene: Scene) -> Array:
        return scene.pose("target")[:3, 3] - scene.pose("PSM1")[:3, 3]

    def _distance(self, scene: Scene) -> float:
        return float(np.linalg.norm(self._to_target(scene)))
