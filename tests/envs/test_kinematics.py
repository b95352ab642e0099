"""The PSM's kinematics against an independent product of its DH table, and against themselves."""

import numpy as np
import pytest

from envs import geometry, kinematics

LOW = np.array([-1.3, -0.75, 0.04, -4.0, -1.35, -1.35])
HIGH = np.array([1.3, 0.75, 0.24, 4.0, 1.35, 1.35])


def dh_product(q):
    """Frame of the wrist's yaw axis, from the table alone."""
    rows = [(np.pi / 2, 0, 0, np.pi / 2 + q[0]), (-np.pi / 2, 0, 0, -np.pi / 2 + q[1]),
            (np.pi / 2, 0, q[2] - 0.4318, 0),
            (0, 0, 0.4162, q[3]), (-np.pi / 2, 0, 0, -np.pi / 2 + q[4]),
            (-np.pi / 2, 0.0091, 0, -np.pi / 2 + q[5])]
    pose = np.eye(4)
    for alpha, a, d, theta in rows:
        turn_x, turn_z = np.eye(4), np.eye(4)
        turn_x[:3, :3] = geometry.rotation_by(np.array([alpha, 0, 0]))
        turn_z[:3, :3] = geometry.rotation_by(np.array([0, 0, theta]))
        turn_x[0, 3], turn_z[2, 3] = a, d
        pose = pose @ turn_x @ turn_z
    return pose


@pytest.fixture(scope="module")
def joints():
    return np.random.default_rng(0).uniform(LOW, HIGH, (1000, 6))


def test_forward_is_the_product_of_the_dh_table(joints):
    for q in joints[:100]:
        assert np.allclose(kinematics.link_frames(q)[5], dh_product(q), atol=1e-14)


def test_inverse_undoes_forward_exactly(joints):
    for q in joints:
        found = kinematics.inverse(kinematics.forward(q))
        error = found - q
        error[3:] = (error[3:] + np.pi) % (2 * np.pi) - np.pi
        assert np.abs(error).max() < 1e-11


def test_shaft_passes_through_the_remote_centre_of_motion_whatever_the_joints(joints):
    for q in joints[:100]:
        shaft = kinematics.link_frames(q)[3]
        assert np.linalg.norm(np.cross(shaft[:3, 3], shaft[:3, 2])) < 1e-15


def test_insertion_is_the_depth_below_the_remote_centre(joints):
    for q in joints[:20]:
        depth = np.linalg.norm(kinematics.link_frames(q)[3][:3, 3])
        assert depth == pytest.approx(q[2] - 0.4318 + 0.4162)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3.0])
def test_joints_outside_the_limits_or_not_finite_are_told(bad):
    q = np.array([0, 0, 0.1, 0, 0, 0.0])
    assert kinematics.within_limits(q)
    q[1] = bad
    assert not kinematics.within_limits(q)


def test_quaternions_and_rotations_are_inverse():
    rng = np.random.default_rng(1)
    for vector in [*rng.normal(0, 1.5, (200, 3)), [np.pi, 0, 0], [0, np.pi, 0], [0, 0, np.pi]]:
        rotation = geometry.rotation_by(np.array(vector))
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)
        assert np.allclose(geometry.rotation_of(geometry.quaternion_of(rotation)), rotation, atol=1e-14)


def test_the_jacobian_is_the_slope_of_forward(joints):
    step = 1e-6
    for q in joints[:20]:
        found, tip = kinematics.jacobian(q), kinematics.forward(q)
        for joint in range(6):
            moved = kinematics.forward(q + step * np.eye(6)[joint])
            turned = (moved[:3, :3] - tip[:3, :3]) @ tip[:3, :3].T / step
            slope = [*(moved[:3, 3] - tip[:3, 3]) / step, turned[2, 1], turned[0, 2], turned[1, 0]]
            assert np.allclose(found[:, joint], slope, atol=1e-5)
