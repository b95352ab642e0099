"""`surgrl play TASK`: move the instrument by the keyboard, in a window; where there is none, the expert is recorded."""

import argparse
import os
import re
import time
from pathlib import Path

import cv2
import gymnasium
import numpy as np

from .policy.errors import UserError
from .policy.spec import Array
from .world import make_env, task_options

TITLE = "surgrl"
SIZE = (480, 640)           # px, height and width of the picture
# Codes that cv2.waitKeyEx gives with GTK, Qt and on Windows -> key. Letters serve where a keyboard or a window
# system has no such key.
CODES = {65361: "left", 65362: "up", 65363: "right", 65364: "down", 65365: "page up", 65366: "page down",
         2424832: "left", 2490368: "up", 2555904: "right", 2621440: "down", 2162688: "page up", 2228224: "page down",
         ord("a"): "left", ord("w"): "up", ord("d"): "right", ord("s"): "down", ord("e"): "page up",
         ord("q"): "page down", ord(","): "roll -", ord("."): "roll +", ord(" "): "space"}
# Key that lowers, key that raises the first, second, third and fourth channel that is a rate. The camera's x points
# right, its y down, its z ahead.
PAIRS = (("left", "right"), ("up", "down"), ("page down", "page up"), ("roll -", "roll +"))
ESCAPE, NUM_LOCK = 27, 0x100000     # GTK adds the latter to every code while number lock is on
RELEASED = 0.3              # s without a press or a repeat, after which a key counts as let go
HELP = """keys, in the order of the task's channels (`surgrl play TASK` shows their names):
  left, right (a, d)            first channel, - and +: to the image's left and right
  up, down (w, s)               second channel, - and +: to the image's top and bottom
  page down, page up (q, e)     third channel, - and +: back, and ahead from the camera; of a scope: its insertion
  , and .                       fourth channel that is a rate, - and +: a scope's roll, where the task has it
  space                         jaw: closes, and opens again
  x                             the scripted expert takes over, and gives back
  n                             a new episode
  escape                        end
Where a task's actions are choices (actions=dvc, actions=safe), the one nearest to the keys is taken.

options of the task, as docs/tasks.md lists them, e.g. tolerance=0.002, actions=dvc, image_size=[240,320] (of the
picture), randomise.power=[0.5,1.5], or randomise=full: a level or a YAML file of ranges of looks and timing"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl play`."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, HELP
    parser.add_argument("task", help="Gymnasium id, e.g. surgrl/Retract-v0")
    parser.add_argument("options", nargs="*", metavar="key=value", help="options of the task, e.g. randomise=full")
    parser.add_argument("--out", default="play.mp4", help="video that is written where there is no window, or with "
                        "--expert (default: play.mp4)")
    parser.add_argument("--expert", action="store_true", help="record an episode of the scripted expert, no window")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode (default: 0)")


def run(args: argparse.Namespace) -> None:
    """Play until escape, or record."""
    if args.seed < 0:
        raise UserError(f"--seed is {args.seed}; it must be 0 or above")
    options = {"image_size": SIZE, **task_options(args.options, own=("observation", "render_mode", "render_size"))}
    env = make_env(args.task, observation="state", render_mode="rgb_array", **options,
                   render_size=options["image_size"])
    try:
        why = "" if args.expert else no_window()
        if args.expert or why:
            if why:
                print(f"no window: {why}; recording an episode of the scripted expert instead", flush=True)
            record(env, Path(args.out), args.seed)
        else:
            play(env, args.seed)
    finally:
        env.close()


def no_window() -> str:
    """Why no window can be shown; empty where one can."""
    gui = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    if gui is None or gui[1] == "NONE":
        return "this OpenCV is built without windows (pip install opencv-python instead of opencv-python-headless)"
    if os.name == "posix" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "neither DISPLAY nor WAYLAND_DISPLAY is set"
    try:
        cv2.namedWindow(TITLE)
    except cv2.error as error:
        return f"OpenCV cannot open one ({error.err})"
    return ""


def record(env: gymnasium.Env, path: Path, seed: int) -> None:
    """Write the expert's episode as a video; prints how it went."""
    from .video_writer import write_video
    if path.is_dir() or path.suffix != ".mp4":
        raise UserError(f"--out {path}: must be an mp4 file, e.g. play.mp4")
    if not hasattr(env.unwrapped, "expert"):
        raise UserError(f"task {env.spec.id} has no scripted expert to record; play it in a window")
    expert = env.get_wrapper_attr("expert")     # of the discrete actions, where a wrapper makes them so
    env.reset(seed=seed)
    frames, over = [env.render()], False
    while not over:
        *_, terminated, truncated, info = env.step(expert())
        frames.append(env.render())
        over = terminated or truncated
    write_video(path, frames, 1 / env.unwrapped.dt)
    print(f"{path}: {len(frames) - 1} steps of {env.unwrapped.dt:.3f} s, {told(info)}")


