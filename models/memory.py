"""Episodes of single frames, stored once; stacks, n-step returns and extras are made as a batch is drawn."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .batch import Batch
from .episodes import EpisodePool

Array = NDArray[Any]
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
        sequence:K, the K steps from obs on, under five names: sequence/action (B, K, A); sequence/reward (B, K, 1);
        sequence/obs (B, K, C, h, w), what followed each step; sequence/terminal (B, K, 1) float, 1 where that step
        ended the world; sequence/alive (B, K, 1) float, 1 where there was such a step. After the episode's end its
        last frame repeats, with action and reward 0. Of several K the longest is given: take the first of it.
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
        fields = self._fields
        slot = self._draw(size, demo_share) if slots is None else slots
        end, reward, discount = self._look_ahead(slot)
        obs = self._stacked(slot)
        extra: dict[str, Tensor] = self._sequence(slot, steps) if steps else {}
        for name in needs:
            if name == "mask":
                extra[name] = self._masks(slot)
            elif name == "expert":
                extra[name] = torch.from_numpy(fields["expert"][slot])
            elif name == "right":
                extra[name] = self._stacked(slot, name)
            elif name == "original":
                extra[name] = obs
            elif name == "successor":
                extra[name] = self._stacked(self._pool.after[slot])
            elif name == "step_reward":
                extra[name] = torch.from_numpy(fields["reward"][slot][:, None])
            elif name.startswith("near:"):
                extra[name] = self._stacked(self._near(slot, counts[name]))
            else:
                extra[name] = self._stacked(self._far(slot, counts.get(name, 1)))
        return Batch(obs, torch.from_numpy(fields["proprio"][slot]), torch.from_numpy(fields["action"][slot]),
                     torch.from_numpy(reward), torch.from_numpy(discount), self._stacked(end),
                     torch.from_numpy(fields["proprio"][end]), extra)

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

    def _draw(self, size: int, demo_share: float | None) -> Array:
        """Slots (B,) at which transitions begin."""
        if len(self) == 0:
            raise ValueError("the memory is empty; add steps before sampling")
        own, demos = self._pool.own, self._pool.demos
        if demo_share is None:
            draw = self.rng.integers(len(self), size=size)
            lived = draw < own.size
            return np.concatenate([own.at(draw[lived]), demos.at(draw[~lived] - own.size)])
        if not 0 <= demo_share <= 1:
            raise ValueError(f"demo_share is {demo_share}; it must lie in [0, 1]")
        if demo_share > 0 and not demos.size:
            raise ValueError(f"demo_share is {demo_share}, but the memory holds no demonstrations; "
                             "add some with begin(..., demo=True) or set it to 0")
        if demo_share == 0 and not own.size:
            raise ValueError("demo_share is 0, but the memory holds nothing but demonstrations")
        # Until the agent has lived a step itself, demonstrations are all there is.
        shown = round(size * demo_share) if own.size else size
        draws = [(line, self.rng.integers(line.size, size=count))
                 for line, count in ((own, size - shown), (demos, shown)) if count]
        return np.concatenate([line.at(draw) for line, draw in draws])

    def _look_ahead(self, slot: Array) -> tuple[Array, Array, Array]:
        """Slots (B,) n steps on, or at the end; return (B, 1) up to there; discount (B, 1) of the rest."""
        end, reward, discount = slot, np.zeros(len(slot)), np.ones(len(slot))
        for _ in range(self.nstep):
            after = self._pool.after[end]
            reward += discount * self._fields["reward"][end]            # 0 at the last frame
            discount *= np.where(after == end, 1.0, self.gamma)
            end = after
        # Only `terminated` stops the bootstrap; a time limit does not end the world.
        discount[self._fields["terminal"][end]] = 0.0
        return end, reward.astype(np.float32)[:, None], discount.astype(np.float32)[:, None]

    def _steps(self, need: str) -> int:
        """The number in `sequence:K`, `near:N`, `far:N`."""
        kind, _, steps = need.partition(":")
        if not (steps.isdecimal() and 1 <= int(steps) < self.capacity):
            raise ValueError(f"memory cannot give {need!r}; the steps after '{kind}:' must be a whole number "
                             f"in 1..{self.capacity - 1}")
        return int(steps)

    def _sequence(self, slot: Array, steps: int) -> dict[str, Tensor]:
        """The steps from each slot (B,) on: see sample."""
        slots = [slot]
        for _ in range(steps):
            slots.append(self._pool.after[slots[-1]])
        start, after = np.stack(slots[:-1], axis=1), np.stack(slots[1:], axis=1)        # (B, K) each
        alive = start != after                                  # the last frame of an episode follows itself
        values = {"reward": self._fields["reward"][start], "alive": alive,
                  "terminal": alive & self._fields["terminal"][after]}
        return {"sequence/obs": self._stacked(after.ravel()).unflatten(0, after.shape),
                "sequence/action": torch.from_numpy(self._fields["action"][start])} | {
                    f"sequence/{name}": torch.from_numpy(value.astype(np.float32)[..., None])
                    for name, value in values.items()}

    def _history(self, slot: Array) -> list[Array]:
        """Slots of the stacked frames, oldest first; `stack` arrays (B,)."""
        slots = [slot]
        for _ in range(self.stack - 1):
            slots.append(self._pool.before[slots[-1]])
        return slots[::-1]

    def _stacked(self, slot: Array, field: str = "frame") -> Tensor:
        """(B, 3*stack, h, w) uint8, NHWC in memory; or (B, stack*F, 1, 1) float32, where features are kept."""
        if self.embed is not None:
            features = self._fields[field][np.stack(self._history(slot), axis=1)]           # (B, stack, F)
            return torch.from_numpy(features.reshape(len(slot), -1, 1, 1))
        frames = [self._fields[field][slots] for slots in self._history(slot)]      # (B, h, w, 3) each
        if self.stack == 1:
            return torch.from_numpy(frames[0]).permute(0, 3, 1, 2)
        images = np.empty((len(slot), *self.frame_shape[:2], 3 * self.stack), np.uint8)
        planes = images.reshape(-1, 3 * self.stack)
        for k, frame in enumerate(frames):
            for colour in range(3):     # one long strided copy per plane: 5 times faster than 3 bytes a pixel
                planes[:, 3 * k + colour] = frame.reshape(-1, 3)[:, colour]
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    def _masks(self, slot: Array) -> Tensor:
        """(B, stack, h, w) uint8 in {0, 1}."""
        bits = self._fields["mask"][np.stack(self._history(slot), axis=1)]
        height, width, _ = self.frame_shape
        masks = np.unpackbits(bits, axis=2, count=height * width)
        return torch.from_numpy(masks.reshape(len(slot), self.stack, height, width))

    def _near(self, slot: Array, steps: int) -> Array:
        """For each slot, which is never an episode's last, another of its episode at most so many steps away."""
        slots, step, length = self._around(slot)
        low, high = np.maximum(step - steps, 0), np.minimum(step + steps, length - 1)
        draw = low + self.rng.integers(high - low)
        draw += draw >= step                                            # itself left out
        return _picked(slots, draw)

    def _far(self, slot: Array, steps: int) -> Array:
        """For each slot another of its episode, more than so many steps away; or the farthest there is."""
        slots, step, length = self._around(slot)
        low, high = np.maximum(step - steps, 0), np.minimum(step + steps, length - 1)
        close = high - low + 1                                          # frames too close, itself among them
        draw = self.rng.integers(np.maximum(length - close, 1))
        draw += np.where(draw >= low, close, 0)
        farthest = np.where(step > length - 1 - step, 0, length - 1)
        return _picked(slots, np.where(close < length, draw, farthest))

    def _around(self, slot: Array) -> tuple[list[list[int]], Array, Array]:
        """For each slot: those of its episode, its place among them, and how many they are."""
        slots = self._pool.frames_of(slot)
        return slots, self._pool.step[slot], np.array([len(frames) for frames in slots])


def _picked(slots: list[list[int]], place: Array) -> Array:
    """From each episode's slots the one at that place."""
    return np.array([frames[i] for frames, i in zip(slots, place.tolist(), strict=True)])
