"""A ROS graph for tests: policy_node in a process of its own, and a small robot with a camera in this one."""

import os
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
with warnings.catch_warnings():     # rclpy imports it late, and it imports what Python 3.11 calls deprecated
    warnings.simplefilter("ignore")
    pytest.importorskip("rosidl_generator_py")

from geometry_msgs.msg import PoseStamped  # noqa: E402
from lifecycle_msgs.srv import GetState  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import Image, JointState  # noqa: E402
from std_msgs.msg import Empty  # noqa: E402

from ros_nodes import messages, qos  # noqa: E402
from ros_nodes.messages import Pose  # noqa: E402
from ros_nodes.transport import CONFIG, use_profile  # noqa: E402
from surgrl.node_process import NodeProcess  # noqa: E402
from surgrl.ros_graph import Graph  # noqa: E402

START = Pose(np.array([0.0, 0.01, 0.1]), np.array([0.0, 0.6, 0.0, 0.8]))    # m, CRTK camera frame
AGE = 0.3       # s, wider than the default: a busy test machine must not look like a fault


class Heard(NamedTuple):
    """One servo_cp as the robot got it."""

    time: float             # s, monotonic
    pose: Pose
    stamp: int              # ns
    frame: str


class Robot:
    """A CRTK arm that is at once where it is told to be, and a camera. Change its attributes to break it."""

    start = START

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = rclpy.create_node("robot", context=self._context)
        self._images = self.node.create_publisher(Image, "/endoscope/left/image_raw", qos.IMAGE)
        self._states = self.node.create_publisher(messages.STATE_TYPE, "/PSM1/operating_state", qos.LATCHED)
        self._poses = {name: self.node.create_publisher(PoseStamped, f"/PSM1/{name}", qos.STATE)
                       for name in ("measured_cp", "setpoint_cp")}
        self._jaws = self.node.create_publisher(JointState, "/PSM1/jaw/measured_js", qos.STATE)
        self.node.create_subscription(PoseStamped, "/PSM1/servo_cp", self._on_servo, qos.SERVO)
        self.node.create_subscription(JointState, "/PSM1/jaw/servo_jp", self._on_jaw, qos.SERVO)
        self.node.create_subscription(Empty, "/PSM1/hold", lambda _: self.holds.append(time.monotonic()),
                                      qos.EVENT)
        self.reset()
        self.node.create_timer(1 / 30, self._show)
        self.node.create_timer(1 / 60, self._tell)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Whole again, at START, ENABLED, seeing grey."""
        self.measured = self.setpoint = START
        self.frame_id, self.jaw, self.jaws_heard = "ECM", 0.3, []
        self.image: np.ndarray | None = np.full((120, 160, 3), 128, np.uint8)
        self.image_offset = self.state_offset = 0.0     # s, added to the clock in stamps
        self.cut, self.encoding, self.obeys, self.follows, self.tells = 0, "rgb8", True, True, True
        self.last_image = self.last_state = 0.0         # s, monotonic, when the last ones left
        self.heard: list[Heard] = []
        self.holds: list[float] = []
        self.set_state("ENABLED")

    def set_state(self, state: str) -> None:
        """Publish operating_state."""
        self._states.publish(messages.make_state(state, self._stamp(0.0)))

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._thread.join(5.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def _stamp(self, offset: float) -> Any:
        return messages.to_stamp(self.node.get_clock().now().nanoseconds + round(offset * 1e9))

    def _show(self) -> None:
        if self.image is None:
            return
        height, width = self.image.shape[:2]
        message = Image(height=height, width=width, step=3 * width, encoding=self.encoding,
                        data=self.image.tobytes()[:3 * width * height - self.cut])
        message.header.stamp = self._stamp(self.image_offset)
        self.last_image = time.monotonic()
        self._images.publish(message)

    def _tell(self) -> None:
        if not self.tells:
            return
        stamp = self._stamp(self.state_offset)
        self.last_state = time.monotonic()
        self._poses["measured_cp"].publish(messages.make_pose(self.measured, self.frame_id, stamp))
        self._poses["setpoint_cp"].publish(messages.make_pose(self.setpoint, self.frame_id, stamp))
        self._jaws.publish(messages.make_joint("jaw", self.jaw, stamp))

    def _on_servo(self, message: PoseStamped) -> None:
        pose = messages.read_pose(message)
        self.heard.append(Heard(time.monotonic(), pose, messages.to_ns(message.header.stamp),
                                message.header.frame_id))
        if self.obeys:
            self.setpoint = pose
        if self.obeys and self.follows:
            self.measured = pose

    def _on_jaw(self, message: JointState) -> None:
        self.jaws_heard.append(messages.read_joint(message))


class Policy:
    """policy_node in its process, driven through its services."""

    age = AGE

    def __init__(self, domain: int, folder: Path) -> None:
        self.statuses: list[str] = []
        self.graph = Graph(domain, self.statuses.append).__enter__()
        self.process = NodeProcess("policy_node", CONFIG / "policy.yaml", {}, folder, domain=domain)
        node = self.graph.node
        self._setter = node.create_client(SetParameters, "/policy_node/set_parameters")
        assert self.wait(self.graph.lifecycle_ready, 30), self.process.last_words()
        self._getter = node.create_client(GetState, "/policy_node/get_state")
        assert self.wait(lambda: self._setter.service_is_ready() and self._getter.service_is_ready(), 30)
        assert self.wait(lambda: self.status.startswith("inactive"))

    @property
    def status(self) -> str:
        """The newest text on ~/status."""
        return self.statuses[-1] if self.statuses else ""

    def wait(self, reached: Any, seconds: float = 10.0) -> bool:
        """Whether `reached` came true in time."""
        return self.graph.wait_for(reached, seconds)

    def set(self, **parameters: Any) -> list[str]:
        """Set parameters ("__" for "."); the reasons why not, empty when all were taken."""
        request = SetParameters.Request(parameters=[
            Parameter(name.replace("__", "."), value=value).to_parameter_msg()
            for name, value in parameters.items()])
        future = self._setter.call_async(request)
        assert self.wait(future.done)
        return [result.reason for result in future.result().results if not result.successful]

    def configure(self, bundle: Any, **parameters: Any) -> bool:
        """Set parameters over the usual ones and configure; whether it went well."""
        usual = {"task": "", "limits__max_image_age": AGE, "limits__max_state_age": AGE,
                 "limits__speed": 0.05, "limits__acceleration": 1.0, "limits__max_lead": 0.01,
                 "limits__box_low": [-0.04, -0.036, 0.048], "limits__box_high": [0.04, 0.056, 0.134]}
        assert not self.set(bundle=str(bundle), **{**usual, **parameters})
        return self.graph.change_state("configure")

    def activate(self, bundle: Any, **parameters: Any) -> None:
        """Configure and activate."""
        assert self.configure(bundle, **parameters), self.status
        assert self.graph.change_state("activate"), self.status

    def reset(self) -> None:
        """Back to unconfigured, whatever it was."""
        ways = {"active": ("deactivate", "cleanup"), "inactive": ("cleanup",)}
        future = self._getter.call_async(GetState.Request())
        assert self.wait(future.done)
        for transition in ways.get(future.result().current_state.label, ()):
            assert self.graph.change_state(transition)
        self.statuses.clear()

    def close(self) -> None:
        """End the process."""
        self.process.stop()
        self.graph.__exit__()


@pytest.fixture(scope="session")
def domain() -> int:
    """The first of four ROS domains of this test run's own, 1 to 100: above, ports meet the system's."""
    number = 1 + 4 * (os.getpid() % 25)
    os.environ["ROS_DOMAIN_ID"] = str(number)
    use_profile()
    return number


@pytest.fixture(scope="session")
def _robot(domain: int) -> Iterator[Robot]:
    robot = Robot(domain)
    yield robot
    robot.close()


@pytest.fixture
def robot(_robot: Robot) -> Iterator[Robot]:
    """The robot, whole."""
    _robot.reset()
    yield _robot
    _robot.reset()


@pytest.fixture(scope="session")
def _policy(domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Policy]:
    policy = Policy(domain, tmp_path_factory.mktemp("policy"))
    yield policy
    policy.close()


@pytest.fixture
def policy(_policy: Policy) -> Iterator[Policy]:
    """policy_node, unconfigured."""
    _policy.process.require_alive()
    yield _policy
    _policy.reset()


@pytest.fixture
def pair(domain: int, tmp_path: Path) -> Iterator[tuple[Policy, Robot]]:
    """A policy_node and a robot of the test's own, in the next domain: it may kill them."""
    robot = Robot(domain + 1)
    policy = Policy(domain + 1, tmp_path)
    yield policy, robot
    policy.close()
    robot.close()


@pytest.fixture(scope="session")
def right(make_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that always moves to the right of the image at 25 mm/s."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "right", (0.5, 0.0, 0.0)).folder
