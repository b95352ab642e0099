"""Timers by the machine's steady clock: a clock of the day that is set back must not keep a gate from stopping the arm.

A node's own timers follow ROS time: set back by an hour they rest for an hour; with use_sim_time they wait for /clock.
"""

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer


def make_timer(node: Node, period: float, callback: Callable[[], None]) -> Timer:
    """A timer of the node, every `period` s whatever the clock of the day says."""
    return node.create_timer(period, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))
