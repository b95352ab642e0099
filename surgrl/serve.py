"""`surgrl serve`: simulated robot and policy as ROS 2 nodes, from one command; or the policy alone."""

import argparse
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .node_process import NodeProcess, parameter_file
from .policy.bundle import PolicyBundle
from .policy.errors import UserError
from .pretrained import find_bundle
from .ros_graph import Graph

DISCOVERY = 2.5     # s, in which nodes that are there already make themselves known
START = 30.0        # s, for a node to come up on a busy machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `surgrl serve`."""
    add = parser.add_argument
    add("bundle", nargs="?", default="reach", help="folder of a bundle, or a pretrained name (%(default)s)")
    add("--episodes", type=int, default=10, help="simulated episodes; 0: until Ctrl-C (%(default)s)")
    add("--seed", type=int, default=0, help="of the first episode; the next ones count up (%(default)s)")
    add("--task", default="", help="Gymnasium id that the bundle must be made for (any)")
    add("--results", help="JSON file for what came of each episode")
    add("--domain", type=int, help="ROS domain, 0 to 232 (environment variable ROS_DOMAIN_ID, else 0)")
    add("--no-sim", action="store_true", help="start the policy only: robot and camera run already")
    add("--width", type=int, default=640, help="px of the simulated image (%(default)s)")
    add("--height", type=int, default=480, help="px of the simulated image (%(default)s)")
    add("--rate", type=float, default=0.0, help="simulated steps per second; 0: real time (%(default)s)")
    add("--params", help="parameter file of policy_node: limits, topics (ros_nodes/config/policy.yaml)")
    add("--wait", type=float, default=15.0,
        help="s to wait for a camera, and for a held simulation to go on (%(default)s)")


def run(args: argparse.Namespace) -> None:
    """Serve until the episodes are done or Ctrl-C, then say how it went."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)   # being terminated cleans up as Ctrl-C does
    options = {name: value for name, value in vars(args).items() if name not in ("command", "run", "no_sim")}
    print(summary(serve_episodes(simulate=not args.no_sim, **options)))


def serve_episodes(bundle: str | Path = "reach", episodes: int = 10, seed: int = 0, *, task: str = "",
                   results: str | Path | None = None, domain: int | None = None, simulate: bool = True,
                   width: int = 640, height: int = 480, rate: float = 0.0, params: str | Path | None = None,
                   wait: float = 15.0, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Run a bundle over ROS 2; return what came of it: the results file's keys, `bundle`, `interrupted`.

    Ctrl-C ends it early and is no error. UserError when it cannot run as asked. No process is left behind.
    """
    folder = find_bundle(str(bundle)).resolve()
    loaded = PolicyBundle.load(folder)
    if task and task != loaded.task:
        raise UserError(f"{folder} is a policy for {loaded.task}, not for {task}; "
                        "give a bundle for that task, or leave --task away")
    if simulate:
        loaded.image.crop_in(height, width)
    domain = _domain(domain)
    policy_file = Path(params).resolve() if params else parameter_file("policy.yaml")
    servo_topic, camera_topic = _topics(policy_file)
    interrupted = False
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="surgrl-serve-")))
        told = _Results(Path(results).resolve() if results else scratch / "results.json", episodes, say)
        watcher = _StatusWatcher(say)
        graph = stack.enter_context(Graph(domain, watcher))
        try:
            graph.spin(DISCOVERY)
            ours = {"policy_node": servo_topic, **({"sim_node": camera_topic} if simulate else {})}
            _refuse_rivals(graph, domain, ours, 0)
            nodes = []
            if simulate:
                nodes.append(NodeProcess("sim_node", parameter_file("simulation.yaml"), {
                    "task": loaded.task, "seed": seed, "episodes": episodes, "results": str(told.path),
                    "image_width": width, "image_height": height, "rate": float(rate)}, scratch,
                    domain=domain))
                stack.callback(nodes[0].stop)
            # Started last, so stopped first: its robot still hears `hold`.
            nodes.append(NodeProcess("policy_node", policy_file, {
                "bundle": str(folder), "task": loaded.task}, scratch, domain=domain))
            stack.callback(nodes[-1].stop)
            _bring_up(graph, nodes, watcher, camera_topic, START if simulate else wait,
                      lambda: _refuse_rivals(graph, domain, ours, 1))
            say(f"serving {folder.name} ({loaded.task}) in ROS domain {domain}; Ctrl-C stops")
            while not (simulate and nodes[0].process.poll() == 0):
                for node in nodes:
                    node.require_alive()
                graph.spin(0.1)
                _refuse_rivals(graph, domain, ours, 1)
                watcher.require_progress(wait if simulate else float("inf"))
                told.report()
        except KeyboardInterrupt:
            interrupted = True
        told.report()
        return {**told.read(), "bundle": str(folder), "interrupted": interrupted}


