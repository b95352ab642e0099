"""The junction of a scene and a task: a Gymnasium environment of image-based surgery."""

from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
import numpy as np

from .arm_view import ArmView
from .camera import WIDEST, Camera
from .eyes import Eyes, right_of
from .geometry import Array, quaternion_of, rotation_of
from .proprio import box_in_camera, pose_in_camera
from .randomise import load_randomiser
from .scene import Picture, Stage, checked_action
from .staging import Staging
from .state import State, generator_state, part, prefixed, set_generator_state
from .task import Channel, Outcome, Task

OBSERVATIONS = ("image", "state")


class SurgicalEnv(gymnasium.Env):
    """Seen: an endoscope image and what the robot can tell of itself. Done: velocities, of an arm's tip or of a scope.

    Observation `image` (default), a dict:
        image    (H, W, 3) uint8 RGB; with `eyes` also image_right, depth, segmentation
        proprio  (P,) float32: as `proprio_names` says. Of an arm: tip position (m) and quaternion x y z w in the
                 camera's optical frame, jaw (rad). Of a flexible scope: its bending (rad), shaft (m) and roll (rad)
    Observation `state` for RL without images, a dict: proprio, and
        state    (S,) float32: what the images show, as the task's `state` tells it
    Action: (A,) float32 in [-1, 1], scaled to each channel's low..high; see `channels`.
    Reward: the sum of the named terms in info["reward_terms"].
    Start: as the task's `reset` says, drawn from the seed. End: `terminated` on success or failure only; a time
    limit (a wrapper) truncates.
    info: reward_terms, success, failure, the task's measures, and with images mask (H, W) uint8, 1 = instrument
    (0 everywhere in a scene that has none).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(self, scene: Stage, task: Task, *, image_size: tuple[int, int] = (84, 84),
                 observation: str = "image", eyes: Iterable[str] = (), render_mode: str | None = None,
                 render_size: tuple[int, int] = (480, 640), randomise: str | Mapping[str, Any] = "none"):
        """image_size, render_size: (height, width) px. Pictures are drawn when asked for, at these sizes.

        eyes: what the observation shows beside the image: right, depth, segmentation (see envs/eyes.py).
        randomise: a level (none, mild, full, test-mild, test-full), a YAML file of ranges, or the ranges themselves.
        """
        if observation not in OBSERVATIONS:
            raise ValueError(f"observation {observation!r} is unknown; allowed: {', '.join(OBSERVATIONS)}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode {render_mode!r} is unknown; allowed: None, rgb_array")
        self.scene, self.task, self.render_mode = scene, task, render_mode
        self.metadata = {**self.metadata, "render_fps": round(1 / scene.dt)}
        self.image_size = _checked_size("image_size", image_size)
        self.render_size = _checked_size("render_size", render_size)
        self._with_image = observation == "image"
        self._staging, self._steps = Staging(load_randomiser(randomise), len(task.channels)), 0
        widest, fov = self._staging.randomiser.widest, scene.camera.fov
        if not widest * fov <= WIDEST:
            raise ValueError(f"randomisation {self._staging.randomiser.name}: fov_scale reaches {widest}; with this "
                             f"camera's {fov:g} degrees it must not be above {WIDEST / fov:g}")
        # Seen from a camera that may stand elsewhere, lengths reach farther; angles and units do not.
        stray = np.float32([self._staging.randomiser.sight * (channel.unit == "m") for channel in scene.proprio])
        low, high = (np.float32([channel[end] for channel in scene.proprio]) for end in (2, 3))
        spaces: dict[str, gymnasium.Space] = {"proprio": gymnasium.spaces.Box(low - stray, high + stray)}
        eyes = (eyes,) if isinstance(eyes, str) or not isinstance(eyes, Iterable) else tuple(eyes)
        self._eyes = Eyes(eyes, self.image_size)
        if self._with_image:
            spaces |= self._eyes.spaces(scene.camera.far)
        elif eyes:
            raise ValueError(f"eyes {', '.join(eyes)} with observation 'state', which shows no picture: leave "
                             "eyes out, or use observation 'image'")
        else:
            self.task.reset(scene, np.random.default_rng(0))
            shape = np.shape(task.state(scene))
            spaces["state"] = gymnasium.spaces.Box(-1.0, 1.0, shape, np.float32)
        self.observation_space = gymnasium.spaces.Dict(spaces)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (len(task.channels),), np.float32)
        self._picture: Picture | None = None

    @property
    def dt(self) -> float:
        """Seconds in one step."""
        return self.scene.dt

    @property
    def camera(self) -> Camera:
        """The endoscope as it stands: frame name, field of view, intrinsics, where it is."""
        return self.scene.camera

    @property
    def camera_right(self) -> Camera:
        """The right lens of the stereo endoscope."""
        return right_of(self.scene.camera)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Name, unit, low and high of each action entry."""
        return self.task.channels

    @property
    def proprio_names(self) -> tuple[str, ...]:
        """What the entries of the observation's proprio are."""
        return tuple(channel.name for channel in self.scene.proprio)

    @property
    def workspace(self) -> tuple[Array, Array]:
        """Corners (3,), (3,) m of the smallest box in the camera's optical frame that holds the scene's workspace."""
        self._check_arm("workspace")
        return box_in_camera(self.camera, *self.scene.workspace)

    def arm(self, name: str = "PSM1") -> ArmView:
        """Joints and kinematics of an arm, live."""
        self._check_arm("arm")
        return ArmView(self.scene, name)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Begin an episode; the same seed gives the same episode. options: none; ValueError for any."""
        for name in options or {}:
            raise ValueError(f"reset option {name!r} is unknown; allowed: none. Give what varies as the environment is "
                             "made")
        super().reset(seed=seed)
        self._steps = 0
        self._staging.begin(self.scene, self.np_random)
        self.scene.reset(self.np_random)
        self.task.reset(self.scene, self.np_random)
        self._picture = None
        return self._observe(), self._info({})

    def step(self, action: Array) -> tuple[dict, float, bool, bool, dict]:
        """One control step of dt seconds. ValueError for an action that is not (A,) finite numbers in [-1, 1]."""
        action = checked_action(action, self.channels)
        self.task.act(self.scene, self._staging.act(action, self.np_random))
        return self._advance()

    def servo(self, position: Array, quaternion: Array | None = None,
              jaw: float | None = None) -> tuple[dict, float, bool, bool, dict]:
        """One control step towards an absolute pose in the camera's optical frame: CRTK's servo_cp.

        position (3,) m, quaternion (4,) x y z w (None: keep), jaw rad (None: keep). The tip moves no faster than the
        channels allow and turns no faster than 1 rad/s. Returns what `step` returns.
        """
        self._check_arm("servo")
        values = np.concatenate([position, [] if quaternion is None else quaternion, [] if jaw is None else [jaw]])
        if np.shape(position) != (3,) or not np.isfinite(values).all():
            raise ValueError(f"servo to position {position}, quaternion {quaternion}, jaw {jaw}: all must be finite")
        tip = pose_in_camera(self.camera, self.scene.pose("PSM1"))
        velocity = (np.asarray(position) - tip[:3, 3]) / self.dt
        low, high = np.array([c.low for c in self.channels[:3]]), np.array([c.high for c in self.channels[:3]])
        excess = max(1.0, float(np.max(velocity / np.where(velocity < 0, low, high))))
        twist = np.zeros(6)
        twist[:3] = velocity / excess       # slower, but straight
        if quaternion is not None:
            twist[3:] = _towards(rotation_of(quaternion) @ tip[:3, :3].T) / self.dt
            twist[3:] /= max(1.0, float(np.linalg.norm(twist[3:])))
        self.scene.command("PSM1", twist, self.scene.jaw("PSM1") if jaw is None else jaw)
        return self._advance()

    def expert(self) -> Array:
        """What the scripted demonstrator would do now: (A,) float32 in [-1, 1]."""
        return self.task.expert(self.scene)

    def get_state(self) -> State:
        """Scene, task and random numbers, as a value: a flat dict of arrays and numbers. A wrapper's are not in it."""
        return {**prefixed("scene", self.scene.get_state()), **prefixed("task", self.task.get_state()),
                **prefixed("staging", self._staging.get_state()), "steps": self._steps,
                "generator": generator_state(self.np_random)}

    def set_state(self, state: State) -> None:
        """Go on from a state of an environment of the same id and options, exactly."""
        self._staging.set_state(part(state, "staging"), self.scene)
        self._steps = int(state["steps"])
        self.scene.set_state(part(state, "scene"))
        self.task.set_state(part(state, "task"))
        set_generator_state(self.np_random, state["generator"])
        self._picture = None

    def observe(self) -> tuple[dict, dict]:
        """What is seen and known now, as `reset` returns it: for a state that `set_state` brought."""
        return self._observe(), self._info({})

    def render(self) -> Array | None:
        """The endoscope's picture at render_size: (H, W, 3) uint8 RGB."""
        if self.render_mode is None:
            return None
        return self._staging.show(self.scene.picture(*self.render_size).image, self._steps)

    def close(self) -> None:
        """Free the engine."""
        self.scene.close()

    def _advance(self) -> tuple[dict, float, bool, bool, dict]:
        self.scene.step()
        self._steps += 1
        self.task.watch(self.scene)
        self._picture = None
        terms = {name: float(value) for name, value in self.task.reward(self.scene).items()}
        info = self._info(terms)
        return self._observe(), sum(terms.values()), info["success"] or info["failure"], False, info

    def _observe(self) -> dict[str, Array]:
        proprio = np.float32(self.scene.measured())
        if self._with_image:
            shown = self._eyes.see(self.scene, self._seen(), lambda image: self._staging.show(image, self._steps))
            return {"proprio": proprio, **shown}
        return {"proprio": proprio, "state": np.float32(self.task.state(self.scene))}

    def _info(self, terms: dict[str, float]) -> dict[str, Any]:
        outcome = self.task.outcome(self.scene)
        info = {"reward_terms": terms, "success": outcome is Outcome.SUCCESS, "failure": outcome is Outcome.FAILURE,
                **self.task.measures(self.scene)}
        if self._with_image:
            info["mask"] = self._seen().mask
        if not self._staging.randomiser.none:
            info["factors"] = self._staging.style.factors()
        return info

    def _seen(self) -> Picture:
        """The picture of the current state, drawn once."""
        if self._picture is None:
            drawn = self.scene.picture(*self.image_size)
            self._picture = drawn._replace(image=self._staging.show(drawn.image, self._steps))
        return self._picture

    def _check_arm(self, asked: str) -> None:
        if not self.scene.arms:
            raise ValueError(f"{asked} is of an arm's tip; {type(self.task).__name__} moves none. Use step")


def _towards(rotation: Array) -> Array:
    """Rotation (3, 3) -> rotation vector (3,) rad, of at most pi."""
    x, y, z, w = quaternion_of(rotation)
    sine = float(np.linalg.norm([x, y, z]))
    return np.zeros(3) if sine < 1e-12 else 2 * np.arctan2(sine, w) / sine * np.array([x, y, z])


def _checked_size(name: str, size: tuple[int, int]) -> tuple[int, int]:
    size = tuple(size) if isinstance(size, Iterable) else (size,)
    if not (len(size) == 2 and all(isinstance(n, (int, np.integer)) and 16 <= n <= 2160 for n in size)):
        raise ValueError(f"{name} is {size}; it must be (height, width), whole numbers from 16 to 2160 px")
    return size
