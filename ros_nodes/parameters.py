"""Parameters of all nodes: what they mean and may be, told once; `ros2 param describe` shows it."""

from array import array
from difflib import get_close_matches
from typing import Any, NamedTuple

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from surgrl.policy.errors import UserError
from surgrl.policy.image_limits import ImageLimits
from surgrl.policy.limits import Cone, Limits


class Parameter(NamedTuple):
    """One parameter; `allowed` is (lowest, highest) of a number."""

    name: str
    default: Any
    text: str
    allowed: tuple[float, float] | None = None


FRAME = Parameter("command_frame", "ECM", "header.frame_id that measured_cp and setpoint_cp must have, and servo_cp "
                  "gets: the CRTK camera frame (x left, y up, z away); empty: not checked")
POLICY = (
    Parameter("bundle", "", "folder of the policy bundle, or the name of a pretrained one"),
    Parameter("task", "", "Gymnasium id that the policy must be made for; empty: any"),
    Parameter("arm", "PSM1", "namespace of the CRTK arm whose state the policy reads, if it reads any"),
    Parameter("providers", ["CPUExecutionProvider"], "onnxruntime execution providers, first choice first"),
    Parameter("allow_fallback", False, "run on the next provider where the first is not there, instead of refusing"),
    Parameter("image_topic", "/endoscope/left/image_raw", "sensor_msgs/Image that the policy sees"),
    FRAME,
    Parameter("max_image_age", 0.1, "s, oldest camera image that is looked at", (1e-3, 1.0)),
    Parameter("max_state_age", 0.1, "s, oldest state of the arm that the policy reads", (1e-3, 1.0)),
    Parameter("image.frozen_frames", 5, "frames in a row that show nothing new, that hold; 0: off, for simulators "
              "without noise", (0, 300)),
    Parameter("image.overlay_tiles", 8, "of 64 tiles, those that may change in a frozen picture", (0, 63)),
    Parameter("image.blank_frames", 2, "frames in a row that are black, white or a test picture; 0: off", (0, 300)),
    Parameter("image.strange_frames", 4, "frames in a row that do not fit the bundle's profile; 0: off", (0, 300)),
    Parameter("image.tolerance", 1.0, "factor on the ranges and distances of the bundle's profile", (1e-2, 100.0)),
    Parameter("image.strange_latch", 2.0, "s of frames spoilt by lens, light or colour that latch", (1e-2, 3600.0)),
    Parameter("image.unlike_latch", 1.0, "s of frames unlike any of training that latch", (1e-2, 3600.0)),
    Parameter("image.good_frames", 5, "good frames in a row before the policy acts", (1, 300)),
)
GATE = (
    Parameter("arm", "PSM1", "namespace of the CRTK arm that is commanded"),
    Parameter("policy", "policy_node", "name of the node that asks: its action and status are heard"),
    FRAME,
    Parameter("command", "servo_cp", "CRTK command: servo_cp, or servo_jp (asks the arm's inverse_kinematics), "
              "interpolate_cp or move_cp where the arm has them"),
    Parameter("command_every", 1, "ticks for each command; more than 1 for interpolate_cp and move_cp", (1, 100)),
    Parameter("joint_speed", 2.0, "rad/s, or m/s of a sliding joint: most that servo_jp may ask of one", (1e-2, 20.0)),
    Parameter("rate", 100.0, "ticks per second", (20.0, 1000.0)),
    Parameter("moves_jaw", True, "whether the arm has a jaw that the policy may move"),
    Parameter("dry_run", True, "tell the arm nothing; commands go to ~/dry_run/* instead"),
    Parameter("audit_folder", "~/.surgrl/audit", "where the audit logs are kept"),
    Parameter("audit_required", True, "hold when the audit log cannot be written any more; false: only warn. "
              "One that cannot be begun is refused"),
    Parameter("limits.speed", 0.05, "m/s, of the tip", (1e-4, 0.5)),
    Parameter("limits.acceleration", 1.0, "m/s^2, of the tip", (1e-3, 20.0)),
    Parameter("limits.jerk", 50.0, "m/s^3, of the tip", (1e-2, 10_000.0)),
    Parameter("limits.box_low", [-0.04, -0.036, 0.048], "m, corner of the workspace, CRTK camera frame"),
    Parameter("limits.box_high", [0.04, 0.056, 0.134], "m, the opposite corner"),
    Parameter("limits.max_lead", 0.01, "m, most that the command may be ahead of the tip", (1e-4, 0.1)),
    Parameter("limits.jaw_speed", 2.0, "rad/s, of the jaw", (1e-2, 20.0)),
    Parameter("limits.jaw_low", -0.35, "rad, of the jaw at least", (-3.14, 3.14)),
    Parameter("limits.jaw_high", 1.4, "rad, of the jaw at most", (-3.14, 3.14)),
    Parameter("limits.max_image_age", 0.1, "s, oldest camera image that is acted on", (1e-3, 1.0)),
    Parameter("limits.max_action_age", 0.1, "s, longest silence of the policy", (1e-3, 1.0)),
    Parameter("limits.max_state_age", 0.05, "s, oldest measured_*, setpoint_* acted on", (1e-3, 1.0)),
    Parameter("limits.max_enable_age", 0.2, "s, longest silence of the operator's pedal", (1e-3, 1.0)),
    Parameter("limits.good_frames", 5, "good actions in a row before anything moves", (1, 300)),
    Parameter("limits.wild_actions", 10, "actions outside [-1, 1] in a row that latch", (1, 300)),
    Parameter("limits.oscillation", 0.25, "of a policy's swinging to and fro, 1 = as much as possible", (1e-3, 1.0)),
    Parameter("limits.rcm.use", False, "whether the cone below bounds the tip too"),
    Parameter("limits.rcm.centre", [0.0, 0.0, 0.0], "m, remote centre of motion, CRTK camera frame"),
    Parameter("limits.rcm.axis", [0.0, 0.0, 1.0], "from the remote centre into the patient"),
    Parameter("limits.rcm.angle", 0.8, "rad, between that axis and the shaft, at most", (1e-2, 1.57)),
    Parameter("limits.rcm.depth_low", 0.045, "m, of the tip beyond the remote centre, at least; dVRK: 0.045",
              (1e-3, 1.0)),
    Parameter("limits.rcm.depth_high", 0.24, "m, of the tip beyond the remote centre, at most", (1e-3, 1.0)),
)
SIMULATION = (
    Parameter("task", "surgrl/Reach-v0", "Gymnasium id of the environment"),
    Parameter("seed", 0, "seed of the first episode; the next ones count up", (0, 2**31 - 1)),
    Parameter("episodes", 0, "episodes until the node ends; 0: for ever", (0, 1_000_000)),
    Parameter("max_steps", 0, "control steps until an episode ends without success; 0: the environment's own limit",
              (0, 2**31 - 1)),
    Parameter("results", "", "JSON file written after every episode; empty: none"),
    Parameter("arm", "PSM1", "namespace of the arm that the environment plays"),
    Parameter("camera", "/endoscope/left", "namespace of image_raw and camera_info"),
    Parameter("command_frame", "ECM", "header.frame_id of poses: CRTK camera frame (x left, y up, z away)"),
    Parameter("image_width", 640, "px, as published", (16, 3840)),
    Parameter("image_height", 480, "px, as published", (16, 2160)),
    Parameter("render_scale", 4, "images are drawn at 1/render_scale of that size and enlarged", (1, 16)),
    Parameter("stereo", False, "whether a right lens is drawn and published too; its namespace is the camera's, with "
              "right for left"),
    Parameter("ready", True, "whether the arm begins ENABLED and homed; false: it waits for enable and home"),
    Parameter("operator", True, "whether a person is played who steps on the pedal /operator/enable"),
    Parameter("tracking_error", 0.0, "m, that the tip may be behind its setpoint before FAULT; 0: any", (0.0, 0.5)),
    Parameter("rate", 0.0, "control steps per second of wall time; 0: real time; slower is for slow machines",
              (0.0, 1000.0)),
)
VIDEO = (
    Parameter("source", "", "recording: mp4, avi, mkv; or a rosbag2 folder, mcap, db3, bag"),
    Parameter("topic", "", "of a bag with several topics of pictures: the one to play"),
    Parameter("loop", False, "begin anew at the end; false: the node ends there"),
    Parameter("rate", 1.0, "factor on the recording's own pace", (0.05, 20.0)),
    Parameter("crop", "", "part of the picture: auto, without its black borders; inside, the largest rectangle with "
              "nothing black in it; or top,left,height,width in px; empty: all of it"),
    Parameter("eye", "", "of a stereo recording, both eyes in each picture, the one that is shown: left or right; "
              "empty: pictures are of one eye"),
    Parameter("layout", "side-by-side", "where the eyes are: side-by-side or over-under; the left or upper is the "
              "left one"),
    Parameter("mask", "", "picture as large as the recorded ones; what is not black in it is blanked; empty: none"),
    Parameter("await_subscriber", True, "begin when somebody subscribes to the images; false: at once"),
    Parameter("camera", "/endoscope/left", "namespace of image_raw and camera_info"),
    Parameter("arm", "PSM1", "namespace of a still arm that is played for the gate's dry run; empty: none"),
    Parameter("position", [0.0, 0.01, 0.091], "m, where its tip stands, CRTK camera frame: within the gate's box"),
    Parameter("command_frame", "ECM", "header.frame_id of poses: CRTK camera frame (x left, y up, z away)"),
    Parameter("operator", False, "whether a person is played who steps on the pedal /operator/enable"),
)
RECORD = (
    Parameter("folder", "recordings", "folder in which each recording gets one of its own, named by the time (UTC)"),
    Parameter("arm", "PSM1", "namespace of the CRTK arm that is recorded"),
    Parameter("image_topic", "/endoscope/left/image_raw", "sensor_msgs/Image that is recorded, as JPEG, under its "
              "name with /compressed added; empty: no pictures"),
    Parameter("jpeg_quality", 90, "of the pictures; 100 is best and largest", (1, 100)),
    Parameter("camera_rate", 0.0, "Hz, most pictures kept per second; 0: every one", (0.0, 1000.0)),
    Parameter("split_minutes", 10.0, "minutes after which a new file of the recording begins; 0: never", (0.0, 1440.0)),
    Parameter("min_free", 1000.0, "MB; recording ends while the disk has so much left: the audit log needs it",
              (0.0, 1e6)),
)


