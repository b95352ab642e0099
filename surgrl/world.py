"""An environment as training and evaluation see it: prepared frames, masks, expert labels, specs for the robot."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from .config import Config
from .config_file import apply_override
from .policy.bundle import PolicyBundle
from .policy.errors import UserError
from .policy.image import prepare
from .policy.spec import ActionSpec, Array, ImageSpec, ProprioSpec

CAMERA_SIZE = (480, 640)            # px, height and width of the robot's camera frame that bundles are made for
FIRST_UNSEEN_SEED = 10 ** 9         # evaluation's; training's stay below
RIGHT = "image_right"               # entry of the observation: what the endoscope's right eye sees


class Moment(NamedTuple):
    """One point in time of an episode."""

    frame: Array                    # (h, w, 3) uint8, prepared
    proprio: Array                  # (P,) float32
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    right: Array | None = None      # (h, w, 3) uint8, what the right eye sees, prepared alike; where it is asked for


def make_env(env_id: str, **options: Any) -> gymnasium.Env:
    """gymnasium.make, with a user's mistakes told as such. Ids of surgrl need no module prefix."""
    name = f"envs:{env_id}" if env_id.startswith("surgrl/") else env_id
    try:
        return gymnasium.make(name, **options)
    except gymnasium.error.Error as error:
        raise UserError(f"task {env_id}: {error}; `surgrl list` shows what there is") from error
    except ValueError as error:
        raise UserError(f"task {env_id}: {error}") from error
    except ConnectionError as error:        # of a scene that lives in another process
        raise UserError(f"task {env_id}: {error}") from error
    except TypeError as error:      # text where a number belongs, say
        raise UserError(f"task {env_id}: one of the options {options} has the wrong type: {error}") from error


def task_options(words: Iterable[str], *, own: Collection[str]) -> dict[str, Any]:
    """`key=value` words as options of a task. own: those that the command sets itself, and nobody else may."""
    options: dict[str, Any] = {}
    for word in words:
        apply_override(options, word)
    taken = next((name for name in options if name in own), None)
    if taken:
        raise UserError(f"option {taken!r} is set by the command itself; leave it out")
    return options


def require_continuous(env: gymnasium.Env, why: str) -> None:
    """UserError for an environment whose actions are choices; why: who needs numbers."""
    if not isinstance(env.action_space, gymnasium.spaces.Box):
        raise UserError(f"task {env.spec.id}: its actions are {env.action_space}, but {why} continuous ones; "
                        "leave out the option that makes them discrete")


class World:
    """One environment, its frames prepared by the same function that the robot uses."""

    def __init__(self, env: gymnasium.Env, *, image: ImageSpec, drawn: ImageSpec | None,
                 proprio: tuple[str, ...] = (), reward: Mapping[str, float] | None = None):
        """image: how the robot's frames are prepared. drawn: how the simulator's are; None: left as they come.

        reward: weights of the reward's named terms, 1 where left out.
        """
        require_continuous(env, "policies give")
        inner = env.unwrapped
        self.env, self.image, self._drawn, self._weights = env, image, drawn, dict(reward or {})
        self.proprio = ProprioSpec(proprio, inner.camera.frame if proprio else "")
        self._own = [inner.proprio_names.index(name) for name in proprio]
        name, unit, low, high = zip(*inner.channels, strict=True)
        self.action = ActionSpec(name, unit, low, high, inner.camera.frame)

    def reset(self, seed: int) -> Moment:
        """Begin the episode of that seed."""
        with _lost_told(self.env):
            obs, info = self.env.reset(seed=seed)
        return self._moment(obs, 0.0, False, False, info)

    def step(self, action: Array) -> Moment:
        """One control step; action (A,) is clipped to [-1, 1] first."""
        with _lost_told(self.env):
            told = self.env.step(np.clip(action, -1.0, 1.0))
        return self._moment(*told)

    def show(self, state: dict[str, Any]) -> Moment:
        """A state of the environment (see `get_state`), as it is seen; the episode's end and reward are not told."""
        self.env.unwrapped.set_state(state)
        obs, info = self.env.unwrapped.observe()
        return self._moment(obs, 0.0, False, False, info)

    @property
    def has_expert(self) -> bool:
        """Whether the task has a scripted demonstrator."""
        return hasattr(self.env.unwrapped, "expert")

    def expert(self) -> Array:
        """The scripted demonstrator's action now: (A,) in [-1, 1]."""
        if not self.has_expert:
            raise UserError(f"task {self.env.spec.id} has no scripted expert; set demos.episodes and imitation to 0")
        return self.env.unwrapped.expert()

    def require_instrument(self) -> None:
        """UserError for a task that shows none: its mask is empty, and nothing can be learnt from it."""
        if not getattr(self.env.unwrapped, "tells_mask", True):
            raise UserError(f"task {self.env.spec.id} gives no instrument mask; leave out the objectives that need "
                            "one: objectives=[]")
        scene = getattr(self.env.unwrapped, "scene", None)
        if scene is not None and not scene.arms:
            raise UserError(f"task {self.env.spec.id} shows no instrument, so its mask is empty; leave out the "
                            "objectives that need one: objectives=[]")

    def mask(self, moment: Moment) -> Array:
        """(h, w) uint8 in {0, 1}: where the instrument is in the moment's frame."""
        if "mask" not in moment.info:
            raise UserError(f"task {self.env.spec.id} gives no instrument mask; leave out the objectives that need one")
        return self.prepare_mask(moment.info["mask"])

    def prepare_recorded(self, picture: Array) -> Array:
        """A recorded picture of what the simulator draws, (H, W, 3) or (H, W) uint8, prepared as its own are."""
        return picture if self._drawn is None else prepare(picture, self._drawn)

    def prepare_mask(self, mask: Array) -> Array:
        """(H, W) uint8 in {0, 1} as drawn or recorded -> (h, w) uint8 in {0, 1} of the prepared frame."""
        return (self.prepare_recorded(mask * np.uint8(255)) > 127).astype(np.uint8)

    def close(self) -> None:
        """Free the environment."""
        self.env.close()

    def _moment(self, obs: dict[str, Array], reward: float, terminated: bool, truncated: bool,
                info: dict[str, Any]) -> Moment:
        frame = self.prepare_recorded(obs["image"])
        if self._weights and "reward_terms" in info and info["reward_terms"]:
            terms = info["reward_terms"]
            unknown = [name for name in self._weights if name not in terms]
            if unknown:
                raise UserError(f"config: env.reward names {unknown[0]!r}; the terms of {self.env.spec.id} are "
                                f"{', '.join(terms)}")
            reward = sum(self._weights.get(name, 1.0) * value for name, value in terms.items())
        right = self.prepare_recorded(obs[RIGHT]) if RIGHT in obs else None
        return Moment(frame, obs["proprio"][self._own], float(reward), terminated, truncated, info, right)


