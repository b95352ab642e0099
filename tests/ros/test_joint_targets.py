"""servo_jp: joints that an arm's inverse kinematics gives, as far as they are near; and a whole graph of it."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rosgraph import Nodes
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from ros_nodes import arm_joints, messages, qos
from ros_nodes.arm_joints import JointTargets
from ros_nodes.transport import CONFIG
from surgrl.node_process import NodeProcess
from surgrl.policy.errors import UserError

DT, SPEED, AGE = 0.01, 2.0, 0.05
START = np.array([0.1, 0.2, 0.1, 0.0, 0.0, 0.0])


class Future:
    """An answer that is there once the test says so."""

    def __init__(self, answer: Any):
        self.answer = answer

    def done(self) -> bool:
        return self.answer is not None

    def result(self) -> Any:
        return self.answer


class Bench:
    """JointTargets between a gate that commands and an arm that answers as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time, self.sent, self.asked, self.expired = 100.0, [], [], False
        self.answer: Any = lambda near: SimpleNamespace(result=True, jp=(near + 0.001).tolist(), message="")
        monkeypatch.setattr(time, "monotonic", self._now)
        monkeypatch.setattr(arm_joints.arm_messages, "QueryInverseKinematics", SimpleNamespace(Request=SimpleNamespace))
        peer = SimpleNamespace(create_client=lambda *_: self, create_subscription=self._subscribe)
        monkeypatch.setattr(arm_joints, "Node", lambda *_, **__: peer)
        monkeypatch.setattr(arm_joints, "SingleThreadedExecutor", lambda: SimpleNamespace(
            add_node=lambda _: None, spin_once=lambda timeout_sec: None))
        node = SimpleNamespace(get_name=lambda: "gate", create_lifecycle_publisher=lambda *_: SimpleNamespace(
            publish=lambda message: self.sent.append(np.array(message.position))))
        self.targets = JointTargets(node, "PSM1", "/PSM1/servo_jp", dt=DT, speed=SPEED, max_age=AGE)

    def _now(self) -> float:
        self.time += 1e-4
        return self.time

    def _subscribe(self, kind: Any, topic: str, hear: Any, quality: Any) -> None:
        self.hear = hear

    def service_is_ready(self) -> bool:
        return True

    def call_async(self, request: Any) -> Future:
        self.asked.append(np.array(request.jp))
        return Future(self.answer(np.array(request.jp)))

    def tell(self, joints: np.ndarray = START) -> None:
        """The arm's setpoint_js."""
        message = JointState(name=list("abcdef"), position=joints.tolist())
        message.header.stamp = messages.to_stamp(1)
        self.hear(message)

    def command(self) -> str | None:
        """The gate's next; why it cannot be followed."""
        self.time += DT
        count = len(self.sent)
        published = self.targets.publish(None, 5, expired=lambda: self.expired)
        assert (published is not None) == (len(self.sent) > count)
        assert published is None or np.allclose(published, self.sent[-1])
        return self.targets.failure


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_nothing_starts_before_the_arm_has_told_its_joints_or_when_they_are_old(bench):
    assert "setpoint_js is missing" in bench.targets.obstacle()
    bench.tell(np.full(6, np.nan))
    assert "setpoint_js is missing" in bench.targets.obstacle()
    bench.tell()
    assert bench.targets.obstacle() is None
    bench.time += 1.0
    assert "old" in bench.targets.obstacle()


def test_each_command_goes_on_from_the_joints_before(bench):
    bench.tell()
    assert [bench.command() for _ in range(3)] == [None] * 3
    assert np.allclose(bench.sent, [START + 0.001, START + 0.002, START + 0.003])
    assert np.allclose(bench.asked, [START, START + 0.001, START + 0.002])


@pytest.mark.parametrize(("answer", "words"), [
    ({"jp": [np.nan] * 6}, "finite"), ({"jp": START[:5].tolist()}, "6 finite numbers"), ({"jp": []}, "6 finite"),
    ({"jp": (START + 0.5).tolist()}, "joint a go 0.5"), ({"result": False, "message": "too far"}, "too far")])
def test_an_answer_that_cannot_be_followed_is_no_command(bench, answer, words):
    bench.tell()
    bench.answer = lambda near: SimpleNamespace(**{"result": True, "jp": near.tolist(), "message": "", **answer})
    assert words in bench.command() and bench.sent == []


def test_an_answer_that_is_late_is_sent_with_the_next_command_and_one_that_never_comes_is_told(bench):
    bench.tell()
    later = Future(None)
    bench.call_async = lambda request: later
    assert bench.command() is None and bench.sent == []
    later.answer = SimpleNamespace(result=True, jp=START.tolist(), message="")
    bench.call_async = lambda request: Future(None)
    assert bench.command() is None and len(bench.sent) == 1
    assert bench.targets.obstacle() is None
    for _ in range(round(AGE / DT)):
        bench.tell()
        assert bench.command() is None
    assert "has not answered for" in bench.targets.obstacle() and len(bench.sent) == 1
    bench.targets.rest()
    assert bench.targets.obstacle() is None


