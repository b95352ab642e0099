"""Retract: grasp a flap of tissue and hold it away until the lesion underneath is exposed.

The task of UnityFlexML (Tagliabue et al. 2020, IROS) and of safe reinforcement learning for tissue retraction (Pore et
al. 2021, IROS): lift fat off a tumour with one arm.
"""

import numpy as np

from ..geometry import Array
from ..scene import TissueScene
from ..state import State
from ..task import Channel, Outcome

SPEED = 0.03            # m/s, what an action of 1 stands for, per axis: slower than Reach, as one handles tissue
JAW_CLOSED, JAW_OPEN = 0.0, 1.0     # rad, what -1 and 1 stand for
EXPOSED = 0.8           # share of the lesion that has to be seen, for
HOLD = 0.5              # s
# Strain at which tissue counts as torn: half of the least at which it broke. Porcine mesocolon, mesentery, fascia and
# peritoneum failed at stretches of 1.766 to 3.176 (White, Cunnane, McMahon, Walsh, Coffey & O'Sullivan, Proc IMechE
# Part H, "Mechanical characterisation of porcine non-intestinal colorectal tissues"; its abstract, all that was read).
TEAR_STRAIN = 0.38
# The expert closes its jaws where so many vertices of the free side lie so near the tip: less than fills the jaws'
# reach (see scenes/flap.py), and no matter which, so that whoever imitates it need not be exact to a millimetre.
MOUTHFUL, BITE = 5, 0.003       # m
PRESS = 0.002           # m below the tissue, where it aims: it comes down with some speed to the last
TAUT, UPRIGHT_TAUT = 0.97, 0.82     # share of the flap's length that the expert keeps between anchor and jaws
UPRIGHT = 1.75          # rad, to which it turns the flap up
GAIN = 6.0              # 1/s, of its motion


