"""Draws every registered task and writes docs/tasks.md, all of it from the code: one command, no arguments.

Takes minutes; the pictures that are there stay until all new ones are drawn.

    python docs/gallery.py
"""

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gymnasium
import numpy as np
import yaml
from tiles import PAINTS, TILE, clip, grid, legend, shrunk, tile, write

import envs  # noqa: F401  registers the ids
from envs import make
from envs.effects import EffectChain, Effects
from envs.eyes import BASELINE, EYES
from envs.geometry import Array
from envs.randomise import LEVELS
from envs.scene import LABELS
from envs.unity_presets import PRESETS
from surgrl.files import atomic_folder

DOCS = Path(__file__).parent
IMAGES = DOCS / "images" / "tasks"
SEED = 5                        # of the episode that is shown
STYLED_SEEDS = (11, 12)         # of the rows of the pictures of levels
VIEW, CLIP = (640, 480), (320, 240)     # px, width and height
FINER = 2                       # drawn so many times larger, then shrunk, for smooth edges
MOMENTS = 5                     # of the film strip
HERO = 0.55                     # of the episode, at which the large picture is taken
STRENGTHS = (0.3, 0.8)          # of each effect
IDS = sorted(name for name in gymnasium.registry if name.startswith("surgrl/"))
UNITY = [name for name in IDS if name.startswith("surgrl/Unity")]       # scenes that a user built
OWN = [name for name in IDS if name not in UNITY]


class Episode(NamedTuple):
    """The expert's episode that is shown."""

    clip: list[Array]           # (240, 320, 3) uint8 RGB, of each moment
    views: dict[int, Array]     # (480, 640, 3) uint8 RGB, of some steps
    steps: int
    success: bool
    terms: tuple[str, ...]      # names of the reward's terms


def main() -> None:
    """Pictures and page; what is there stays until all is drawn."""
    argparse.ArgumentParser(description=inspect.getdoc(sys.modules[__name__])).parse_args()
    parts = []
    with atomic_folder(IMAGES) as images:
        for name in OWN:
            parts.append(_task(name, images))
            print(name, flush=True)
        _effects(images)
    page = "\n\n".join([_head(), *parts, *map(_unity, UNITY), _levels_text(), _effects_text()]) + "\n"
    (DOCS / "tasks.md").write_text(page, encoding="utf-8")
    total = sum(path.stat().st_size for path in IMAGES.iterdir())
    print(f"{DOCS / 'tasks.md'}: {len(list(IMAGES.iterdir()))} pictures and clips, {total / 1e6:.1f} MB")


def played(name: str) -> Episode:
    """The expert's episode of SEED: lived once to know its length, once more to be drawn."""
    env = gymnasium.make(name, observation="state", render_mode="rgb_array")
    env.reset(seed=SEED)
    steps, over = 0, False
    while not over:
        *_, terminated, truncated, info = env.step(env.unwrapped.expert())
        steps, over = steps + 1, terminated or truncated
    chosen = {*moments(steps), round(HERO * steps)}
    clip, views = [], {}
    env.reset(seed=SEED)
    for k in range(steps + 1):
        clip.append(_drawn(env, CLIP))
        if k in chosen:
            views[k] = _drawn(env, VIEW)
        if k < steps:
            env.step(env.unwrapped.expert())
    env.close()
    return Episode(clip, views, steps, info["success"], tuple(info["reward_terms"]))


def moments(steps: int) -> list[int]:
    """The steps of the film strip, first and last among them."""
    return [round(k * steps / (MOMENTS - 1)) for k in range(MOMENTS)]


def _drawn(env: gymnasium.Env, size: tuple[int, int]) -> Array:
    """The endoscope's picture, smooth: (h, w, 3) uint8 RGB."""
    env.unwrapped.render_size = (size[1] * FINER, size[0] * FINER)
    return shrunk(env.render(), size)


