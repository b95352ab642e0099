"""What the policy sees and asks for, as a picture for the operator: drawn only while somebody looks."""

import time

import cv2
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from surgrl.policy.gate import Action
from surgrl.policy.overlay import draw
from surgrl.policy.spec import Array

from . import qos
from .messages import turn_vector

PERIOD = 0.1        # s between two pictures: the policy's time is worth more than theirs
QUALITY = 80        # of the JPEG


class OverlayStream:
    """~/overlay/compressed."""

    def __init__(self, node: Node, fastest: float):
        """fastest: m/s, that fills an arrow."""
        self._node, self._fastest, self._last = node, fastest, 0.0
        self._pictures = node.create_publisher(CompressedImage, "~/overlay/compressed", qos.IMAGE)

    def show(self, frame: Array, state: str, reason: str, action: Action | None) -> None:
        """A camera frame (H, W, 3) uint8 RGB, the pilot's word on it and what it asks for, if anything."""
        now = time.monotonic()
        if now - self._last < PERIOD or not self._pictures.get_subscription_count():
            return
        self._last = now
        asked = {}
        if action is not None:
            asked = dict(zip(action.names, action.values.tolist(), strict=True))
            asked |= zip(("v_x", "v_y", "v_z"), turn_vector(action.values[:3]).tolist(), strict=True)
        picture = draw(frame, state=state, reason=reason, action=asked, speed_limit=self._fastest)
        done, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if done:
            message = CompressedImage(format="jpeg", data=data.tobytes())
            message.header.stamp = self._node.get_clock().now().to_msg()
            self._pictures.publish(message)

    def close(self) -> None:
        """Leave the topic."""
        self._node.destroy_publisher(self._pictures)
