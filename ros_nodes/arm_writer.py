"""What a CRTK arm is told. A dry run tells it nothing: the same messages go to the node's own topics."""

from collections.abc import Callable

from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty

from surgrl.policy.gate import Command
from surgrl.policy.spec import Array

from . import messages, qos
from .arm_joints import JointTargets

MODES = ("servo_cp", "servo_jp", "interpolate_cp", "move_cp")       # dVRK arms have no interpolate_cp
LEVELS, SPACES = ("servo", "interpolate", "move"), (
    "cp", "cr", "cv", "cf", "cs", "ci", "jp", "jr", "jv", "jf")
# Every topic below an arm's namespace by which it can be moved.
MOTIONS = (*(f"{level}_{space}" for level in LEVELS for space in SPACES),
           *(f"jaw/{level}_{space}" for level in LEVELS for space in ("jp", "jr", "jf")),
           "body/servo_cf", "spatial/servo_cf")


class ArmWriter:
    """Publishers of one arm's commands. They are silent while the node is not active, whoever calls them."""

    def __init__(self, node: LifecycleNode, arm: str, frame: str, *, mode: str, every: int, dt: float,
                 joint_speed: float, max_state_age: float, moves_jaw: bool, dry_run: bool):
        """arm: "PSM1". frame: written into commands. mode: one of MODES. every: so many ticks of dt s one command
        leaves. joint_speed: rad/s or m/s, of servo_jp; max_state_age: s, of the joints that it starts from.
        """
        self._node, self._frame, self._every, self._ticks = node, frame, every, 0
        place = f"/{node.get_name()}/dry_run" if dry_run else f"/{arm}"
        self.topic, jaw = f"{place}/{mode}", f"{place}/jaw/{mode.split('_')[0]}_jp"
        # Topic -> how many may publish there, this node being one of them.
        self.alone = {f"/{arm}/{name}": 0 for name in (() if dry_run else MOTIONS)} | {
            name: 1 for name in (self.topic, *((jaw,) if moves_jaw else ()))}
        self.failure: str | None = None         # why the last command could not be sent
        self.joints: Array | None = None        # (J,) what the last one was sent as, by servo_jp
        self._joints = (JointTargets(node, arm, self.topic, dt=every * dt, speed=joint_speed, max_age=max_state_age)
                        if mode == "servo_jp" else None)
        self._poses = (None if self._joints else
                       node.create_lifecycle_publisher(PoseStamped, self.topic, qos.SERVO))
        self._jaw = node.create_lifecycle_publisher(JointState, jaw, qos.SERVO) if moves_jaw else None
        self._hold = node.create_publisher(Empty, f"{place}/hold", qos.EVENT)

    def obstacle(self) -> str | None:
        """Why no motion can start, or go on, or None."""
        return self._joints.obstacle() if self._joints else None

    def send(self, command: Command, *, expired: Callable[[], bool], now: bool = False) -> bool:
        """Publish a command, with the stamp of the newest image that it answers; whether it was published.

        Arms ignore the stamp; with it anyone can measure how long image-to-command took. now: out of turn. expired:
        asked at the last moment, whether the command is too old to be sent.
        """
        self._ticks += 1
        if not now and self._ticks % self._every:
            return False
        stamp = messages.to_stamp(command.stamp)
        pose = messages.make_pose(command.pose, self._frame, stamp)
        if expired():       # this process was stopped since it was decided
            return False
        if self._joints:
            self.joints = self._joints.publish(pose.pose, command.stamp, expired=expired)
            self.failure = self._joints.failure
            if self.joints is None:     # not yet, or never: a jaw alone is no command
                return False
        else:
            self._poses.publish(pose)
        if self._jaw is not None and command.jaw is not None:
            self._jaw.publish(messages.make_joint("jaw", command.jaw, stamp))
        return True

    def hold(self) -> None:
        """Tell the arm to stay where it is."""
        self.failure = None
        if self._joints:
            self._joints.rest()
        self._hold.publish(Empty())

    def wait(self) -> None:
        """Until the arm has heard `hold`: this node may be about to end."""
        self._hold.wait_for_all_acked(Duration(seconds=0.2))

    def close(self) -> None:
        """Leave the topics."""
        self._node.destroy_publisher(self._hold)
        for publisher in (self._poses, self._jaw):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)
        if self._joints:
            self._joints.close()
