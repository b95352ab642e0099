"""`surgrl monitor`: rates, ages, latency, states and reasons of a running graph, in the terminal. It only listens."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from .dashboard import Collector, Snapshot, Source
from .dashboard_view import render
from .files import json_text
from .policy.errors import UserError
from .ros_graph import Member, domain_number, require_rclpy

NODES = ("policy_node", "gate_node")
OPERATOR = {"enable": "/operator/enable", "estop": "/operator/estop"}
REFRESH = 0.25      # s, between two pictures
DEPTH = 100         # messages that may wait while a picture is drawn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl monitor`."""
    add = parser.add_argument
    add("--arm", default="PSM1", help="namespace of the CRTK arm (%(default)s)")
    add("--image-topic", default="/endoscope/left/image_raw", help="what policy_node sees (%(default)s)")
    add("--domain", type=int, help="ROS domain, 0 to 232 (environment variable ROS_DOMAIN_ID, else 0)")
    add("--once", type=float, metavar="SECONDS", help="listen for so long, print one snapshot as plain text, end")
    add("--json", action="store_true", help="print that snapshot as one JSON object (alone: --once 3)")


def run(args: argparse.Namespace) -> None:
    """Show the graph until Ctrl-C, or one snapshot of it."""
    once = 3.0 if args.json and args.once is None else args.once
    if once is None and not sys.stdout.isatty():
        raise UserError("standard output is no terminal; give --once SECONDS for a snapshot as text, or --json")
    if once is not None and not 0 < once < float("inf"):
        raise UserError(f"--once is {once:g} s; it must be more than 0")
    if not args.json:
        import rich  # noqa: F401 - missed now, not after it has listened
    with Listener(domain_number(args.domain), args.arm.strip("/"), args.image_topic) as listener:
        if once is None:
            _live(listener)
            return
        listener.spin(once)
        snapshot = listener.snapshot()
    if args.json:
        print(json_text(snapshot.as_dict()))
    else:
        _print(snapshot)


class Listener:
    """Hears a ROS domain and publishes nothing. Use it in a `with`."""

    def __init__(self, domain: int, arm: str, image_topic: str):
        """arm: "PSM1". UserError where there is no rclpy."""
        require_rclpy()
        self._domain, self._arm = domain, arm
        self._sources = {
            "image": Source(image_topic), "measured_cp": Source(f"/{arm}/measured_cp"),
            "operating_state": Source(f"/{arm}/operating_state", stream=False),
            "action": Source("/policy_node/action"), "servo_cp": Source(f"/{arm}/servo_cp"),
            "dry_run": Source("/gate_node/dry_run/servo_cp", optional=True)}
        self.collector = Collector(domain, arm, self._sources, NODES)
        self._strange: set[str] = set()     # sources whose publisher has a quality of service that we cannot hear

    def __enter__(self) -> "Listener":
        """Join the domain."""
        from rclpy.exceptions import NameValidationException
        from rclpy.logging import LoggingSeverity, set_logger_level
        name = f"surgrl_monitor_{os.getpid()}"
        self._member = Member(self._domain, name, enable_rosout=False, start_parameter_services=False)
        self.node, self._executor = self._member.node, self._member.executor
        set_logger_level(name, LoggingSeverity.FATAL)       # its lines would tear the picture
        try:
            self._subscribe()
        except NameValidationException as error:
            self._member.leave()
            raise UserError(f"{' '.join(str(error).split())}; --arm and --image-topic must be names of ROS") from error
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the domain."""
        self._member.leave()

    def spin(self, seconds: float) -> None:
        """Hear what comes in for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def snapshot(self) -> Snapshot:
        """What is known by now."""
        notes = {name: "another quality of service" for name in self._strange}
        topics = {name: source.topic for name, source in self._sources.items()} | OPERATOR
        for name, topic in topics.items():
            publishers = self.node.count_publishers(topic)
            if publishers != 1:
                notes[name] = f"{publishers} publishers" if publishers else "nobody publishes it"
        return self.collector.snapshot(time.time(), self.node.get_node_names(), notes)

    def _subscribe(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import Image, JointState
        from std_msgs.msg import Bool, String
        try:
            from crtk_msgs.msg import OperatingState
        except ImportError:     # not on PyPI; ros_nodes then use a String, too
            OperatingState = String     # noqa: N806
        told = self.collector
        for name, kind in (("image", Image), ("measured_cp", PoseStamped), ("action", JointState)):
            self._hear(name, kind, lambda now, message, name=name: told.hear(name, now, _ns(message)))
        for name in ("servo_cp", "dry_run"):
            self._hear(name, PoseStamped, lambda now, message, name=name: self._on_command(name, now, message))
        self._hear("operating_state", OperatingState, self._on_word if OperatingState is String else self._on_state,
                   latched=True)
        for name, topic in OPERATOR.items():
            self._hear(topic, Bool, lambda now, message, name=name: told.signal(name, message.data, now),
                       latched=name == "estop")
        for node in NODES:
            self._hear(f"/{node}/status", String,
                       lambda now, message, node=node: told.status(node, message.data, now), latched=True)
        self._hear("/diagnostics", DiagnosticArray, self._on_diagnostics)

    def _hear(self, name: str, kind: Any, hear: Callable[[float, Any], None], *, latched: bool = False) -> None:
        """name: a source's, or a topic. What is not latched is heard best effort: that meets every publisher."""
        from rclpy.event_handler import SubscriptionEventCallbacks
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
        quality = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        if latched:
            quality = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

        def on_message(message: Any, info: Any) -> None:
            # When it arrived, not when this busy process came to look at it.
            hear((info.get("received_timestamp") or time.time_ns()) * 1e-9, message)
        source = self._sources.get(name)
        self.node.create_subscription(
            kind, name if source is None else source.topic, on_message, quality,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda _: self._strange.add(name), use_default_callbacks=False))

    def _on_command(self, name: str, now: float, message: Any) -> None:
        self.collector.hear(name, now, _ns(message))
        if _ns(message):
            self.collector.answer(now, _ns(message))

    def _on_word(self, now: float, message: Any) -> None:
        self.collector.hear("operating_state", now)
        self.collector.tell_state(message.data)

    def _on_state(self, now: float, message: Any) -> None:
        self.collector.hear("operating_state", now, _ns(message))
        self.collector.tell_state(message.state if message.is_homed else f"{message.state}, not homed")

    def _on_diagnostics(self, now: float, message: Any) -> None:
        for status in message.status:
            level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
            self.collector.diagnose(status.name, level, status.message,
                                    {pair.key: pair.value for pair in status.values}, now)


def _live(listener: Listener) -> None:
    """Draw until Ctrl-C; being terminated gives the terminal back as well."""
    from rich.live import Live
    asked_to_stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):      # raised within rclpy, it may come out as another
        signal.signal(number, lambda received, _: asked_to_stop.append(received))
    with Live(screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while not asked_to_stop:
            size = live.console.size
            live.update(render(listener.snapshot(), size.width, size.height), refresh=True)
            listener.spin(REFRESH)


def _print(snapshot: Snapshot) -> None:
    from rich.console import Console
    width = 100
    Console(width=width, color_system=None, highlight=False).print(render(snapshot, width))


def _ns(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