def declare(node: Node, parameters: tuple[Parameter, ...]) -> None:
    """Declare them all. rclpy's ParameterException when one from outside is of another type or range.

    UserError for one from outside that no node of this kind has: a limit that is misspelt would be its default.
    """
    for name, default, text, allowed in parameters:
        descriptor = ParameterDescriptor(description=text)
        if allowed is not None and isinstance(default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=allowed[0], to_value=allowed[1])]
        elif allowed is not None:
            low, high = (int(bound) for bound in allowed)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        node.declare_parameter(name, default, descriptor)
    for name in sorted(node._parameter_overrides):      # rclpy tells them nowhere else
        if not (node.has_parameter(name) or name.startswith("qos_overrides.")):
            near = get_close_matches(name, [parameter.name for parameter in parameters], 1)
            raise UserError(f"{node.get_name()} has no parameter {name}"
                            + (f"; is {near[0]} meant?" if near else ""))


def read_limits(node: Node) -> Limits:
    """The limits.* parameters as one whole, checked; UserError names the one that cannot be."""
    values = told(node)
    cone = {name: values.pop(f"rcm.{name}") for name in ("use", "centre", "axis", "angle", "depth_low", "depth_high")}
    use = cone.pop("use")
    for group in (values, cone):
        group.update({name: tuple(value) for name, value in group.items() if isinstance(value, list)})
    return Limits(**values, rcm=Cone(**cone) if use else None)


def read_image_limits(node: Node) -> ImageLimits:
    """The image.* parameters; UserError names the one that cannot be."""
    names = [parameter.name for parameter in POLICY if parameter.name.startswith("image.")]
    return ImageLimits(**{name.removeprefix("image."): node.get_parameter(name).value for name in names})


def told(node: Node) -> dict[str, Any]:
    """The limits.* parameters by their names without `limits.`; corners as lists."""
    names = [parameter.name for parameter in GATE if parameter.name.startswith("limits.")]
    values = {name.removeprefix("limits."): node.get_parameter(name).value for name in names}
    return {name: list(value) if isinstance(value, array) else value for name, value in values.items()}
