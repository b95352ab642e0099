"""A recording as the camera, in a dry run: `ros2 launch surgrl replay.launch.py source:=surgery.mp4`."""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from ros_nodes.transport import CONFIG

ARGUMENTS = (
    ("source", None, str, "recording: mp4, avi, mkv; or a rosbag2 folder, mcap, db3, bag"),
    ("topic", "", str, "of a bag with several topics of pictures: the one to play"),
    ("loop", "false", bool, "begin anew at the end; false: everything ends there"),
    ("rate", "1.0", float, "factor on the recording's own pace"),
    ("crop", "", str, "auto: no black borders; inside: nothing black; or top,left,height,width in px; empty: all"),
    ("eye", "", str, "of a stereo recording, both eyes in each picture: left or right; empty: pictures are of one eye"),
    ("layout", "side-by-side", str, "where the eyes are: side-by-side or over-under"),
    ("mask", "", str, "picture as large as the recorded ones; what is not black in it is blanked; empty: none"),
    ("arm", "PSM1", str, "namespace of the still arm that is played"),
    ("operator", "true", bool, "play the foot on the pedal; false: publish /operator/enable yourself"),
)
OTHERS = (
    ("replay_params", str(CONFIG / "replay.yaml"), "parameter file of video_node: topics, where the still arm stands"),
)


def finish(context: LaunchContext) -> list:
    """Everything ends with this node. A second Shutdown, after Ctrl-C, would break off the first one."""
    return [] if context.is_shutdown else [Shutdown()]


def generate_launch_description() -> LaunchDescription:
    """video_node beside all that policy.launch.py starts; ends when video_node does."""
    video = Node(
        package="surgrl", executable="video_node", name="video_node", output="screen",
        on_exit=OpaqueFunction(function=finish), parameters=[LaunchConfiguration("replay_params"), {
            name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, _, kind, _ in ARGUMENTS}])
    policy = PythonLaunchDescriptionSource(str(Path(__file__).with_name("policy.launch.py")))
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, default, _, text in ARGUMENTS),
        *(DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in OTHERS),
        IncludeLaunchDescription(policy, launch_arguments={        # it also sets the environment of video_node
            "more_params": LaunchConfiguration("replay_params"),
            "arm": LaunchConfiguration("arm"),
            "dry_run": "true"}.items()),
        video,
    ])
