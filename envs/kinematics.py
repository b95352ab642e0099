"""The dVRK Patient Side Manipulator: exact forward and closed-form inverse kinematics.

Modified DH table, tool numbers and limits: the dVRK's published kinematics of a PSM with a Large Needle Driver
(da Vinci Research Kit, sawIntuitiveResearchKit configuration files). The base frame sits at the remote centre of
motion (RCM); at zero joints the instrument points along -z of the base.
"""

from math import asin, atan2, cos, pi, sin, sqrt

import numpy as np

from .geometry import Array

JOINTS = ("yaw", "pitch", "insertion", "roll", "wrist_pitch", "wrist_yaw")
RCM_TO_CARRIAGE = 0.4318    # m, insertion 0 to RCM
SHAFT = 0.4162              # m, carriage to wrist pitch axis
PITCH_TO_YAW = 0.0091       # m, between the wrist's two axes
YAW_TO_TIP = 0.0102         # m, wrist yaw axis to the tip of the closed jaws
LOW = np.array([-pi / 2, -pi / 4, 0.0, -4.538, -1.396, -1.396])     # rad, m: yaw pitch insertion roll wrist wrist
HIGH = np.array([pi / 2, pi / 4, 0.24, 4.538, 1.396, 1.396])
JAW_LOW, JAW_HIGH = -0.349, 1.396                                   # rad
# Tip frame in the frame of the wrist yaw axis: z out of the jaws (dVRK `tooltip_offset`).
TIP_IN_YAW = np.array([[0, -1, 0, 0], [0, 0, 1, YAW_TO_TIP], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
YAW_IN_TIP = np.linalg.inv(TIP_IN_YAW)


def _dh(alpha_cos: float, alpha_sin: float, a: float, d: float, theta: float) -> Array:
    """One row of a modified DH table (Craig 1986) -> (4, 4); alpha as its exact cosine and sine."""
    c, s = cos(theta), sin(theta)
    return np.array([[c, -s, 0, a], [s * alpha_cos, c * alpha_cos, -alpha_sin, -d * alpha_sin],
                     [s * alpha_sin, c * alpha_sin, alpha_cos, d * alpha_cos], [0, 0, 0, 1.0]])


def link_frames(q: Array) -> list[Array]:
    """Joints (6,) rad, m -> the seven frames (4, 4) in the base: one per joint, then the tip."""
    rows = ((0, 1, 0, 0, pi / 2 + q[0]), (0, -1, 0, 0, -pi / 2 + q[1]), (0, 1, 0, q[2] - RCM_TO_CARRIAGE, 0),
            (1, 0, 0, SHAFT, q[3]), (0, -1, 0, 0, -pi / 2 + q[4]), (0, -1, PITCH_TO_YAW, 0, -pi / 2 + q[5]))
    frames = [np.eye(4)]
    for row in rows:
        frames.append(frames[-1] @ _dh(*row))
    return [*frames[1:], frames[-1] @ TIP_IN_YAW]


def forward(q: Array) -> Array:
    """Joints (6,) rad, m -> tip pose (4, 4) in the base frame."""
    return link_frames(q)[-1]


def inverse(tip: Array) -> Array:
    """Tip pose (4, 4) in the base frame -> joints (6,), not yet held to the limits.

    Unique while the wrist is bent by less than 90 degrees. The wrist's yaw axis and the RCM span a plane that holds
    the shaft; the wrist pitch axis lies PITCH_TO_YAW back from the yaw axis, across it, towards the RCM.
    """
    yaw = tip @ YAW_IN_TIP
    axis, origin = yaw[:3, 2], yaw[:3, 3]
    across = origin - (origin @ axis) * axis
    length = sqrt(across @ across)
    if length < 1e-9:
        raise ValueError(f"tip at {np.round(tip[:3, 3], 4)} m has its wrist axis through the RCM; no joints reach it")
    wrist = origin - (PITCH_TO_YAW / length) * across
    depth = sqrt(wrist @ wrist)
    x, y, z = wrist / depth
    q1, q2 = atan2(x, -z), -asin(min(1.0, max(-1.0, y)))
    c1, s1, c2, s2 = cos(q1), sin(q1), cos(q2), sin(q2)
    # Orientation of the shaft before roll, in the base: columns of DH frames 1-3 multiplied out.
    shaft = np.array([[-s1 * s2, -c1, s1 * c2], [-c2, 0.0, -s2], [c1 * s2, -s1, -c1 * c2]])
    ax, ay, az = shaft.T @ axis
    q4, q5 = atan2(ay, ax), -asin(min(1.0, max(-1.0, az)))
    c4, s4, c5, s5 = cos(q4), sin(q4), cos(q5), sin(q5)
    pitch = np.array([[c4 * s5, c4 * c5, -s4], [s4 * s5, s4 * c5, c4], [c5, -s5, 0.0]])
    rest = (shaft @ pitch).T @ yaw[:3, :3]
    q6 = atan2(-rest[2, 0], rest[0, 0]) + pi / 2
    return np.array([q1, q2, depth + RCM_TO_CARRIAGE - SHAFT, q4, q5, (q6 + pi) % (2 * pi) - pi])


def jacobian(q: Array) -> Array:
    """Joints (6,) -> (6, 6): velocity of the tip (m/s), then of its turning (rad/s), base frame, per joint's speed."""
    *links, tip = link_frames(q)
    columns = []
    for link, slides in zip(links, (name == "insertion" for name in JOINTS), strict=True):
        axis = link[:3, 2]
        columns.append([*axis, 0, 0, 0] if slides else [*np.cross(axis, tip[:3, 3] - link[:3, 3]), *axis])
    return np.array(columns).T


def within_limits(q: Array) -> bool:
    """Whether joints (6,) are finite and inside the arm's limits."""
    return bool(((q >= LOW) & (q <= HIGH)).all())
