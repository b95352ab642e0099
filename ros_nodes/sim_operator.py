"""The person at the console of a simulated robot: a foot on the enable pedal, and an emergency stop left alone."""

import time

from rclpy.node import Node
from std_msgs.msg import Bool

from . import qos

PERIOD = 0.02           # s, between two words of the pedal
AT_EASE = 1.0           # s, in which nobody has stepped on it yet
PRESS, LIFT = 2.5, 0.3  # s, of a foot that tries again while nothing moves


class SimOperator:
    """Tells every 20 ms whether the pedal is down."""

    def __init__(self, node: Node):
        """Its topics; the emergency stop is told once, latched."""
        self._born = self._since = time.monotonic()
        self._pedal = node.create_publisher(Bool, "/operator/enable", qos.STATE)
        self._stop = node.create_publisher(Bool, "/operator/estop", qos.LATCHED)
        self._stop.publish(Bool(data=False))

    def act(self, *, paused: bool, moved: bool) -> None:
        """Press or lift, and tell it. paused: between two episodes. moved: whether the arm has moved in this one.

        A gate that came after the foot was down has seen no edge, and waits for one: while nothing moves, the foot
        is lifted now and then.
        """
        now = time.monotonic()
        tries = (now - self._since) % (PRESS + LIFT)
        down = now - self._born >= AT_EASE and not paused and (moved or tries < PRESS)
        if paused or now - self._born < AT_EASE:
            self._since = now
        self._pedal.publish(Bool(data=down))
