"""How one environment's episodes are varied: a style for each, late and noisy actions, effects on each picture."""

from collections import deque

import numpy as np

from .effects import EffectChain
from .geometry import Array
from .randomise import Randomiser, Style
from .scene import Stage
from .state import State, generator_state, set_generator_state


class Staging:
    """Draws from the environment's own generator, so that a seed gives the same episode. Level `none` draws nothing."""

    def __init__(self, randomiser: Randomiser, action_dim: int):
        """action_dim: A."""
        self.randomiser, self._rest = randomiser, np.zeros(action_dim)
        self.style = Style()
        self._drawn_from: Array | None = None       # where the generator stood when the style was drawn
        self._chain: EffectChain | None = None
        self._late: deque[Array] = deque()

    def begin(self, scene: Stage, rng: np.random.Generator) -> None:
        """Draw the next episode's style and dress the scene in it."""
        if self.randomiser.none:
            return
        self._drawn_from = generator_state(rng)
        self.style = self.randomiser.draw(rng)
        self._chain = EffectChain(self.style.effects, int(rng.integers(1 << 32)))
        self._late = deque([self._rest] * self.style.latency)
        scene.restyle(self.style)

    def act(self, action: Array, rng: np.random.Generator) -> Array:
        """(A,) as it was asked for -> (A,) as it arrives: late, and disturbed."""
        if self.style.latency:
            self._late.append(action.copy())       # the caller may fill its array anew meanwhile
            action = self._late.popleft()
        if self.style.action_noise:
            action = np.clip(action + rng.normal(0, self.style.action_noise, action.shape), -1, 1)
        return action

    def show(self, image: Array, step: int) -> Array:
        """(H, W, 3) uint8 as the scene draws it -> as the screen shows it. step: of the episode."""
        return image if self._chain is None else self._chain(image, step)

    def get_state(self) -> State:
        """Where the style was drawn from, and the actions that are still to come."""
        if self._drawn_from is None:
            return {}
        return {"drawn_from": self._drawn_from.copy(), "late": np.array(self._late).reshape(-1, len(self._rest))}

    def set_state(self, state: State, scene: Stage) -> None:
        """Draw that style again and go on from there."""
        if not state:
            return
        rng = np.random.default_rng()
        set_generator_state(rng, state["drawn_from"])
        self.begin(scene, rng)
        self._late = deque(state["late"])
