"""Builds each registered environment: a task, in its scene. Imported by Gymnasium when an id is made."""

from typing import Any

from .env import SurgicalEnv
from .scenes.cavity import Cavity
from .scenes.flap import Flap
from .tasks.reach import TOLERANCE, Reach
from .tasks.retract import Retract


def reach(tolerance: float = TOLERANCE, **options: Any) -> SurgicalEnv:
    """surgrl/Reach-v0. tolerance in m; options: those of SurgicalEnv."""
    task = Reach(tolerance)
    return SurgicalEnv(Cavity(), task, **options)


def retract(**options: Any) -> SurgicalEnv:
    """surgrl/Retract-v0. options: those of SurgicalEnv."""
    return SurgicalEnv(Flap(), Retract(), **options)
