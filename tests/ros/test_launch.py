"""The launch files name things that exist. Read with ast: launch_ros comes with ROS 2, not from PyPI."""

import ast
import configparser
from pathlib import Path

import pytest
import yaml

from ros_nodes import parameters
from ros_nodes.transport import CONFIG

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
DECLARED = {"policy_node": parameters.POLICY, "sim_node": parameters.SIMULATION}


def calls(file: Path, name: str) -> list[ast.Call]:
    """Every call of `name` in the file."""
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name) and node.func.id == name]


def argument_names(file: Path) -> set[str]:
    """Names of all launch arguments that the file declares."""
    table = next(node.value for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign)
                 and node.targets[0].id == "ARGUMENTS")
    told = {call.args[0].value for call in calls(file, "DeclareLaunchArgument")
            if isinstance(call.args[0], ast.Constant)}
    return told | {row.elts[0].value for row in table.elts}


def test_there_are_two_and_setup_cfg_ships_them():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    shipped = setup["options.data_files"]["share/surgrl/launch"].split()
    assert shipped == [f"launch/{file.name}" for file in reversed(FILES)] and len(FILES) == 2


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_executables_and_packages_exist(file):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = {line.split("=")[0].strip()
               for line in setup["options.entry_points"]["console_scripts"].splitlines()}
    nodes = calls(file, "Node") + calls(file, "LifecycleNode")
    assert nodes
    for node in nodes:
        told = {keyword.arg: keyword.value.value for keyword in node.keywords
                if isinstance(keyword.value, ast.Constant)}
        assert told["package"] == "surgrl" and told["executable"] in scripts & set(DECLARED)
        assert told["name"] == told["executable"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_argument_that_is_used_is_declared(file):
    used = {call.args[0].value for call in calls(file, "LaunchConfiguration")
            if isinstance(call.args[0], ast.Constant)}
    assert used <= argument_names(file)


@pytest.mark.parametrize(("file", "node"), [("policy.launch.py", "policy_node"),
                                            ("simulation.launch.py", "sim_node")])
def test_arguments_that_become_parameters_are_parameters_of_the_node(file, node):
    parameters_of_node = {parameter.name for parameter in DECLARED[node]}
    others = {"policy_params", "simulation_params", "autostart"}
    assert argument_names(ROOT / "launch" / file) - others <= parameters_of_node


@pytest.mark.parametrize(("file", "node"), [("policy.yaml", "policy_node"), ("simulation.yaml", "sim_node")])
def test_parameter_files_tell_every_parameter_and_its_default(file, node):
    told = yaml.safe_load((CONFIG / file).read_text())[f"/**/{node}"]["ros__parameters"]
    told.update({f"limits.{name}": value for name, value in told.pop("limits", {}).items()})
    if node == "policy_node":
        assert told.pop("bundle") == "reach"        # the node itself has no favourite
    assert told == {parameter.name: parameter.default for parameter in DECLARED[node]
                    if parameter.name != "bundle"}


def test_launch_is_no_package_that_would_hide_the_ros_one():
    assert not (ROOT / "launch" / "__init__.py").exists()
