"""What a ROS 2 parameter file tells one node, as rcl finds it: for launch files and `surgrl serve`, before a start."""

import re
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError

SHARED = ("arm", "command_frame")       # what gate and policy must be told alike
SHOWN = "ros_nodes/config/policy.yaml shows one"


def parameters_of(file: Path, node: str) -> dict[str, Any] | None:
    """Parameters of a node without a namespace, as nested as they stand there; None where no section is the node's.

    UserError for what is no parameter file: ROS 2 itself would start the node, or end it with a trace.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such parameter file; {SHOWN}")
    try:
        sections = yaml.safe_load(file.read_text()).items()
        told = [dict(section["ros__parameters"]) for name, section in sections if _is(name, node)]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{file}: not a ROS parameter file (node, ros__parameters, names); {SHOWN}") from error
    return {name: value for section in told for name, value in section.items()} if told else None


def gate_and_policy(file: Path) -> dict[str, Any]:
    """What a file tells both. UserError where it has nothing for the gate: its limits would be the default ones."""
    gate, policy = (parameters_of(file, name) for name in ("gate_node", "policy_node"))
    if gate is None:
        raise UserError(f"{file}: no section is gate_node's, so its limits would be the default ones; name one "
                        f"/**/gate_node ({SHOWN})")
    policy = policy or {}
    for name in SHARED:
        if name in gate and name in policy and gate[name] != policy[name]:
            raise UserError(f"{file}: {name} is {gate[name]} for gate_node and {policy[name]} for policy_node; "
                            "a policy must see the arm that its gate moves: give both the same")
    return {**gate, **policy}


def _is(name: str, node: str) -> bool:
    """Whether a section's name is that of the node: ** stands for any namespaces, * for one word."""
    words = {"**": r"(/\w+)*", "*": r"/\w+"}
    tokens = str(name).strip("/").split("/")
    pattern = "".join(words.get(token, f"/{re.escape(token)}") for token in tokens)
    return re.fullmatch(pattern, f"/{node}") is not None
