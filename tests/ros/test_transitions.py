"""Transitions that `surgrl serve` asks for: an answer or a request that is lost, and a node that takes its time."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import rclpy
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor

from surgrl import ros_graph
from surgrl.policy.errors import UserError
from surgrl.ros_graph import Graph

STATES = {1: "inactive", 2: "unconfigured", 3: "active", 4: "inactive"}


class LostError(Exception):
    """Ends a callback before its answer leaves."""


class Forgetful:
    """The two services of a gate's lifecycle, some of whose messages get lost."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self._node = rclpy.create_node("gate_node", context=self._context)
        self._node.create_service(ChangeState, "/gate_node/change_state", self._change)
        self._node.create_service(GetState, "/gate_node/get_state", self._tell)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self.state, self.asked = "unconfigured", 0
        self.lost = ""              # "request" or "answer", of the first time
        self.takes, self.success = 0.0, True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def close(self) -> None:
        """Leave the domain."""
        self._ended.set()
        self._thread.join()
        self._node.destroy_node()
        self._context.shutdown()

    def _spin(self) -> None:
        while not self._ended.is_set():
            with suppress(LostError):
                self._executor.spin_once(timeout_sec=0.05)

    def _change(self, request: ChangeState.Request, answer: ChangeState.Response) -> ChangeState.Response:
        self.asked += 1
        if self.lost == "request" and self.asked == 1:
            raise LostError
        time.sleep(self.takes)
        if self.success:
            self.state = STATES[request.transition.id]
        if self.lost == "answer" and self.asked == 1:
            raise LostError
        answer.success = self.success
        return answer

    def _tell(self, _: GetState.Request, answer: GetState.Response) -> GetState.Response:
        answer.current_state.label = self.state
        return answer


@pytest.fixture(scope="module")
def graph(domain: int) -> Iterator[Graph]:
    with Graph(domain + 3, lambda *_: None) as joined:
        yield joined


@pytest.fixture
def node(domain: int, graph: Graph, monkeypatch) -> Iterator[Forgetful]:
    monkeypatch.setattr(ros_graph, "SILENCE", 0.5)
    made = Forgetful(domain + 3)
    assert graph.wait_for(lambda: graph.lifecycle_ready("gate_node"), 10.0)
    yield made
    made.close()
    assert graph.wait_for(lambda: not graph.lifecycle_ready("gate_node"), 10.0)


@pytest.mark.parametrize(("lost", "asked"), [("", 1), ("answer", 1), ("request", 2)])
def test_what_is_lost_on_the_way_is_made_good(graph, node, lost, asked):
    node.lost = lost
    assert graph.change_state("gate_node", "configure", 10.0)
    assert (node.state, node.asked) == ("inactive", asked)


@pytest.mark.parametrize("success", [True, False])
def test_a_slow_node_is_asked_once_and_its_answer_counts(graph, node, success):
    node.takes, node.success = 1.6, success
    assert graph.change_state("gate_node", "configure", 10.0) is success
    assert node.asked == 1


def test_time_ends_the_wait(graph, node):
    node.takes = 3.0
    began = time.monotonic()
    assert not graph.change_state("gate_node", "activate", 1.0)
    assert time.monotonic() - began < 2.0


def test_a_node_that_has_ended_ends_the_wait(graph, node):
    def ended() -> None:
        raise UserError("gate_node ended")
    node.takes = 1.0
    with pytest.raises(UserError, match="gate_node ended"):
        graph.change_state("gate_node", "configure", 10.0, still=ended)
