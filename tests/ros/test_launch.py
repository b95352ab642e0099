"""The launch files name things that exist. Read with ast: launch_ros comes with ROS 2, not from PyPI."""

import ast
import configparser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from launch_standin import started

from ros_nodes import parameters
from ros_nodes.transport import CONFIG

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
DECLARED = {"policy_node": parameters.POLICY, "gate_node": parameters.GATE, "sim_node": parameters.SIMULATION,
            "video_node": parameters.VIDEO, "record_node": parameters.RECORD}
STARTED = {"policy.launch.py": {"gate_node", "policy_node", "record_node"}, "simulation.launch.py": {"sim_node"},
           "replay.launch.py": {"video_node"}}


def calls(file: Path, name: str) -> list[ast.Call]:
    """Every call of `name` in the file."""
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name) and node.func.id == name]


def table(file: Path, name: str) -> dict[str, tuple[ast.expr, str]]:
    """The rows of a table of arguments: name -> its default, its text. Empty where there is no such table."""
    found = [node.value for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign)
             and node.targets[0].id == name]
    return {row.elts[0].value: (row.elts[1], row.elts[-1].value) for table in found for row in table.elts}


def arguments(file: Path) -> dict[str, tuple[ast.expr, str]]:
    """All launch arguments that the file declares itself."""
    return {**table(file, "ARGUMENTS"), **table(file, "OTHERS")}


