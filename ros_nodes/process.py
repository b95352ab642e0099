"""One node, one process: starts it, spins it, and stops it so that it can still say `hold`."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from surgrl.policy.errors import UserError
from surgrl.policy.security import refusal_told, require_security
from surgrl.policy.transport import check_transport, clean_segments, require_memory

from .transport import use_profile

PARENT = "SURGRL_PARENT"    # pid of the process whose end is ours too: `surgrl serve` leaves no orphans


class Process(Protocol):
    """A node that knows when it is done."""

    exit_code: int | None       # None while there is work left

    def stop(self) -> None:
        """Leave the robot at rest; called once, while messages can still be sent."""

    def fault(self, error: Exception) -> None:
        """An error that no callback caught. Raise it to end the process."""


def run(make: Callable[[], Process], *, apart: bool = False) -> int:
    """Spin the node that `make` gives until it is done, interrupted, terminated, or its parent is gone.

    apart: no other process may hold it up, not even one that is stopped: no shared memory.
    """
    try:
        secured = require_security(sys.argv)
        use_profile(apart=apart)
        left = clean_segments()
        if left:
            print(f"removed {len(left)} shared-memory segments that killed processes had left", file=sys.stderr)
        require_memory()
    except UserError as error:
        return _refuse(error)
    asked_to_stop: list[int] = []
    # rclpy's own handlers end all communication at once; then nobody could publish hold any more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: asked_to_stop.append(received))
    parent = int(os.environ.get(PARENT, 0))
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:       # rclpy's word for --ros-args or a ROS_DOMAIN_ID that cannot be
        return _refuse(error)
    try:
        try:
            with refusal_told(secured):
                node = make()
            check_transport()
        except (UserError, ParameterException, NameValidationException) as error:
            return _refuse(error)
        # Not MultiThreadedExecutor: three times the CPU and a longer tail. Not EventsExecutor: it deadlocks.
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            while node.exit_code is None and not asked_to_stop and rclpy.ok():
                if parent and os.getppid() != parent:
                    break
                try:
                    executor.spin_once(timeout_sec=0.1)
                except Exception as error:      # Jazzy's rclpy raises here when a transition is not possible
                    node.fault(error)
        finally:
            node.stop()
            executor.shutdown()
            node.destroy_node()
        return node.exit_code or 0
    finally:
        rclpy.try_shutdown()


def _refuse(error: Exception) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1
