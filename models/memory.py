"""Episodes of single frames, stored once; what a batch shows of them is made as it is drawn."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .batch import Batch
from .drawing import draw_far, draw_near, draw_steps
from .episodes import Array, EpisodePool
from .views import Views

FORMAT = 1
SIGNALS = ("mask", "expert", "right")                               # what may be stored beside a frame
VIEWS = ("original", "successor", "step_reward", "same_episode")    # what follows from what is stored
COUNTED = ("sequence:", "near:", "far:")                            # and with a number of steps: "sequence:5"


class EpisodeMemory:
    """Holds each frame once. Stacks begin with the episode (its first frame repeats), returns end with it.

    When full it drops its oldest whole episode; demonstrations are never dropped.
    With `embed` it keeps the features of a frame in its place, and a batch's images are (B, stack x F, 1, 1) float32.
    """

    def __init__(self, capacity: int, *, frame_shape: tuple[int, int, int], action_dim: int,
                 proprio_dim: int = 0, stack: int = 3, nstep: int = 3, gamma: float = 0.99, seed: int = 0,
                 extras: Sequence[str] = ("mask",), embed: Callable[[Array], Array] | None = None):
        """capacity: frames held (an episode of T steps has T + 1); extras: the SIGNALS to be stored.

        embed: (h, w, 3) uint8 -> (F,) float32, what a frozen encoder sees in a frame; called once a frame.
        """
        unknown = [name for name in extras if name not in SIGNALS]
        if unknown:
            raise ValueError(f"memory extra {unknown[0]!r} is unknown; allowed: {', '.join(SIGNALS)}")
        if not (capacity >= 2 and stack >= 1 and nstep >= 1 and 0 < gamma <= 1):
            raise ValueError(f"memory: capacity {capacity} must be >= 2, stack {stack} and nstep {nstep} "
                             f">= 1, gamma {gamma} in (0, 1]")
        height, width, _ = frame_shape
        self.capacity, self.frame_shape, self.extras = capacity, tuple(frame_shape), tuple(extras)
        self.stack, self.nstep, self.gamma, self.embed = stack, nstep, gamma, embed
        self.rng = np.random.default_rng(seed)
        self._pool = EpisodePool(capacity)
        # np.empty of this size takes no memory until a page is written: the memory grows by itself.
        self._fields: dict[str, Array] = {
            "frame": (np.empty((capacity, *frame_shape), np.uint8) if embed is None else
                      np.empty((capacity, embed(np.zeros(frame_shape, np.uint8)).size), np.float32)),
            "proprio": np.empty((capacity, proprio_dim), np.float32),
            "action": np.empty((capacity, action_dim), np.float32),     # taken at this frame
            "reward": np.empty(capacity, np.float32),                   # for that action; 0 at the last frame
            "terminal": np.empty(capacity, np.bool_)}
        if "mask" in extras:        # one bit a pixel: 1/24 of the frame
            self._fields["mask"] = np.empty((capacity, -(-height * width // 8)), np.uint8)
        if "expert" in extras:
            self._fields["expert"] = np.empty((capacity, action_dim), np.float32)
        if "right" in extras:       # as large as the frame itself
            self._fields["right"] = np.empty_like(self._fields["frame"])
        self._views = Views(self._pool, self._fields, frame_shape=frame_shape, stack=stack, features=embed is not None)

    def __len__(self) -> int:
        """Steps that can be drawn."""
        return self._pool.own.size + self._pool.demos.size

    @property
    def demo_steps(self) -> int:
        """Steps of demonstrations among them."""
        return self._pool.demos.size

    @property
    def newest(self) -> int:
        """Slot of the frame that came last in the open episode; the step that is taken there begins in it."""
        return self._pool.newest

    def begin(self, frame: Array, proprio: ArrayLike | None = None, *, demo: bool = False,
              **signals: Any) -> None:
        """Start an episode with its first frame (h, w, 3) uint8, proprio (P,), and the signals of that frame.

        signals: mask (h, w), non-zero = instrument; expert (A,) = the action a demonstrator would take here
        (left out: unknown, NaN in the batch); right (h, w, 3) uint8, what the endoscope's right eye sees.
        A demonstration (`demo`) is never dropped.
        """
        moment = self._checked(frame, proprio, signals)
        self._write(self._pool.begin(demo), moment)

    def add(self, action: ArrayLike, reward: float, terminated: bool, frame: Array,
            proprio: ArrayLike | None = None, **signals: Any) -> None:
        """One step: action (A,) and its reward, then the new frame, its proprio and signals.

        terminated: the world ended (success or failure), which stops the bootstrap; a time limit does not.
        """
        action = np.asarray(action, np.float32)
        if action.shape != self._fields["action"].shape[1:] or not np.isfinite(action).all():
            raise ValueError(f"action {action} is not {self._fields['action'].shape[1]} finite numbers")
        if not np.isfinite(reward):
            raise ValueError(f"reward is {reward}; it must be finite")
        moment = self._checked(frame, proprio, signals)
        slot = self._pool.extend()
        self._write(slot, moment | {"terminal": terminated})
        last = self._pool.before[slot]
        self._fields["action"][last], self._fields["reward"][last] = action, reward
        if terminated:
            self.end()

    def end(self) -> None:
        """The episode is over, by a time limit too. `begin` and a terminated `add` call it themselves."""
        self._pool.end()

    def sample(self, size: int, needs: Iterable[str] = (), demo_share: float | None = None,
               slots: Array | None = None) -> Batch:
        """Draw `size` transitions evenly over steps; demo_share: fraction taken from demonstrations.

        slots: (size,) where they begin, instead of drawing them: what `newest` was there.

        needs, each an entry of batch.extra:
        mask (B, stack, h, w) uint8 in {0, 1}, of each stacked frame; expert (B, A), NaN where unknown;
        right (B, C, h, w), what the right eye sees while the left one sees obs;
        original (B, C, h, w) = obs, for whoever wants it after obs has been augmented;
        successor (B, C, h, w), one step later; step_reward (B, 1), of that one step;
        far:N (B, C, h, w), a moment of the same episode more than N steps away, or the farthest there is where the
        episode is too short for that; same_episode, the same with N = 1; near:N (B, C, h, w), another moment of it
        at most N steps away;
        sequence:K, the K steps from obs on, by names: sequence/action (B, K, A), and sequence/expert where it is
        stored; sequence/reward (B, K, 1); sequence/obs (B, K, C, h, w) and sequence/proprio (B, K, P), what followed
        each step; sequence/terminal (B, K, 1) float, 1 where that step ended the world; sequence/alive (B, K, 1)
        float, 1 where there was such a step. After the episode's end its last frame repeats, with action and reward 0.
        Of several K the longest is given: take the first of it.
        """
        needs = tuple(needs)
        counts = {name: self._steps(name) for name in needs if name.startswith(COUNTED)}
        steps = max((count for name, count in counts.items() if name.startswith("sequence:")), default=0)
        needs = [name for name in needs if not name.startswith("sequence:")]
        for name in needs:
            if name not in (*self.extras, *VIEWS, *counts):
                listed = ", ".join((*self.extras, *VIEWS, "sequence:K", "near:N", "far:N"))
                raise ValueError(f"memory cannot give {name!r}; it has: {listed}"
                                 + (f" (store it with extras=({name!r}, ...))" if name in SIGNALS else ""))
        slot = draw_steps(self._pool, self.rng, size, demo_share) if slots is None else slots
        views = self._views
        end, reward, discount = views.look_ahead(slot, self.nstep, self.gamma)
        obs = views.stacked(slot)
        extra: dict[str, Tensor] = views.sequence(slot, steps) if steps else {}
        for name in needs:
            if name == "mask":
                extra[name] = views.masks(slot)
            elif name == "expert":
                extra[name] = views.values(slot, name)
            elif name == "right":
                extra[name] = views.stacked(slot, name)
            elif name == "original":
                extra[name] = obs
            elif name == "successor":
                extra[name] = views.stacked(self._pool.after[slot])
            elif name == "step_reward":
                extra[name] = views.values(slot, "reward")[:, None]
            elif name.startswith("near:"):
                extra[name] = views.stacked(draw_near(self._pool, self.rng, slot, counts[name]))
            else:
                extra[name] = views.stacked(draw_far(self._pool, self.rng, slot, counts.get(name, 1)))
        return Batch(obs, views.values(slot, "proprio"), views.values(slot, "action"), reward, discount,
                     views.stacked(end), views.values(end, "proprio"), extra)

    def state_dict(self) -> dict[str, Array]:
        """All complete episodes and the random state, ready for np.savez; the unfinished episode is left out.

        The arrays are views, as in torch: write them to disk before the memory is added to.
        """
        state = {f"field_{name}": values[:self._pool.used] for name, values in self._fields.items()}
        return state | self._pool.state_dict() | {
            "format": np.array(FORMAT), "rng": np.array(json.dumps(self.rng.bit_generator.state))}

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Take over a state_dict() of a memory with the same shapes; what was held before is forgotten."""
        if int(state["format"]) != FORMAT:
            raise ValueError(f"memory format {state['format']}, this code reads {FORMAT}")
        for name, values in self._fields.items():
            saved = state.get(f"field_{name}")
            if saved is None or saved.shape[1:] != values.shape[1:] or len(saved) > self.capacity:
                found = "nothing" if saved is None else f"{saved.shape}"
                raise ValueError(f"saved memory: {found} for {name!r} does not fit {values.shape}; "
                                 "make the memory with the shapes, extras and capacity of the saved one")
        for name, values in self._fields.items():
            saved = state[f"field_{name}"]
            values[:len(saved)] = saved
        self._pool.load_state_dict(state)
        self.rng.bit_generator.state = json.loads(str(state["rng"]))

    def _checked(self, frame: Array, proprio: ArrayLike | None, signals: dict[str, Any]) -> dict[str, Any]:
        """What is to be written for one frame; ValueError before anything is changed."""
        frame = np.asarray(frame)
        if frame.shape != self.frame_shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.dtype} {frame.shape}; it must be uint8 {self.frame_shape}")
        own = np.zeros(0, np.float32) if proprio is None else np.asarray(proprio, np.float32)
        if own.shape != self._fields["proprio"].shape[1:] or not np.isfinite(own).all():
            raise ValueError(f"proprio {own} is not {self._fields['proprio'].shape[1]} finite numbers")
        for name in signals:
            if name not in self.extras:
                raise ValueError(f"signal {name!r} is not stored; this memory stores: "
                                 f"{', '.join(self.extras) or 'none'}")
        seen = frame if self.embed is None else self.embed(frame)
        moment = {"frame": seen, "proprio": own, "action": 0.0, "reward": 0.0, "terminal": False}
        if "mask" in self.extras:
            mask = np.asarray(signals.get("mask"))
            if mask.shape != self.frame_shape[:2]:
                raise ValueError(f"mask has shape {mask.shape}; every frame needs one "
                                 f"of {self.frame_shape[:2]}")
            moment["mask"] = np.packbits(mask != 0)
        if "right" in self.extras:
            right = np.asarray(signals.get("right"))
            if right.shape != self.frame_shape or right.dtype != np.uint8:
                raise ValueError(f"right is {right.dtype} {right.shape}; every frame needs one, "
                                 f"uint8 {self.frame_shape}")
            moment["right"] = right if self.embed is None else self.embed(right)
        if "expert" in self.extras:
            moment["expert"] = np.asarray(signals.get("expert", np.nan), np.float32)
            if moment["expert"].shape not in ((), self._fields["action"].shape[1:]):
                raise ValueError(f"expert has shape {moment['expert'].shape}, "
                                 f"not {self._fields['action'].shape[1:]}")
        return moment

    def _write(self, slot: int, moment: dict[str, Any]) -> None:
        for name, value in moment.items():
            self._fields[name][slot] = value

    def _steps(self, need: str) -> int:
        """The number in `sequence:K`, `near:N`, `far:N`."""
        kind, _, steps = need.partition(":")
        if not (steps.isdecimal() and 1 <= int(steps) < self.capacity):
            raise ValueError(f"memory cannot give {need!r}; the steps after '{kind}:' must be a whole number "
                             f"in 1..{self.capacity - 1}")
        return int(steps)
