"""A policy learnt from recordings alone: what it sees and gives, its demonstrations, its golden frames."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, NamedTuple

import cv2
import numpy as np

from .config import Config
from .footage import CAMERA, Film, choose, view_of, watch
from .policy.errors import UserError
from .policy.image import stacked
from .policy.profile import FOLDS, LEAST_FRAMES, FrameProfile
from .policy.spec import ActionSpec, Array, ImageSpec, ProprioSpec
from .recorded_actions import actions_of
from .recordings import Source, open_recording
from .ticks import Place, sample
from .view import eye_box

TASK = "recordings"         # what a bundle says that was made for no task of the simulator
HEIGHT = 120                # px, least of the frames that travel in a bundle
PER_RECORDING = 40          # frames of each that the profile is fitted to, at most
STRAY = 0.02                # of half the action's range; less than this beyond it is no more than rounding
UNKNOWN = 60.0              # s, that a recording is taken to last which does not say
FITTED = 20                 # recordings that it is fitted to, at most


class Recorded(NamedTuple):
    """What stands in for a world where there is none: specs of the policy, as the recordings and the config say."""

    image: ImageSpec
    action: ActionSpec
    proprio: ProprioSpec = ProprioSpec()

    def close(self) -> None:
        """Nothing is open."""


class Shown(NamedTuple):
    """One demonstration."""

    film: Film
    actions: Array      # (T, A) in [-1, 1]
    beyond: float       # share of its moments in which an action was outside the policy's range, and was cut to it


def recorded_world(config: Config) -> Recorded:
    """As the config's `action` and the first recording say."""
    try:
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value
                                  for key, value in config.action.items()}
        action = ActionSpec(**values)
    except TypeError as error:
        raise UserError(f"config: action is {config.action}; without a task (env.id) it must say what the policy does: "
                        "action: {names: [v_x], units: [m/s], low: [-0.05], high: [0.05], frame: endoscope_left}"
                        ) from error
    return Recorded(camera_of(choose(config.recordings, config.seed)[0][0], config), action)


def camera_of(source: Source, config: Config) -> ImageSpec:
    """How a camera's frame, of one eye and not cut, becomes what the policy sees: as `watch` prepares the recording."""
    told = config.recordings
    view = view_of(told)
    with open_recording(source, told.topic or None) as whole:
        eye = eye_box(view, whole.height, whole.width)
    with open_recording(source, told.topic or None, view) as video:
        height, width = video.height, video.width
        box = getattr(video, "box", eye)        # of what a view leaves, in the whole picture
    side = min(height, width)
    crop = (box[0] - eye[0] + (height - side) // 2, box[1] - eye[1] + (width - side) // 2, side, side)
    size = config.image.size, config.image.size
    return ImageSpec(CAMERA, eye[3], eye[2], crop, size, config.image.stack, told.rate)


def demonstrations(sources: list[Source], config: Config, action: ActionSpec, *, progress: str = "") -> Iterator[Shown]:
    """What the recordings show, their actions mapped to the policy's by name and unit; UserError where they do not."""
    for film in watch(sources, config.recordings, config.image.size, config.image.stack, progress=progress,
                      most=config.memory.capacity):
        actions = actions_of(film, action, config.recordings, "the policy")
        cut = np.clip(actions, -1, 1)
        yield Shown(film, cut.astype(np.float32), float((np.abs(actions - cut) > STRAY).any(1).mean()))


def fitting(config: Config, action: ActionSpec, rate: float) -> None:
    """UserError, before anything is begun, where the recordings cannot teach this policy."""
    told = config.recordings
    if config.image.proprio:
        raise UserError("config: recordings teach policies on images alone; set image.proprio to false")
    agent, names = config.agent, [entry.get("name") for entry in config.objectives]
    if (agent.get("name") in ("drqv2", "sac") and agent.get("q_weight", 1.0) != 0) or "dbc" in names:
        raise UserError("config: recordings tell no rewards, and a critic (drqv2 and sac with q_weight above 0) or the "
                        "objective dbc would learn from them; take agent bc, or leave the objective out")
    if abs(told.rate - rate) > 1e-6:
        raise UserError(f"config: recordings.rate is {told.rate:g} Hz, the task's is {rate:g}: an action would last "
                        f"another time; set it to {rate:g}")
    learnt_from, aside = choose(told, config.seed)
    for source in (*learnt_from[:1], *aside[:1]):
        next(demonstrations([source], config, action))


def golden_frames(config: Config, image: ImageSpec, count: int) -> Array:
    """(count, H, W, 3) uint8: camera frames of a recording, at the policy's rate, made small by a whole number."""
    learnt_from, aside = choose(config.recordings, config.seed)
    found = list(islice(chain.from_iterable(_camera_frames(source, config, image) for source in (*aside, *learnt_from)),
                        count))
    if len(found) < count:
        raise UserError(f"the recordings show {len(found)} pictures, an export needs {count}")
    return np.stack(found)


def fit_recorded(config: Config, image: ImageSpec) -> FrameProfile | None:
    """The profile of what the recordings show; None where they are too few to fit one."""
    frames: list[Array] = []
    episodes: list[int] = []
    for episode, source in enumerate(choose(config.recordings, config.seed)[0][:FITTED]):
        with open_recording(source, config.recordings.topic or None) as video:
            length = (video.duration or UNKNOWN) * image.rate
        chosen = list(islice(_camera_frames(source, config, image), 0, None, max(1, int(length / PER_RECORDING))))
        frames += chosen
        episodes += [episode] * len(chosen)
    if len(frames) < LEAST_FRAMES or len(set(episodes)) < FOLDS:
        return None
    return FrameProfile.fit(frames, episodes, image)


def _camera_frames(source: Source, config: Config, image: ImageSpec) -> Iterator[Array]:
    """What the policy's camera would give: one eye's picture, not cut."""
    view = replace(view_of(config.recordings), crop=None, blank_outside=False)
    whole = [k for k in range(1, image.height // HEIGHT + 1) if image.height % k == image.width % k == 0]
    step = max(whole, default=1)
    with open_recording(source, config.recordings.topic or None, view) as video:
        for tick in sample(video.pictures(0.0), config.recordings.rate, Place(0.0, 0), np.inf, None):
            yield _smaller(tick.rgb, step)


def _smaller(frame: Array, step: int) -> Array:
    """Every `step` x `step` px as one, by their mean."""
    return np.asarray(cv2.resize(frame, (frame.shape[1] // step, frame.shape[0] // step), interpolation=cv2.INTER_AREA))


def error_of(agent: Any, shown: Shown, stack: int) -> float:
    """Mean squared error of the agent's own action to what was done, in the action's [-1, 1]."""
    agent.reset()
    frames = [shown.film.frames[0]] * stack
    missed = []
    for frame, action in zip(shown.film.frames, shown.actions, strict=True):
        frames = [*frames[1:], frame]
        missed.append(np.square(agent.act(stacked(frames), False, np.zeros(0, np.float32)) - action).mean())
    return float(np.mean(missed))