def _task(name: str, images: Path) -> str:
    """Draw a task into the folder `images`; its section."""
    short, episode, spec = _short(name), played(name), gymnasium.registry[name]
    env = gymnasium.make(name)
    inner = env.unwrapped
    write(images / f"{short}.jpg", episode.views[round(HERO * episode.steps)])
    strip = [tile(episode.views[k], f"{k * inner.dt:.1f} s") for k in moments(episode.steps)]
    write(images / f"{short}-episode.jpg", grid([strip]))
    clip(images / f"{short}.webp", episode.clip, inner.dt)
    write(images / f"{short}-eyes.jpg", grid([_eyes(name, round(HERO * episode.steps))]))
    levels = yaml.safe_load(LEVELS.read_text())
    styles = [[tile(_styled(name, level, seed), level) for level in levels] for seed in STYLED_SEEDS]
    write(images / f"{short}-levels.jpg", grid(styles))
    state = gymnasium.make(name, observation="state")
    entry, task = getattr(make, spec.entry_point.split(":")[1]), inner.task
    limit = spec.max_episode_steps
    text = [f"## {name}", _doc(inspect.getmodule(type(task))),
            f"![{short}: what the endoscope sees](images/tasks/{short}.jpg)",
            f"The scripted expert's episode of seed {SEED}, {episode.steps} steps of {inner.dt:.3f} s, "
            + ("a success:" if episode.success else "no success:"),
            f"![{short}: an episode as a strip](images/tasks/{short}-episode.jpg)",
            f"![{short}: an episode as a clip](images/tasks/{short}.webp)",
            f"**Action** {env.action_space.shape} float32 in [-1, 1], which stands for:",
            _table(["name", "unit", "low (-1)", "high (+1)"], _channel_rows(task.channels)), _doc(type(task).act),
            f"**Observation** `image` (default): `image` {env.observation_space['image'].shape} uint8 RGB (another "
            f"with `image_size`), and `proprio` {env.observation_space['proprio'].shape} float32:",
            _table(["name", "unit", "low", "high"], _channel_rows(inner.scene.proprio)),
            f"With `eyes=({', '.join(repr(eye) for eye in EYES if eye != 'image')})`, also what the right lens sees, "
            f"{BASELINE * 1e3:g} mm beside the left one, depth in m, and segmentation:",
            f"![{short}: left and right eye, depth, segmentation](images/tasks/{short}-eyes.jpg)",
            "**Observation** `state`: `proprio`, and `state` float32, "
            + _doc(type(task).state),
            f"**Reward**, the sum of {', '.join(f'`{term}`' for term in episode.terms)}. {_doc(type(task).reward)}",
            f"**Start.** {_doc(type(inner.scene).reset)} {_doc(type(task).reset)}",
            f"**End.** {_doc(type(task))} {_doc(type(task).outcome)} Time runs out after {limit} steps, "
            f"{limit * inner.dt:.0f} s.",
            f"**info.** {_doc(type(task).measures)}",
            f"**Expert**, which `env.get_wrapper_attr('expert')()` asks. {_doc(type(task).expert)}",
            f"**Scene.** {_doc(type(inner.scene))}",
            f"**Options.** `{_signature(entry)}` {_doc(entry)}",
            f"Randomisation, a level in each column, an episode in each row (`randomise=\"{list(levels)[1]}\"`):",
            f"![{short} at every level of randomisation](images/tasks/{short}-levels.jpg)"]
    env.close()
    state.close()
    return "\n\n".join(part for part in text if part)


def _unity(name: str) -> str:
    """The section of an id that plays a scene of the user's."""
    spec = gymnasium.registry[name]
    known = [PRESETS[key] for key in spec.kwargs.get("candidates", ())]
    text = [f"## {name}", "A scene that you built with Unity and ML-Agents: `player=` is the path of the built player. "
            "How to build one, what it has to tell, and all options: [unity.md](unity.md)."]
    if known:
        rows = [[f"`{key}`", preset.told, ", ".join(f"`{channel.name}`" for channel in preset.acting.channels)]
                for key, preset in PRESETS.items() if preset in known]
        text += ["Scenes that it knows by what their agent takes and observes:",
                 _table(["preset", "scene", "action"], rows)]
    else:
        text.append("Any scene: each number that its agent takes, and each branch of choices, is a channel.")
    limit = spec.max_episode_steps
    text.append("Time runs out where the scene says so" + (f", or after {limit} steps." if limit else "."))
    return "\n\n".join(text)


def _head() -> str:
    told = {name: _doc(_task_module(name)).split("\n")[0] for name in OWN} | dict.fromkeys(
        UNITY, "Your own scene, built with Unity.")
    rows = [[f"[{name}](#{re.sub(r'[^a-z0-9-]', '', name.lower())})", what] for name, what in told.items()]
    return "\n\n".join(["# Tasks", "This page and its pictures are written by `python docs/gallery.py`, from the code. "
                        "Lengths are in metres, angles in radians, forces in newtons unless a unit is named.",
                        _table(["Gymnasium id", "what is to be done"], rows), "## What all tasks share",
                        "```text\n" + inspect.getdoc(make.SurgicalEnv) + "\n```"])


def _task_module(name: str) -> Any:
    env = gymnasium.make(name, observation="state")
    module = inspect.getmodule(type(env.unwrapped.task))
    env.close()
    return module


