"""A view of a ROS 2 domain, for `surgrl serve`: who is there, and our lifecycle nodes with their states."""

import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from .node_process import parameter_file
from .policy.errors import UserError
from .policy.security import refusal_told, require_security
from .policy.transport import check_transport, use_profile

TRANSITIONS = {         # lifecycle_msgs/Transition: number, state before, state after
    "configure": (1, "unconfigured", "inactive"), "cleanup": (2, "inactive", "unconfigured"),
    "activate": (3, "inactive", "active"), "deactivate": (4, "active", "inactive")}
SILENCE = 5.0           # s without an answer to a transition, after which the node is asked for its state
NODES = ("gate_node", "policy_node")


class Member:
    """A node of ours in a ROS domain, in a context of its own: the caller may use rclpy too."""

    def __init__(self, domain: int, name: str, **options: Any):
        """options: of rclpy.create_node. UserError where security is demanded and not had, or a socket is open."""
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        secured = require_security(sys.argv)
        use_profile(parameter_file("policy.yaml").parent)
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        with refusal_told(secured):
            self.node = rclpy.create_node(name, context=self._context, **options)
        check_transport()
        self.executor = SingleThreadedExecutor(context=self._context)
        self.executor.add_node(self.node)

    def leave(self) -> None:
        """Leave the domain."""
        self.executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


def require_rclpy() -> None:
    """UserError where there is no rclpy."""
    if find_spec("rclpy") is None:
        raise UserError("rclpy is not installed; source a ROS 2 installation, or pip install '.[ros]' in surgrl's "
                        "folder")


class Graph:
    """An observer in a ROS domain that drives lifecycles. Use it in a `with`."""

    def __init__(self, domain: int, on_status: Callable[[str, str], None]):
        """on_status: called with node and text of each ~/status. UserError where there is no rclpy."""
        require_rclpy()
        self._domain, self._on_status = domain, on_status

    def __enter__(self) -> "Graph":
        """Join the domain."""
        from lifecycle_msgs.srv import ChangeState, GetState
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from std_msgs.msg import String
        self._member = Member(self._domain, f"surgrl_serve_{os.getpid()}")
        self.node, self._executor = self._member.node, self._member.executor
        self._request, self._question = ChangeState.Request, GetState.Request
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._lifecycles, self._states = {}, {}
        for name in NODES:
            self._lifecycles[name] = self.node.create_client(ChangeState, f"/{name}/change_state")
            self._states[name] = self.node.create_client(GetState, f"/{name}/get_state")
            self.node.create_subscription(
                String, f"/{name}/status", lambda message, name=name: self._on_status(name, message.data), latched)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the domain."""
        self._member.leave()

    def spin(self, seconds: float) -> None:
        """Handle what comes in for so long."""
        self.wait_for(lambda: False, seconds)

    def wait_for(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Spin until `reached` or time is up; whether it was reached."""
        end = time.monotonic() + seconds
        while not reached():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left, 0.1))
        return True

    def node_names(self) -> list[str]:
        """Names of all nodes that are known by now."""
        return list(self.node.get_node_names())

    def publishers(self, topic: str) -> int:
        """How many publish there, as far as known by now."""
        return int(self.node.count_publishers(topic))

    def lifecycle_ready(self, name: str) -> bool:
        """Whether this node takes transitions."""
        return all(bool(clients[name].service_is_ready()) for clients in (self._lifecycles, self._states))

    def change_state(self, name: str, transition: str, seconds: float = 60.0,
                     still: Callable[[], object] = lambda: None) -> bool:
        """Drive a node through a transition; whether it went well. Loading a network takes seconds.

        The middleware drops an answer whose reader it does not know yet. So a silent node is asked for its state,
        and a transition that it never heard of is asked for again.
        still: called while waiting; what it raises ends the wait.
        """
        number, before, after = TRANSITIONS[transition]
        end = time.monotonic() + seconds
        request = self._request()
        request.transition.id = number

        def answered(futures: list[Any]) -> bool:
            def done() -> bool:
                still()
                return all(future.done() for future in futures)
            return self.wait_for(done, min(SILENCE, end - time.monotonic()))
        asked = [self._lifecycles[name].call_async(request)]
        while time.monotonic() < end:
            answered(asked)
            told = [bool(future.result().success) for future in asked if future.done()]
            if any(told) or len(told) == len(asked):
                return any(told)
            state = self._states[name].call_async(self._question())
            label = state.result().current_state.label if answered([state]) else ""
            if label == after:
                return True
            if label == before and not any(future.done() for future in asked):
                asked.append(self._lifecycles[name].call_async(request))
        return False


def domain_number(told: int | None) -> int:
    """The ROS domain: as told, else ROS_DOMAIN_ID, else 0. UserError when it cannot be one."""
    text = os.environ.get("ROS_DOMAIN_ID") or "0" if told is None else str(told)
    if not (text.isdecimal() and 0 <= int(text) <= 232):
        raise UserError(f"ROS domain {text!r} cannot be; it must be a whole number from 0 to 232")
    return int(text)
