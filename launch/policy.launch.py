"""policy_node and gate_node on the robot workstation: `ros2 launch surgrl policy.launch.py bundle:=reach`.

A dry run, until dry_run:=false: the gate's commands go to /gate_node/dry_run/*, and the arm hears nothing. Then it
moves while both are active and the operator's pedal (/operator/enable) is held. A node that crashes is started again
and stays unconfigured: `ros2 lifecycle set /gate_node configure`, `activate`, then the same for /policy_node.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from ros_nodes.transport import CONFIG, profile, profile_variables
from surgrl.policy.errors import UserError
from surgrl.policy.node_parameters import gate_and_policy

RESPAWN = 5.0       # s, until a node that ended is started again: by then nobody counts it as a publisher any more
ARGUMENTS = (
    ("params", str(CONFIG / "policy.yaml"), "parameter file of both nodes: limits, topics, frames"),
    ("more_params", "", "a second one, whose values win; empty: none"),
    ("bundle", "", "folder of a policy bundle, or the name of a pretrained one; empty: as the parameter file says"),
    ("task", "", "Gymnasium id that the bundle must be made for; empty: as the parameter file says"),
    ("arm", "", "namespace of the CRTK arm, PSM1; empty: as the parameter file says"),
    ("dry_run", "true", "true: the arm is told nothing. It wins over the parameter file"),
    ("record", "", "folder for a rosbag2 recording of the run; empty: none"),
    ("autostart", "true", "configure and activate gate_node, then policy_node, at their first start"),
    ("respawn", "true", "start a node again that has ended; it stays unconfigured"),
    ("log_level", "info", "of both nodes: debug, info, warn, error"),
)


class Autostart:
    """Configures and activates nodes one after the other, once. A refusal or the end of a process ends it for good.

    So neither a node that was started again, nor one whose operator deactivated it, is activated by anybody else.
    """

    def __init__(self, *nodes: LifecycleNode):
        """Nodes, in the order in which they shall become active."""
        self._nodes = nodes
        self._steps = [step for node in nodes for step in (
            (node, Transition.TRANSITION_CONFIGURE, "configuring", "inactive"),
            (node, Transition.TRANSITION_ACTIVATE, "activating", "active"))]

    def actions(self) -> list:
        """What starts it and keeps it going."""
        handlers = [OnStateTransition(target_lifecycle_node=node, entities=[OpaqueFunction(function=self._advance)])
                    for node in self._nodes]
        handlers += [OnProcessExit(target_action=node, on_exit=[OpaqueFunction(function=self._give_up)])
                     for node in self._nodes]
        return [*map(RegisterEventHandler, handlers), *self._next()]

    def _next(self) -> list:
        node, transition, _, _ = self._steps[0]
        return [EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))]

    def _advance(self, context: LaunchContext) -> list:
        event = context.locals.event
        if not self._steps or event.action is not self._steps[0][0] or event.start_state != self._steps[0][2]:
            return []
        node, _, _, reached = self._steps.pop(0)
        if event.goal_state == reached:
            return self._next() if self._steps else []
        self._steps.clear()
        return [LogInfo(msg=f"autostart ends: {node.node_name} was {event.start_state} and is {event.goal_state}; "
                            f"{node.node_name}/status says why")]

    def _give_up(self, context: LaunchContext) -> list:
        self._steps.clear()
        if context.is_shutdown:
            return []
        name = context.locals.event.action.node_name
        return [LogInfo(msg=f"{name} has ended. It stays unconfigured when it is started again: find out why, then "
                            f"`ros2 lifecycle set {name} configure`, `activate`")]


def start(context: LaunchContext) -> list:
    """The nodes, with parameters from files that are there; an argument that is empty leaves theirs alone."""
    told = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    dry_run, autostart, respawn = (
        IfCondition(told[name]).evaluate(context) for name in ("dry_run", "autostart", "respawn"))
    files = [Path(told[name]).expanduser() for name in ("params", "more_params") if told[name]]
    for file in files:
        if not file.is_file():      # launch itself warns, and starts the nodes with other limits than you gave
            raise RuntimeError(f"{file}: no such parameter file")
    try:
        names = gate_and_policy(files[0])
    except UserError as error:
        raise RuntimeError(str(error)) from None
    given = {name: ParameterValue(told[name], value_type=str) for name in ("bundle", "task", "arm") if told[name]}
    arm = {name: value for name, value in given.items() if name == "arm"}
    seen = {name: ParameterValue(names[name], value_type=str) for name in ("arm", "image_topic") if name in names}
    overrides = {"policy_node": given, "gate_node": {"dry_run": dry_run, **arm}, "record_node": {**seen, **arm}}
    common = {"package": "surgrl", "namespace": "", "output": "screen", "respawn": respawn, "respawn_delay": RESPAWN}

    def about(name: str) -> dict:
        return {**common, "parameters": [*map(str, files), *filter(None, [overrides[name]])],
                "ros_arguments": ["--log-level", f"{name}:={told['log_level']}"]}
    gate = LifecycleNode(executable="gate_node", name="gate_node", **about("gate_node"))
    policy = LifecycleNode(executable="policy_node", name="policy_node", **about("policy_node"))
    recorder = Node(package="surgrl", executable="record_node", name="record_node", output="screen", parameters=[
        str(CONFIG / "record.yaml"),
        {"folder": ParameterValue(str(Path(told["record"]).expanduser()), value_type=str), **overrides["record_node"]}])
    return [*((recorder,) if told["record"] else ()), gate, policy,
            *(Autostart(gate, policy).actions() if autostart else ())]


def generate_launch_description() -> LaunchDescription:
    """gate_node and policy_node, configured and activated unless autostart is false."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, default, text in ARGUMENTS),
        *(SetEnvironmentVariable(name, EnvironmentVariable(name, default_value=str(profile())))
          for name in profile_variables()),
        OpaqueFunction(function=start),
    ])
