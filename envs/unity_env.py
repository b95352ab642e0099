"""A Unity scene with ML-Agents as an environment like our own: same observations, same actions, same info."""

import inspect
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from .camera import Camera
from .geometry import Array
from .scene import Channel
from .scenes.unity import Action, Behaviour, Sight, UnityScene
from .scenes.unity_link import PlayerError
from .scenes.unity_sight import as_bytes, fit, newest_rgb
from .unity_actions import native_action, native_space, neutral
from .unity_presets import Preset, chosen

OBSERVATIONS, ACTIONS = ("image", "state"), ("box", "native")
EDITOR_PORT = 5004      # on which Unity's editor looks for a trainer
SEED_BITS = 24          # a parameter is a float32, which is exact so far


class UnityEnv(gymnasium.Env):
    """Seen: a camera of the scene, and its vector observations. Done: whatever its agent takes.

    Observation `image` (default), a dict:
        image    (H, W, 3) uint8 RGB, the newest frame of the camera, fitted to `image_size`
        proprio  (P,) float32: as `proprio_names` says: of a preset what a robot could tell, else all vectors
    Observation `state`, a dict: proprio, and state (S,) float32, all vector observations
    Action: (A,) float32 in [-1, 1]; see `channels`. A branch takes the allowed choice that is nearest.
    Reward: the sum of info["reward_terms"]: the agent's own and its group's since the last decision.
    Start: Unity's matter. End: `terminated` where the scene ends an episode, `truncated` at its limit of steps.
    info: reward_terms, success, failure; statistics, those that the scene recorded, and of them cost and distance;
    action_mask of each branch, 1 = allowed; and mask (H, W) uint8, where a sensor named `mask` shows the instrument.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(self, player: Any = None, *, candidates: tuple[str, ...] = (), port: int | None = None,
                 preset: str = "auto", image_size: Sequence[int] | None = (84, 84), observation: str = "image",
                 actions: str = "box", behaviour: str = "", camera: str | int = 0, time_scale: float = 20.0,
                 no_graphics: bool = False, parameters: Mapping[str, Any] | None = None,
                 engine: Mapping[str, Any] | None = None, arguments: Sequence[str] = (), player_seed: int | None = None,
                 seed_parameter: str = "", success: float | str | None = None, dt: float | None = None,
                 fov: float = 60.0, layout: str = "auto", start_time: float = 60.0, answer_time: float = 60.0,
                 render_mode: str | None = None, render_size: Sequence[int] = (480, 640),
                 randomise: Any = "none", eyes: Iterable[str] = ()):
        """player: path of the built player, or the words that start it; none: the editor, in which Play is pressed.

        port: none: a free one, 5004 for the editor. preset: a scene that we know, auto or none. image_size: (height,
        width) px; none: as the camera is. actions: box, or native: numbers, choices, or both, as the behaviour has
        them. behaviour: its name, without team, where there are several. camera: name or number of its sensor.
        parameters: of the environment, from the first reset on: numbers, or {uniform: [low, high]}, {gaussian: ...},
        {multirange: ...}; engine: quality, resolution, target_frame_rate, capture_frame_rate. player_seed: of Unity's
        random numbers; none: another for every player. seed_parameter: name of the parameter in which the scene takes
        the seed of an episode. success: how an episode's is known: `statistic` (the scene records one of that name),
        `end` (it ends with success only), or the least reward of a step that tells it. dt: s, one decision. fov:
        degrees, the camera's. layout: of pictures, auto, hwc or chw. start_time, answer_time: s, to wait.
        """
        _check(observation=(observation, OBSERVATIONS), actions=(actions, ACTIONS),
               render_mode=(render_mode, (None, *self.metadata["render_modes"])))
        if randomise not in ("none", {}, None) or tuple(eyes):
            raise ValueError(f"randomise {randomise!r}, eyes {tuple(eyes)}: a Unity scene draws itself; vary it by its "
                             "own parameters={...}, and leave these out")
        self.image_size, self.render_size = _size("image_size", image_size), _size("render_size", render_size)
        self.render_mode, self._with_image, self._native = render_mode, observation == "image", actions == "native"
        self._seed_parameter, self.player_seed = seed_parameter, player_seed
        if player_seed is None:
            self.player_seed = secrets.randbelow(2 ** 31)
        port = (EDITOR_PORT if player is None else 0) if port is None else port
        if not (isinstance(port, int) and 0 <= port < 2 ** 16):
            raise ValueError(f"port is {port!r}; it must be a number from 0 (a free one) to 65535")
        flags = ["-batchmode", *(["-nographics"] if no_graphics else []), *map(str, arguments)] if player else []
        self.unity = UnityScene(player, port=port, arguments=flags, layout=layout, seed=self.player_seed,
                                start_time=start_time, answer_time=answer_time)
        try:
            self.unity.side.set_engine({"time_scale": time_scale, **(engine or {})})
            self.unity.side.set_parameters(parameters or {}, self.player_seed)
            self.unity.reset()
            self.behaviour = self._choose(behaviour)
            self.preset: Preset = chosen(preset, candidates, self.behaviour)
            self._success = self.preset.success if success is None else success
            if not (self._success in ("statistic", "end") or isinstance(self._success, (int, float))):
                raise ValueError(f"success is {success!r}; it must be statistic, end, or the least reward that tells it")
            self.dt = self.preset.dt if dt is None else float(dt)
            self.camera = Camera("unity_camera", (0, 0, 0), (0, 0, 1), fov, near=0.01, far=10.0, up=(0, -1, 0))
            if not 1e-3 <= self.dt <= 10:
                raise ValueError(f"dt is {self.dt} s; it must be from 0.001 to 10")
            self.metadata = {**self.metadata, "render_fps": max(1, round(1 / self.dt))}
            self._sensors(camera)
            self._agent, self._others = -1, set()
            self._over, self._fresh, self._won, self._statistics = True, True, False, {}
            self._sight: Sight | None = self._mine()
            self._begin()
            self._spaces()
            if no_graphics and self._with_image and np.ptp(self._picture()) == 0:
                raise ValueError("no_graphics: the camera's picture is all of one colour, as Unity draws nothing "
                                 "without graphics; leave it out (a display, or xvfb-run), or observation=state")
        except BaseException:
            self.unity.close()
            raise

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Name, unit, low and high of each action entry."""
        return self.preset.acting.channels

    @property
    def tells_mask(self) -> bool:
        """Whether info holds the instrument's mask."""
        return self._with_image and self._mask is not None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """The next episode. options: {"parameters": {...}}, which Unity hears before it begins.

        The seed reaches Unity only through `seed_parameter`. Where neither is given and the last episode had ended,
        the next one has begun already; otherwise it is broken off, and Unity lets its agents act once with zeros
        before they observe.
        """
        super().reset(seed=seed)
        unknown = [name for name in options or {} if name != "parameters"]
        if unknown:
            raise ValueError(f"reset option {unknown[0]!r} is unknown; allowed: parameters")
        parameters = dict((options or {}).get("parameters", {}))
        if seed is not None and self._seed_parameter:
            mixed = np.random.SeedSequence(seed).generate_state(1, np.uint32)[0]
            parameters[self._seed_parameter] = int(mixed >> (32 - SEED_BITS))
        if parameters or not (self._over or self._fresh):
            self.unity.side.set_parameters(parameters, self.player_seed)
            self.unity.reset()
            self._over, self._others = True, set()
            self._sight = self._mine()
        self._begin()
        return self._observe(), self._info({})

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """Until the agent's next decision, or the end. ValueError for an action that cannot be."""
        if self._over:
            raise ValueError("the episode is over; call reset first")
        sight = self._sight
        taken = (native_action(action, self.behaviour) if self._native
                 else self.preset.acting.unity(self._checked(action), sight.allowed))
        self._fresh, self._statistics, ended = False, {}, None
        while ended is None:
            ended, self._sight = self._advance(taken)
            taken = None
            if self._sight is not None:
                break
        self._over = ended is not None
        seen = ended or self._sight
        terminated, truncated = self._over and not seen.truncated, self._over and seen.truncated
        self._note_success(seen.reward, terminated)
        terms = {"agent": seen.message.reward, "group": seen.message.group_reward}
        self._shown = seen
        return self._observe(), seen.reward, terminated, truncated, self._info(terms, terminated)

    def render(self) -> Array | None:
        """The camera's picture at render_size: (H, W, 3) uint8 RGB."""
        return None if self.render_mode is None else fit(self._picture(), self.render_size)

    def close(self) -> None:
        """Unity quits."""
        self.unity.close()

    def _begin(self) -> None:
        """Wait for the new episode's first decision."""
        while self._sight is None:
            _, self._sight = self._advance(None)
        self._agent, self._over, self._fresh, self._won = self._sight.agent, False, True, False
        self._shown, self._statistics = self._sight, {}

    def _advance(self, taken: Action | None) -> tuple[Sight | None, Sight | None]:
        """One exchange; agents that are not ours do nothing. How our episode ended, and our next decision, if any."""
        mine, name = self._sight, self.behaviour.name
        answers = {key: [taken if sight is mine and taken is not None else neutral(sight.behaviour, sight.allowed)
                         for sight in sights] for key, sights in self.unity.decisions.items()}
        self._others |= {sight.agent for sight in self.unity.decisions.get(name, ()) if sight is not mine}
        self.unity.step(answers)
        for key, values in self.unity.heard.statistics.items():
            self._statistics.setdefault(key, []).extend(value.value for value in values)
        ended = next((sight for sight in self.unity.endings.get(name, ()) if sight.agent == self._agent), None)
        self._over = self._over or ended is not None
        return ended, self._mine()

    def _mine(self) -> Sight | None:
        """Our agent's decision; as an episode begins, its id may be a new one."""
        sights = self.unity.decisions.get(self.behaviour.name, ())
        same = next((sight for sight in sights if sight.agent == self._agent), None)
        if same is None and self._over:
            return next((sight for sight in sights if sight.agent not in self._others), None)
        return same

    def _choose(self, name: str) -> Behaviour:
        self.unity.wait()
        known = {key.split("?")[0]: value for key, value in self.unity.behaviours.items()}
        if name in known:
            return known[name]
        if name or len(known) != 1:
            raise ValueError(f"behaviour {name!r}: the scene has {', '.join(map(repr, known))}; choose one")
        return next(iter(known.values()))

    def _sensors(self, camera: str | int) -> None:
        """Which observation is the camera, which the mask, which are vectors."""
        entries = self.behaviour.observations
        pictures = [k for k, entry in enumerate(entries) if entry.picture]
        self._mask = next((k for k in pictures if entries[k].name.split("?")[0].lower() == "mask"), None)
        pictures = [k for k in pictures if k != self._mask]
        self._vectors = [k for k, entry in enumerate(entries) if len(entry.shape) == 1]
        named = {entries[k].name: k for k in pictures}
        if camera in named:
            self._camera = named[camera]
        elif isinstance(camera, int) and 0 <= camera < len(pictures):
            self._camera = pictures[camera]
        elif self._with_image or camera != 0 or self.render_mode:
            raise ValueError(f"camera {camera!r}: the scene's sensors with pictures are {list(named)}; choose one by "
                             "name or number, or observation=state where there is none")
        else:
            self._camera = None

    def _spaces(self) -> None:
        box = gymnasium.spaces.Box
        sizes = [self.behaviour.observations[k].shape[0] for k in self._vectors]
        if self.preset.vector:
            start = sum(sizes[:sizes.index(self.preset.vector)])
            self.proprio_names = tuple(name for name, _ in self.preset.proprio)
            self._own = [start + place for _, place in self.preset.proprio]
        else:
            self._own = list(range(sum(sizes)))
            self.proprio_names = tuple(f"vector_{k}" for k in self._own)
        spaces: dict[str, gymnasium.Space] = {"proprio": box(-np.inf, np.inf, (len(self._own),), np.float32)}
        if self._with_image:
            height, width = self.image_size or self.behaviour.observations[self._camera].shape[:2]
            spaces["image"] = box(0, 255, (height, width, 3), np.uint8)
        else:
            spaces["state"] = box(-np.inf, np.inf, (sum(sizes),), np.float32)
        self.observation_space = gymnasium.spaces.Dict(spaces)
        self.action_space = (native_space(self.behaviour) if self._native
                             else box(-1.0, 1.0, (len(self.channels),), np.float32))

    def _checked(self, action: Any) -> Array:
        action = np.asarray(action, dtype=float)
        if action.shape != self.action_space.shape:
            raise ValueError(f"action has shape {action.shape}; it must be {self.action_space.shape}, "
                             f"one number in [-1, 1] for each of {', '.join(c.name for c in self.channels)}")
        if not (np.abs(action) <= 1 + 1e-6).all():      # NaN fails too
            raise ValueError(f"action {action} leaves [-1, 1]; clip it, and look for NaN in what made it")
        return action

    def _picture(self) -> Array:
        """The camera's newest frame, at its own size."""
        return newest_rgb(as_bytes(self._shown.observation(self._camera)),
                          self._shown.message.observations[self._camera].mapping)

    def _observe(self) -> dict[str, Array]:
        vectors = [self._shown.observation(k) for k in self._vectors]
        state = np.concatenate(vectors) if vectors else np.zeros(0, np.float32)
        if self._with_image:
            return {"proprio": state[self._own], "image": fit(self._picture(), self.image_size)}
        return {"proprio": state[self._own], "state": state}

    def _note_success(self, reward: float, terminated: bool) -> None:
        if self._success == "statistic":
            told = self._last("success")
            self._won = self._won or (told is not None and told > 0.5)
        else:
            self._won = self._won or (terminated if self._success == "end" else reward >= self._success)

    def _last(self, name: str) -> float | None:
        """The last value of a statistic of that name, as it is or at the end of a path: Episode/Success."""
        return next((values[-1] for key, values in self._statistics.items() if key.split("/")[-1].lower() == name), None)

    def _info(self, terms: dict[str, float], terminated: bool = False) -> dict[str, Any]:
        info: dict[str, Any] = {"reward_terms": terms, "success": self._won, "failure": terminated and not self._won,
                                "statistics": {key: values[-1] for key, values in self._statistics.items()}}
        for name in ("cost", "distance"):
            told = self._last(name)
            if told is not None:
                info[name] = told
        if self.behaviour.branches:
            info["action_mask"] = tuple(free.astype(np.int8) for free in self._shown.allowed)
        if self.tells_mask:
            shown = as_bytes(self._shown.observation(self._mask))
            mask = fit(np.repeat(shown[:, :, :1], 3, axis=2), self.image_size)
            info["mask"] = (mask[:, :, 0] > 127).astype(np.uint8)
        return info


def make_unity(player: Any = None, **options: Any) -> UnityEnv:
    """surgrl/Unity-v0, and with `candidates` its kin. options: those of UnityEnv."""
    allowed = [name for name in inspect.signature(UnityEnv).parameters if name != "candidates"]
    unknown = next((name for name in options if name not in (*allowed, "candidates")), None)
    if unknown:
        raise ValueError(f"option {unknown!r} is unknown; allowed: {', '.join(allowed)}")
    return UnityEnv(player, **options)


def _check(**options: tuple[Any, Sequence[Any]]) -> None:
    for name, (value, allowed) in options.items():
        if value not in allowed:
            raise ValueError(f"{name} {value!r} is unknown; allowed: {', '.join(map(str, allowed))}")


def _size(name: str, size: Sequence[int] | None) -> tuple[int, int] | None:
    if size is None and name == "image_size":
        return None
    size = tuple(size) if isinstance(size, Iterable) else (size,)
    if not (len(size) == 2 and all(isinstance(n, (int, np.integer)) and 16 <= n <= 2160 for n in size)):
        raise ValueError(f"{name} is {size}; it must be (height, width), whole numbers from 16 to 2160 px")
    return size


__all__ = ["PlayerError", "UnityEnv", "make_unity"]