def test_an_answer_that_comes_once_the_command_is_too_old_is_no_command(bench):
    bench.tell()
    assert bench.command() is None and len(bench.sent) == 1
    later = Future(None)
    bench.call_async = lambda request: later
    assert bench.command() is None
    later.answer = SimpleNamespace(result=True, jp=START.tolist(), message="")
    bench.expired = True            # the gate was stopped while it waited for the arm
    assert bench.command() is None and len(bench.sent) == 1


def test_an_answer_to_a_motion_that_is_over_is_no_command(bench):
    bench.tell()
    later = Future(None)
    bench.call_async = lambda request: later
    bench.command()
    bench.targets.rest()
    later.answer = SimpleNamespace(result=True, jp=START.tolist(), message="")
    assert bench.targets.obstacle() is None and bench.sent == []


def test_without_crtk_msgs_it_is_refused(monkeypatch):
    monkeypatch.setattr(arm_joints.arm_messages, "QueryInverseKinematics", None)
    with pytest.raises(UserError, match="crtk_msgs is not installed here"):
        JointTargets(None, "PSM1", "/PSM1/servo_jp", dt=DT, speed=SPEED, max_age=AGE)


class Graph:
    """Simulated robot, gate and policy, all with crtk_msgs; what the arm is told and tells."""

    def __init__(self, domain: int, folder: Any) -> None:
        self.robot = NodeProcess("sim_node", [CONFIG / "simulation.yaml"], {
            "arm": "PSM2", "image_width": 160, "image_height": 120, "max_steps": 10**9, "operator": False},
            folder, domain=domain)
        self.nodes = Nodes(domain, folder)
        self.joints: list[np.ndarray] = []
        self.poses: list[np.ndarray] = []
        self.setpoint = self.measured = np.zeros(3)
        self.pressed = False
        pedal = self.nodes.graph.node.create_publisher(Bool, "/operator/enable", qos.STATE)
        self.nodes.graph.node.create_timer(0.02, lambda: pedal.publish(Bool(data=self.pressed)))
        hear = self.nodes.graph.node.create_subscription
        hear(JointState, "/PSM2/servo_jp", lambda m: self.joints.append(np.array(m.position)), 100)
        hear(PoseStamped, "/PSM2/move_cp", lambda m: self.poses.append(messages.read_pose(m).position), 100)
        for name in ("setpoint", "measured"):
            hear(PoseStamped, f"/PSM2/{name}_cp", lambda m, name=name: setattr(
                self, name, messages.read_pose(m).position), qos.STATE)

    def start(self, bundle: Any, **parameters: Any) -> None:
        """Until it moves, the pedal held."""
        nodes = self.nodes
        self.pressed = False
        assert nodes.configure(bundle, arm="PSM2", limits__max_lead=0.03, image__frozen_frames=0, **parameters)
        for name in ("gate_node", "policy_node"):
            assert nodes.graph.change_state(name, "activate"), nodes.gate
        assert nodes.wait(lambda: nodes.gate.startswith("hold: waiting for the operator: press")), nodes.gate
        self.pressed = True
        assert nodes.wait(lambda: nodes.gate.startswith("active"), 20), (nodes.gate, nodes.policy)


@pytest.fixture(scope="module")
def graph(domain: int, messages_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", messages_folder)
        made = Graph(domain + 2, tmp_path_factory.mktemp("psm2"))
    yield made
    made.nodes.close()
    made.robot.stop()


def test_a_second_arm_is_driven_by_its_joints_and_comes_to_rest_where_the_gate_says(graph, right):
    nodes = graph.nodes
    graph.start(right, command="servo_jp")
    begin = graph.measured
    assert nodes.wait(lambda: graph.measured[0] < begin[0] - 0.005), nodes.gate
    assert nodes.graph.publishers("/PSM2/servo_cp") == 0
    steps = np.abs(np.diff(graph.joints, axis=0))
    assert len(steps) > 10 and steps.max() < 0.05 and np.ptp(graph.joints, axis=0).max() > 0.01
    assert nodes.graph.change_state("gate_node", "deactivate")
    nodes.graph.spin(0.5)
    sent = [record["sent"] for record in read(max(nodes.audit.glob("*.jsonl"))) if record.get("sent")]
    assert np.linalg.norm(graph.setpoint - [sent[-1][axis] for axis in "xyz"]) < 3e-4      # one command late, and slow
    nodes.reset()


def test_moves_make_the_arm_busy_and_it_goes_on(graph, make_bundle, tmp_path):
    nodes = graph.nodes
    graph.poses.clear()
    graph.start(make_bundle(tmp_path / "slow", (-0.2, 0.0, 0.0)).folder, command="move_cp", command_every=20)
    begin = graph.measured
    assert nodes.wait(lambda: graph.measured[0] > begin[0] + 0.007, 20), nodes.gate
    assert len(graph.poses) > 2 and nodes.gate.startswith("active")
    nodes.reset()


def read(path: Any) -> list[dict[str, Any]]:
    """The records of an audit log."""
    records: list[dict[str, Any]] = []
    from surgrl.policy.chain import verify
    verify(path, records.append)
    return records
