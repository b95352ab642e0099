"""Pictures of a task in which one thing only was changed: the instrument, what lies in the scene, the tissue's looks.

States of the simulator are flat dicts of named parts, so the arm of one moment can be put into the scene of another.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from .config import Config
from .policy.errors import UserError
from .policy.spec import Array
from .world import Moment, training_world

State = dict[str, Any]
# Of both training and test levels (envs/levels.yaml); nothing but the tissue's looks is varied.
TISSUE = {"palettes": ["rose", "coral", "wine", "liver", "straw"], "textures": [7, 12, 101, 102]}
STRIDE = 6              # steps between two states of one episode
JAW = (0.0, 1.0)        # rad
LOOKS = 64              # different draws of TISSUE at most: each costs a reset


class Pictures(NamedTuple):
    """Moments side by side: as they were, and with one thing changed."""

    before: list[Moment]
    instrument: list[Moment]    # the arm is elsewhere, with other jaws
    things: list[Moment]        # target, flap, lesion are elsewhere
    tissue_before: list[Moment]     # `before`, but for runs whose own looks vary: painted by one draw of TISSUE
    tissue: list[Moment]        # painted by another


class Sampler:
    """States of a run's task from seeds that no training saw, taken apart and put together anew."""

    def __init__(self, config: Config, *, quiet: bool = False):
        """Two worlds: as the run was trained, and one whose tissue is painted from TISSUE. quiet: without bars."""
        self._bar = partial(tqdm, disable=quiet, leave=False, dynamic_ncols=True)
        self.world = training_world(config)
        self._arms = getattr(getattr(self.world.env.unwrapped, "scene", None), "arms", ())
        if not self._arms:
            self.world.close()
            raise UserError(f"task {config.env.id} moves no instrument, so there is nothing to tell apart; "
                            "choose a run of a task with an arm")
        self._painted = training_world(config, randomise=TISSUE)

    def states(self, seeds: Iterable[int], count: int, rng: np.random.Generator) -> list[State]:
        """`count` moments of the expert's episodes, the start among them in one episode of a few only."""
        found: list[State] = []
        with self._bar(total=count, desc="states", unit="state") as bar:
            for seed in seeds:
                moment = self.world.reset(seed=seed)
                for _ in range(rng.integers(STRIDE)):
                    moment = self.world.step(self.world.expert())
                while len(found) < count and not (moment.terminated or moment.truncated):
                    found.append(self.world.env.unwrapped.get_state())
                    bar.update()
                    for _ in range(STRIDE):
                        if not (moment.terminated or moment.truncated):
                            moment = self.world.step(self.world.expert())
                if len(found) == count:
                    break
        return found

    def pictures(self, states: Sequence[State], rng: np.random.Generator) -> Pictures:
        """For each state: itself, and what it is compared with; what is put in comes from another episode's state."""
        shown = Pictures([], [], [], [], [])
        looks = self._looks(2 * len(states), rng)
        own_looks_vary = "staging/drawn_from" in states[0]
        for k, state in enumerate(self._bar(states, desc="pairs", unit="pair")):
            other = states[(k + len(states) // 2) % len(states)]
            shown.before.append(self.world.show(state))
            shown.instrument.append(self.world.show(self.with_jaws(self.combined(state, other), rng)))
            shown.things.append(self.world.show(self.combined(other, state, looks=state)))
            plain = self._painted.show(state | looks[2 * k]) if own_looks_vary else shown.before[-1]
            shown.tissue_before.append(plain)
            shown.tissue.append(self._painted.show(state | looks[2 * k + 1]))
        return shown

    def factors(self, states: Sequence[State], rng: np.random.Generator) -> tuple[list[Moment], Array, list[str]]:
        """Moments whose arm, things and looks are drawn apart; their factors (N, K) and what those are called.

        Tip in m, jaw in rad, middles of what lies in the scene in m, and which palette the tissue has.
        """
        looks, others = self._looks(len(states), rng), rng.permutation(len(states))
        moments, rows = [], []
        for state, other, look in zip(self._bar(states, desc="pictures", unit="picture"), others, looks, strict=True):
            made = self.with_jaws(self.combined(state, states[other], looks=look), rng)
            moments.append(self._painted.show(made))
            palette = TISSUE["palettes"].index(moments[-1].info["factors"]["palette"])
            rows.append(self._told(made) | {"palette": palette})
        return moments, np.array([list(row.values()) for row in rows], float), list(rows[0])

    def combined(self, scene: State, arm: State, looks: State | None = None) -> State:
        """The scene of one state, the arms of another; the looks are the scene's, or those of a third."""
        made = scene | {name: value for name, value in arm.items() if self._is_arm(name)}
        if looks is not None:
            made |= {name: value for name, value in looks.items() if name.startswith("staging/")}
        return made

    def with_jaws(self, state: State, rng: np.random.Generator) -> State:
        """The state with the jaws of every arm opened anew."""
        return state | {f"scene/{arm}/jaw": float(rng.uniform(*JAW)) for arm in self._arms}

    def mask(self, moment: Moment) -> Array:
        """(h, w) uint8 in {0, 1}: where the instrument is."""
        return self.world.mask(moment)

    def close(self) -> None:
        """Free both worlds."""
        self.world.close()
        self._painted.close()

    def _looks(self, count: int, rng: np.random.Generator) -> list[State]:
        """`count` draws of TISSUE, as parts of a state."""
        drawn: list[State] = []
        for _ in range(min(count, LOOKS)):
            self._painted.reset(seed=int(rng.integers(1 << 31)))
            state = self._painted.env.unwrapped.get_state()
            drawn.append({name: value for name, value in state.items() if name.startswith("staging/")})
        return [drawn[k % LOOKS] for k in range(count)]

    def _is_arm(self, name: str) -> bool:
        return any(name.startswith(f"scene/{arm}/") for arm in self._arms)

    def _told(self, state: State) -> dict[str, float]:
        """What a state says of the arm and of the things in the scene: poses (4, 4), points `x` (N, 3)."""
        found: dict[str, float] = {}
        for arm in self._arms:
            found |= _named("tip" if len(self._arms) == 1 else f"{arm} tip", state[f"scene/{arm}/tip"][:3, 3])
            found["jaw" if len(self._arms) == 1 else f"{arm} jaw"] = state[f"scene/{arm}/jaw"]
        for name, value in state.items():
            if not name.startswith("scene/") or self._is_arm(name):
                continue
            thing = name.split("/")[1]
            if np.shape(value) == (4, 4):
                found |= _named(thing, value[:2, 3])
            elif name.endswith("/x"):           # the points of a sheet of tissue
                found |= _named(thing, value[:, :2].mean(0))
        return found


def _named(what: str, position: Array) -> dict[str, float]:
    return {f"{what} {axis}": float(value) for axis, value in zip("xyz", position, strict=False)}
