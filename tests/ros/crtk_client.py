"""A CRTK client for tests, written from what CRTK and dVRK publish of their conventions: it knows nothing of surgrl.

`crtk_client.py SCENARIO... ARM` runs scenarios and exits with 0, or with what was not as it should be. It uses
crtk_msgs where that can be imported; else operating_state and state_command are std_msgs/String.
"""

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Empty, Float64, Float64MultiArray, String

try:
    from crtk_msgs.msg import OperatingState, StringStamped
    from crtk_msgs.srv import QueryForwardKinematics, QueryInverseKinematics, TriggerOperatingState
except ImportError:
    OperatingState = StringStamped = None
try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

STATE, COMMAND = OperatingState or String, StringStamped or String
TOLD = {"measured_js": JointState, "setpoint_js": JointState, "measured_cp": PoseStamped, "setpoint_cp": PoseStamped,
        "local/measured_cp": PoseStamped, "local/setpoint_cp": PoseStamped, "measured_cv": TwistStamped,
        "jaw/measured_js": JointState, "jaw/setpoint_js": JointState, "operating_state": STATE,
        "body/measured_cf": WrenchStamped, "spatial/measured_cf": WrenchStamped, "body/jacobian": Float64MultiArray,
        "spatial/jacobian": Float64MultiArray, "trajectory_j/ratio": Float64, "error": String, "warning": String,
        "status": String}
HEARD = {"state_command": COMMAND, "servo_cp": PoseStamped, "servo_jp": JointState, "servo_jr": JointState,
         "servo_jf": JointState, "move_cp": PoseStamped, "move_jp": JointState, "move_jr": JointState,
         "jaw/servo_jp": JointState, "jaw/move_jp": JointState, "jaw/servo_jf": JointState, "hold": Empty,
         "free": Empty, "body/servo_cf": WrenchStamped, "spatial/servo_cf": WrenchStamped,
         "trajectory_j/set_ratio": Float64, "use_gravity_compensation": Bool,
         "body/set_cf_orientation_absolute": Bool, "emulate_tool_present": Bool}
LATE = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PATIENCE = 20.0     # s, for a busy machine


