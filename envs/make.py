"""Builds each registered environment: a task, in its scene. Imported by Gymnasium when an id is made."""

import inspect
from collections.abc import Callable
from typing import Any

import gymnasium

from .discrete import DiscreteActions
from .env import SurgicalEnv
from .scenes.cavity import Cavity
from .scenes.colon import ColonScene
from .scenes.flap import Flap
from .tasks.navigate import Navigate
from .tasks.reach import TOLERANCE, Reach
from .tasks.retract import Retract

COLON_ACTIONS = ("continuous", "dvc", "safe")
SHARED = tuple(name for name, parameter in inspect.signature(SurgicalEnv).parameters.items()
               if parameter.kind is parameter.KEYWORD_ONLY)


def colon_navigate(actions: str = "continuous", roll: bool = False, **options: Any) -> gymnasium.Env:
    """surgrl/ColonNavigate-v0. actions: `continuous` rates, or a published discrete set, `dvc` or `safe`; roll: a
    fourth continuous channel, which `dvc` has anyway; options: those of SurgicalEnv.

    With a discrete set, `env.get_wrapper_attr("expert")()` is the expert's choice, which `env.step` takes;
    `env.unwrapped.expert()` gives rates, which it then refuses.
    """
    _check(options, colon_navigate)
    if actions not in COLON_ACTIONS:
        raise ValueError(f"actions {actions!r} are unknown; allowed: {', '.join(COLON_ACTIONS)}")
    env = SurgicalEnv(ColonScene(), Navigate(roll=roll or actions == "dvc"), **options)
    return env if actions == "continuous" else DiscreteActions(env, kind=actions)


def reach(tolerance: float = TOLERANCE, target: str = "marker", **options: Any) -> SurgicalEnv:
    """surgrl/Reach-v0 and its kin. tolerance in m; target: marker or needle; options: those of SurgicalEnv."""
    _check(options, reach)
    task = Reach(tolerance, target)
    return SurgicalEnv(Cavity(target=target), task, **options)


def retract(**options: Any) -> SurgicalEnv:
    """surgrl/Retract-v0. options: those of SurgicalEnv."""
    _check(options, retract)
    return SurgicalEnv(Flap(), Retract(), **options)


def _check(options: dict[str, Any], builder: Callable[..., gymnasium.Env]) -> None:
    """ValueError for an option that neither the builder nor SurgicalEnv has."""
    allowed = (*list(inspect.signature(builder).parameters)[:-1], *SHARED)
    unknown = next((name for name in options if name not in allowed), None)
    if unknown:
        raise ValueError(f"option {unknown!r} is unknown; allowed: {', '.join(allowed)}")
