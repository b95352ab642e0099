"""A flap of fat, anchored on its far side, over a lesion on the bed of a cavity: where Retract takes place."""

import numpy as np

from .. import textures
from ..arm import PSM
from ..camera import Camera
from ..contact import Capsule
from ..geometry import Array
from ..proprio import arm_channels, arm_measured
from ..randomise import Style
from ..scene import Grip, Picture
from ..state import State, part, prefixed
from ..tissue import Material, Sheet
from . import bed, lesion, ports, shapes
from .arms import Arms
from .bullet import Bullet
from .instrument import DrawnPSM, rods
from .occlusion import Onlooker, Rod
from .theatre import restyle

ROWS, COLUMNS = 20, 20
FAT = 5                 # seed of its texture, as built
THICKNESS = 0.0016      # m, as drawn and as it keeps from bed and arm; thinner than fat, as it does not meet itself
BITE = 0.0035           # m, from the tip: what closing jaws take hold of
FULL_BITE = 5           # vertices: as many fill the jaws
CLOSED, OPEN = 0.15, 0.30       # rad: jaws at most so far open hold tissue, at least so far let it go
# Pull at which tissue slips out of full jaws. Graspers' jaws are compared by the pinch that a pull of 5 N takes
# (Heijnsdijk et al. 2004, Surg Endosc 18:974): profiled ones hold it with 3 N, so that is what ours hold.
SLIP_FORCE = 5.0        # N


