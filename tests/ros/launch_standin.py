"""Enough of `launch` and `launch_ros`, which come with ROS 2 alone, to see what a launch file's `start` makes."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

MODULES = ("launch", "launch.actions", "launch.conditions", "launch.launch_description_sources",
           "launch.event_handlers", "launch.events", "launch.substitutions", "launch_ros", "launch_ros.actions",
           "launch_ros.event_handlers", "launch_ros.events", "launch_ros.events.lifecycle",
           "launch_ros.parameter_descriptions")


class Made:
    """An action or a value, with what it was made of."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.positional, self.named = positional, named

    def perform(self, context: dict[str, str]) -> str:
        """Of a LaunchConfiguration."""
        return context[self.positional[0]]

    def evaluate(self, context: dict[str, str]) -> bool:
        """Of an IfCondition."""
        return plain(self.positional[0], context) == "true"


class Module(ModuleType):
    """Whatever is imported from it is a kind of Made."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Made,), {})


def plain(value: Any, context: dict[str, str]) -> Any:
    """What a value comes to."""
    if not isinstance(value, Made):
        return value
    if type(value).__name__ == "LaunchConfiguration":
        return value.perform(context)
    return plain(value.positional[0], context)      # ParameterValue


def started(monkeypatch: pytest.MonkeyPatch, file: Path, **told: str) -> dict[str, Any]:
    """Name of a node -> its parameters in one dict, files under "files"; "include" -> what is handed on."""
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, Module(name))
    spec = importlib.util.spec_from_file_location(file.name.replace(".", "_"), file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = (*module.ARGUMENTS, *getattr(module, "OTHERS", ()))
    context = {row[0]: row[1] for row in rows} | {"autostart": "false"} | told
    made: dict[str, Any] = {}
    for action in module.start(context):
        if "launch_arguments" in action.named:
            made["include"] = {name: plain(value, context) for name, value in action.named["launch_arguments"]}
        elif "parameters" in action.named:
            parameters = action.named["parameters"]
            made[action.named["name"]] = {"files": [plain(one, context) for one in parameters
                                                    if not isinstance(one, dict)]} | {
                name: plain(value, context) for one in parameters if isinstance(one, dict)
                for name, value in one.items()}
    return made
