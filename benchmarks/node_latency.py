"""How long from a camera image to the policy's action, through ROS 2, against what it cannot be faster than.

    python benchmarks/node_latency.py [BUNDLE] [--width 640 --height 480 --rate 30 --seconds 20]

Camera, policy_node and the gate's ear are three processes. The floor is measured in the same run: a node that
answers each image with a tiny message, over the same transport, plus `prepare` and onnxruntime timed by themselves, at
the camera's rate. What the node does beyond that is to judge each picture (image_gate.py) and to tell what it does.
Echo and policy take turns, so that both meet the same load of the machine. The gate's own tick comes on top: its
rate says how long an action waits for it, /diagnostics how long its step takes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import numpy as np
import onnxruntime
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, JointState

from ros_nodes import messages, qos
from ros_nodes.messages import Pose
from ros_nodes.transport import use_profile
from surgrl.node_process import NodeProcess, parameter_file
from surgrl.policy.bundle import PROFILE, PolicyBundle
from surgrl.policy.image import prepare
from surgrl.policy.image_gate import ImageGate
from surgrl.policy.image_limits import ImageLimits
from surgrl.pretrained import find_bundle
from surgrl.ros_graph import Graph

TOPIC, ACTION = "/endoscope/left/image_raw", "/policy_node/action"
WARM_UP = 3.0       # s at the start of each turn that are not counted: nodes find one another
TURNS = 2           # of each kind


def camera(width: int, height: int, rate: float, seconds: float) -> None:
    """A process: publish for so long, then print the stamps (ns) of all images as JSON."""
    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, TOPIC, qos.IMAGE)
    message, pixels = messages.make_image(height, width, "endoscope_left")
    pictures = np.random.default_rng(0).integers(0, 255, (4, height, width, 3), np.uint8)
    while publisher.get_subscription_count() == 0:
        time.sleep(0.05)
    stamps, start = [], time.monotonic()
    for number in range(round(rate * seconds)):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        stamps.append(node.get_clock().now().nanoseconds)
        message.header.stamp = messages.to_stamp(stamps[-1])
        pixels[...] = pictures[number % 4]
        publisher.publish(message)
    time.sleep(0.5)
    print(json.dumps(stamps))


def echo() -> None:
    """A process: answer each image with a message as small as a command, that bears the image's stamp."""
    rclpy.init()
    node = rclpy.create_node("echo")
    publisher = node.create_publisher(JointState, ACTION, qos.SERVO)
    answer = JointState(name=["v_x", "v_y", "v_z"], position=[0.0] * 3, effort=[0.0] * 3)

    def on_image(message: Image) -> None:
        answer.header.stamp = message.header.stamp
        publisher.publish(answer)
    node.create_subscription(Image, TOPIC, on_image, qos.IMAGE)
    rclpy.spin(node)


class Ear:
    """Hears the actions, as the gate does, and notes how old each one's image is; tells where an arm is."""

    def __init__(self, domain: int):
        """Join the domain."""
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = rclpy.create_node("ear", context=self._context)
        self.answers: dict[int, float] = {}     # ns of the image's stamp -> ms until its action came
        pose = Pose(np.array([0.0, 0.01, 0.1]), np.array([0.0, 0.0, 0.0, 1.0]))
        self._pose = messages.make_pose(pose, "ECM", messages.to_stamp(0))
        self._jaw = messages.make_joint("jaw", 0.3, messages.to_stamp(0))
        self._told = [(self.node.create_publisher(type(message), f"/PSM1/{name}", qos.STATE), message)
                      for name, message in (("measured_cp", self._pose), ("jaw/measured_js", self._jaw))]
        self.node.create_subscription(JointState, ACTION, self._on_action, qos.SERVO)
        self.node.create_timer(0.01, self._tell)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def spin_until(self, ended: Callable[[], bool]) -> None:
        """Listen until then."""
        while not ended():
            self._executor.spin_once(timeout_sec=0.05)

    def _tell(self) -> None:
        for publisher, message in self._told:
            message.header.stamp = self.node.get_clock().now().to_msg()
            publisher.publish(message)

    def _on_action(self, message: JointState) -> None:
        stamp = messages.to_ns(message.header.stamp)
        self.answers[stamp] = (self.node.get_clock().now().nanoseconds - stamp) * 1e-6


class Turns:
    """Latencies in ms and counts of one kind of node, over all its turns."""

    def __init__(self) -> None:
        """None taken yet."""
        self.latencies: list[float] = []
        self.sent = 0

    def take(self, ear: Ear, args: argparse.Namespace) -> None:
        """One turn of the camera, and what of it was answered."""
        ear.answers.clear()
        seconds = args.seconds / TURNS + WARM_UP
        process = subprocess.Popen(
            [sys.executable, __file__, "--role", "camera", "--width", str(args.width), "--height",
             str(args.height), "--rate", str(args.rate), "--seconds", str(seconds)], stdout=subprocess.PIPE)
        try:
            ear.spin_until(lambda: process.poll() is not None)
            stamps = json.loads(process.stdout.read())[round(WARM_UP * args.rate):]
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        self.sent += len(stamps)
        self.latencies += [ear.answers[stamp] for stamp in stamps if stamp in ear.answers]

    def row(self, name: str) -> str:
        """A line of the table."""
        if not self.latencies:
            return f"{name:28s} no image was answered"
        p50, p90, p99 = np.percentile(self.latencies, [50, 90, 99])
        return (f"{name:28s} {p50:7.2f} {p90:7.2f} {p99:7.2f} {max(self.latencies):7.2f}   "
                f"{len(self.latencies)}/{self.sent} = {len(self.latencies) / self.sent:.1%}")