class Flap:
    """Bodies: the arm PSM1, and `lesion`. The flap lies over it, in a place and size drawn at reset.

    What is not modelled: the flap passes through itself where it folds, and jaws meet it only when they close.
    """

    tissue_shape = (ROWS, COLUMNS)

    def __init__(self, dt: float = 1 / 30, camera: Camera = ports.CAMERA):
        """dt: s, one control step."""
        self.dt, self.camera, self.workspace = dt, camera, ports.WORKSPACE
        self.proprio, self.arms = arm_channels(camera, ports.WORKSPACE), ("PSM1",)
        self._arms = Arms({"PSM1": ports.psm1()}, camera.rotation, self.workspace)
        self._sheet = Sheet(ROWS, COLUMNS, dt=dt)
        self._heights = bed.HeightTable(bed.tissue_height, 0.06, 0.00025)
        slab, self._slab_vertices = shapes.slab(ROWS, COLUMNS)
        self._faces = slab.indices.reshape(-1, 3)
        self._onlooker, self._samples = Onlooker(camera, self._faces), lesion.samples()
        self.bullet = Bullet(deformable=True)
        self._bed = bed.draw(self.bullet)
        self._lesion_body = lesion.draw(self.bullet)
        self._drawn = DrawnPSM(self.bullet)
        fat = textures.fat(np.random.default_rng(FAT))
        self._sheet_body = self.bullet.sheet(slab, texture=fat)
        self.reset(np.random.default_rng(0))

    def restyle(self, style: Style) -> None:
        """Look and yield like this from now on; `reset` must follow."""
        self.camera = restyle(style, bullet=self.bullet, bed_body=self._bed, arms=self._arms, drawn=self._drawn)
        self._onlooker = Onlooker(self.camera, self._faces)
        seed = style.texture if style.texture >= 0 else FAT
        self.bullet.paint(self._sheet_body, f"fat {seed}", lambda: textures.fat(np.random.default_rng(seed)))
        built, factor = Material(), style.stiffness
        material = built._replace(stretch=built.stretch * factor, shear=built.shear * factor, bend=built.bend * factor)
        if material != self._sheet.material:
            self._sheet = Sheet(ROWS, COLUMNS, dt=self.dt, material=material)

    def reset(self, rng: np.random.Generator) -> None:
        """Arm at home; a flap of drawn size, place and turn at rest, the lesion under it. Nothing is rebuilt."""
        self._arms.reset()
        length, width, turn = rng.uniform([0.038, 0.042, -0.3], [0.044, 0.050, 0.3])
        root = rng.uniform([-0.005, 0.019], [0.005, 0.025])
        c, s = np.cos(turn), np.sin(turn)
        across, away = np.array([c, s]), np.array([s, -c])      # along the anchored side, and from it to the free one
        u, v = rng.uniform([-0.22 * width, 0.36 * length], [0.22 * width, 0.62 * length])
        self._place_lesion(root + u * across + v * away)
        t, q = np.meshgrid(np.linspace(0, 1, ROWS), np.linspace(-1, 1, COLUMNS), indexing="ij")
        wave = rng.uniform(0, 2 * np.pi, 2)     # no flap has straight sides
        v = length * t * (1.02 + 0.06 * np.sin(2.6 * q + wave[0]) - 0.08 * q * q)
        u = width / 2 * q * (1 - 0.12 * t + 0.05 * np.sin(5 * t + wave[1]))
        flat = root + u.reshape(-1, 1) * across + v.reshape(-1, 1) * away
        rest = np.column_stack([flat, self._floor(flat[:, 0], flat[:, 1])])
        self._sheet.reset(rest)
        self._offsets = np.zeros((0, 3))        # m, of what is held, in the tip's frame
        self._may_grasp, self._slipped = True, False
        self._forget()

    def place(self, body: str, position: Array) -> None:
        """Put an arm's tip, or the lesion, at position (3,) m in the world; the lesion goes down to the bed."""
        if body in self._arms:
            self._arms[body].place(position)
        else:
            self._place_lesion(position[:2])
        self._forget()

    def surface(self, x: float, y: float) -> float:
        """Height z (m) of bed and lesion at x, y (m)."""
        return float(bed.tissue_height(np.float64(x), np.float64(y))
                     + max(0.0, lesion.dome(x - self._lesion[0, 3], y - self._lesion[1, 3])))

    def measured(self) -> Array:
        """(8,) the arm's tip and jaw: see `proprio`."""
        return arm_measured(self.camera, self.pose("PSM1"), self.jaw("PSM1"))

    def command(self, arm: str, twist: Array, jaw: float) -> None:
        """Twist (6,) m/s, rad/s in the camera frame and jaw in rad, from the next step on."""
        self._arms.command(arm, twist, jaw)

    def step(self) -> None:
        """Let dt seconds pass: the arm follows its command, then the flap the arm."""
        self._arms.step(self.dt, self.surface)
        self._forget()
        arm, sheet = self._arms["PSM1"], self._sheet
        if arm.jaw >= OPEN:
            self._may_grasp = True
            if sheet.held.size:
                sheet.release()
        elif arm.jaw <= CLOSED and self._may_grasp and not sheet.held.size:
            self._grasp(arm)
        self._step_sheet(arm)
        reaction = sheet.reaction
        if reaction @ reaction > (SLIP_FORCE * min(1.0, len(sheet.held) / FULL_BITE)) ** 2:
            sheet.release()
            self._slipped = True

    def pose(self, body: str) -> Array:
        """(4, 4) in the world: an arm's tip, or the lesion."""
        return self._arms[body].tip if body in self._arms else self._lesion

    def jaw(self, arm: str) -> float:
        """Opening of the arm's jaws, rad."""
        return self._arms[arm].jaw

    def arm(self, name: str) -> PSM:
        """The kinematics behind an arm."""
        return self._arms[name]

    def force(self, arm: str) -> Array:
        """(3,) N, world: of the flap on the jaws."""
        return self._sheet.reaction

    def tissue(self) -> Array:
        """(N, 3) m, world: the flap's vertices, row by row; row 0 is anchored."""
        return self._sheet.vertices

    def strain(self) -> float:
        """The largest strain in the flap."""
        return float(self._sheet.stretch.max())

    def grip(self, arm: str) -> Grip:
        """What the arm's jaws hold."""
        return Grip(self._sheet.held, self._sheet.reaction, self._slipped)

    def visible(self, body: str) -> float:
        """Share of the lesion that the endoscope sees past flap and arm, in [0, 1]; by rays, see `Onlooker`."""
        if self._visible is None:
            self._visible = self._onlooker.visible(self._drawn_sheet(), self._arm_rods())
        return self._visible

    def get_state(self) -> State:
        """All that the next step depends on, as a value."""
        return (self._arms.get_state() | prefixed("sheet", self._sheet.get_state())
                | {"lesion": self._lesion.copy(), "offsets": self._offsets.copy(),
                   "may_grasp": self._may_grasp, "slipped": self._slipped})

    def set_state(self, state: State) -> None:
        """Go on from there, exactly."""
        self._arms.set_state(state)
        self._place_lesion(state["lesion"][:2, 3])
        self._sheet.set_state(part(state, "sheet"))
        self._offsets = np.array(state["offsets"])
        self._may_grasp, self._slipped = bool(state["may_grasp"]), bool(state["slipped"])
        self._forget()

    def picture(self, height: int, width: int, camera: Camera | None = None) -> Picture:
        """What the endoscope sees now, or another camera in its place."""
        self._show()
        return self.bullet.picture(camera or self.camera, height, width)

    def close(self) -> None:
        """Free the engine."""
        self.bullet.close()

    def _forget(self) -> None:
        """What was derived from a state that is no more."""
        self._visible: float | None = None
        self._rods: list[Rod] | None = None
        self._slab: Array | None = None

    def _drawn_sheet(self) -> Array:
        """The flap as a body with two sides, (V, 3) m."""
        if self._slab is None:
            self._slab = shapes.thicken(self._sheet.vertices, ROWS, COLUMNS, THICKNESS)[self._slab_vertices]
        return self._slab

    def _arm_rods(self) -> list[Rod]:
        if self._rods is None:
            self._rods = rods(self._arms["PSM1"])
        return self._rods

    def _show(self) -> None:
        """Bring the bodies to where the state has them."""
        self._drawn.draw(self._arms["PSM1"])
        self.bullet.move(self._lesion_body, self._lesion)
        self.bullet.deform(self._sheet_body, self._drawn_sheet())

    def _step_sheet(self, arm: PSM) -> None:
        held = self._sheet.held.size > 0
        targets = self._offsets @ arm.tip[:3, :3].T + arm.tip[:3, 3] if held else None
        shaft, wrist = self._arm_rods()[:2]     # not the jaws: tissue is meant to come between them
        self._sheet.step(self._floor, (Capsule(shaft.start, shaft.end, shaft.radius + THICKNESS / 2),
                                       Capsule(wrist.start, wrist.end, wrist.radius + THICKNESS / 2)), targets)

    def _grasp(self, arm: PSM) -> None:
        self._may_grasp = False         # closed jaws have to open before they can take hold again
        offsets = self._sheet.vertices - arm.tip[:3, 3]
        self._sheet.grasp(np.flatnonzero(np.einsum("ij,ij->i", offsets, offsets) < BITE ** 2))
        self._offsets = offsets[self._sheet.held] @ arm.tip[:3, :3]

    def _place_lesion(self, centre: Array) -> None:
        self._lesion = lesion.pose(float(centre[0]), float(centre[1]))
        points, normals, areas = self._samples
        rotation = self._lesion[:3, :3]
        self._onlooker.look_at(points @ rotation.T + self._lesion[:3, 3], normals @ rotation.T, areas)

    def _floor(self, x: Array, y: Array) -> Array:
        """Where the flap's middle comes to lie on bed and lesion."""
        rise = lesion.dome(x - self._lesion[0, 3], y - self._lesion[1, 3])
        return self._heights(x, y) + (np.maximum(rise, 0) + THICKNESS / 2)