def told(info: dict) -> str:
    """How an episode ended."""
    return "success" if info["success"] else "failure" if info["failure"] else "no success in time"


class Keyboard:
    """Keys as a window tells them (presses and repeats, never releases) -> an action."""

    def __init__(self, names: tuple[str, ...]):
        """names: of the task's channels; `jaw` is held, all others are rates."""
        self._jaw = names.index("jaw") if "jaw" in names else None
        self._rates = [k for k in range(len(names)) if k != self._jaw]
        self._size, self._open, self._last = len(names), True, {}

    def press(self, key: str, now: float) -> None:
        """A press or a repeat of a key, at `now` s."""
        if key == "space" and now - self._last.get(key, -np.inf) > RELEASED:     # a held key must not toggle on
            self._open = not self._open
        self._last[key] = now

    def action(self, now: float) -> Array:
        """(A,) in [-1, 1]: of the keys that are held now, and of the jaw as it was last left."""
        action = np.zeros(self._size, np.float32)
        for k, (lower, raise_) in zip(self._rates, PAIRS, strict=False):
            held = [now - self._last.get(key, -np.inf) <= RELEASED for key in (lower, raise_)]
            action[k] = held[1] - held[0]
        if self._jaw is not None:
            action[self._jaw] = 1.0 if self._open else -1.0
        return action


def play(env: gymnasium.Env, seed: int) -> None:
    """The window, until escape or until it is closed."""
    inner = env.unwrapped
    names = tuple(channel.name for channel in inner.channels)
    print(f"channels: {', '.join(names)}\n{HELP}", flush=True)
    keyboard, expert, over = Keyboard(names), False, False
    demonstrator = env.get_wrapper_attr("expert") if hasattr(inner, "expert") else None
    chosen = np.asarray if isinstance(env.action_space, gymnasium.spaces.Box) else env.get_wrapper_attr("nearest")
    env.reset(seed=seed)
    try:
        while True:
            began = time.monotonic()
            if not over:
                *_, terminated, truncated, info = env.step(demonstrator() if expert else
                                                             chosen(keyboard.action(began)))
                over = terminated or truncated
                said = f"{told(info)}: n for a new episode" if over else "expert" if expert else ""
            picture = np.ascontiguousarray(env.render()[:, :, ::-1])
            cv2.putText(picture, said, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (240, 240, 240), 1, cv2.LINE_AA)
            cv2.imshow(TITLE, picture)
            code = cv2.waitKeyEx(max(1, round(1e3 * (inner.dt - (time.monotonic() - began)))))
            time.sleep(max(0.0, inner.dt - (time.monotonic() - began)))     # waitKeyEx returns at the first key
            key = code & ~NUM_LOCK if code > 0 else code
            if key == ESCAPE or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
                return
            if key == ord("n"):
                seed, over, keyboard = seed + 1, False, Keyboard(names)
                env.reset(seed=seed)
            elif key == ord("x"):
                expert = demonstrator is not None and not expert
            elif key in CODES:
                keyboard.press(CODES[key], time.monotonic())
    finally:
        cv2.destroyAllWindows()
