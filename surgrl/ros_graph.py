"""A view of a ROS 2 domain, for `surgrl serve`: who is there, and policy_node's lifecycle and status."""

import os
import time
from collections.abc import Callable
from importlib.util import find_spec

from .policy.errors import UserError

TRANSITIONS = {"configure": 1, "cleanup": 2, "activate": 3, "deactivate": 4}     # lifecycle_msgs/Transition


class Graph:
    """An observer in a ROS domain that drives policy_node's lifecycle. Use it in a `with`."""

    def __init__(self, domain: int, on_status: Callable[[str], None]):
        """on_status: called with each text on policy_node's ~/status. UserError where there is no rclpy."""
        if find_spec("rclpy") is None:
            raise UserError("rclpy is not installed; source a ROS 2 installation, "
                            "or pip install 'surgrl[ros]'")
        self._domain, self._on_status = domain, on_status

    def __enter__(self) -> "Graph":
        """Join the domain, in a context of its own: the caller may use rclpy too."""
        import rclpy
        from lifecycle_msgs.srv import ChangeState
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from std_msgs.msg import String
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=self._domain)
        self.node = rclpy.create_node(f"surgrl_serve_{os.getpid()}", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._request = ChangeState.Request
        self._lifecycle = self.node.create_client(ChangeState, "/policy_node/change_state")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(String, "/policy_node/status",
                                      lambda message: self._on_status(message.data), latched)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

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

    def lifecycle_ready(self) -> bool:
        """Whether policy_node takes transitions."""
        return bool(self._lifecycle.service_is_ready())

    def change_state(self, transition: str, seconds: float = 60.0,
                     still: Callable[[], object] = lambda: None) -> bool:
        """Drive policy_node through a transition; whether it went well. Loading a network takes seconds.

        still: called while waiting; what it raises ends the wait.
        """
        request = self._request()
        request.transition.id = TRANSITIONS[transition]
        future = self._lifecycle.call_async(request)

        def answered() -> bool:
            still()
            return bool(future.done())
        return self.wait_for(answered, seconds) and bool(future.result().success)