class CrtkClient:
    """Hears everything that an arm tells; says what the scenarios say."""

    def __init__(self, arm: str) -> None:
        rclpy.init()
        self.node, self.arm = rclpy.create_node("crtk_client"), arm
        self.last: dict[str, Any] = {}
        self.all: dict[str, list[Any]] = {name: [] for name in TOLD}
        for name, kind in TOLD.items():
            late = name in ("operating_state", "trajectory_j/ratio")
            self.node.create_subscription(kind, f"/{arm}/{name}", lambda m, name=name: self._hear(name, m),
                                          LATE if late else 10)
        self._publishers = {name: self.node.create_publisher(kind, f"/{arm}/{name}", 10)
                            for name, kind in HEARD.items()}
        self._refused: dict[str, float] = {}       # topic -> s, monotonic, of its last complaint
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.wait(lambda: set(self.last) >= set(TOLD) - {"error", "warning", "status"}, "all topics tell something")
        self.wait(lambda: all(p.get_subscription_count() for p in self._publishers.values()), "all topics are heard")
        self.spin(0.5)      # until the last of the states that were latched has come

    @property
    def state(self) -> str:
        """The word of operating_state."""
        message = self.last["operating_state"]
        return message.state if OperatingState else message.data

    @property
    def joints(self) -> np.ndarray:
        """(6,) measured."""
        return np.array(self.last["measured_js"].position)

    def tip(self, name: str = "measured_cp") -> np.ndarray:
        """(3,) m."""
        point = self.last[name].pose.position
        return np.array([point.x, point.y, point.z])

    def busy(self) -> bool:
        """Whether it says that it moves or homes."""
        return bool(self.last["operating_state"].is_busy)

    def spin(self, seconds: float) -> None:
        """Listen for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.01)

    def wait(self, reached: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
        """Listen until it has come true."""
        end = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < end, f"not within {seconds} s: {what}"
            self._executor.spin_once(timeout_sec=0.01)

    def say(self, name: str, message: Any) -> None:
        """Publish, stamped where there is a stamp."""
        if hasattr(message, "header"):
            message.header.stamp = self.node.get_clock().now().to_msg()
        self._publishers[name].publish(message)

    def command(self, word: str) -> None:
        """A state_command."""
        self.say("state_command", StringStamped(string=word) if StringStamped else String(data=word))

    def say_joints(self, name: str, positions: Any) -> None:
        """A JointState of positions alone."""
        self.say(name, JointState(position=[float(value) for value in positions]))

    def say_pose(self, name: str, position: np.ndarray, like: str = "setpoint_cp") -> None:
        """A pose there, turned as the last one of the topic `like`."""
        message = PoseStamped()
        message.pose.orientation = self.last[like].pose.orientation
        point = message.pose.position
        point.x, point.y, point.z = (float(value) for value in position)
        self.say(name, message)

    def reach(self, joints: Any) -> None:
        """Wait until the arm is at joints (6,)."""
        self.wait(lambda: np.allclose(self.joints, joints, atol=2e-4), f"joints {joints}; at last {self.joints}")

    def move(self, name: str, positions: Any, goal: Any) -> None:
        """A move_j*, which makes it busy until it is at joints `goal` (6,)."""
        self.say_joints(name, positions)
        self.settle()
        self.reach(goal)

    def settle(self) -> None:
        """Wait until a move has begun and ended."""
        if OperatingState:
            self.wait(self.busy, "the arm is busy")
            self.wait(lambda: not self.busy(), "the arm is no longer busy")

    def make_ready(self) -> None:
        """The handshake, whatever state it was in."""
        self.command("disable")
        self.wait(lambda: self.state == "DISABLED", "DISABLED")
        self.command("enable")
        self.wait(lambda: self.state.startswith("ENABLED"), "ENABLED")
        before = len(self.all["operating_state"])
        self.command("home")
        if OperatingState:
            self.wait(lambda: any(m.is_busy for m in self.all["operating_state"][before:]), "busy homing")
            self.wait(lambda: self.last["operating_state"].is_homed and not self.busy(), "homed and not busy")
        else:
            self.wait(lambda: self.state == "ENABLED", "ready")
            self.spin(1.0)
        stamp = self.last["measured_cp"].header.stamp
        assert stamp.sec > 0, "measured_cp is not valid"

    def refused(self, topic: str, content: Any, level: str, word: str) -> None:
        """What is said (a message, joints, a tip's position, a state_command) is refused, and moves nothing."""
        # Of one topic, complaints come once in 2 s.
        self.spin(max(0.1, self._refused.get(topic, 0.0) + 2.1 - time.monotonic()))
        before, heard = self.joints, len(self.all[level])
        if topic == "state_command":
            self.command(content)
        elif isinstance(content, list | np.ndarray):
            (self.say_pose if topic.endswith("cp") else self.say_joints)(topic, content)
        else:
            self.say(topic, content)
        self.wait(lambda: any(word in message.data for message in self.all[level][heard:]),
                  f"{level} with {word!r}; heard {[m.data for m in self.all[level][heard:]]}")
        self._refused[topic] = time.monotonic()
        self.spin(0.3)
        assert np.allclose(self.joints, before, atol=1e-9), f"it moved, though it said {word}"

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        """The answer of a service."""
        client = self.node.create_client(kind, f"/{self.arm}/{name}")
        self.wait(client.service_is_ready, f"service {name}")
        future = client.call_async(kind.Request(**fields))
        self.wait(future.done, f"an answer of {name}")
        return future.result()

    def _hear(self, name: str, message: Any) -> None:
        self.last[name] = message
        self.all[name].append(message)


def topics(client: CrtkClient) -> None:
    """Every topic is there with its type, from one side or the other; data is whole."""
    known = dict(client.node.get_topic_names_and_types())
    for name, kind in {**TOLD, **HEARD}.items():
        module = kind.__module__.split(".")[0]
        assert known[f"/{client.arm}/{name}"] == [f"{module}/msg/{kind.__name__}"], f"{name}: {known[name]}"
    assert list(client.last["measured_js"].name) == ["yaw", "pitch", "insertion", "roll", "wrist_pitch", "wrist_yaw"]
    assert len(client.last["measured_js"].velocity) == 6 and len(client.last["jaw/measured_js"].position) == 1
    for frame in ("body", "spatial"):
        jacobian = client.last[f"{frame}/jacobian"]
        assert [part.size for part in jacobian.layout.dim] == [6, 6] and len(jacobian.data) == 36
    assert client.last["local/measured_cp"].header.frame_id == f"{client.arm}_base"
    assert client.last["trajectory_j/ratio"].data == 1.0


def handshake(client: CrtkClient) -> None:
    """From DISABLED to ready, and what is refused on the way."""
    assert client.state == "DISABLED"
    start = client.joints
    away = start - [0, 0, 0.01, 0, 0, 0]
    client.refused("move_jp", away, "warning", "not ready (DISABLED")
    client.refused("state_command", "resume", "error", "'resume' means nothing while DISABLED")
    client.refused("state_command", "dance", "error", "'dance' is unknown")
    client.command("enable")
    client.wait(lambda: client.state.startswith("ENABLED"), "ENABLED")
    if OperatingState:
        assert not client.last["operating_state"].is_homed
    else:
        assert client.state != "ENABLED", "who hears words only must not take an arm that is not homed for ready"
    client.refused("servo_cp", client.tip() + [0.005, 0, 0], "warning", "not homed")
    client.make_ready()
    client.move("move_jp", away, goal=away)
    client.move("move_jp", start, goal=start)
    client.command("unhome")
    client.refused("servo_jp", away, "warning", "not homed")


def motion(client: CrtkClient) -> None:
    """Every way to move it, and which of them make it busy."""
    client.make_ready()
    start = client.joints
    goal = start + [-0.05, -0.03, -0.008, 0.2, -0.1, 0.1]
    client.move("move_jp", goal, goal=goal)
    client.move("move_jr", start - goal, goal=start)

    there = client.tip() + [0.010, 0, 0]
    client.say_pose("move_cp", there)
    client.wait(lambda: client.last["measured_cv"].twist.linear.x > 0.005, "it moves along x of the camera's frame")
    client.settle()
    client.wait(lambda: np.linalg.norm(client.tip() - there) < 5e-4, "the tip is there")

    if OperatingState:
        client.spin(0.2)
        client.all["operating_state"].clear()
    place = client.tip("setpoint_cp")
    for _ in range(100):        # 100 Hz, 10 mm/s
        place = place - [1e-4, 0, 0]
        client.say_pose("servo_cp", place)
        client.spin(0.01)
    client.wait(lambda: np.linalg.norm(client.tip() - place) < 5e-4, "the tip has followed")
    client.say_joints("servo_jp", start)
    client.reach(start)
    client.say_joints("servo_jr", [0, 0, 0, 0.05, 0, 0])
    client.reach(start + [0, 0, 0, 0.05, 0, 0])
    client.say_joints("jaw/servo_jp", [0.9])
    client.wait(lambda: abs(client.last["jaw/measured_js"].position[0] - 0.9) < 1e-3, "the jaws are open")
    if OperatingState:
        assert not any(message.is_busy for message in client.all["operating_state"]), "servo made it busy"
    client.say_joints("jaw/move_jp", [-2.0])       # clipped
    client.wait(lambda: abs(client.last["jaw/measured_js"].position[0] + 0.349) < 1e-3, "the jaws are shut")

    client.say("trajectory_j/set_ratio", Float64(data=0.25))
    client.wait(lambda: client.last["trajectory_j/ratio"].data == 0.25, "the ratio is told")
    goal = client.joints - [0, 0, 0.02, 0, 0, 0]
    client.say_joints("move_jp", goal)
    client.spin(0.8)
    client.say("hold", Empty())
    client.spin(0.3)
    held = client.joints
    client.spin(0.5)
    assert np.allclose(client.joints, held, atol=1e-9), "it moved on after hold"
    assert goal[2] + 2e-3 < client.joints[2] < start[2] - 1e-4, "hold did not stop it on its way"
    client.say("trajectory_j/set_ratio", Float64(data=1.0))
    client.wait(lambda: client.last["trajectory_j/ratio"].data == 1.0, "the ratio is back")


def refusals(client: CrtkClient) -> None:
    """What a paused or disabled arm, and a whole one, do not do."""
    client.make_ready()
    aside = client.joints + [0.03, 0, 0, 0, 0, 0]
    client.say_joints("move_jp", aside + [0.3, 0, 0, 0, 0, 0])
    client.spin(0.3)
    client.command("pause")
    client.wait(lambda: client.state == "PAUSED", "PAUSED")
    client.spin(0.2)
    client.refused("move_jp", aside, "warning", "not ready (PAUSED)")
    client.refused("jaw/servo_jp", [0.1], "warning", "not ready (PAUSED)")
    client.refused("state_command", "enable", "error", "'enable' means nothing while PAUSED")
    client.command("resume")
    client.wait(lambda: client.state == "ENABLED", "ENABLED again")
    before = client.joints
    client.spin(0.5)
    assert np.allclose(client.joints, before, atol=1e-9), "a move outlived the pause"

    client.refused("servo_jp", [0.1, 0.1], "error", "servo_jp: joints")
    client.refused("servo_jp", [math.nan] * 6, "error", "finite")
    client.refused("servo_cp", PoseStamped(), "error", "servo_cp: no motion")
    client.refused("servo_jf", JointState(effort=[0.1] * 6), "error", "no motors")
    client.refused("body/servo_cf", WrenchStamped(), "error", "no motors")
    client.refused("trajectory_j/set_ratio", Float64(data=2.0), "error", "at most 1")
    client.refused("use_gravity_compensation", Bool(data=True), "status", "without effect")

    client.command("disable")
    client.wait(lambda: client.state == "DISABLED", "DISABLED")
    client.refused("servo_cp", client.tip() + [0.002, 0, 0], "warning", "DISABLED")
    client.refused("move_jr", [0, 0, 0.01, 0, 0, 0], "warning", "DISABLED")


def services(client: CrtkClient) -> None:
    """State and kinematics, asked for."""
    client.make_ready()
    state = client.call(TriggerOperatingState, "operating_state").operating_state
    assert (state.state, state.is_homed, state.is_busy) == ("ENABLED", True, False) and state.header.stamp.sec > 0
    joints = client.joints.tolist()
    for prefix in ("", "local/"):
        answer = client.call(QueryForwardKinematics, f"{prefix}forward_kinematics", jp=joints)
        told = client.last[f"{prefix}measured_cp"].pose
        assert answer.result and _apart(answer.cp, told) < 1e-6, f"{answer} is not {told}"
    answer = client.call(QueryInverseKinematics, "inverse_kinematics", jp=joints,
                         cp=client.last["measured_cp"].pose)
    assert answer.result and np.allclose(answer.jp, joints, atol=1e-6)
    answer = client.call(QueryForwardKinematics, "forward_kinematics", jp=[0.0])
    assert not answer.result and "joints [0.0]" in answer.message
    far = client.last["measured_cp"].pose
    far.position.z += 1.0
    answer = client.call(QueryInverseKinematics, "inverse_kinematics", cp=far)
    assert not answer.result and "insertion" in answer.message


def frames(client: CrtkClient) -> None:
    """tf leads from the camera to the tip, as measured_cp and local/measured_cp do."""
    heard: dict[tuple[str, str], Any] = {}

    def hear(message: Any) -> None:
        for transform in message.transforms:
            heard[transform.header.frame_id, transform.child_frame_id] = transform.transform
    client.node.create_subscription(TFMessage, "/tf", hear, 100)
    client.node.create_subscription(TFMessage, "/tf_static", hear, LATE)
    camera, base = client.last["measured_cp"].header.frame_id, f"{client.arm}_base"
    client.wait(lambda: {(camera, base), (base, client.arm), (camera, "endoscope_left"),
                         ("endoscope_left", "endoscope_right")} <= set(heard), f"tf; heard {set(heard)}")
    client.spin(0.2)
    tip = _matrix(heard[camera, base]) @ _matrix(heard[base, client.arm])
    assert np.allclose(tip[:3, 3], client.tip(), atol=1e-6)
    assert np.allclose(np.diag(_matrix(heard[camera, "endoscope_left"])), [-1, -1, 1, 1])
    assert np.allclose(_matrix(heard["endoscope_left", "endoscope_right"])[:3, 3], [0.0052, 0, 0], atol=1e-6)


def _matrix(transform: Any) -> np.ndarray:
    x, y, z, w = (getattr(transform.rotation, name) for name in "xyzw")
    point = transform.translation
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), point.x],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), point.y],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), point.z], [0, 0, 0, 1]])


def _apart(one: Any, other: Any) -> float:
    """The largest difference of two poses' numbers, whichever sign their quaternions have."""
    positions, turns = [[np.array([getattr(getattr(pose, part), name) for name in names]) for pose in (one, other)]
                        for part, names in (("position", "xyz"), ("orientation", "xyzw"))]
    return float(max(np.abs(positions[0] - positions[1]).max(), 1 - abs(turns[0] @ turns[1])))


def main() -> None:
    """Run the scenarios; each leaves the arm DISABLED."""
    *scenarios, arm = sys.argv[1:]
    client = CrtkClient(arm)
    try:
        for scenario in scenarios:
            print(scenario, flush=True)
            globals()[scenario](client)
            client.command("disable")
            client.wait(lambda: client.state == "DISABLED", "DISABLED at the end")
    finally:
        client.node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
