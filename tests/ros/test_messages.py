"""Conversions between ROS messages and numpy."""

import array

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image

from ros_nodes import messages
from ros_nodes.messages import Pose
from surgrl.policy.errors import UserError
from surgrl.policy.gate import BUSY

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def rotation_of(quaternion):
    """(4,) x y z w -> (3, 3)."""
    x, y, z, w = quaternion
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])


@pytest.mark.parametrize(("encoding", "pixels"), [
    ("rgb8", RGB),
    ("bgr8", RGB[..., ::-1]),
    ("rgba8", np.dstack([RGB, np.full((2, 3), 7, np.uint8)])),
    ("bgra8", np.dstack([RGB[..., ::-1], np.full((2, 3), 7, np.uint8)])),
])
@pytest.mark.parametrize("padding", [0, 5])
def test_every_encoding_and_row_padding_reads_as_rgb(encoding, pixels, padding):
    rows = [np.ascontiguousarray(row).tobytes() + b"\xff" * padding for row in pixels]
    message = Image(height=2, width=3, encoding=encoding, step=len(rows[0]),
                    data=array.array("B", b"".join(rows)))
    assert np.array_equal(messages.read_image(message), RGB)


def test_mono8_reads_as_grey():
    message = Image(height=2, width=2, encoding="mono8", step=2, data=array.array("B", [1, 2, 3, 4]))
    assert np.array_equal(messages.read_image(message), np.repeat([[[1], [2]], [[3], [4]]], 3, axis=2))


@pytest.mark.parametrize(("change", "word"), [
    ({"encoding": "yuv422"}, "yuv422"), ({"step": 8}, "step of 8"), ({"height": 3}, "18 bytes of the 27"),
    ({"width": 0}, "not empty")])
def test_malformed_images_are_refused_by_name(change, word):
    message = Image(height=2, width=3, encoding="rgb8", step=9, data=array.array("B", RGB.tobytes()))
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(UserError, match=word):
        messages.read_image(message)


def test_what_is_written_into_an_image_message_is_read_from_it():
    message, pixels = messages.make_image(2, 3, "endoscope_left")
    pixels[...] = RGB
    assert np.array_equal(messages.read_image(message), RGB) and message.header.frame_id == "endoscope_left"


def test_right_down_forward_is_left_up_away_turned():
    assert np.array_equal(messages.turn_vector(np.array([1.0, 2.0, 3.0])), [-1.0, -2.0, 3.0])


def test_a_pose_turns_with_its_frame():
    quaternion = np.array([0.1, -0.5, 0.3, 0.8])
    pose = Pose(np.array([0.01, 0.02, 0.1]), quaternion / np.linalg.norm(quaternion))
    turned = messages.optical_to_crtk(pose)
    half_turn = np.diag([-1.0, -1.0, 1.0])
    assert np.allclose(turned.position, half_turn @ pose.position)
    assert np.allclose(rotation_of(turned.quaternion), half_turn @ rotation_of(pose.quaternion))
    back = messages.crtk_to_optical(turned)
    assert np.allclose(back.position, pose.position) and np.allclose(back.quaternion, pose.quaternion)


def test_one_rotation_is_one_quaternion_for_a_policy():
    quaternion = np.array([0.6, 0.0, 0.8, 0.0])
    ways = [messages.crtk_to_optical(Pose(np.zeros(3), sign * quaternion)).quaternion for sign in (1, -1)]
    assert all(way[3] >= 0 for way in ways) and np.allclose(ways[0], ways[1])


def test_poses_and_stamps_survive_a_message():
    pose = Pose(np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.6, 0.0, 0.8]))
    message = messages.make_pose(pose, "ECM", messages.to_stamp(5_000_000_007))
    read = messages.read_pose(message)
    assert np.array_equal(read.position, pose.position) and np.array_equal(read.quaternion, pose.quaternion)
    assert messages.to_ns(message.header.stamp) == 5_000_000_007 and message.header.frame_id == "ECM"


def test_what_is_no_pose_is_refused():
    with pytest.raises(UserError, match="length 1"):
        messages.read_pose(PoseStamped(pose=messages.make_pose(
            Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 2.0])), "", messages.to_stamp(0)).pose))


def test_joints_states_and_intrinsics_survive_a_message():
    stamp = messages.to_stamp(1)
    assert messages.read_joint(messages.make_joint("jaw", 0.25, stamp)) == 0.25
    assert messages.read_state(messages.make_state("PAUSED", stamp)) == "PAUSED"
    assert messages.read_state(messages.make_state("PAUSED", stamp, busy=True)) == "PAUSED"
    assert messages.read_state(messages.make_state("ENABLED", stamp, busy=True)) == BUSY != "ENABLED"
    k = np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])
    info = messages.make_camera_info(k, 480, 640, "endoscope_left")
    assert np.array_equal(np.reshape(info.k, (3, 3)), k)
    assert np.array_equal(np.reshape(info.p, (3, 4))[:, :3], k)
