"""How well the plain rule of surgrl/outside.py tells pictures of our scenes from synthetic ones of an operating room.

Prints, for each kind of picture, how many are taken for outside, and the range of what the rule looks at.
"""

import argparse
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from surgrl.frames import expert_frames
from surgrl.outside import LEAST_RED, is_outside, redness
from surgrl.policy.spec import Array, ImageSpec

TASKS = ("surgrl/Reach-v0", "surgrl/Retract-v0", "surgrl/ColonNavigate-v0")
SIZE = (120, 160)       # px, height and width


def inside(task: str, episodes: int, level: str) -> Iterator[Array]:
    """(H, W, 3) uint8 of the expert's episodes, looks drawn anew for each."""
    image = ImageSpec("endoscope_left", SIZE[1], SIZE[0], (0, 0, *SIZE), (64, 64), 1, 30.0)
    for number, (_, frame) in enumerate(expert_frames(task, image, range(episodes), {"randomise": level})):
        if number % 5 == 0:
            yield frame


def drape(rng: np.random.Generator) -> Array:
    """A cloth of blue, green or turquoise with folds, and instruments on it."""
    picture = _cloth(rng, rng.choice([(40, 90, 150), (40, 120, 90), (50, 130, 140), (90, 140, 190)]))
    for _ in range(rng.integers(1, 6)):
        start, end = (tuple(map(int, rng.integers((0, 0), SIZE[::-1]))) for _ in range(2))
        cv2.line(picture, start, end, (int(rng.integers(120, 230)),) * 3, int(rng.integers(2, 8)))
    return picture


def room(rng: np.random.Generator) -> Array:
    """A wall, lamps and boxes, nearly grey."""
    picture = _cloth(rng, rng.integers(90, 220) + rng.integers(-12, 12, 3))
    for _ in range(rng.integers(3, 9)):
        corner, side = rng.integers((0, 0), SIZE[::-1]), rng.integers(10, 60, 2)
        colour = np.clip(rng.integers(30, 240) + rng.integers(-30, 30, 3), 0, 255)
        cv2.rectangle(picture, tuple(map(int, corner)), tuple(map(int, corner + side)), tuple(map(int, colour)), -1)
    return picture


def people(rng: np.random.Generator) -> Array:
    """One to three faces, 4 to 20 % of the picture each, in masks and caps before a room."""
    picture = room(rng)
    for _ in range(rng.integers(1, 4)):
        centre, high = tuple(map(int, rng.integers((20, 20), (140, 100)))), int(rng.integers(16, 40))
        skin = np.array([(224, 172, 140), (198, 134, 100), (141, 85, 60), (90, 56, 40)])[rng.integers(4)]
        cv2.ellipse(picture, centre, (int(high * 0.75), high), 0, 0, 360, tuple(map(int, skin)), -1)
        cv2.ellipse(picture, (centre[0], centre[1] + high // 2), (int(high * 0.7), high // 2), 0, 0, 360,
                    (150, 190, 210), -1)
    return picture


def face(rng: np.random.Generator) -> Array:
    """A face that fills most of the picture: the rule's worst case, skin has the colour of tissue."""
    picture = room(rng)
    skin = np.array([(224, 172, 140), (198, 134, 100), (141, 85, 60), (90, 56, 40)])[rng.integers(4)]
    cv2.ellipse(picture, (80, 60), (60, 70), 0, 0, 360, tuple(map(int, skin)), -1)
    return picture


def white(rng: np.random.Generator) -> Array:
    """A swab or a card for white balance, slightly tinted by the lamp."""
    return _cloth(rng, np.array([235, 230, 220]) - rng.integers(0, 30))


OUTSIDE: dict[str, Callable[[np.random.Generator], Array]] = {
    "drapes and instruments": drape, "room": room, "people in masks": people, "white card": white,
    "a bare face, close": face}


def measure(pictures: Iterator[Array]) -> tuple[int, int, float, float]:
    """Count, how many are taken for outside, least and greatest redness."""
    seen = [(redness(picture), is_outside(picture)) for picture in pictures]
    values = np.array([value for value, _ in seen])
    return len(seen), sum(outside for _, outside in seen), float(np.nanmin(values)), float(np.nanmax(values))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=20, help="of each task and level")
    parser.add_argument("--pictures", type=int, default=300, help="synthetic ones of each kind")
    args = parser.parse_args()
    print(f"outside is called what has less than {LEAST_RED:.0%} of its lit px redder than tissue must be")
    for task in TASKS:
        for level in ("none", "full", "test-full"):
            _print(f"{task} {level}", inside(task, args.episodes, level))
    for name, draw in OUTSIDE.items():
        rng = np.random.default_rng(0)
        _print(name, (draw(rng) for _ in range(args.pictures)))


def _print(name: str, pictures: Iterator[Array]) -> None:
    count, outside, low, high = measure(pictures)
    print(f"{name:36} {outside:5} of {count:5} taken for outside ({outside / count:6.1%}); "
          f"redness {low:.2f} to {high:.2f}", flush=True)


def _cloth(rng: np.random.Generator, colour: Array) -> Array:
    """A plain colour with soft light and dark, and noise."""
    light = cv2.resize(rng.uniform(0.6, 1.2, (4, 5)), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    picture = np.asarray(colour, float) * light[..., None] + rng.normal(0, 4, (*SIZE, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
