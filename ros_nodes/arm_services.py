"""The kinematics of a simulated CRTK arm, as services: they need crtk_msgs."""

from collections.abc import Callable
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from surgrl.policy.errors import UserError

from . import arm_messages, messages
from .messages import Pose, crtk_to_optical, optical_to_crtk
from .sim_arm import SimArm


class KinematicsServices:
    """Forward and inverse."""

    def __init__(self, node: Node, arm: SimArm, name: str):
        """name: namespace, "PSM1"."""
        self._arm = arm
        kinds, serve = arm_messages, node.create_service
        serve(kinds.QueryForwardKinematics, f"/{name}/forward_kinematics", self._forward(optical_to_crtk))
        serve(kinds.QueryForwardKinematics, f"/{name}/local/forward_kinematics",
              self._forward(lambda pose: Pose(*arm.view.in_base(*pose))))
        serve(kinds.QueryInverseKinematics, f"/{name}/inverse_kinematics", self._inverse)

    def _forward(self, tell: Callable[[Pose], Pose]) -> Callable[[Any, Any], Any]:
        """tell: turns a pose in the camera's optical frame into what the service tells."""
        def forward(request: Any, answer: Any) -> Any:
            def solve() -> None:
                joints = arm_messages.checked_joints(request.jp, self._arm.view.names)
                answer.cp = messages.make_pose(tell(Pose(*self._arm.view.forward(joints))), "", Time()).pose
            return _answered(answer, solve)
        return forward

    def _inverse(self, request: Any, answer: Any) -> Any:
        def solve() -> None:
            pose = crtk_to_optical(messages.read_pose(PoseStamped(pose=request.cp)))
            view = self._arm.view
            near = arm_messages.checked_joints(request.jp, view.names) if request.jp else self._arm.joints
            answer.jp = view.inverse(*pose, near=near).tolist()
        return _answered(answer, solve)


def _answered(answer: Any, solve: Callable[[], None]) -> Any:
    """The answer, with whether it could be solved, and why not."""
    try:
        solve()
        answer.result = True
    except (UserError, ValueError) as error:
        answer.message = str(error)
    return answer
