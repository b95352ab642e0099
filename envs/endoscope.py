"""Turns a rasterised picture with depth into an endoscope's: a light beside the lens, falling off with distance.

TinyRenderer knows directional light only, so brightness would not tell distance. Here its picture, lit from the
camera's direction (smooth N.L), is attenuated as a co-located spot light would (inverse square, cone), given wet
highlights from normals of the blurred depth map (Blinn 1977), and tone-mapped.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera
from .geometry import Array


@dataclass(frozen=True)
class EndoscopeLight:
    """Light and lens of the endoscope."""

    power: float = 1.25             # brightness at `reference`, 1 = albedo seen as it is
    reference: float = 0.10         # m, working distance
    cone: float = 3.0               # exponent of the fall-off with the angle to the optical axis
    vignette: float = 0.25          # darkening of the image's corners
    gloss: float = 0.28             # strength of the highlights
    polish: int = 4                 # their narrowness: cos^2 of the angle is squared as often
    blur: float = 0.0               # of the image's height, that they are smoothed over; at least 5 px. Hides facets
    colour: tuple[float, float, float] = (1.0, 0.95, 0.90)     # of the light, linear RGB


class EndoscopeShader:
    """Shades pictures of one size; all that depends on the pixel alone is computed once."""

    LEVELS = 2048                   # steps of the tone curve's table
    AMBIENT = 0.2                   # share of the light that reaches a slope seen edge-on
    WHITE = 4.0                     # linear brightness at which the table ends

    def __init__(self, camera: Camera, light: EndoscopeLight, height: int, width: int):
        """For images of height x width px."""
        k = camera.intrinsics(height, width)
        x = (np.arange(width) + 0.5 - k[0, 2]) / k[0, 0]
        y = (np.arange(height) + 0.5 - k[1, 2]) / k[1, 1]
        self._x, self._y = x[None, :].astype(np.float32), y[:, None].astype(np.float32)
        ray = np.sqrt(1 + self._x ** 2 + self._y ** 2)                          # length of a ray with z = 1
        radius2 = (self._x / self._y.max()) ** 2 + (self._y / self._y.max()) ** 2
        falloff = light.power * (light.reference / ray) ** 2 * ray ** -light.cone
        self._falloff = (falloff * np.clip(1 - light.vignette * radius2 / 2, 0.1, 1)).astype(np.float32)
        self._ray, self._focal = ray.astype(np.float32), np.float32(k[0, 0])
        self._near, self._far, self._gloss, self._polish = camera.near, camera.far, light.gloss, light.polish
        self._grain = max(5, round(height * light.blur) // 2 * 2 + 1)          # px, odd
        linear = (np.arange(256) / 255.0)[:, None] ** 2.2 * np.array(light.colour)
        self._linear = np.ascontiguousarray(linear[None], dtype=np.float32)     # (1, 256, 3) for cv2.LUT
        tone = 1 - np.exp(-1.5 * np.linspace(0, self.WHITE, self.LEVELS))       # a sensor saturates softly
        self._tone = np.round(255 * tone ** (1 / 2.0)).astype(np.uint8)

    def depth_in_metres(self, buffer: Array) -> Array:
        """OpenGL depth buffer (H, W) -> distance along the optical axis, (H, W) float32 m."""
        return (self._far * self._near / (self._far - (self._far - self._near) * buffer)).astype(np.float32)

    def shade(self, lit: Array, depth: Array, empty: Array, evenly: Array | None = None) -> Array:
        """Lit picture (H, W, 3) uint8, depth (H, W) float32 m, where nothing is (H, W) bool -> (H, W, 3) uint8.

        evenly: (H, W) bool, where the picture is lit without regard to the surface's slope, which the depth tells then.
        """
        light = self._falloff / (depth * depth)
        smooth = cv2.blur(depth, (self._grain, self._grain))
        du = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)          # m per px
        dv = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
        # The surface's normal in the camera frame is (f du, f dv, -(z + x f du + y f dv)); its product with the ray
        # is -z, whatever the slope: the cosine between light and normal costs one square root.
        slope_x, slope_y = self._focal * du, self._focal * dv
        along = smooth + self._x * slope_x + self._y * slope_y
        shine = smooth * smooth / ((slope_x * slope_x + slope_y * slope_y + along * along) * self._ray ** 2)
        edge = np.abs(depth - smooth) > 0.005 * depth           # blurred across an edge: no surface slopes so
        edge = cv2.dilate(edge.view(np.uint8), None).view(bool)     # slopes are taken of the neighbours, one px further
        if evenly is not None:
            light[evenly] *= np.where(edge, 1, self.AMBIENT + (1.25 - self.AMBIENT) * np.sqrt(shine))[evenly]
        for _ in range(self._polish):
            shine *= shine
        shine[edge] = 0
        n = self._grain // 2 + 1        # the blur and the slopes see beyond the border
        shine[:n], shine[-n:] = shine[n], shine[-n - 1]
        shine[:, :n], shine[:, -n:] = shine[:, n:n + 1], shine[:, -n - 1:-n]
        linear = cv2.LUT(lit, self._linear) * light[..., None]
        linear += (self._gloss * light * shine)[..., None]
        linear[empty] = 0
        levels = np.minimum(linear * ((self.LEVELS - 1) / self.WHITE), self.LEVELS - 1).astype(np.uint16)
        return self._tone[levels]
