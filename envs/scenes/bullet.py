"""The only place that calls PyBullet: bodies to look at, and the endoscope's picture of them."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import pybullet

from ..camera import Camera
from ..endoscope import EndoscopeLight, EndoscopeShader
from ..geometry import Array, quaternion_of
from ..scene import Picture
from .shapes import Mesh

SCALE = 10.0            # Bullet units in a metre: its margins suit bodies of about one unit
Colour = tuple[float, float, float, float]      # RGBA in [0, 1]


class Bullet:
    """Bodies drawn by TinyRenderer and shaded as an endoscope sees them. Kinematic: nothing moves by itself.

    Pictures may differ by one brightness step between processes: TinyRenderer normalises its meshes' normals in
    place each time it draws them.
    """

    def __init__(self, light: EndoscopeLight | None = None, *, ambient: float = 0.25):
        """Connect; the renderer needs no display and no GPU. ambient: share of the albedo seen whatever the slope."""
        self._client = pybullet.connect(pybullet.DIRECT)
        # Cached files outlive `clear`: each new colon would leave its texture behind.
        pybullet.setPhysicsEngineParameter(enableFileCaching=0, physicsClientId=self._client)
        self._light, self._ambient = light or EndoscopeLight(), ambient
        self._shaders: dict[tuple[float, ...], EndoscopeShader] = {}
        self._rows: dict[tuple[str, int], list] = {}
        self._colours: dict[int, Colour] = {}
        self._is_instrument = np.zeros(1, np.uint8)     # by body id; background is -1: the last entry

    def body(self, mesh: Mesh, colour: Colour, *, texture: Array | int | None = None,
             instrument: bool = False) -> int:
        """A body of its own at the origin; its id. mesh in m; texture, times colour: (H, W, 3) uint8 RGB, or its id."""
        shape = pybullet.createVisualShape(
            pybullet.GEOM_MESH, vertices=self._kept("vertices", mesh.vertices * SCALE),
            normals=self._kept("normals", mesh.normals), uvs=self._kept("uvs", mesh.uvs),
            indices=self._kept("indices", mesh.indices), rgbaColor=colour, physicsClientId=self._client)
        body = pybullet.createMultiBody(0, -1, shape, physicsClientId=self._client)
        if texture is not None:
            loaded = texture if isinstance(texture, int) else self.texture(texture)
            pybullet.changeVisualShape(body, -1, textureUniqueId=loaded, physicsClientId=self._client)
        self._colours[body] = colour
        self._is_instrument = np.append(self._is_instrument[:-1], np.uint8([instrument, 0]))
        return body

    def clear(self) -> None:
        """Remove every body and texture. `removeBody` would leak the mesh, 0.37 MB for 6000 triangles."""
        pybullet.resetSimulation(physicsClientId=self._client)
        self._is_instrument, self._colours = np.zeros(1, np.uint8), {}

    def move(self, body: int, pose: Array) -> None:
        """Put a body at pose (4, 4) in the world."""
        pybullet.resetBasePositionAndOrientation(body, pose[:3, 3] * SCALE, quaternion_of(pose[:3, :3]),
                                                 physicsClientId=self._client)

    def show(self, body: int, visible: bool) -> None:
        """Draw a body or leave it out; what is left out costs next to nothing."""
        colour = (*self._colours[body][:3], self._colours[body][3] if visible else 0.0)
        pybullet.changeVisualShape(body, -1, rgbaColor=colour, physicsClientId=self._client)

    def picture(self, camera: Camera, height: int, width: int) -> Picture:
        """Rasterise once; shade; tell instrument from scene."""
        _, _, rgba, buffer, bodies = self.raster(camera, height, width)
        shader = self.shader(camera, height, width)
        depth = shader.depth_in_metres(buffer)
        image = shader.shade(np.ascontiguousarray(rgba[:, :, :3]), depth, bodies < 0)
        return Picture(image, self._is_instrument[bodies], depth)

    def raster(self, camera: Camera, height: int, width: int) -> tuple:
        """TinyRenderer's own picture, unshaded: (width, height, RGBA, depth buffer, body ids)."""
        return pybullet.getCameraImage(
            width, height, camera.view_matrix(SCALE), camera.projection_matrix(height, width, SCALE),
            renderer=pybullet.ER_TINY_RENDERER, shadow=0, lightDirection=list(-camera.rotation[:, 2]),
            lightAmbientCoeff=self._ambient, lightDiffuseCoeff=1 - self._ambient, lightSpecularCoeff=0.0,
            physicsClientId=self._client)

    def shader(self, camera: Camera, height: int, width: int) -> EndoscopeShader:
        """What shades pictures of this size; made once, wherever the camera goes."""
        key = (camera.fov, camera.near, camera.far, height, width)
        if key not in self._shaders:
            self._shaders[key] = EndoscopeShader(camera, self._light, height, width)
        return self._shaders[key]

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        if self._client >= 0:
            pybullet.disconnect(self._client)
            self._client = -1

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
