"""A PSM over a bed of tissue, drawn by PyBullet's TinyRenderer and shaded as an endoscope sees it."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pybullet

from .. import textures
from ..arm import PSM
from ..camera import Camera
from ..endoscope import EndoscopeLight, EndoscopeShader
from ..geometry import Array, look_at, quaternion_of
from ..scene import Picture
from . import shapes

SCALE = 10.0            # Bullet units in a metre: its margins suit bodies of about one unit
BED = 0.125             # m, half the width of the tissue
CLEARANCE = 0.001       # m, between the tip and the tissue
RCM = np.array([0.085, 0.055, 0.120])           # m, world: where PSM1's trocar is
HOME = np.array([0.0, 0.0, 0.16, 0.6, 0.45, -0.35])     # rad, m: a wrist slightly bent, as it is held in use
CAMERA = Camera("endoscope_left", eye=(0.0, -0.058, 0.088), target=(0.0, 0.004, 0.004), fov=56.0,
                near=0.02, far=0.40)
METAL, DARK = (0.62, 0.64, 0.68, 1.0), (0.16, 0.16, 0.18, 1.0)


def tissue_height(x: Array, y: Array) -> Array:
    """Height in m of the tissue above z = 0: folds of about 4 mm in a cavity whose walls rise around."""
    return (0.0022 * np.sin(62 * x + 0.6) * np.cos(48 * y) + 0.0016 * np.sin(95 * y + 40 * x)
            + 1.6 * np.maximum(np.hypot(x, y - 0.005) - 0.045, 0) ** 1.5)


class BulletScene:
    """One arm (PSM1), one marker body (target), one bed of tissue, one endoscope. Kinematic: nothing falls.

    States are exact for a seed; pictures may differ by one brightness step between processes, because TinyRenderer
    normalises its meshes' normals in place each time it draws them.
    """

    def __init__(self, dt: float = 1 / 30, camera: Camera = CAMERA, light: EndoscopeLight | None = None):
        """dt: s, one control step."""
        self.dt, self.camera, self.light = dt, camera, light or EndoscopeLight()
        self.workspace = (np.array([-0.038, -0.034, -0.004]), np.array([0.038, 0.042, 0.045]))
        base = np.eye(4)
        base[:3, :3] = look_at(RCM, np.array([0.0, 0.0, 0.01]), np.array([0.0, 0.0, 1.0])) @ np.diag([1, -1, -1.0])
        base[:3, 3] = RCM
        self._arms = {"PSM1": PSM(base, HOME)}
        self._commands = {name: (np.zeros(6), arm.jaw) for name, arm in self._arms.items()}
        self._camera_rotation = camera.rotation
        self._client = pybullet.connect(pybullet.DIRECT)
        self._shaders: dict[tuple[int, int], EndoscopeShader] = {}
        self._build()

    def reset(self, rng: np.random.Generator) -> None:
        """Arm at home, at rest. Nothing is rebuilt."""
        for name, arm in self._arms.items():
            arm.reset()
            self._commands[name] = (np.zeros(6), arm.jaw)

    def place(self, body: str, position: Array) -> None:
        """Put the target, or an arm's tip, at position (3,) m in the world."""
        if body in self._arms:
            self._arms[body].place(position)
        else:
            self._target = np.array(position, dtype=float)

    def surface(self, x: float, y: float) -> float:
        """Height z (m) of the tissue at x, y (m)."""
        return float(tissue_height(np.float64(x), np.float64(y)))

    def command(self, arm: str, twist: Array, jaw: float) -> None:
        """Twist (6,) m/s, rad/s in the camera frame and jaw in rad, from the next step on."""
        turned = np.concatenate([self._camera_rotation @ twist[:3], self._camera_rotation @ twist[3:]])
        self._commands[arm] = (turned, jaw)

    def step(self) -> None:
        """Let dt seconds pass: each arm follows its command and stays above the tissue."""
        for name, arm in self._arms.items():
            twist, jaw = self._commands[name]
            ahead = arm.tip[:3, 3] + twist[:3] * self.dt
            low = self.workspace[0].copy()
            low[2] = max(low[2], self.surface(ahead[0], ahead[1]) + CLEARANCE)
            arm.move(twist, jaw, self.dt, low, self.workspace[1])

    def pose(self, body: str) -> Array:
        """(4, 4) in the world: an arm's tip, or the target."""
        if body in self._arms:
            return self._arms[body].tip
        pose = np.eye(4)
        pose[:3, 3] = self._target
        return pose

    def jaw(self, arm: str) -> float:
        """Opening of the arm's jaws, rad."""
        return self._arms[arm].jaw

    def picture(self, height: int, width: int) -> Picture:
        """Rasterise once; shade; tell instrument from scene."""
        self._draw()
        _, _, rgba, buffer, segmentation = self.raster(height, width)
        shader = self.shader(height, width)
        depth = shader.depth_in_metres(buffer)
        image = shader.shade(np.ascontiguousarray(rgba[:, :, :3]), depth, segmentation < 0)
        mask = self._is_instrument[segmentation]                # background is -1: the table's last entry
        return Picture(image, mask, depth)

    def arm(self, name: str) -> PSM:
        """The kinematics behind an arm."""
        return self._arms[name]

    def shader(self, height: int, width: int) -> EndoscopeShader:
        """What shades pictures of this size; made once."""
        if (height, width) not in self._shaders:
            self._shaders[height, width] = EndoscopeShader(self.camera, self.light, height, width)
        return self._shaders[height, width]

    def raster(self, height: int, width: int) -> tuple:
        """TinyRenderer's own picture, unshaded: (width, height, RGBA, depth buffer, body ids)."""
        return pybullet.getCameraImage(
            width, height, self.camera.view_matrix(SCALE), self.camera.projection_matrix(height, width, SCALE),
            renderer=pybullet.ER_TINY_RENDERER, shadow=0, lightDirection=list(-self._camera_rotation[:, 2]),
            lightAmbientCoeff=0.25, lightDiffuseCoeff=0.75, lightSpecularCoeff=0.0,
            physicsClientId=self._client)

    def close(self) -> None:
        """Disconnect from Bullet; a second call does nothing."""
        if self._client >= 0:
            pybullet.disconnect(self._client)
            self._client = -1

    def _build(self) -> None:
        bed = self._body(shapes.relief(tissue_height, BED, 38), (1, 1, 1, 1))
        texture = self._texture(textures.tissue(np.random.default_rng(7), size=1024))
        pybullet.changeVisualShape(bed, -1, textureUniqueId=texture, physicsClientId=self._client)
        radius = 0.0035
        arc = np.linspace(-np.pi / 2, np.pi / 2, 9)
        ball = [(radius * float(np.cos(a)), radius * float(np.sin(a))) for a in arc]
        self._target_body = self._body(shapes.turned(ball, 14), (0.10, 0.75, 0.42, 1.0))
        self._target = np.array([0.0, 0.0, 0.01])
        shaft = [(0.0, -0.16), (0.0042, -0.16), (0.0042, -0.009)]
        collar = [(0.0043, -0.009), (0.0043, -0.003), (0.0030, 0.002), (0.0, 0.002)]
        clevis = [(-0.001, -0.0026, 0.0026, 0.0024), (0.006, -0.0026, 0.0026, 0.0020),
                  (0.0105, -0.0014, 0.0014, 0.0014)]
        jaw = [(-0.0015, 0.0, 0.0020, 0.0016), (0.004, 0.0, 0.0019, 0.0015), (0.0102, 0.0, 0.0008, 0.0009)]
        mirrored = [(z, -high, -low, thick) for z, low, high, thick in jaw]
        parts = [(shapes.turned(shaft), DARK), (shapes.turned(collar), METAL), (shapes.prism(clevis), METAL),
                 (shapes.prism(jaw), METAL), (shapes.prism(mirrored), METAL)]
        self._parts = [self._body(mesh, colour) for mesh, colour in parts]
        self._is_instrument = np.zeros(pybullet.getNumBodies(physicsClientId=self._client) + 1, np.uint8)
        self._is_instrument[self._parts] = 1

    def _draw(self) -> None:
        """Bring Bullet's bodies to where the kinematics say they are."""
        arm = self._arms["PSM1"]
        frames = arm.frames()
        shaft, yaw, tip = frames[3], frames[5], frames[6]
        clevis = np.eye(4)      # its z along the link between the wrist's axes, its x along the pitch axis
        along = (yaw[:3, 3] - shaft[:3, 3]) / np.linalg.norm(yaw[:3, 3] - shaft[:3, 3])
        pitch_axis = frames[4][:3, 2]
        clevis[:3, :3] = np.column_stack([pitch_axis, np.cross(along, pitch_axis), along])
        clevis[:3, 3] = shaft[:3, 3]
        hinge = tip.copy()
        hinge[:3, 3] = yaw[:3, 3]
        half = max(arm.jaw, 0.0) / 2
        poses = [shaft, shaft, clevis, hinge @ _about_x(half), hinge @ _about_x(-half)]
        for body, pose in zip([*self._parts, self._target_body], [*poses, self.pose("target")], strict=True):
            pybullet.resetBasePositionAndOrientation(body, pose[:3, 3] * SCALE, quaternion_of(pose[:3, :3]),
                                                     physicsClientId=self._client)

    def _body(self, mesh: shapes.Mesh, colour: tuple[float, float, float, float]) -> int:
        shape = pybullet.createVisualShape(
            pybullet.GEOM_MESH, vertices=(mesh.vertices * SCALE).tolist(), normals=mesh.normals.tolist(),
            uvs=mesh.uvs.tolist(), indices=mesh.indices.tolist(), rgbaColor=colour,
            physicsClientId=self._client)
        return pybullet.createMultiBody(0, -1, shape, physicsClientId=self._client)

    def _texture(self, image: Array) -> int:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "texture.png"
            cv2.imwrite(str(path), image[:, :, ::-1])
            return pybullet.loadTexture(str(path), physicsClientId=self._client)


def _about_x(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])
