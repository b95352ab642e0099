"""policy_node for a robot and camera that run already: `ros2 launch surgrl policy.launch.py bundle:=reach`.

The node moves the arm as soon as it is active and operating_state is ENABLED. autostart:=false leaves that to
you: `ros2 lifecycle set /policy_node configure`, then `activate`; `deactivate` stops the arm.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, RegisterEventHandler, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from ros_nodes.transport import CONFIG, PROFILE, profile_variables

ARGUMENTS = (
    ("bundle", "reach", "folder of a policy bundle, or the name of a pretrained one"),
    ("task", "", "Gymnasium id that the bundle must be made for; empty: any"),
    ("policy_params", str(CONFIG / "policy.yaml"), "parameter file of policy_node: limits, topics, frames"),
    ("autostart", "true", "configure and activate the node at once"),
)


def generate_launch_description() -> LaunchDescription:
    """policy_node, configured and activated unless autostart is false."""
    policy = LifecycleNode(
        package="surgrl", executable="policy_node", name="policy_node", namespace="", output="screen",
        parameters=[LaunchConfiguration("policy_params"), {
            name: ParameterValue(LaunchConfiguration(name), value_type=str) for name in ("bundle", "task")}])
    autostart = IfCondition(LaunchConfiguration("autostart"))
    configure, activate = (
        EmitEvent(condition=autostart, event=ChangeState(
            lifecycle_node_matcher=matches_action(policy), transition_id=transition))
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE))
    # A refused configure ends in `unconfigured`: then nothing is activated, and ~/status tells why.
    once_configured = OnStateTransition(
        target_lifecycle_node=policy, start_state="configuring", goal_state="inactive", entities=[activate])
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, default, text in ARGUMENTS),
        *(SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=str(PROFILE)))
          for name in profile_variables()),
        policy,
        RegisterEventHandler(once_configured),
        configure,
    ])
