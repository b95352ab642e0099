"""A ROS graph for tests: policy_node and gate_node in processes of their own; robot, camera and pedal in a thread."""

import fcntl
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
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
from std_msgs.msg import Bool, Empty  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from ros_nodes import messages, qos  # noqa: E402
from ros_nodes.messages import Pose  # noqa: E402
from ros_nodes.transport import CONFIG  # noqa: E402
from surgrl.node_process import NodeProcess  # noqa: E402
from surgrl.ros_graph import NODES, Graph  # noqa: E402

START = Pose(np.array([0.0, 0.01, 0.1]), np.array([0.0, 0.6, 0.0, 0.8]))    # m, CRTK camera frame
SCENE = cv2.resize(np.random.default_rng(1).integers(40, 200, (6, 8, 3), np.uint8), (160, 120))    # what it sees
AGE = 0.3       # s, wider than the default: a busy test machine must not look like a fault


@contextmanager
def four_domains() -> Iterator[int]:
    """The first of four ROS domains that no other test on this machine has, 1 to 97: above, ports meet others.

    Nodes of two tests in one domain would hear each other, and the gate would rightly latch.
    """
    with ExitStack() as stack:
        for place in range(25):
            lock = stack.enter_context(open(Path(tempfile.gettempdir()) / f"surgrl-tests-{place}.lock", "w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield 1 + 4 * place
            return
        pytest.fail("25 test runs use all ROS domains of this machine; end some of them")


def drop(executor: SingleThreadedExecutor, node: Any, publisher: Any) -> None:
    """Destroy a publisher in the thread that spins: rclpy's executor dies of what goes while it gathers entities."""
    gone = threading.Event()

    def act() -> None:
        node.destroy_publisher(publisher)
        gone.set()
    executor.create_task(act)
    assert gone.wait(10.0)


class Heard(NamedTuple):
    """One servo_cp as the robot got it."""

    time: float             # s, monotonic
    pose: Pose
    stamp: int              # ns
    frame: str


class Robot:
    """A CRTK arm that is at once where it is told to be, a camera and a pedal. Change its attributes to break it."""

    start = START

    def __init__(self, domain: int, *, pressed: bool = False) -> None:
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
        self._pedal = self.node.create_publisher(Bool, "/operator/enable", qos.STATE)
        self.join_stop()
        self.reset()
        self.pressed = pressed
        self.node.create_timer(1 / 30, self.show)
        self.node.create_timer(1 / 100, self._tell)
        self.node.create_timer(1 / 50, self._press)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Whole again, at START, ENABLED, seeing SCENE with a sensor's noise, the pedal up."""
        self.measured = self.setpoint = START
        self.frame_id, self.jaw, self.jaws_heard = "ECM", 0.3, []
        self.image: np.ndarray | None = SCENE
        self.noise: np.random.Generator | None = np.random.default_rng(0)
        self.pressed: bool | None = False               # None: the pedal is dead
        self.image_offset = self.state_offset = 0.0     # s, added to the clock in stamps
        self.cut, self.encoding, self.obeys, self.follows, self.tells = 0, "rgb8", True, True, True
        self.last_image = self.last_state = self.last_press = 0.0      # s, monotonic, when the last ones left
        self.before_image: Callable[[], bool] = lambda: True            # whether to show one now
        self.after_image: Callable[[int], None] = lambda stamp: None    # stamp: ns
        self.heard: list[Heard] = []
        self.holds: list[float] = []
        self.set_state("ENABLED")
        self.press_stop(False)

    def join_stop(self) -> None:
        """Put an emergency stop there."""
        self._stop = self.node.create_publisher(Bool, "/operator/estop", qos.LATCHED)

    def leave_stop(self) -> None:
        """Take it away: its node has died."""
        self.drop(self._stop)

    def drop(self, publisher: Any) -> None:
        """Take a publisher away."""
        drop(self._executor, self.node, publisher)

    def press_stop(self, pressed: bool) -> None:
        """The emergency stop."""
        self._stop.publish(Bool(data=pressed))

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

    def show(self) -> None:
        """One image, as it is due."""
        if not self.before_image() or self.image is None:
            return
        height, width = self.image.shape[:2]
        picture = self.image
        if self.noise is not None:      # upwards only: a black pixel stays the sign that the bundles below look for
            picture = np.where(picture > 0, picture + self.noise.integers(0, 3, picture.shape, np.uint8), 0)
        message = Image(height=height, width=width, step=3 * width, encoding=self.encoding,
                        data=picture.astype(np.uint8).tobytes()[:3 * width * height - self.cut])
        message.header.stamp = self._stamp(self.image_offset)
        self.last_image = time.monotonic()
        self._images.publish(message)
        self.after_image(messages.to_ns(message.header.stamp))

    def _tell(self) -> None:
        if not self.tells:
            return
        stamp = self._stamp(self.state_offset)
        self.last_state = time.monotonic()
        self._poses["measured_cp"].publish(messages.make_pose(self.measured, self.frame_id, stamp))
        self._poses["setpoint_cp"].publish(messages.make_pose(self.setpoint, self.frame_id, stamp))
        self._jaws.publish(messages.make_joint("jaw", self.jaw, stamp))

    def _press(self) -> None:
        if self.pressed is not None:
            self.last_press = time.monotonic()
            self._pedal.publish(Bool(data=self.pressed))

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


class Nodes:
    """policy_node and gate_node in their processes, driven through their services."""

    age = AGE

    def __init__(self, domain: int, folder: Path) -> None:
        self.heard: dict[str, list[str]] = {name: [] for name in NODES}
        self.audit = folder / "audit"
        self.graph = Graph(domain, lambda name, text: self.heard[name].append(text)).__enter__()
        self._domain, self._folder = domain, folder
        self.process = {name: self._started(name) for name in NODES}
        node = self.graph.node
        self._setter = {name: node.create_client(SetParameters, f"/{name}/set_parameters") for name in NODES}
        self._getter = {name: node.create_client(GetState, f"/{name}/get_state") for name in NODES}
        self._reset = node.create_client(Trigger, "/gate_node/reset")
        for name in NODES:
            self.wait_up(name)

    @property
    def policy(self) -> str:
        """The newest text on policy_node's ~/status."""
        return self.heard["policy_node"][-1] if self.heard["policy_node"] else ""

    @property
    def gate(self) -> str:
        """The newest text on gate_node's ~/status."""
        return self.heard["gate_node"][-1] if self.heard["gate_node"] else ""

    def wait(self, reached: Any, seconds: float = 10.0) -> bool:
        """Whether `reached` came true in time."""
        return self.graph.wait_for(reached, seconds)

    def wait_up(self, name: str) -> None:
        """Until the node takes transitions, unconfigured."""
        def up() -> bool:
            return self.graph.lifecycle_ready(name) and all(
                client[name].service_is_ready() for client in (self._setter, self._getter))
        assert self.wait(up, 30), self.process[name].last_words()
        for client in (self._setter, self._getter):     # a first answer is lost where its reader is not known yet
            kind = client[name].srv_type.Request
            assert any(self.wait(client[name].call_async(kind()).done, 2.0) for _ in range(5)), name
        own = f"(process {self.process[name].process.pid})"
        assert self.wait(lambda: any(own in text for text in self.heard[name]), 10)

    def start_again(self, name: str) -> None:
        """A new process in the place of one that has ended."""
        self.process[name] = self._started(name)
        self.wait_up(name)

    def set(self, node: str, **parameters: Any) -> list[str]:
        """Set parameters ("__" for "."); the reasons why not, empty when all were taken."""
        request = SetParameters.Request(parameters=[
            Parameter(name.replace("__", "."), value=value).to_parameter_msg()
            for name, value in parameters.items()])
        future = self._setter[node].call_async(request)
        assert self.wait(future.done)
        return [result.reason for result in future.result().results if not result.successful]

    def configure(self, bundle: Any, **parameters: Any) -> bool:
        """Set parameters over the usual ones and configure both; whether it went well. limits__* are the gate's."""
        gate = {"dry_run": False, "audit_folder": str(self.audit), "limits__max_image_age": AGE,
                "limits__max_action_age": AGE, "limits__max_state_age": AGE, "limits__max_enable_age": AGE,
                "limits__speed": 0.05, "limits__acceleration": 1.0, "limits__jerk": 50.0, "limits__max_lead": 0.01,
                "limits__box_low": [-0.04, -0.036, 0.048], "limits__box_high": [0.04, 0.056, 0.134],
                "limits__jaw_speed": 2.0, "arm": "PSM1", "policy": "policy_node", "command": "servo_cp",
                "command_every": 1, "moves_jaw": True}
        policy = {"task": "", "bundle": str(bundle), "max_image_age": AGE, "max_state_age": AGE}
        for name, value in parameters.items():
            (gate if name in gate or name.startswith("limits") else policy)[name] = value
        assert not self.set("gate_node", **gate)
        assert not self.set("policy_node", **policy)
        return self.graph.change_state("gate_node", "configure") and self.graph.change_state(
            "policy_node", "configure")

    def activate(self, bundle: Any, robot: Robot, **parameters: Any) -> None:
        """Configure and activate both, and press the pedal."""
        assert self.configure(bundle, **parameters), (self.gate, self.policy)
        assert self.graph.change_state("gate_node", "activate"), self.gate
        assert self.graph.change_state("policy_node", "activate"), self.policy
        self.wait(lambda: "operator" in self.gate, 2.0)     # a press that comes before all is sound counts for nothing
        self.press(robot)

    def press(self, robot: Robot) -> None:
        """Release the pedal and press it."""
        robot.pressed = False
        self.graph.spin(0.1)
        robot.pressed = True

    def reset_gate(self) -> tuple[bool, str]:
        """The operator's reset: whether it was taken, and what was said."""
        future = self._reset.call_async(Trigger.Request())
        assert self.wait(future.done)
        return future.result().success, future.result().message

    def reset(self) -> None:
        """Back to unconfigured, whatever they were."""
        ways = {"active": ("deactivate", "cleanup"), "inactive": ("cleanup",)}
        for name in ("policy_node", "gate_node"):
            future = self._getter[name].call_async(GetState.Request())
            assert self.wait(future.done)
            for transition in ways.get(future.result().current_state.label, ()):
                assert self.graph.change_state(name, transition)
            self.heard[name].clear()

    def close(self) -> None:
        """End the processes."""
        for process in reversed(self.process.values()):
            process.stop()
        self.graph.__exit__()

    def _started(self, name: str) -> NodeProcess:
        return NodeProcess(name, [CONFIG / "policy.yaml"], {}, self._folder, domain=self._domain)
