"""`surgrl monitor` on a real graph: what it hears, that it only listens, and that it leaves the terminal whole."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph import drop
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, String

from ros_nodes import messages, qos
from ros_nodes.messages import Pose
from ros_nodes.transport import profile_variables
from surgrl.monitor import Listener

ROOT = Path(__file__).parents[2]
DELAY = 0.02        # s, from an image to the first command that answers it
ORIGIN = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))


class Graph:
    """Arm, camera, gate and operator in one: publishes all that the monitor hears."""

    def __init__(self, domain: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = rclpy.create_node("gate_node", context=self._context)
        make = self.node.create_publisher
        self.images = make(Image, "/endoscope/left/image_raw", qos.IMAGE)
        self.actions = make(JointState, "/policy_node/action", qos.SERVO)
        self.measured = make(PoseStamped, "/PSM1/measured_cp", qos.STATE)
        self.servo = make(PoseStamped, "/PSM1/servo_cp", qos.SERVO)
        self.states = make(messages.STATE_TYPE, "/PSM1/operating_state", qos.LATCHED)
        self.status = make(String, "/gate_node/status", qos.STATUS)
        self.enable, self.estop = make(Bool, "/operator/enable", qos.STATE), make(Bool, "/operator/estop", qos.LATCHED)
        self.diagnostics = make(DiagnosticArray, "/diagnostics", qos.EVENT)
        self.image, _ = messages.make_image(48, 64, "camera")
        self.stamp, self.said = None, "active: each image moves the arm"
        self.states.publish(messages.make_state("ENABLED", self.now()))
        self.estop.publish(Bool(data=False))
        self.node.create_timer(1 / 30, self.see)
        self.node.create_timer(1 / 100, self.move)
        self.node.create_timer(0.2, self.say)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def now(self):
        return self.node.get_clock().now().to_msg()

    def see(self) -> None:
        self.image.header.stamp = self.stamp = messages.to_stamp(messages.to_ns(self.now()) - round(DELAY * 1e9))
        self.images.publish(self.image)
        action = JointState(name=["v_x"], position=[0.01])
        action.header.stamp = self.stamp
        self.actions.publish(action)

    def move(self) -> None:
        self.measured.publish(messages.make_pose(ORIGIN, "ECM", self.now()))
        if self.stamp is not None:
            self.servo.publish(messages.make_pose(ORIGIN, "ECM", self.stamp))

    def say(self) -> None:
        self.status.publish(String(data=self.said))
        self.enable.publish(Bool(data=True))
        told = DiagnosticStatus(name="gate_node", level=DiagnosticStatus.WARN, message="slow camera",
                                values=[KeyValue(key="image_rate_hz", value="14.9")])
        self.diagnostics.publish(DiagnosticArray(status=[told]))

    def drop(self, publisher) -> None:
        drop(self._executor, self.node, publisher)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(5.0)
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def graph(domain: int) -> Iterator[Graph]:
    made = Graph(domain + 2)
    yield made
    made.close()


def monitor(domain: int, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in profile_variables()}
    return subprocess.run(
        [sys.executable, "-m", "surgrl", "monitor", "--domain", str(domain + 2), *words], cwd=ROOT, check=False,
        env={**kept, **variables}, capture_output=True, text=True, timeout=60)


def listen_until(listener: Listener, reached, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not reached(listener.snapshot()) and time.monotonic() < end:
        listener.spin(0.1)
    return bool(reached(listener.snapshot()))


@pytest.mark.usefixtures("graph")
def test_json_tells_all_that_the_graph_does(domain):
    done = monitor(domain, "--once", "5", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    feeds = {feed["name"]: feed for feed in told["feeds"]}
    for name in ("image", "action", "measured_cp", "servo_cp"):
        assert feeds[name]["rate"] > 5 and feeds[name]["silence"] < 3 and feeds[name]["note"] == "", feeds[name]
    assert feeds["image"]["delay_ms"] >= DELAY * 1e3
    assert told["latency"]["p50_ms"] >= DELAY * 1e3 and told["latency"]["commands"] > 20
    assert told["operating_state"] == "ENABLED"
    assert told["enable"]["value"] is True and told["estop"]["value"] is False
    policy, gate = told["nodes"]
    assert policy["state"] == "absent" and gate["state"] == "active" and gate["reason"] == "each image moves the arm"
    (entry,) = told["diagnostics"]
    assert entry["level"] == "WARN" and entry["values"] == {"image_rate_hz": "14.9"}
    assert told["reasons"][0]["node"] == "gate_node"


def test_an_empty_domain_is_told_as_text_and_is_no_error(domain):
    done = monitor(domain, "--once", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ABSENT") == 2 and "\x1b" not in done.stdout
    assert "/PSM1/servo_cp  nobody publishes it" in done.stdout


def test_it_publishes_nothing_and_serves_nothing(domain, graph):
    with Listener(domain + 2, "PSM1", "/endoscope/left/image_raw") as listener:
        assert listen_until(listener, lambda seen: seen.latency is not None)
        name, node = listener.node.get_name(), graph.node
        assert listen_until(listener, lambda _: name in node.get_node_names())      # known later than what it sends
        assert node.get_subscriber_names_and_types_by_node(name, "/") != []
        published = {topic for topic, _ in node.get_publisher_names_and_types_by_node(name, "/")}
        assert published == {"/parameter_events"}       # rclpy gives it to every node
        services = {service for service, _ in node.get_service_names_and_types_by_node(name, "/")}
        assert services <= {f"/{name}/get_type_description"}


def test_nodes_come_say_something_else_and_go(domain):
    with Listener(domain + 2, "PSM1", "/endoscope/left/image_raw") as listener:
        def gate():
            return next(node for node in listener.snapshot().nodes if node.name == "gate_node")
        assert gate().state == "absent"
        for _ in range(2):
            graph = Graph(domain + 2)
            try:
                assert listen_until(listener, lambda seen: gate().state == "active" and seen.feeds[0].rate > 5)
                graph.said = "hold: the operator let go"
                assert listen_until(listener, lambda seen: gate().state == "hold")
                assert listener.snapshot().reasons[0].text == "hold: the operator let go"
            finally:
                graph.close()
            assert listen_until(listener, lambda seen: gate().state == "gone" and seen.feeds[0].rate == 0,
                                seconds=40)     # s: 20 where the goodbye was lost
            assert listener.snapshot().feeds[0].note == "nobody publishes it"


def test_two_cameras_and_a_latched_topic_that_is_not_are_told(domain, graph):
    second = graph.node.create_publisher(Image, "/endoscope/left/image_raw", qos.IMAGE)
    graph.drop(graph.states)
    fleeting = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
    silent = PublisherEventCallbacks(use_default_callbacks=False)       # rclpy's own calls what it deprecates
    strange = graph.node.create_publisher(messages.STATE_TYPE, "/PSM1/operating_state", fleeting,
                                          event_callbacks=silent)
    with Listener(domain + 2, "PSM1", "/endoscope/left/image_raw") as listener:
        def notes():
            return {feed.name: feed.note for feed in listener.snapshot().feeds}
        assert listen_until(listener, lambda _: notes()["image"] == "2 publishers")
        assert listen_until(listener, lambda _: notes()["operating_state"] == "another quality of service")
    graph.drop(second)
    graph.drop(strange)


@pytest.mark.usefixtures("graph")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_a_terminal_it_draws_until_it_is_stopped_and_gives_the_terminal_back(domain, number):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "surgrl", "monitor", "--domain", str(domain + 2)], cwd=ROOT, stdin=theirs,
        stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm-256color"}, close_fds=True)
    os.close(theirs)
    drawn = b""
    try:
        end = time.monotonic() + 40
        while b"ACTIVE" not in drawn and time.monotonic() < end:
            drawn += os.read(ours, 65536)
        assert b"ACTIVE" in drawn and b"\x1b[?1049h" in drawn      # the terminal's second page
        process.send_signal(number)
        try:
            while True:
                drawn += os.read(ours, 65536)
        except OSError:     # the other end is closed
            pass
        assert process.wait(20) == 0 and drawn.rstrip().endswith((b"\x1b[?25h", b"\x1b[?1049l"))
        assert b"Traceback" not in drawn
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_without_a_terminal_a_snapshot_must_be_asked_for(domain):
    done = monitor(domain)
    assert done.returncode == 1 and "standard output is no terminal; give --once SECONDS" in done.stderr


def test_in_local_mode_it_opens_no_network_socket_or_refuses(domain):
    assert monitor(domain, "--json", "--once", "0.5", SURGRL_TRANSPORT="local").returncode == 0
    refused = monitor(domain, "--json", "--once", "0.5", SURGRL_TRANSPORT="local",
                      ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    assert refused.returncode == 1 and "network sockets open: udp" in refused.stderr
