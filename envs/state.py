"""A state is a value: one flat dict of arrays and numbers by name, exact, that `np.savez` can write."""

import hashlib
from typing import Any

import numpy as np

State = dict[str, Any]      # "scene/PSM1/q": array or number
WORD = 64                   # bits


def prefixed(prefix: str, state: State) -> State:
    """The same values under `prefix/name`."""
    return {f"{prefix}/{name}": value for name, value in state.items()}


def part(state: State, prefix: str) -> State:
    """What `prefixed` put under the prefix."""
    return {name.removeprefix(f"{prefix}/"): value for name, value in state.items() if name.startswith(f"{prefix}/")}


def digest(state: State) -> str:
    """SHA-256 of all names and values: equal for equal states, in any process."""
    sha = hashlib.sha256()
    for name in sorted(state):
        value = np.ascontiguousarray(state[name])
        sha.update(f"{name} {value.dtype.str} {value.shape} ".encode() + value.tobytes())
    return sha.hexdigest()


def generator_state(rng: np.random.Generator) -> np.ndarray:
    """Where a PCG64 generator stands: (6,) uint64, its state and increment in halves, and what it keeps in hand."""
    state = rng.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise ValueError(f"generator is a {state['bit_generator']}; its state is known for PCG64 only, "
                         "which np.random.default_rng and Gymnasium's seeding make")
    words = [divmod(state["state"][name], 1 << WORD) for name in ("state", "inc")]
    return np.array([*words[0], *words[1], state["has_uint32"], state["uinteger"]], dtype=np.uint64)


def set_generator_state(rng: np.random.Generator, words: np.ndarray) -> None:
    """Go on drawing from there."""
    high, low, inc_high, inc_low, has, kept = (int(word) for word in words)
    rng.bit_generator.state = {"bit_generator": "PCG64",
                               "state": {"state": (high << WORD) + low, "inc": (inc_high << WORD) + inc_low},
                               "has_uint32": has, "uinteger": kept}
