"""What a CRTK arm is told. A dry run tells it nothing: the same messages go to the node's own topics."""

from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty

from surgrl.policy.gate import Command

from . import messages, qos

MODES = ("servo_cp", "interpolate_cp", "move_cp")       # dVRK arms have no interpolate_cp


class ArmWriter:
    """Publishers of one arm's commands. They are silent while the node is not active, whoever calls them."""

    def __init__(self, node: LifecycleNode, arm: str, frame: str, *, mode: str, every: int, moves_jaw: bool,
                 dry_run: bool):
        """arm: "PSM1". frame: written into commands. mode: one of MODES. every: so many ticks one command leaves."""
        self._node, self._frame, self._every, self._ticks = node, frame, every, 0
        place = f"/{node.get_name()}/dry_run" if dry_run else f"/{arm}"
        space = mode.removesuffix("_cp")
        self.topic = f"{place}/{mode}"
        self._poses = node.create_lifecycle_publisher(PoseStamped, self.topic, qos.SERVO)
        self._jaw = (node.create_lifecycle_publisher(JointState, f"{place}/jaw/{space}_jp", qos.SERVO)
                     if moves_jaw else None)
        self._hold = node.create_publisher(Empty, f"{place}/hold", qos.EVENT)

    def send(self, command: Command, *, now: bool = False) -> bool:
        """Publish a command, with the stamp of the newest image that it answers; whether its turn had come.

        Arms ignore the stamp; with it anyone can measure how long image-to-command took. now: out of turn.
        """
        self._ticks += 1
        if not now and self._ticks % self._every:
            return False
        stamp = messages.to_stamp(command.stamp)
        self._poses.publish(messages.make_pose(command.pose, self._frame, stamp))
        if self._jaw is not None and command.jaw is not None:
            self._jaw.publish(messages.make_joint("jaw", command.jaw, stamp))
        return True

    def hold(self) -> None:
        """Tell the arm to stay where it is."""
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