def sections() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each section of each parameter file: file, node, parameters by their whole names."""
    def flat(told: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, value in told.items():
            result |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        return result
    for file in sorted(CONFIG.glob("*.yaml")):
        for node, told in yaml.safe_load(file.read_text()).items():
            yield file.name, node.removeprefix("/**/"), flat(told["ros__parameters"])


def test_all_are_read_here():
    assert {file.name for file in FILES} == set(STARTED)


def test_every_node_is_a_command():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    commands = setup["options.entry_points"]["console_scripts"].split("\n")
    for node in DECLARED:
        assert f"{node} = ros_nodes.{node}:main" in commands


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_starts_its_nodes_under_their_own_names(file):
    started = set()
    for node in calls(file, "Node") + calls(file, "LifecycleNode"):
        told = {keyword.arg: keyword.value.value for keyword in node.keywords
                if isinstance(keyword.value, ast.Constant)}
        assert told["name"] == told["executable"]
        started.add(told["name"])
    assert started == STARTED[file.name]
    assert '"surgrl"' in file.read_text()       # the package, of every node


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_argument_is_described(file):
    for name, (_, text) in arguments(file).items():
        assert len(text) > 10, name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_argument_that_is_used_is_declared(file):
    used = {call.args[0].value for call in calls(file, "LaunchConfiguration")
            if isinstance(call.args[0], ast.Constant)}
    assert used <= set(arguments(file))


@pytest.mark.parametrize("name", ["simulation.launch.py", "replay.launch.py"])
def test_what_is_handed_on_is_an_argument_of_the_policy(name):
    (include,) = calls(ROOT / "launch" / name, "IncludeLaunchDescription")
    (handed,) = [node for node in ast.walk(include) if isinstance(node, ast.Dict)]
    assert {key.value for key in handed.keys} <= set(arguments(ROOT / "launch" / "policy.launch.py"))


@pytest.mark.parametrize(("file", "node"), [("simulation.launch.py", "sim_node"), ("replay.launch.py", "video_node")])
def test_arguments_that_become_parameters_are_parameters_of_the_node(file, node):
    declared = {parameter.name: parameter.default for parameter in DECLARED[node]}
    for name, (default, _) in table(ROOT / "launch" / file, "ARGUMENTS").items():
        assert name in declared
        # A source must be told; who launches a file wants to see it go; the files say the other two.
        if name not in ("source", "operator", "task", "arm"):
            told = yaml.safe_load(default.value or "''")
            assert (told or "") == (declared[name] or "")


def test_a_recording_is_never_replayed_to_an_arm():
    (include,) = calls(ROOT / "launch" / "replay.launch.py", "IncludeLaunchDescription")
    (handed,) = [node for node in ast.walk(include) if isinstance(node, ast.Dict)]
    told = {key.value: value for key, value in zip(handed.keys, handed.values, strict=True)}
    assert told["dry_run"].value == "true"


def test_a_real_robot_in_the_simulated_ones_place_is_told_nothing_unless_that_is_asked_for():
    default, _ = arguments(ROOT / "launch" / "simulation.launch.py")["dry_run"]
    assert default.value == ""
    text = (ROOT / "launch" / "simulation.launch.py").read_text()
    assert '"dry_run").perform(context) or ("false" if simulated else "true")' in text


def test_the_robot_is_told_nothing_unless_that_is_asked_for():
    default, _ = arguments(ROOT / "launch" / "policy.launch.py")["dry_run"]
    assert default.value == "true"
    told = {(file, node): values for file, node, values in sections()}
    assert [place for place, values in told.items() if values.get("dry_run") is False] == [
        ("simulation.yaml", "gate_node")]


@pytest.mark.parametrize(("file", "node", "told"), list(sections()))
def test_every_parameter_in_a_file_is_declared_by_its_node_and_of_its_type(file, node, told):
    declared = {parameter.name: parameter for parameter in DECLARED[node]}
    for name, value in told.items():
        default = declared[name].default
        assert type(value) is type(default), name       # ROS takes no 1 for a 1.0
        if declared[name].allowed is not None:
            low, high = declared[name].allowed
            assert low <= value <= high, name


@pytest.mark.parametrize(("file", "node"), [
    ("policy.yaml", "policy_node"), ("policy.yaml", "gate_node"), ("simulation.yaml", "sim_node"),
    ("replay.yaml", "video_node"), ("record.yaml", "record_node")])
def test_a_node_s_own_file_tells_its_defaults(file, node):
    (told,) = [values for where, whose, values in sections() if (where, whose) == (file, node)]
    favourites = {"bundle": "reach"}        # the node itself has none
    for parameter in DECLARED[node]:
        if parameter.name in told and parameter.name not in favourites:
            assert told[parameter.name] == parameter.default, parameter.name
    if node in ("sim_node", "video_node", "record_node"):
        assert set(told) == {parameter.name for parameter in DECLARED[node]}


@pytest.fixture
def robot_file(tmp_path: Path) -> Path:
    """A parameter file for another arm and camera than the default ones."""
    file = tmp_path / "my-robot.yaml"
    file.write_text("/**/gate_node: {ros__parameters: {arm: PSM2}}\n/**/policy_node: {ros__parameters: "
                    "{arm: PSM2, image_topic: /lab/left/image_raw}}\n")
    return file


def test_what_is_not_told_is_what_the_parameter_file_says(monkeypatch, robot_file, tmp_path):
    simulation, policy = (ROOT / "launch" / f"{name}.launch.py" for name in ("simulation", "policy"))
    handed = started(monkeypatch, simulation, simulate="false", params=str(robot_file))["include"]
    assert handed == {"params": str(robot_file), "more_params": "", "task": "", "arm": "", "dry_run": "true"}
    nodes = started(monkeypatch, policy, **handed, record=str(tmp_path / "bags"))
    assert "arm" not in nodes["gate_node"] and "task" not in nodes["policy_node"]
    assert nodes["gate_node"]["files"] == [str(robot_file)] and nodes["gate_node"]["dry_run"] is True
    assert nodes["record_node"]["arm"] == "PSM2" and nodes["record_node"]["image_topic"] == "/lab/left/image_raw"
    nodes = started(monkeypatch, policy, params=str(robot_file), arm="PSM1", record=str(tmp_path / "bags"))
    assert {nodes[name]["arm"] for name in ("gate_node", "policy_node", "record_node")} == {"PSM1"}


def test_a_simulated_arm_has_the_name_that_policy_and_gate_look_for(monkeypatch, robot_file):
    simulation = ROOT / "launch" / "simulation.launch.py"
    for told, arm in (({}, "PSM1"), ({"params": str(robot_file)}, "PSM2"), ({"arm": "PSM3"}, "PSM3")):
        made = started(monkeypatch, simulation, **told)
        assert made["include"]["arm"] == made["sim_node"]["arm"] == arm
        assert made["include"]["task"] == made["sim_node"]["task"] == "surgrl/Reach-v0"
        assert made["include"]["dry_run"] == "false"


@pytest.mark.parametrize(("text", "word"), [
    ("/**/gaet_node: {ros__parameters: {arm: PSM2}}", "no section is gate_node's"), ("[1, 2]", "not a ROS parameter"),
    ("gate_node: {arm: PSM2}", "not a ROS parameter"), ("gate_node: {ros__parameters: [a]}", "not a ROS parameter")])
def test_a_file_that_would_leave_the_gate_its_default_limits_starts_nothing(monkeypatch, tmp_path, text, word):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RuntimeError, match=word):
        started(monkeypatch, ROOT / "launch" / "policy.launch.py", params=str(tmp_path / "a.yaml"))


def test_launch_is_no_package_that_would_hide_the_ros_one():
    assert not (ROOT / "launch" / "__init__.py").exists()
