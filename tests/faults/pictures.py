"""What the fault suite's camera shows: an instrument over tissue, drawn, and all that can go wrong with a picture."""

from collections.abc import Callable

import cv2
import numpy as np

from surgrl.policy.spec import ImageSpec

IMAGE = ImageSpec("endoscope_left", 160, 120, (0, 20, 120, 120), (64, 64), 1, 30.0)
STEP = 20               # of 255, between the greys of a corner of the picture that stand for two codes
FRAMES = 24             # of the film, shown forth and back
Array = np.ndarray


def tissue(seed: int) -> Array:
    """(120, 160, 3) float: red, uneven, darker towards the edge."""
    rng = np.random.default_rng(seed)
    coarse, fine = (cv2.resize(rng.random(shape), (160, 120), interpolation=cv2.INTER_CUBIC)
                    for shape in ((6, 8), (40, 53)))
    rows, columns = np.mgrid[-1:1:120j, -1:1:160j]
    light = (1.15 - 0.35 * (rows ** 2 + columns ** 2)) * rng.uniform(0.8, 1.2)
    return (np.array([150.0, 66, 60]) + (40 * coarse + 26 * fine - 20)[..., None] * [1, 0.8, 0.7]) * light[..., None]


def with_tool(scene: Array, along: float) -> Array:
    """(120, 160, 3) uint8: the scene with an instrument from the right, `along` in 0..1 of its way."""
    picture = np.clip(scene, 0, 235).astype(np.uint8)
    tip = (round(100 - 45 * along), round(45 + 30 * along))
    cv2.line(picture, (160, 110), tip, (120, 122, 126), 9, cv2.LINE_AA)
    cv2.line(picture, (160, 107), (tip[0] + 2, tip[1] - 2), (180, 182, 186), 2, cv2.LINE_AA)
    return picture


def film(seed: int, frames: int = FRAMES, variety: float = 0.2) -> list[Array]:
    """Pictures of one episode: the instrument forth and back. variety: of episodes, in 0..1."""
    scene = tissue(0) + variety * (tissue(seed) - tissue(0))
    return [with_tool(scene, float(along)) for along in 0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, frames))]


def marked(picture: Array, code: int) -> Array:
    """The picture with a grey corner that tells the fault suite's network what to answer."""
    picture = picture.copy()
    picture[:8, 20:28] = STEP * code + STEP // 2
    return picture


def sensed(picture: Array, rng: np.random.Generator) -> Array:
    """With a sensor's noise."""
    return np.clip(picture + rng.integers(-1, 2, picture.shape), 0, 255).astype(np.uint8)


def with_clock(picture: Array, ticks: int) -> Array:
    """The picture with two digits in it that change."""
    picture = picture.copy()
    cv2.rectangle(picture, (102, 100), (136, 118), (0, 0, 0), -1)
    cv2.putText(picture, f"{ticks % 100:02d}", (104, 116), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255))
    return picture


def _smoke(picture: Array) -> Array:
    field = np.random.default_rng(1).random((6, 8)).astype(np.float32)
    veil = 0.3 * (0.7 + 0.3 * cv2.resize(field, (160, 120), interpolation=cv2.INTER_LINEAR))[..., None]
    return (picture + (np.array([196, 190, 188]) - picture) * veil).astype(np.uint8)


def _blood(picture: Array) -> Array:
    drop = cv2.circle(np.zeros((120, 160), np.float32), (75, 60), 22, 0.9, -1)
    share = cv2.GaussianBlur(drop, (0, 0), 3)[..., None]
    return (picture + (np.array([96, 8, 12]) - picture) * share).astype(np.uint8)


def _room(picture: Array) -> Array:
    room = np.full_like(picture, 150)
    cv2.rectangle(room, (0, 70), (160, 120), (60, 110, 120), -1)
    cv2.rectangle(room, (35, 25), (60, 95), (40, 45, 50), -1)
    cv2.circle(room, (110, 25), 15, (255, 255, 250), -1)
    return room


def _bars(picture: Array) -> Array:
    colours = 191 * np.uint8([(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)])
    bars = np.broadcast_to(colours[np.arange(160) * 7 // 160], picture.shape).copy()
    bars[85:] = colours[::-1][np.arange(160) * 7 // 160] // 2
    return bars


# Before the sensor, whose noise comes on top.
LOOKS: dict[str, Callable[[Array], Array]] = {
    "sound": lambda picture: picture,
    "defocused": lambda picture: cv2.GaussianBlur(picture, (0, 0), 4),
    "smoke": _smoke, "blood": _blood, "room": _room,
    "black": np.zeros_like,
    "white": lambda picture: np.full_like(picture, 255),
    "bars": _bars,
    "swapped": lambda picture: np.ascontiguousarray(picture[:, :, ::-1]),
    "larger": lambda picture: cv2.resize(picture, (320, 240)),
    "wider": lambda picture: cv2.resize(picture, (320, 180)),
}