def summary(results: dict[str, Any]) -> str:
    """One line: successes, image-to-command latency, frames that got an answer."""
    episodes = results.get("episodes", [])
    latencies = [value for episode in episodes for value in episode["latency_ms"]]
    if not latencies:
        return "stopped; no simulated episode was finished"
    successes = sum(episode["success"] for episode in episodes)
    p50, p99 = np.percentile(latencies, [50, 99])
    return (f"success {successes}/{len(episodes)}, image-to-command p50 {p50:.1f} ms p99 {p99:.1f} ms, "
            f"frames answered {results['frames_answered']}/{results['frames_sent']}")


class _StatusWatcher:
    """Keeps policy_node's status; prints it when it changes in more than its numbers."""

    def __init__(self, say: Callable[[str], None]):
        self.text, self._say, self._shape = "", say, ""
        self._moved = float("inf")      # s, monotonic, when the policy last moved the arm, or was activated

    def __call__(self, text: str) -> None:
        self.text = text
        if text.startswith("active:") or self._moved == float("inf"):
            self._moved = time.monotonic()
        shape = "".join(letter for letter in text.split(" (limited")[0] if not letter.isdigit())
        if shape != self._shape and not text.startswith("inactive"):
            self._say(f"policy {text}")
        self._shape = shape

    def require_progress(self, wait: float) -> None:
        """UserError when the policy is latched, or has done nothing but hold for `wait` s."""
        if self.text.startswith("latched:"):
            raise UserError(f"the policy is {self.text}")
        if time.monotonic() - self._moved > wait + 1:       # the status comes once a second
            raise UserError(f"the policy has not moved the arm for {wait:g} s; {self.text}")


class _Results:
    """The file that sim_node writes; prints the episodes as they come."""

    def __init__(self, path: Path, episodes: int, say: Callable[[str], None]):
        self.path, self._episodes, self._say, self._told = path, episodes, say, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text()) if self.path.is_file() else {}

    def report(self) -> None:
        for episode in self.read().get("episodes", [])[self._told:]:
            self._told += 1
            self._say(f"episode {self._told}{f'/{self._episodes}' if self._episodes else ''}: "
                      f"{'success' if episode['success'] else 'no success'}, {episode['steps']} steps, "
                      f"{episode['distance'] * 1e3:.1f} mm from the target")


def _bring_up(graph: Graph, nodes: list[NodeProcess], watcher: _StatusWatcher, camera: str, wait: float,
              refuse_rivals: Callable[[], None]) -> None:
    """Configure and activate policy_node, once there is a camera to see through."""
    def alive() -> bool:
        for node in nodes:
            node.require_alive()
        return True
    # Its own process, by number: a lifecycle service alone might be that of somebody else's robot.
    ours = f"(process {nodes[-1].process.pid})"
    if not graph.wait_for(lambda: alive() and ours in watcher.text and graph.lifecycle_ready(), START):
        raise UserError(f"policy_node did not come up within {START:g} s: {nodes[-1].last_words()}")
    if not graph.wait_for(lambda: alive() and graph.publishers(camera) > 0, wait):
        raise UserError(f"nobody publishes {camera} within {wait:g} s; start the camera, or set image_topic "
                        "in a parameter file (--params)")
    refuse_rivals()     # by now a slow one has been heard of, too
    for transition in ("configure", "activate"):
        if not graph.change_state(transition, still=alive):
            graph.wait_for(lambda: "refused" in watcher.text, 2.0)
            raise UserError(f"policy_node did not {transition}: "
                            f"{watcher.text.removeprefix('inactive: refused to configure: ')}")


def _refuse_rivals(graph: Graph, domain: int, ours: dict[str, str], running: int) -> None:
    """UserError when someone else in the domain does what our nodes do (name: topic that it publishes).

    running: how many of each are ours by now, 0 or 1.
    """
    for name, topic in ours.items():
        named = graph.node_names().count(name) > running
        if named or graph.publishers(topic) > running:
            rival = f"a {name} runs" if named else f"someone publishes {topic}"
            raise UserError(f"{rival} in ROS domain {domain} already; stop it, or choose another domain "
                            "(--domain). A node that was killed is seen for 20 s more")


def _domain(domain: int | None) -> int:
    told = os.environ.get("ROS_DOMAIN_ID") or "0" if domain is None else str(domain)
    if not (told.isdecimal() and 0 <= int(told) <= 232):
        raise UserError(f"ROS domain {told!r} cannot be; it must be a whole number from 0 to 232")
    return int(told)


def _topics(file: Path) -> tuple[str, str]:
    """The servo_cp and image topics in a parameter file of policy_node."""
    if not file.is_file():
        raise UserError(f"{file}: no such parameter file; ros_nodes/config/policy.yaml shows one")
    try:
        told = next(iter(yaml.safe_load(file.read_text()).values()))["ros__parameters"]
        return f"/{told.get('arm', 'PSM1')}/servo_cp", told.get("image_topic", "/endoscope/left/image_raw")
    except (yaml.YAMLError, AttributeError, KeyError, StopIteration, TypeError) as error:
        raise UserError(f"{file}: not a ROS parameter file (node, ros__parameters, names); "
                        "ros_nodes/config/policy.yaml shows one") from error
