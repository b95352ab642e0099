"""What happens between tissue and screen: smoke, blood on the lens, glare, blur, noise, JPEG.

Each effect turns an image (H, W, 3) uint8 RGB into another. Strengths lie in [0, 1]; 0 leaves the image as it is.
What stays for an episode (where blood sticks, how smoke is shaped) is drawn once from its seed; sensor noise is drawn
anew for each step, from seed and step, so that a picture can be made again. Sizes follow the image: one setting looks
alike at any resolution.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import Array
from .textures import cloud

GRID = 64               # px, of the fields that are drawn once an episode
SMOKE = np.array([196.0, 190.0, 188.0], np.float32)     # RGB of lit smoke
BLOOD = np.array([96.0, 10.0, 14.0], np.float32)        # RGB of a film of blood, lit from behind
DRIFT = 0.02            # of the image's width, that smoke moves in a frame


@dataclass(frozen=True)
class Effects:
    """Strength of each effect for one episode, applied in this order."""

    smoke: float = 0.0      # density; at 1 the tissue is hardly seen
    glare: float = 0.0      # bloom around what is bright
    blood: float = 0.0      # share of the lens that drops cover
    blur: float = 0.0       # at 1: a standard deviation of 3 % of the image's height
    noise: float = 0.0      # at 1: a standard deviation of 30 of 255, more where it is dark
    jpeg: float = 0.0       # at 1: quality 5; at 0: not encoded

    def __post_init__(self) -> None:
        """Refuse a strength outside [0, 1]."""
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"effect {name} is {value}; it must lie in [0, 1]")

    @property
    def none(self) -> bool:
        """Whether images stay as they are."""
        return not any(vars(self).values())


class EffectChain:
    """The effects of one episode on its frames."""

    def __init__(self, effects: Effects, seed: int):
        """Draw what stays for the episode."""
        self._effects, self._seed, rng = effects, seed, np.random.default_rng(seed)
        self._smoke = _unit(cloud(rng, GRID * 2, (4, 8, 16)))
        self._drops = _drops(rng, effects.blood)
        self._age = int(rng.integers(1000))

    def __call__(self, image: Array, step: int) -> Array:
        """(H, W, 3) uint8 -> (H, W, 3) uint8, as the frame of this step of the episode; the given image stays."""
        if self._effects.none:
            return image
        effects, size = self._effects, image.shape[1::-1]
        picture = image.astype(np.float32)
        if effects.smoke:
            veil = effects.smoke * (0.35 + 0.65 * cv2.resize(self._drifted(step), size)[..., None])
            picture += (SMOKE - picture) * veil
        if effects.glare:
            bright = np.maximum(picture.mean(axis=2) - 120, 0) * (4 * effects.glare)
            picture += cv2.GaussianBlur(bright, (0, 0), max(0.6, 0.02 * image.shape[0]))[..., None]
        if effects.blood:
            film = cv2.resize(self._drops, size)[..., None]
            picture += (BLOOD - picture) * (0.9 * film)
        if effects.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), 0.03 * effects.blur * image.shape[0])
        if effects.noise:
            grain = np.random.default_rng([self._seed, step]).standard_normal(picture.shape, dtype=np.float32)
            picture += grain * (30 * effects.noise * (1.2 - picture / 400))
        shown = np.clip(picture, 0, 255).astype(np.uint8)
        return _compressed(shown, effects.jpeg) if effects.jpeg else shown

    def _drifted(self, step: int) -> Array:
        """The part of the smoke's field that is in view now: (GRID, GRID) in [0, 1]."""
        shift = int((self._age + step) * DRIFT * GRID)
        last = 2 * GRID - 1
        # There and back, so that no edge of the field ever drifts into view.
        rows, columns = (last - np.abs((np.arange(GRID) + shift // k) % (2 * last) - last) for k in (3, 1))
        return np.ascontiguousarray(self._smoke[rows][:, columns])


def _unit(field: Array) -> Array:
    """Any field -> the same shape, in [0, 1]."""
    return ((field - field.min()) / (field.max() - field.min())).astype(np.float32)


def _drops(rng: np.random.Generator, share: float) -> Array:
    """(GRID, GRID) in [0, 1]: soft drops that cover about `share` of the lens, more of them towards its edge."""
    film = np.zeros((GRID, GRID), np.float32)
    while share > 0 and (film > 0.3).mean() < share:
        angle, away = rng.uniform(0, 2 * np.pi), GRID / 2 * np.sqrt(rng.uniform(0.2, 1.2))
        centre = (GRID / 2 + away * np.cos(angle), GRID / 2 + away * np.sin(angle))
        axes = rng.uniform(0.03, 0.13, 2) * GRID
        cv2.ellipse(film, [centre, 2 * axes, rng.uniform(0, 180)], 1.0, -1)
    return cv2.GaussianBlur(film, (0, 0), GRID / 40)


def _compressed(image: Array, strength: float) -> Array:
    """Through JPEG and back, at a quality from 95 down to 5."""
    quality = round(95 - 90 * strength)
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1])
