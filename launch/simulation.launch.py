"""Simulated robot and policy: `ros2 launch surgrl simulation.launch.py bundle:=reach episodes:=10`."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
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
)


def generate_launch_description() -> LaunchDescription:
    """sim_node beside all that policy.launch.py starts; ends when sim_node does."""
    simulation = Node(
        package="surgrl", executable="sim_node", name="sim_node", output="screen", on_exit=Shutdown(),
        parameters=[LaunchConfiguration("simulation_params"), {
            name: ParameterValue(LaunchConfiguration(name), value_type=kind)
            for name, _, kind, _ in ARGUMENTS}])
    policy = Path(__file__).with_name("policy.launch.py")
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, default, _, text in ARGUMENTS),
        DeclareLaunchArgument("simulation_params", default_value=str(CONFIG / "simulation.yaml"),
                              description="parameter file of sim_node: image size, rate, topics, frames"),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(policy))),   # also sets the environment
        simulation,
    ])
