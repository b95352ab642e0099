"""The page of tasks: every registered task is on it, and every picture that it shows is there and opens."""

import re
from pathlib import Path

import cv2
import gymnasium

import envs  # noqa: F401  registers the ids

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "tasks.md").read_text(encoding="utf-8")
SHOWN = [DOCS / path for path in re.findall(r"\]\((images/[^)]+)\)", PAGE)]


def test_every_task_is_on_the_page():
    missing = [name for name in gymnasium.registry if name.startswith("surgrl/") and f"\n## {name}\n" not in PAGE]
    assert not missing, "run `python docs/gallery.py`"


def test_every_picture_and_clip_opens():
    for path in SHOWN:
        if path.suffix == ".webp":
            done, animation = cv2.imreadanimation(str(path))
            assert done and len(animation.frames) > 10, path
        else:
            assert cv2.imread(str(path)) is not None, path


def test_the_pictures_are_the_pages_and_stay_small():
    assert set((DOCS / "images" / "tasks").iterdir()) == set(SHOWN)
    assert sum(path.stat().st_size for path in SHOWN) < 6e6
    assert all(path.stat().st_size < 1e6 for path in SHOWN)
