"""Simulated robot and operator beside policy and gate: `ros2 launch surgrl simulation.launch.py bundle:=reach`.

With simulate:=false and nothing else changed, policy and gate run for the real robot that is there: in a dry run,
unless dry_run:=false is told.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from ros_nodes.transport import CONFIG
from surgrl.policy.errors import UserError
from surgrl.policy.node_parameters import gate_and_policy, parameters_of

ARGUMENTS = (
    ("task", "", str, "Gymnasium id to simulate; the bundle must be made for it; empty: as simulation_params says"),
    ("episodes", "0", int, "episodes until everything ends; 0: for ever"),
    ("seed", "0", int, "seed of the first episode; the next ones count up"),
    ("results", "", str, "JSON file for what came of each episode; empty: none"),
    ("arm", "", str, "namespace of the arm that is simulated and commanded; empty: as the parameter file says"),
    ("operator", "true", bool, "play the foot on the pedal; false: publish /operator/enable yourself"),
    ("stereo", "false", bool, "draw and publish the right lens too"),
)
OTHERS = (
    ("params", str(CONFIG / "policy.yaml"), "parameter file of policy and gate: limits, topics, frames"),
    ("simulate", "true", "start the simulated robot; false: a real one is there, for a dry run unless dry_run:=false"),
    ("simulation_params", str(CONFIG / "simulation.yaml"), "parameter file of sim_node: image size, rate, topics; and "
     "what a simulation needs of the other nodes beside params"),
    ("dry_run", "", "true: the arm is told nothing; empty: true for a real arm, false for a simulated one"),
)


def finish(context: LaunchContext) -> list:
    """Everything ends with this node. A second Shutdown, after Ctrl-C, would break off the first one."""
    return [] if context.is_shutdown else [Shutdown()]


def start(context: LaunchContext) -> list:
    """Policy and gate, and sim_node where the robot is simulated."""
    simulated = IfCondition(LaunchConfiguration("simulate")).evaluate(context)
    dry_run = LaunchConfiguration("dry_run").perform(context) or ("false" if simulated else "true")
    told = {name: LaunchConfiguration(name).perform(context) for name in ("params", "simulation_params", "task", "arm")}
    if simulated:
        try:
            scene = parameters_of(Path(told["simulation_params"]).expanduser(), "sim_node") or {}
            told["task"] = told["task"] or scene.get("task", "surgrl/Reach-v0")
            told["arm"] = told["arm"] or gate_and_policy(Path(told["params"]).expanduser()).get("arm", "PSM1")
        except UserError as error:
            raise RuntimeError(str(error)) from None
    simulation = Node(
        package="surgrl", executable="sim_node", name="sim_node", output="screen",
        on_exit=OpaqueFunction(function=finish), parameters=[LaunchConfiguration("simulation_params"), {
            name: ParameterValue(told.get(name, LaunchConfiguration(name)), value_type=kind)
            for name, _, kind, _ in ARGUMENTS}])
    policy = PythonLaunchDescriptionSource(str(Path(__file__).with_name("policy.launch.py")))
    include = IncludeLaunchDescription(policy, launch_arguments={        # it also sets the environment of sim_node
        "more_params": LaunchConfiguration("simulation_params") if simulated else "",
        "params": told["params"],
        "task": told["task"],
        "arm": told["arm"],
        "dry_run": dry_run}.items())
    return [include, *((simulation,) if simulated else ())]


def generate_launch_description() -> LaunchDescription:
    """sim_node beside all that policy.launch.py starts; ends when sim_node does."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, default, _, text in ARGUMENTS),
        *(DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in OTHERS),
        OpaqueFunction(function=start),
    ])
