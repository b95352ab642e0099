"""A clock that stands still, as one that was set back does for as long: no node waits for it to go on."""

import pytest
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Bool, String

from ros_nodes import qos
from ros_nodes.transport import CONFIG
from surgrl.node_process import NodeProcess
from surgrl.ros_graph import Graph


@pytest.fixture
def graph(domain):
    said: dict[str, list[str]] = {"gate_node": [], "policy_node": []}
    with Graph(domain + 2, lambda name, text: said[name].append(text)) as joined:
        joined.said = said
        yield joined


@pytest.fixture
def start(domain, tmp_path):
    """Start a node whose clock is /clock, which nobody publishes."""
    made: list[NodeProcess] = []

    def call(name, file, **parameters):
        made.append(NodeProcess(name, [CONFIG / file], {"use_sim_time": True, **parameters}, tmp_path,
                                domain=domain + 2))
        return made[-1]
    yield call
    for process in made:
        process.stop()


@pytest.mark.parametrize("name", ["gate_node", "policy_node"])
def test_the_state_is_told_all_the_same(graph, start, name):
    process = start(name, "policy.yaml")
    assert graph.wait_for(lambda: len(graph.said[name]) > 3, 30), process.last_words()


def test_an_emergency_stop_latches_all_the_same(graph, start, tmp_path):
    button = graph.node.create_publisher(Bool, "/operator/estop", qos.LATCHED)
    button.publish(Bool(data=False))
    process = start("gate_node", "policy.yaml", audit_folder=str(tmp_path / "audit"))
    assert graph.wait_for(lambda: graph.lifecycle_ready("gate_node"), 30), process.last_words()
    for transition in ("configure", "activate"):
        assert graph.change_state("gate_node", transition), process.last_words()
    assert graph.wait_for(lambda: graph.said["gate_node"][-1].startswith("hold"), 5), graph.said
    button.publish(Bool(data=True))
    told = "latched: the emergency stop is pressed"
    assert graph.wait_for(lambda: graph.said["gate_node"][-1].startswith(told), 5), graph.said


@pytest.mark.parametrize(("name", "file", "kind", "topic", "parameters"), [
    ("sim_node", "simulation.yaml", PoseStamped, "/PSM1/measured_cp", {"image_width": 320, "image_height": 240}),
    ("record_node", "record.yaml", String, "/record_node/status", {"min_free": 1.0})])
def test_the_others_go_on_too(graph, start, tmp_path, name, file, kind, topic, parameters):
    heard = []
    graph.node.create_subscription(kind, topic, heard.append, qos.STATE)
    process = start(name, file, **parameters, **({"folder": str(tmp_path / "bags")} if name == "record_node" else {}))
    assert graph.wait_for(lambda: len(heard) > 3, 30), process.last_words()
