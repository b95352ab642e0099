"""Simulated robot and operator beside policy and gate: `ros2 launch surgrl simulation.launch.py bundle:=reach`."""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from ros_nodes.transport import CONFIG

ARGUMENTS = (
    ("task", "surgrl/Reach-v0", str, "Gymnasium id to simulate; the bundle must be made for it"),
    ("episodes", "0", int, "episodes until everything ends; 0: for ever"),
    ("seed", "0", int, "seed of the first episode; the next ones count up"),
    ("results", "", str, "JSON file for what came of each episode; empty: none"),
    ("arm", "PSM1", str, "namespace of the arm that is simulated and commanded"),
    ("operator", "true", bool, "play the foot on the pedal; false: publish /operator/enable yourself"),
    ("stereo", "false", bool, "draw and publish the right lens too"),
)
OTHERS = (
    ("simulation_params", str(CONFIG / "simulation.yaml"), "parameter file of sim_node: image size, rate, topics; and "
     "what a simulation needs of the other nodes beside params"),
    ("dry_run", "false", "true: the simulated arm is told nothing"),
)


def finish(context: LaunchContext) -> list:
    """Everything ends with this node. A second Shutdown, after Ctrl-C, would break off the first one."""
    return [] if context.is_shutdown else [Shutdown()]


def generate_launch_description() -> LaunchDescription:
    """sim_node beside all that policy.launch.py starts; ends when sim_node does."""
    simulation = Node(
        package="surgrl", executable="sim_node", name="sim_node", output="screen",
        on_exit=OpaqueFunction(function=finish), parameters=[LaunchConfiguration("simulation_params"), {
            name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, _, kind, _ in ARGUMENTS}])
    policy = PythonLaunchDescriptionSource(str(Path(__file__).with_name("policy.launch.py")))
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, default, _, text in ARGUMENTS),
        *(DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in OTHERS),
        IncludeLaunchDescription(policy, launch_arguments={        # it also sets the environment of sim_node
            "more_params": LaunchConfiguration("simulation_params"),
            "task": LaunchConfiguration("task"),
            "arm": LaunchConfiguration("arm"),
            "dry_run": LaunchConfiguration("dry_run")}.items()),
        simulation,
    ])
