"""The only place that calls PyBullet: bodies to look at, and the endoscope's picture of them."""

import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pybullet

from ..camera import Camera
from ..endoscope import EndoscopeLight, EndoscopeShader
from ..geometry import Array, quaternion_of
from ..scene import FLAP, NOTHING, TISSUE, Picture
from .shapes import Mesh

SCALE = 10.0            # Bullet units in a metre: its margins suit bodies of about one unit
KEPT_BACKDROPS = 8      # pictures: two lenses in a few sizes
KEPT_SHADERS = 8        # a field of view that is drawn for each episode brings new ones
Colour = tuple[float, float, float, float]      # RGBA in [0, 1]


class Bullet:
    """Bodies drawn by TinyRenderer and shaded as an endoscope sees them. Kinematic: nothing moves by itself.

    Pictures may differ by one brightness step between processes: TinyRenderer normalises its meshes' normals in
    place each time it draws them.
    """

    def __init__(self, light: EndoscopeLight | None = None, *, ambient: float = 0.25, deformable: bool = False):
        """Connect; the renderer needs no display and no GPU.

        ambient: share of the albedo seen whatever the slope. deformable: whether there will be a `sheet`.
        """
        self._client = pybullet.connect(pybullet.DIRECT)
        self._end = weakref.finalize(self, pybullet.disconnect, self._client)
        self._end.atexit = False        # the process frees it by ending
        if deformable:
            pybullet.resetSimulation(pybullet.RESET_USE_DEFORMABLE_WORLD, physicsClientId=self._client)
            # A picture of a soft body is taken anew by stepSimulation only, which is to move nothing.
            pybullet.setTimeStep(1e-5, physicsClientId=self._client)
            pybullet.setGravity(0, 0, 0, physicsClientId=self._client)
        # Cached files outlive `clear`: each new colon would leave its texture behind.
        pybullet.setPhysicsEngineParameter(enableFileCaching=0, physicsClientId=self._client)
        self._light, self._ambient = light or EndoscopeLight(), ambient
        self._shaders: dict[tuple[float, ...], EndoscopeShader] = {}
        self._sheets: dict[int, list[list[float]]] = {}         # rows that each sheet's shape is told by
        self._rows: dict[tuple[str, int], list] = {}            # see _kept
        self._textures: dict[str, int] = {}                     # see paint
        self._painted: dict[int, str] = {}              # name of the texture that `paint` gave each body
        self._colours: dict[int, Colour] = {}
        self._hidden: set[int] = set()
        self._backdrop: list[int] = []                          # bodies that never move
        self._backdrops: dict[tuple, tuple[Array, Array, Array]] = {}   # their pictures, see _behind
        self._labels = np.zeros(1, np.uint8)            # by body id; background is -1: the last entry
        self._is_sheet = np.zeros(1, bool)              # likewise

    def body(self, mesh: Mesh, colour: Colour, *, texture: Array | int | None = None, label: int = TISSUE,
             backdrop: bool = False) -> int:
        """A body of its own at the origin; its id. mesh in m.

        texture, times colour: (H, W, 3) uint8 RGB, or its id. label: one of scene.LABELS. backdrop: whether it never
        moves, so that it needs to be drawn once only for each camera.
        """
        shape = pybullet.createVisualShape(
            pybullet.GEOM_MESH, vertices=self._kept("vertices", mesh.vertices * SCALE),
            normals=self._kept("normals", mesh.normals), uvs=self._kept("uvs", mesh.uvs),
            indices=self._kept("indices", mesh.indices), rgbaColor=colour, physicsClientId=self._client)
        body = pybullet.createMultiBody(0, -1, shape, physicsClientId=self._client)
        if texture is not None:
            loaded = texture if isinstance(texture, int) else self.texture(texture)
            pybullet.changeVisualShape(body, -1, textureUniqueId=loaded, physicsClientId=self._client)
        if backdrop:
            self._backdrop.append(body)
        self._register(body, colour, label)
        return body

    def relight(self, light: EndoscopeLight) -> None:
        """Another light and lens from the next picture on."""
        if light != self._light:
            self._light = light
            self._shaders.clear()

    def paint(self, body: int, name: str, make: Callable[[], Array]) -> None:
        """Give a body the texture of that name, made by `make` (H, W, 3) uint8 when it is first asked for.

        Textures stay loaded: Bullet has no way to forget one, so their pool must be small.
        """
        if self._painted.get(body) == name:
            return
        self._painted[body] = name
        if name not in self._textures:
            self._textures[name] = self.texture(make())
        pybullet.changeVisualShape(body, -1, textureUniqueId=self._textures[name], physicsClientId=self._client)
        self._forget(body)

    def tint(self, body: int, colour: Colour) -> None:
        """Give a body another colour."""
        self._colours[body] = colour
        self._blend(body, body not in self._hidden)
        self._forget(body)

    def clear(self) -> None:
        """Remove every body and texture. `removeBody` would leak the mesh, 0.37 MB for 6000 triangles."""
        pybullet.resetSimulation(physicsClientId=self._client)
        self._textures.clear()
        self._painted.clear()
        self._labels, self._is_sheet = np.zeros(1, np.uint8), np.zeros(1, bool)
        self._colours.clear()
        self._hidden.clear()
        self._backdrop.clear()
        self._backdrops.clear()

    def move(self, body: int, pose: Array) -> None:
        """Put a body at pose (4, 4) in the world."""
        pybullet.resetBasePositionAndOrientation(body, pose[:3, 3] * SCALE, quaternion_of(pose[:3, :3]),
                                                 physicsClientId=self._client)

    def show(self, body: int, visible: bool) -> None:
        """Draw a body or leave it out; what is left out costs next to nothing. Not for a backdrop."""
        (self._hidden.discard if visible else self._hidden.add)(body)
        self._blend(body, visible)

    def sheet(self, mesh: Mesh, *, texture: Array) -> int:
        """A body whose vertices move, for `deform`; its id. mesh in m, lying flat, facing up.

        Bullet's soft body, as a display only: without stiffness, in a world without gravity. TinyRenderer keeps its
        first normals for ever, so it is drawn evenly lit, and shaded after the depth map.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sheet.obj"
            path.write_text(_obj(mesh))
            body = pybullet.loadSoftBody(
                str(path), mass=1.0, useMassSpring=1, springElasticStiffness=0, springDampingStiffness=0,
                springBendingStiffness=0, collisionMargin=1e-4, physicsClientId=self._client)
        pybullet.changeVisualShape(body, -1, textureUniqueId=self.texture(texture), rgbaColor=(1, 1, 1, 1),
                                   physicsClientId=self._client)
        self._register(body, (1.0, 1.0, 1.0, 1.0), FLAP, sheet=True)
        self._sheets[body] = (mesh.vertices * SCALE).tolist()
        return body

    def deform(self, body: int, vertices: Array) -> None:
        """Move a sheet's vertices to (V, 3) m in the world."""
        # resetMeshData never releases the list it is given: handing it one list for ever keeps that from leaking.
        rows = self._sheets[body]
        for row, vertex in zip(rows, (vertices * SCALE).tolist(), strict=True):
            row[:] = vertex
        pybullet.resetMeshData(body, rows, physicsClientId=self._client)
        pybullet.stepSimulation(physicsClientId=self._client)

    def picture(self, camera: Camera, height: int, width: int) -> Picture:
        """Rasterise once; shade; tell what is what."""
        rgb, buffer, bodies = self.raster(camera, height, width)
        shader = self.shader(camera, height, width)
        depth = shader.depth_in_metres(buffer)
        evenly = self._is_sheet[bodies] if self._sheets else None
        image = shader.shade(rgb, depth, bodies < 0, evenly)
        return Picture(image, self._labels[bodies], depth)

    def raster(self, camera: Camera, height: int, width: int) -> tuple[Array, Array, Array]:
        """The unshaded picture: (H, W, 3) uint8 RGB, depth buffer (H, W) float32 and body ids (H, W) int32."""
        if not self._backdrop:
            rgba, buffer, bodies = self._draw(camera, height, width)
        else:
            behind = self._behind(camera, height, width)
            rgba, buffer, bodies = self._draw(camera, height, width)
            far = buffer > behind[1]        # as the depth test of one drawing of everything would tell
            for picture, kept in zip((rgba.view(np.int32)[..., 0], buffer, bodies), behind, strict=True):
                np.copyto(picture, kept, where=far)
        return np.ascontiguousarray(rgba[:, :, :3]), buffer, bodies

    def _behind(self, camera: Camera, height: int, width: int) -> tuple[Array, Array, Array]:
        """The backdrop alone, drawn once: RGBA as (H, W) int32, depth buffer, body ids. It is hidden from then on."""
        key = (*camera.view_matrix(SCALE), camera.fov, camera.near, camera.far, height, width)
        if key not in self._backdrops:
            if len(self._backdrops) >= KEPT_BACKDROPS:
                self._backdrops.clear()
            for body in self._colours:
                self._blend(body, body in self._backdrop)
            rgba, *rest = self._draw(camera, height, width)
            self._backdrops[key] = rgba.view(np.int32)[..., 0], *rest
            for body in self._colours:
                self._blend(body, body not in self._backdrop and body not in self._hidden)
        return self._backdrops[key]

    def _forget(self, body: int) -> None:
        """The body looks different now: pictures of a backdrop that it is part of are of no use any more."""
        if body in self._backdrop:
            self._backdrops.clear()

    def _register(self, body: int, colour: Colour, label: int, sheet: bool = False) -> None:
        self._colours[body] = colour
        self._labels = np.append(self._labels[:-1], np.uint8([label, NOTHING]))
        self._is_sheet = np.append(self._is_sheet[:-1], [sheet, False])

    def _blend(self, body: int, visible: bool) -> None:
        *rgb, alpha = self._colours[body]
        pybullet.changeVisualShape(body, -1, rgbaColor=(*rgb, alpha if visible else 0.0), physicsClientId=self._client)

    def _draw(self, camera: Camera, height: int, width: int) -> tuple[Array, Array, Array]:
        """TinyRenderer's picture of what is not hidden: (H, W, 4) uint8 RGBA, depth buffer, body ids."""
        return pybullet.getCameraImage(
            width, height, camera.view_matrix(SCALE), camera.projection_matrix(height, width, SCALE),
            renderer=pybullet.ER_TINY_RENDERER, shadow=0, lightDirection=list(-camera.rotation[:, 2]),
            lightAmbientCoeff=self._ambient, lightDiffuseCoeff=1 - self._ambient, lightSpecularCoeff=0.0,
            physicsClientId=self._client)[2:]

    def shader(self, camera: Camera, height: int, width: int) -> EndoscopeShader:
        """What shades pictures of this size; made once, wherever the camera goes."""
        key = (camera.fov, camera.near, camera.far, height, width)
        if key not in self._shaders:
            if len(self._shaders) >= KEPT_SHADERS:
                self._shaders.clear()
            self._shaders[key] = EndoscopeShader(camera, self._light, height, width)
        return self._shaders[key]

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        self._end()
        self._client = -1

    def __reduce__(self) -> NoReturn:
        """Two objects with one client would draw, and close, each other's world."""
        raise TypeError("an environment is neither copied nor pickled: make another with the same id and options, and "
                        "bring it there by other.set_state(env.get_state()), both unwrapped")

    def texture(self, image: Array) -> int:
        """Load (H, W, 3) uint8 RGB once for several bodies; its id."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "texture.bmp"        # read four times as fast as PNG
            cv2.imwrite(str(path), image[:, :, ::-1])
            return pybullet.loadTexture(str(path), physicsClientId=self._client)

    def _kept(self, name: str, values: Array) -> list:
        """Values as the list that was made for the first array of this name and length.

        pybullet never lets go of a list that it reads a mesh from, nor of its rows: a new one for each would leak.
        """
        given = values.tolist()
        rows = self._rows.setdefault((name, len(values)), given)
        for k, (row, new) in enumerate(zip(rows, given, strict=True)):
            if isinstance(row, list):
                row[:] = new
            elif row != new:
                rows[k] = new
        return rows


def _obj(mesh: Mesh) -> str:
    """Wavefront text with a texture coordinate for each vertex."""
    lines = ["v {:.6f} {:.6f} {:.6f}".format(*vertex) for vertex in mesh.vertices * SCALE]
    lines += ["vt {:.6f} {:.6f}".format(*uv) for uv in mesh.uvs]
    lines += ["f {0}/{0} {1}/{1} {2}/{2}".format(*face) for face in mesh.indices.reshape(-1, 3) + 1]
    return "\n".join(lines) + "\n"
