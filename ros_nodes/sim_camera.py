"""The endoscope of a simulated robot: pictures of one lens or two, with what a stereo pair needs to know of them."""

from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from surgrl.policy.errors import UserError
from surgrl.policy.spec import Array

from . import messages, qos


class SimCamera:
    """Publishes image_raw and camera_info of each lens. The two are a rectified pair: both in the left one's frame."""

    def __init__(self, node: Node, namespace: str, plant: Any, height: int, width: int, *, stereo: bool):
        """namespace: of the left or only lens. plant: offers camera, camera_right. height, width: px, as published."""
        baseline = float(np.linalg.norm(np.subtract(plant.camera_right.eye, plant.camera.eye)))     # m
        self._lenses = [_Lens(node, namespace, plant, height, width, "image", 0.0)]
        if stereo:
            self._lenses.append(_Lens(node, _right_of(namespace), plant, height, width, "image_right", baseline))

    def publish(self, observation: dict[str, Array], stamp: Time) -> None:
        """Send what the environment shows."""
        for lens in self._lenses:
            lens.publish(observation, stamp)


class _Lens:
    def __init__(self, node: Node, namespace: str, plant: Any, height: int, width: int, key: str, baseline: float):
        self._key, frame = key, plant.camera.frame
        self._images = node.create_publisher(Image, f"{namespace}/image_raw", qos.IMAGE)
        self._infos = node.create_publisher(CameraInfo, f"{namespace}/camera_info", qos.STATUS)
        self._image, self._pixels = messages.make_image(height, width, frame)
        self._info = messages.make_camera_info(plant.camera.intrinsics(height, width), height, width, frame, baseline)

    def publish(self, observation: dict[str, Array], stamp: Time) -> None:
        height, width = self._pixels.shape[:2]
        cv2.resize(observation[self._key], (width, height), self._pixels, interpolation=cv2.INTER_LINEAR)
        self._image.header.stamp = self._info.header.stamp = stamp
        self._images.publish(self._image)
        self._infos.publish(self._info)


def _right_of(namespace: str) -> str:
    """ "/endoscope/left" -> "/endoscope/right". """
    head, _, last = namespace.rpartition("left")
    if last or not head:
        raise UserError(f"camera {namespace!r} names no left lens, so stereo knows no name for the right one; "
                        "end it in 'left', as /endoscope/left")
    return f"{head}right"
