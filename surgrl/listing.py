"""`surgrl list`: what there is to choose from, a line each."""

import argparse
from importlib import import_module
from importlib.util import find_spec

from .config import PretrainConfig
from .config_file import config_names, configs_folder
from .policy.bundle import PolicyBundle
from .pretrained import find_bundle, pretrained_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`surgrl list` takes none."""


def run(args: argparse.Namespace) -> None:
    """Print tasks, agents, objectives, encoders, configs and bundles; what is not installed is said."""
    _section("tasks", _tasks())
    _section("agents, objectives and augmentations", _methods("describe"))
    _section("encoders", _methods("describe_encoders"))
    _section("configs", [(name, _first_comment(name)) for name in config_names()])
    _section("configs of pretrain", [(name, _first_comment(name)) for name in config_names(PretrainConfig)])
    _section("bundles", [(name, _told(name)) for name in pretrained_names()])


def _section(title: str, rows: list[tuple[str, str]]) -> None:
    print(f"{title}:")
    for name, text in rows:
        print(f"  {name:24s} {text}")


def _tasks() -> list[tuple[str, str]]:
    if not (find_spec("gymnasium") and find_spec("pybullet")):
        return [("-", "the simulator is not installed: pip install '.[sim]' in surgrl's folder")]
    import gymnasium
    import_module("envs")       # registers the ids, as gymnasium.make("envs:...") does
    return [(name, f"episodes of at most {spec.max_episode_steps} steps" if spec.entry_point.startswith("envs.make:")
             else "a scene that you built with Unity: player=PATH; docs/unity.md")
            for name, spec in sorted(gymnasium.registry.items()) if name.startswith("surgrl/")]


def _methods(how: str) -> list[tuple[str, str]]:
    if not find_spec("torch"):
        return [("-", "what learns is not installed: pip install '.[learn]' in surgrl's folder")]
    return list(getattr(import_module("models.make"), how)().items())


def _first_comment(name: str) -> str:
    first = (configs_folder() / f"{name}.yaml").read_text().splitlines()[0]
    return first.lstrip("# ") if first.startswith("#") else ""


def _told(name: str) -> str:
    bundle = PolicyBundle.load(find_bundle(name))
    success = bundle.origin.get("scores", {}).get("success")
    return f"{bundle.task}, {bundle.origin.get('agent')}" + (f", success {success:.0%}" if success is not None else "")
