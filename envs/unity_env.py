"""A Unity scene with ML-Agents as an environment like our own: same observations, same actions, same info."""

import inspect
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from .camera import Camera
from .geometry import Array
from .scene import Channel, checked_action
from .scenes.unity import Action, Behaviour, Sight, UnityScene
from .scenes.unity_sight import fit
from .unity_actions import native_action, native_space, neutral
from .unity_presets import Preset, chosen
from .unity_sensors import Sensors, Tally

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
        them. behaviour: its name, without team, where there are several; it is waited for. camera: name or number of
        its sensor. parameters: of the environment, from the first reset on: numbers, or {uniform: [low, high]},
        {gaussian: ...}, {multirange: ...}; engine: quality, resolution, target_frame_rate, capture_frame_rate.
        player_seed: of Unity's random numbers; none: another for every player. seed_parameter: name of the parameter in
        which the scene takes the seed of an episode. success: how an episode's is known: `statistic` (the scene records
        one of that name), `end` (it ends with success only), or the least reward of a step that tells it. dt: s, one
        decision. fov: degrees, the camera's. layout: of pictures, auto, hwc or chw. start_time, answer_time: s, to
        wait.
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
        # Without -logFile - a player writes what it says, and why it dies, into a file that nobody looks for.
        flags = ["-batchmode", "-logFile", "-", *(["-nographics"] if no_graphics else []), *map(str, arguments)]
        self.unity = UnityScene(player, port=port, arguments=flags, layout=layout, seed=self.player_seed,
                                start_time=start_time, answer_time=answer_time)
        try:
            self.unity.side.set_engine({"time_scale": time_scale, **(engine or {})})
            self.unity.side.set_parameters(parameters or {}, self.player_seed)
            self.unity.reset()
            self.behaviour = self._choose(behaviour, start_time)
            self.preset: Preset = chosen(preset, candidates, self.behaviour)
            self._tally = Tally(self.preset.success if success is None else success)
            self.dt = self.preset.dt if dt is None else float(dt)
            self.camera = Camera("unity_camera", (0, 0, 0), (0, 0, 1), fov, near=0.01, far=10.0, up=(0, -1, 0))
            if not 1e-3 <= self.dt <= 10:
                raise ValueError(f"dt is {self.dt} s; it must be from 0.001 to 10")
            self.metadata = {**self.metadata, "render_fps": max(1, round(1 / self.dt))}
            self._sensors = Sensors(self.behaviour, self.preset, camera=camera,
                                    needed=self._with_image or render_mode is not None)
            self._agent, self._others = -1, set()       # ids
            self._over = self._fresh = True
            self._sight: Sight | None = self._mine()
            self._begin()
            self._spaces()
            if no_graphics and self._with_image and np.ptp(self._sensors.picture(self._shown)) == 0:
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
        return self._with_image and self._sensors.tells_mask

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """The next episode. options: {"parameters": {...}}, which Unity hears before it begins.

        The seed reaches Unity only through `seed_parameter`; the seeds of the episodes after it are drawn from it.
        Where neither is given and the last episode had ended, the next one has begun already; otherwise it is broken
        off, and Unity lets its agents act once with zeros before they observe.
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
        taken = (native_action(action, self.behaviour, sight.allowed) if self._native
                 else self.preset.acting.unity(checked_action(action, self.channels), sight.allowed))
        self._fresh, seen = False, None
        self._tally.begin(episode=False)
        while seen is None:
            ended = self._advance(taken)
            taken, seen = None, ended or self._sight
        terminated, truncated = self._over and not seen.truncated, self._over and seen.truncated
        self._tally.judge(seen.reward, terminated)
        terms = self._tally.terms(seen.message.reward, seen.message.group_reward)
        self._shown = seen
        return self._observe(), seen.reward, terminated, truncated, self._info(terms, terminated)

    def render(self) -> Array | None:
        """The camera's picture at render_size: (H, W, 3) uint8 RGB."""
        return None if self.render_mode is None else fit(self._sensors.picture(self._shown), self.render_size)

    def close(self) -> None:
        """Unity quits."""
        self.unity.close()

    def _begin(self) -> None:
        """Wait for the new episode's first decision."""
        while self._sight is None:
            self._advance(None)
        self._agent, self._over, self._fresh, self._shown = self._sight.agent, False, True, self._sight
        self._tally.begin(episode=True)
        if self._seed_parameter:        # of the next episode, which Unity begins by itself; it keeps what it was told
            self.unity.side.set_parameters({self._seed_parameter: int(self.np_random.integers(1 << SEED_BITS))})

    def _advance(self, taken: Action | None) -> Sight | None:
        """One exchange; agents that are not ours do nothing. The end of our episode, if it came."""
        mine, name = self._sight, self.behaviour.name
        answers = {key: [taken if sight is mine and taken is not None else neutral(sight.behaviour, sight.allowed)
                         for sight in sights] for key, sights in self.unity.decisions.items()}
        self._others |= {sight.agent for sight in self.unity.decisions.get(name, ()) if sight is not mine}
        self.unity.step(answers)
        self._tally.hear(self.unity.heard.statistics)
        ended = next((sight for sight in self.unity.endings.get(name, ()) if sight.agent == self._agent), None)
        self._over = self._over or ended is not None
        self._sight = self._mine()
        return ended

    def _mine(self) -> Sight | None:
        """Our agent's decision; as an episode begins, its id may be a new one."""
        sights = self.unity.decisions.get(self.behaviour.name, ())
        same = next((sight for sight in sights if sight.agent == self._agent), None)
        if same is None and self._over:
            return next((sight for sight in sights if sight.agent not in self._others), None)
        return same

    def _choose(self, name: str, patience: float) -> Behaviour:
        """patience: s, for one of that name to decide; until then nobody moves."""
        self.unity.wait()
        deadline = time.monotonic() + patience
        while name and name not in self._known() and time.monotonic() < deadline:
            self.unity.step({key: [neutral(sight.behaviour, sight.allowed) for sight in sights]
                             for key, sights in self.unity.decisions.items()})
        known = self._known()
        if name in known:
            return known[name]
        if name or len(known) != 1:
            waited = f" after {patience:g} s" if name else ""
            raise ValueError(f"behaviour {name!r}: the scene has {', '.join(map(repr, known))}{waited}; choose one")
        return next(iter(known.values()))

    def _known(self) -> dict[str, Behaviour]:
        """Those that have decided so far, by name without team."""
        return {key.split("?")[0]: value for key, value in self.unity.behaviours.items()}

    def _spaces(self) -> None:
        box = gymnasium.spaces.Box
        self.proprio_names = self._sensors.names
        spaces: dict[str, gymnasium.Space] = {"proprio": box(-np.inf, np.inf, (len(self.proprio_names),), np.float32)}
        if self._with_image:
            spaces["image"] = box(0, 255, (*(self.image_size or self._sensors.size), 3), np.uint8)
        else:
            spaces["state"] = box(-np.inf, np.inf, (self._sensors.numbers,), np.float32)
        self.observation_space = gymnasium.spaces.Dict(spaces)
        self.action_space = (native_space(self.behaviour) if self._native
                             else box(-1.0, 1.0, (len(self.channels),), np.float32))

    def _observe(self) -> dict[str, Array]:
        state = self._sensors.state(self._shown)
        if self._with_image:
            return {"proprio": state[self._sensors.own],
                    "image": fit(self._sensors.picture(self._shown), self.image_size)}
        return {"proprio": state[self._sensors.own], "state": state}

    def _info(self, terms: dict[str, float], terminated: bool = False) -> dict[str, Any]:
        won = self._tally.won
        info = {"reward_terms": terms, "success": won, "failure": terminated and not won, **self._tally.told()}
        if self.behaviour.branches:
            info["action_mask"] = tuple(free.astype(np.int8) for free in self._shown.allowed)
        if self.tells_mask:
            info["mask"] = self._sensors.mask(self._shown, self.image_size)
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

