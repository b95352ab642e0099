"""Parameters of both nodes: what they mean and may be, told once; `ros2 param describe` shows it."""

from typing import Any, NamedTuple

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from surgrl.policy.safety import Limits


class Parameter(NamedTuple):
    """One parameter; `allowed` is (lowest, highest) of a number."""

    name: str
    default: Any
    text: str
    allowed: tuple[float, float] | None = None


POLICY = (
    Parameter("bundle", "", "folder of the policy bundle, or the name of a pretrained one"),
    Parameter("task", "", "Gymnasium id that the policy must be made for; empty: any"),
    Parameter("arm", "PSM1", "namespace of the CRTK arm that the policy moves"),
    Parameter("providers", ["CPUExecutionProvider"], "onnxruntime execution providers, first choice first"),
    Parameter("image_topic", "/endoscope/left/image_raw", "sensor_msgs/Image that the policy sees"),
    Parameter("command_frame", "ECM", "header.frame_id that measured_cp and setpoint_cp must have, and "
              "servo_cp gets: the CRTK camera frame (x left, y up, z away); empty: not checked"),
    Parameter("limits.speed", 0.05, "m/s, of the tip", (1e-4, 0.5)),
    Parameter("limits.acceleration", 1.0, "m/s^2, of the tip", (1e-3, 20.0)),
    Parameter("limits.box_low", [-0.04, -0.036, 0.048], "m, corner of the workspace, CRTK camera frame"),
    Parameter("limits.box_high", [0.04, 0.056, 0.134], "m, the opposite corner"),
    Parameter("limits.max_lead", 0.01, "m, most that the command may be ahead of the tip", (1e-4, 0.1)),
    Parameter("limits.max_image_age", 0.1, "s, oldest camera image that is acted on", (1e-3, 1.0)),
    Parameter("limits.max_state_age", 0.1, "s, oldest measured_*, setpoint_* acted on", (1e-3, 1.0)),
    Parameter("limits.jaw_speed", 2.0, "rad/s, of the jaw", (1e-2, 20.0)),
)
SIMULATION = (
    Parameter("task", "surgrl/Reach-v0", "Gymnasium id of the environment"),
    Parameter("seed", 0, "seed of the first episode; the next ones count up", (0, 2**31 - 1)),
    Parameter("episodes", 0, "episodes until the node ends; 0: for ever", (0, 1_000_000)),
    Parameter("results", "", "JSON file written after every episode; empty: none"),
    Parameter("arm", "PSM1", "namespace of the arm that the environment plays"),
    Parameter("camera", "/endoscope/left", "namespace of image_raw and camera_info"),
    Parameter("command_frame", "ECM", "header.frame_id of poses: CRTK camera frame (x left, y up, z away)"),
    Parameter("image_width", 640, "px, as published", (16, 3840)),
    Parameter("image_height", 480, "px, as published", (16, 2160)),
    Parameter("render_scale", 4, "images are drawn at 1/render_scale of that size and enlarged", (1, 16)),
    Parameter("rate", 0.0, "control steps per second of wall time; 0: real time; slower is for slow machines",
              (0.0, 1000.0)),
)


def declare(node: Node, parameters: tuple[Parameter, ...]) -> None:
    """Declare them all. rclpy's ParameterException when one from outside is of another type or range."""
    for name, default, text, allowed in parameters:
        descriptor = ParameterDescriptor(description=text)
        if allowed is not None and isinstance(default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=allowed[0], to_value=allowed[1])]
        elif allowed is not None:
            low, high = (int(bound) for bound in allowed)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        node.declare_parameter(name, default, descriptor)


def read_limits(node: Node, *, reads_jaw: bool) -> Limits:
    """The limits.* parameters as one whole, checked; UserError names the one that cannot be."""
    names = [parameter.name for parameter in POLICY if parameter.name.startswith("limits.")]
    values = {name.removeprefix("limits."): node.get_parameter(name).value for name in names}
    image_age, state_age = values.pop("max_image_age"), values.pop("max_state_age")
    states = ("measured_cp", "setpoint_cp", *(("jaw/measured_js",) if reads_jaw else ()))
    for corner in ("box_low", "box_high"):
        values[corner] = tuple(values[corner])
    return Limits(**values, max_age={"image": image_age, **dict.fromkeys(states, state_age)})