def fitted(bundle: PolicyBundle, folder: Path, width: int, height: int, rate: float) -> PolicyBundle:
    """The bundle at the camera's rate, so that no picture is left out; of another shape, behind a square crop."""
    image = replace(bundle.image, rate=rate)
    if image.width * height != image.height * width:
        image = replace(image, width=width, height=height, crop=(0, (width - height) // 2, height, height))
    if image == bundle.image:
        return bundle
    for name in ("policy.onnx", PROFILE):
        if (bundle.folder / name).is_file():
            copyfile(bundle.folder / name, folder / name)
    variant = replace(bundle, folder=folder, image=image)
    frames = np.zeros((1, height, width, 3), np.uint8)
    proprio = np.zeros((1, len(bundle.proprio.names)), np.float32)
    actions = onnxruntime.InferenceSession(bundle.onnx).run(None, inputs_of(variant, frames[0]))[0]
    variant.write(frames, proprio, actions)
    return PolicyBundle.load(folder)


def inputs_of(bundle: PolicyBundle, frame: np.ndarray) -> dict[str, np.ndarray]:
    """The network's inputs when it has seen nothing but this frame (H, W, 3) uint8."""
    planes = np.concatenate([prepare(frame, bundle.image)] * bundle.image.stack, axis=2).transpose(2, 0, 1)
    inputs = {"images": np.ascontiguousarray(planes)[None]}
    if bundle.proprio.names:
        inputs["proprio"] = np.zeros((1, len(bundle.proprio.names)), np.float32)
    return inputs


def timed(work: Callable[[], object], rate: float, repeats: int = 60) -> float:
    """Median ms of `work` when it is done at the camera's rate, as it is in the node: caches are cold by then."""
    times = []
    for _ in range(repeats):
        time.sleep(1 / rate)
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="Image-to-action latency of policy_node, and its floor.")
    parser.add_argument("bundle", nargs="?", default="reach", help="folder or pretrained name (%(default)s)")
    parser.add_argument("--width", type=int, default=640, help="px (%(default)s)")
    parser.add_argument("--height", type=int, default=480, help="px (%(default)s)")
    parser.add_argument("--rate", type=float, default=30.0, help="Hz (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="counted, of each (%(default)s)")
    parser.add_argument("--domain", type=int, default=90, help="ROS domain that nobody uses (%(default)s)")
    parser.add_argument("--role", choices=("camera", "echo"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    use_profile()
    if args.role == "camera":
        return camera(args.width, args.height, args.rate, args.seconds)
    if args.role == "echo":
        return echo()
    os.environ["ROS_DOMAIN_ID"] = str(args.domain)
    with tempfile.TemporaryDirectory() as name:
        measure(args, Path(name))


def measure(args: argparse.Namespace, scratch: Path) -> None:
    """Isolated timings, then echo and policy by turns; prints as it goes."""
    bundle = fitted(PolicyBundle.load(find_bundle(args.bundle)), scratch, args.width, args.height, args.rate)
    frame = np.random.default_rng(0).integers(0, 255, (args.height, args.width, 3), np.uint8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(bundle.onnx, options)
    inputs = inputs_of(bundle, frame)
    load = os.getloadavg()[0]
    preparing = timed(lambda: prepare(frame, bundle.image), args.rate)
    inferring = timed(lambda: session.run(None, inputs), args.rate)
    gate = ImageGate(bundle.image, ImageLimits(strange_frames=0), bundle.profile())
    judging = timed(lambda: gate.look(frame, time.monotonic(), "rgb8"), args.rate)
    ear, echoed, driven = Ear(args.domain), Turns(), Turns()
    for _ in range(TURNS):
        process = subprocess.Popen([sys.executable, __file__, "--role", "echo"])
        try:
            echoed.take(ear, args)
        finally:
            process.kill()
            process.wait()
        process = NodeProcess("policy_node", [parameter_file("policy.yaml")], {
            "bundle": str(bundle.folder), "image.strange_frames": 0}, scratch, domain=args.domain)     # it sees noise
        try:
            with Graph(args.domain, lambda *_: None) as graph:
                if not (graph.wait_for(lambda: graph.lifecycle_ready("policy_node"), 30)
                        and graph.change_state("policy_node", "configure")
                        and graph.change_state("policy_node", "activate")):
                    raise SystemExit(f"policy_node did not start: {process.last_words()}")
            driven.take(ear, args)
        finally:
            process.stop()
    print(f"{args.width}x{args.height} rgb8 at {args.rate:g} Hz, {bundle.folder.name}, {os.cpu_count()} CPU "
          f"cores, load {load:.1f} before, {os.getloadavg()[0]:.1f} after\n\n"
          f"{'ms':28s}     p50     p90     p99     max   answered")
    print(echoed.row("echo node"))
    print(driven.row("policy_node"))
    if not (echoed.latencies and driven.latencies):
        return
    for part in (50, 99):
        answering, acting = (float(np.percentile(turns.latencies, part)) for turns in (echoed, driven))
        floor = answering + preparing + inferring
        print(f"floor at p{part}: echo {answering:.2f} + prepare {preparing:.2f} + onnxruntime {inferring:.2f} = "
              f"{floor:.2f} ms; policy_node is {acting / floor:.2f} x the floor, {acting / (floor + judging):.2f} x "
              f"with the {judging:.2f} ms in which it judges the picture")


if __name__ == "__main__":
    main()