@contextmanager
def _lost_told(env: gymnasium.Env) -> Iterator[None]:
    """UserError where the scene, in another process, is lost."""
    try:
        yield
    except ConnectionError as error:
        raise UserError(f"task {env.spec.id}: {error}") from error


def training_world(config: Config, **options: Any) -> World:
    """The world that a config describes. The simulator draws just the square that the policy sees.

    options: of the environment, before those of the config.
    """
    if not config.env.id:
        raise UserError(f"{config.name} was learnt from recordings alone: there is no task (env.id) to try it in")
    side = config.image.render
    env = make_env(config.env.id, **{"image_size": (side, side), **config.env.options, **options})
    try:
        return _world_of(env, config)
    except UserError:       # whoever refuses it leaves no engine behind, nor a process
        env.close()
        raise


def _world_of(env: gymnasium.Env, config: Config) -> World:
    """An environment as the config wants it seen."""
    side = config.image.render
    height, width = CAMERA_SIZE
    image = ImageSpec(camera=env.unwrapped.camera.frame, width=width, height=height,
                      crop=(0, (width - height) // 2, height, height),
                      size=(config.image.size, config.image.size), stack=config.image.stack,
                      rate=round(1 / env.unwrapped.dt, 6),
                      focal=round(float(env.unwrapped.camera.intrinsics(height, width)[1, 1]) / height, 4))
    drawn = replace(image, width=side, height=side, crop=(0, 0, side, side))
    if config.env.likeness.encoder:
        from .likeness import Likeness
        env = Likeness(env, config.env.likeness, drawn)
    world = World(env, image=image, drawn=drawn, proprio=env.unwrapped.proprio_names if config.image.proprio else (),
                  reward=config.env.reward)
    if config.env.reward:       # a term that does not exist is told now, not in the midst of a training
        world.reset(seed=FIRST_UNSEEN_SEED)
        world.step(np.zeros(len(world.action.names)))
    return world


def two_eyed_world(config: Config) -> World:
    """The world that a config describes, its right eye open too; UserError where there is none."""
    eyes = config.env.options.get("eyes", ())
    own = (eyes,) if isinstance(eyes, str) else tuple(eyes)
    try:
        world = training_world(config, eyes=tuple(dict.fromkeys((*own, "right"))))
        if RIGHT not in world.env.observation_space.spaces:
            raise UserError(f"its observation shows {', '.join(world.env.observation_space.spaces)}")
    except UserError as error:      # the same world could be made without it
        raise UserError(f"task {config.env.id} has no second eye ({error}); leave out the objectives that need one, "
                        "or set their views to 1") from error
    return world


def camera_world(bundle: PolicyBundle, height: int = 120, **options: Any) -> World:
    """The world that a bundle was made for, seen by a camera of the robot's shape, `height` px high.

    options: of the environment, e.g. randomise, in place of those that it was trained with.
    """
    trained = bundle.origin.get("config", {}).get("env", {}).get("options", {})
    size = height, height * bundle.image.width // bundle.image.height
    env = make_env(bundle.task, **{**trained, **options, "image_size": size})
    return World(env, image=bundle.image, drawn=None, proprio=bundle.proprio.names)


def training_seed(config: Config, episode: int) -> int:
    """Of the agent's own episode of that number; with env.seeds, so many take turns."""
    return config.seed * 10 ** 6 + (episode % config.env.seeds if config.env.seeds else episode)