def _levels_text() -> str:
    levels = yaml.safe_load(LEVELS.read_text())
    ranges = list(dict.fromkeys(key for level in levels.values() for key in level))

    def cell(value: Any) -> str:
        if value is None:
            return "-"
        numbers = all(isinstance(entry, (int, float)) for entry in value) and len(value) == 2
        return f"{value[0]:g} to {value[1]:g}" if numbers else ", ".join(map(str, value))

    comments = [line.lstrip("#") for line in LEVELS.read_text().splitlines() if line.startswith("#")]
    return "\n\n".join(["## Levels of randomisation", "`gymnasium.make(id, randomise=LEVEL)`; what an episode "
                        "drew is in `info[\"factors\"]`. A YAML file of such ranges, or a dict, makes one's own level.",
                        _table(["range", *levels], [[f"`{key}`", *(cell(level.get(key)) for level in levels.values())]
                                                    for key in ranges]),
                        "```text\n" + textwrap.dedent("\n".join(comments)).strip() + "\n```"])


def _effects_text() -> str:
    told = dict(re.findall(r"^    (\w+): float = .*?# (.*)$", inspect.getsource(Effects), re.MULTILINE))
    weak, strong = STRENGTHS
    return "\n\n".join(["## Effects on the image", f"Each effect at strength {weak:g} and {strong:g}, on the same "
                        "picture.",
                        "![every effect at two strengths](images/tasks/effects.jpg)",
                        _table(["effect", "strength, in [0, 1]"],
                               [[f"`{entry.name}`", told[entry.name]] for entry in fields(Effects)])])


def _effects(images: Path) -> None:
    """Draw every effect at two strengths."""
    name = next(name for name in gymnasium.registry if name.startswith("surgrl/Reach"))
    env = gymnasium.make(name, observation="state", render_mode="rgb_array")
    env.reset(seed=SEED)
    picture = _drawn(env, TILE)
    env.close()
    rows = []
    for strength in STRENGTHS:
        shown = [(entry.name, EffectChain(replace(Effects(), **{entry.name: strength}), seed=7)(picture, 0))
                 for entry in fields(Effects)]
        rows.append([tile(image, f"{name} {strength:g}") for name, image in shown])
    pairs = [[rows[0][k], rows[1][k]] for k in range(len(rows[0]))]
    write(images / "effects.jpg", grid([sum(pairs[k:k + 2], []) for k in range(0, len(pairs), 2)]))


def _styled(name: str, level: str, seed: int) -> Array:
    """The first moment of an episode at a level: drawn at the tile's own size, so that noise is not shrunk away."""
    env = gymnasium.make(name, observation="state", render_mode="rgb_array", render_size=TILE[::-1], randomise=level)
    env.reset(seed=seed)
    frame = env.render()
    env.close()
    return frame


def _eyes(name: str, steps: int) -> list[Array]:
    """Tiles of the left and the right eye, depth and segmentation, `steps` steps into the episode."""
    size = (TILE[1] * FINER, TILE[0] * FINER)
    env = gymnasium.make(name, image_size=size, eyes=tuple(EYES))
    obs, _ = env.reset(seed=SEED)
    for _ in range(steps):
        obs, *_ = env.step(env.unwrapped.expert())
    env.close()
    depth, labels = obs["depth"], obs["segmentation"]
    near, far = depth[labels > 0].min(), depth[labels > 0].max()
    scaled = np.uint8(255 * np.clip((far - depth) / (far - near), 0, 1))
    heat = cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS)[:, :, ::-1]
    return [tile(shrunk(obs["image"], TILE), "left"), tile(shrunk(obs["image_right"], TILE), "right"),
            tile(heat, f"depth: {near * 1e3:.0f} mm bright, {far * 1e3:.0f} mm dark"),
            legend(tile(PAINTS[labels], ""), [label for label in LABELS if (labels == label).any()])]


def _short(name: str) -> str:
    return name.split("/")[1].rsplit("-v", 1)[0].lower()


def _doc(what: Any) -> str:
    """A docstring as running text, its paragraphs kept, the numbers told that it names as constants of its module."""
    known = vars(inspect.getmodule(what))
    paragraphs = (inspect.getdoc(what) or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return re.sub(r"\b[A-Z][A-Z_]+\b", lambda found: f"{found[0]} ({known[found[0]]:g})"
                  if isinstance(known.get(found[0]), (int, float)) else found[0], text)


def _signature(function: Any) -> str:
    return f"{function.__name__}({', '.join(str(p) for p in inspect.signature(function).parameters.values())})"


def _channel_rows(channels: Iterable[Any]) -> list[list[str]]:
    return [[f"`{c.name}`", c.unit or "1", f"{c.low:.3g}", f"{c.high:.3g}"] for c in channels]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
