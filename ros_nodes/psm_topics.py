"""The topics of a simulated dVRK arm: all that its clients look for before they connect."""

from collections.abc import Callable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray

from surgrl.policy.errors import UserError

from . import arm_messages, messages, qos
from .arm_server import Command, Report
from .messages import Pose, crtk_to_optical, optical_to_crtk, turn_vector
from .sim_arm import SimArm

FORCES = {"servo_jf": JointState, "jaw/servo_jf": JointState, "body/servo_cf": WrenchStamped,
          "spatial/servo_cf": WrenchStamped}
SWITCHES = ("use_gravity_compensation", "body/set_cf_orientation_absolute", "emulate_tool_present")


def reports(arm: SimArm, name: str, frame: str) -> list[Report]:
    """What it tells. name: namespace, "PSM1". frame: frame_id of poses in the CRTK camera frame."""
    joints, jaw, base = arm_messages.make_joints, messages.make_joint, f"{name}_base"
    names = arm.view.names

    def seen(pose: Pose, stamp: Time) -> PoseStamped:
        return messages.make_pose(optical_to_crtk(pose), frame, stamp)

    def local(pose: Pose, stamp: Time) -> PoseStamped:
        return messages.make_pose(Pose(*arm.view.in_base(*pose)), base, stamp)

    def wrench(stamp: Time) -> WrenchStamped:
        force = arm.view.forces()[1]
        lever = arm.view.in_base(*arm.measured.tip)[0]
        return arm_messages.make_wrench(force, np.cross(lever, force), base, stamp)

    return [
        Report("measured_js", JointState, lambda t: joints(names, arm.measured.joints, t, arm.measured.speeds)),
        Report("setpoint_js", JointState, lambda t: joints(names, arm.joints, t)),
        Report("measured_cp", PoseStamped, lambda t: seen(arm.measured.tip, t)),
        Report("setpoint_cp", PoseStamped, lambda t: seen(arm.setpoint, t)),
        Report("local/measured_cp", PoseStamped, lambda t: local(arm.measured.tip, t)),
        Report("local/setpoint_cp", PoseStamped, lambda t: local(arm.setpoint, t)),
        Report("measured_cv", TwistStamped, lambda t: arm_messages.make_twist(
            turn_vector(arm.measured.linear), turn_vector(arm.measured.angular), frame, t)),
        Report("jaw/measured_js", JointState, lambda t: jaw("jaw", arm.measured.jaw, t)),
        Report("jaw/setpoint_js", JointState, lambda t: jaw("jaw", arm.jaw, t)),
        Report("body/measured_cf", WrenchStamped, lambda t: arm_messages.make_wrench(
            arm.view.forces()[0], np.zeros(3), name, t)),
        Report("spatial/measured_cf", WrenchStamped, wrench),
        Report("body/jacobian", Float64MultiArray, lambda _: arm_messages.make_matrix(arm.view.jacobians()[0])),
        Report("spatial/jacobian", Float64MultiArray, lambda _: arm_messages.make_matrix(arm.view.jacobians()[1]))]


def commands(arm: SimArm, tell: Callable[[str], None]) -> list[Command]:
    """What it hears. tell: says something on the topic `status`. A relative command must not be lost: no depth of 1."""
    def pose(follow: Callable[[Pose], None]) -> Callable[[PoseStamped], None]:
        return lambda message: follow(crtk_to_optical(messages.read_pose(message)))

    def joints(follow: Callable[[Any], None]) -> Callable[[JointState], None]:
        return lambda message: follow(arm_messages.read_joints(message, arm.view.names))

    def refuse(_: Any) -> None:
        raise UserError("a simulated arm has no motors that a force could be asked of; use servo_cp or servo_jp")

    return [
        Command("servo_cp", PoseStamped, qos.SERVO, pose(arm.servo_cp), answers=True),
        Command("servo_jp", JointState, qos.SERVO, joints(arm.servo_jp), answers=True),
        Command("servo_jr", JointState, qos.EVENT, joints(arm.servo_jr)),
        Command("move_cp", PoseStamped, qos.EVENT, pose(arm.move_cp), answers=True),
        Command("move_jp", JointState, qos.EVENT, joints(arm.move_jp)),
        Command("move_jr", JointState, qos.EVENT, joints(arm.move_jr)),
        Command("jaw/servo_jp", JointState, qos.SERVO, lambda m: arm.servo_jaw(messages.read_joint(m))),
        Command("jaw/move_jp", JointState, qos.EVENT, lambda m: arm.move_jaw(messages.read_joint(m))),
        *(Command(topic, kind, qos.SERVO, refuse) for topic, kind in FORCES.items()),
        *(Command(topic, Bool, qos.EVENT, lambda m, topic=topic: tell(
            f"{topic} {m.data}: heard, without effect on a simulated arm")) for topic in SWITCHES)]
