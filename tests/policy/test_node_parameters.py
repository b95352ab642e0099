"""Parameter files as `surgrl serve` and the launch files read them."""

import pytest
import yaml

from surgrl.policy.errors import UserError
from surgrl.policy.node_parameters import gate_and_policy


def written(tmp_path, **told):
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump({f"/**/{node}": {"ros__parameters": names} for node, names in told.items()}))
    return file


@pytest.mark.parametrize("name", ["arm", "command_frame"])
def test_a_gate_and_a_policy_of_two_arms_are_refused(tmp_path, name):
    assert gate_and_policy(written(tmp_path, gate_node={name: "A"}, policy_node={name: "A"}))[name] == "A"
    assert gate_and_policy(written(tmp_path, gate_node={name: "A"}, policy_node={}))[name] == "A"
    with pytest.raises(UserError, match=f"{name} is A for gate_node and B for policy_node.* give both the same"):
        gate_and_policy(written(tmp_path, gate_node={name: "A"}, policy_node={name: "B"}))