class Retract:
    """Success: at least EXPOSED of the lesion seen for HOLD s. Failure: the flap slips out of the jaws, or tears: at a
    strain of TEAR_STRAIN, half of the least at which porcine mesentery, fascia or peritoneum broke in tensile tests
    (stretch 1.766; White et al., Proc IMechE Part H). Half, as what is strained so far is harmed before it breaks.
    """

    channels = (*(Channel(f"v_{axis}", "m/s", -SPEED, SPEED) for axis in "xyz"),
                Channel("jaw", "rad", JAW_CLOSED, JAW_OPEN))

    def __init__(self) -> None:
        """Nothing to choose."""
        self._exposed_for = 0.0     # s

    def reset(self, scene: TissueScene, rng: np.random.Generator) -> None:
        """The scene has drawn flap and lesion; the tip starts anywhere 1 to 3 cm above."""
        scene.place("PSM1", rng.uniform([-0.024, -0.024, 0.018], [0.024, 0.012, 0.036]))
        self._exposed_for = 0.0

    def act(self, scene: TissueScene, action: Array) -> None:
        """Tip velocity in the camera frame, and the jaw's angle; orientation stays."""
        twist = np.zeros(6)
        twist[:3] = action[:3] * SPEED
        scene.command("PSM1", twist, JAW_CLOSED + (JAW_OPEN - JAW_CLOSED) * (float(action[3]) + 1) / 2)

    def watch(self, scene: TissueScene) -> None:
        """For how long the lesion has been exposed."""
        self._exposed_for = self._exposed_for + scene.dt if scene.visible("lesion") >= EXPOSED else 0.0

    def reward(self, scene: TissueScene) -> dict[str, float]:
        """All of it in a step: at most about -0.1 each, but for the end.

        `reach`: -0.1 at 5 cm from the flap's free side, 0 while it is held; `expose`: -0.1 while nothing of the lesion
        is seen; `strain`: -0.1 at the strain of a tear; `success`: +10; `failure`: -20, more than idling costs.
        """
        outcome = self.outcome(scene)
        return {"reach": 0.0 if scene.grip("PSM1").vertices.size else -2.0 * self._distance(scene),
                "expose": -0.1 * (1 - scene.visible("lesion")),
                "strain": -0.1 * min(1.0, max(0.0, scene.strain()) / TEAR_STRAIN),
                "success": 10.0 * (outcome is Outcome.SUCCESS), "failure": -20.0 * (outcome is Outcome.FAILURE)}

    def outcome(self, scene: TissueScene) -> Outcome:
        """A tear or a slip ends it even in the moment of success."""
        if scene.grip("PSM1").slipped or not scene.strain() <= TEAR_STRAIN:
            return Outcome.FAILURE
        return Outcome.SUCCESS if self._exposed_for > HOLD - scene.dt / 2 else Outcome.RUNNING

    def measures(self, scene: TissueScene) -> dict[str, float]:
        """visible_fraction in [0, 1]; strain, the largest; force_N on the jaws; grasped, 0 or 1; slipped, 0 or 1."""
        grip = scene.grip("PSM1")
        return {"visible_fraction": scene.visible("lesion"), "strain": scene.strain(),
                "force_N": float(np.sqrt(grip.force @ grip.force)), "grasped": float(grip.vertices.size > 0),
                "slipped": float(grip.slipped)}

    def state(self, scene: TissueScene) -> Array:
        """(27,): in the camera frame, from the tip: the lesion and six points of the flap (m); then the force (10 N),
        and visible fraction, strain, grasped."""
        rows, columns = scene.tissue_shape
        grid = scene.tissue().reshape(rows, columns, 3)
        points = np.concatenate([scene.pose("lesion")[None, :3, 3],
                                 grid[np.ix_([rows // 2, rows - 1], [0, columns // 2, columns - 1])].reshape(-1, 3)])
        from_tip = (points - scene.pose("PSM1")[:3, 3]) @ scene.camera.rotation
        grip = scene.grip("PSM1")
        state = [*from_tip.ravel(), *(scene.camera.rotation.T @ grip.force / 10), scene.visible("lesion"),
                 scene.strain(), grip.vertices.size > 0]
        return np.minimum(np.maximum(np.array(state, dtype=float), -1), 1)

    def expert(self, scene: TissueScene) -> Array:
        """Over the free side, down, close; then in an arc about the anchored side until the flap stands up."""
        rows, columns = scene.tissue_shape
        grid = scene.tissue().reshape(rows, columns, 3)
        tip, held = scene.pose("PSM1")[:3, 3], scene.grip("PSM1").vertices
        if held.size:
            velocity, jaw = self._lift(grid, tip, held), -1.0
        else:
            velocity, jaw = self._approach(grid, tip)
        command = scene.camera.rotation.T @ velocity / SPEED
        return np.append(command / max(1.0, float(np.abs(command).max())), jaw).astype(np.float32)

    def _approach(self, grid: Array, tip: Array) -> tuple[Array, float]:
        """To the middle of the row before the free side, from above: velocity (3,) m/s, and the jaw's action.

        Not to where the lesion lies: nobody who imitates it sees that under the flap.
        """
        goal = grid[-2, grid.shape[1] // 2]
        away = goal - tip
        if np.hypot(away[0], away[1]) > 0.004:
            away[2] = max(away[2] + 0.010, -0.02)       # stay above until over the place
        else:
            away[2] -= PRESS
        offsets = grid[-6:].reshape(-1, 3) - tip
        between = np.count_nonzero(np.einsum("ij,ij->i", offsets, offsets) < BITE ** 2)
        return GAIN * away, -1.0 if between >= MOUTHFUL else 1.0

    def _lift(self, grid: Array, tip: Array, held: Array) -> Array:
        """Along an arc about the anchor of the held column, never tauter than the flap is long: velocity (3,) m/s."""
        column, row = int(np.median(held % grid.shape[1])), int(held.min() // grid.shape[1])
        length = float(np.linalg.norm(np.diff(grid[:row + 1, column], axis=0), axis=1).sum())
        anchor, across = grid[0, column], grid[0, -1] - grid[0, 0]
        away = np.array([across[1], -across[0], 0.0]) / np.hypot(across[0], across[1])
        angle = np.arctan2(tip[2] - anchor[2], (tip - anchor) @ away)       # 0 as the flap lay, pi/2 upright
        ahead = min(max(angle, 0.0) + 0.35, UPRIGHT)
        reach = length * max(UPRIGHT_TAUT, TAUT - (TAUT - UPRIGHT_TAUT) * ahead)    # give slack once it is off the bed
        return GAIN * (anchor + reach * (np.cos(ahead) * away + [0, 0, np.sin(ahead)]) - tip)

    def _distance(self, scene: TissueScene) -> float:
        """m, from the tip to the nearest vertex of the free side."""
        offsets = scene.tissue()[-scene.tissue_shape[1]:] - scene.pose("PSM1")[:3, 3]
        return float(np.sqrt(np.einsum("ij,ij->i", offsets, offsets).min()))

    def get_state(self) -> State:
        """How long the lesion has been exposed, s."""
        return {"exposed_for": self._exposed_for}

    def set_state(self, state: State) -> None:
        """Go on from there, exactly."""
        self._exposed_for = float(state["exposed_for"])
