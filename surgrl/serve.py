"""`surgrl serve`: policy and gate as ROS 2 nodes beside a simulated robot, a recording, or a robot that is there."""

import argparse
import json
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from .node_process import NodeProcess, parameter_file
from .policy.bundle import PolicyBundle
from .policy.errors import UserError
from .policy.node_parameters import gate_and_policy
from .policy.transport import choose_local
from .pretrained import find_bundle
from .ros_graph import NODES, Graph, domain_number

DISCOVERY = 2.5     # s, in which nodes that are there already make themselves known
REPLAYED = ("; on a robot that is right. To see what the policy would do all the same: `surgrl replay`, which goes on; "
            "or image.tolerance, image.strange_frames in --params, see docs/ros.md")
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
    add("--no-sim", action="store_true", help="start policy and gate only: robot and camera run already")
    add("--replay", metavar="SOURCE", help="a recording (video, bag) as the camera, and a still arm, instead of the "
        "simulation: what would be commanded goes to /gate_node/dry_run/servo_cp")
    add("--live", action="store_true", help="with --no-sim: command the robot; without it, a dry run tells it nothing")
    add("--local", action="store_true", help="shared memory only: no network socket is opened, and that is checked")
    add("--width", type=int, default=640, help="px of the simulated image (%(default)s)")
    add("--height", type=int, default=480, help="px of the simulated image (%(default)s)")
    add("--rate", type=float, default=0.0, help="simulated steps per second; 0: real time (%(default)s)")
    add("--params", help="parameter file of policy_node and gate_node: limits, topics (ros_nodes/config/policy.yaml)")
    add("--record", metavar="FOLDER", help="record the run in there: rosbag2, MCAP (docs/recording.md)")
    add("--wait", type=float, default=15.0,
        help="s to wait for a camera, and for a held simulation to go on (%(default)s)")


def run(args: argparse.Namespace) -> None:
    """Serve until the episodes are done or Ctrl-C, then say how it went."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)   # being terminated cleans up as Ctrl-C does
    if args.local:
        choose_local()
    options = {name: value for name, value in vars(args).items() if name not in ("command", "run", "no_sim", "local")}
    print(summary(serve_episodes(simulate=not args.no_sim, **options)))


def serve_episodes(bundle: str | Path = "reach", episodes: int = 10, seed: int = 0, *, task: str = "",
                   results: str | Path | None = None, domain: int | None = None, simulate: bool = True,
                   replay: str | Path | None = None, live: bool = False, width: int = 640, height: int = 480,
                   rate: float = 0.0, params: str | Path | None = None, record: str | Path | None = None,
                   wait: float = 15.0,
                   say: Callable[[str], None] = print) -> dict[str, Any]:
    """Run a bundle over ROS 2; return what came of it: the results file's keys, `bundle`, `interrupted`.

    replay: a video or bag that is played instead of the simulation, in a dry run.
    live: without a simulation, command the robot that is there; else a dry run tells it nothing.
    record: folder for a recording of the run.

    Ctrl-C ends it early and is no error. UserError when it cannot run as asked. No process is left behind.
    """
    folder = find_bundle(str(bundle)).resolve()
    loaded = PolicyBundle.load(folder)
    if task and task != loaded.task:
        raise UserError(f"{folder} is a policy for {loaded.task}, not for {task}; "
                        "give a bundle for that task, or leave --task away")
    if replay and live:
        raise UserError("a recording is replayed in a dry run; leave --live away, or --replay")
    simulate = simulate and not replay
    if simulate:
        loaded.image.crop_in(height, width)
    domain = domain_number(domain)
    files = [Path(params).resolve() if params else parameter_file("policy.yaml")]
    told_names = _names(files[0])
    servo_topic, camera_topic = f"/{told_names['arm']}/{told_names['command']}", told_names["image_topic"]
    if simulate or replay:
        files.append(parameter_file("simulation.yaml" if simulate else "replay.yaml"))
    interrupted = False
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="surgrl-serve-")))
        told = _Results(Path(results).resolve() if results else scratch / "results.json", episodes, say)
        watcher = _StatusWatcher(say)
        graph = stack.enter_context(Graph(domain, watcher))
        try:
            graph.spin(DISCOVERY)
            camera = {"sim_node": camera_topic} if simulate else {"video_node": camera_topic} if replay else {}
            ours = {"policy_node": "/policy_node/action", "gate_node": servo_topic, **camera}
            _refuse_rivals(graph, domain, ours, 0)
            nodes = []

            def start(name: str, **parameters: Any) -> None:
                nodes.append(NodeProcess(name, files, parameters, scratch, domain=domain))
                stack.callback(nodes[-1].stop)
            recorder = None
            if record:      # first, so that it hears the end too; and no reason to stop a robot, should it end before
                recorder = NodeProcess("record_node", [parameter_file("record.yaml")], {
                    "folder": str(Path(record).resolve()), "arm": told_names["arm"],
                    "image_topic": camera_topic}, scratch, domain=domain)
                stack.callback(recorder.stop)
            # Started last is stopped first: the gate outlives the policy, and its robot still hears `hold`.
            if simulate:
                start("sim_node", task=loaded.task, seed=seed, episodes=episodes, results=str(told.path),
                      image_width=width, image_height=height, rate=float(rate), **_played(told_names))
            elif replay:
                start("video_node", source=str(Path(replay).resolve()), operator=True, **_played(told_names))
            # Nobody asks later what was sent to a robot that was not there.
            start("gate_node", dry_run=not (simulate or live), **(
                {"audit_folder": str(scratch / "audit")} if simulate or replay else {}))
            start("policy_node", bundle=str(folder), task=loaded.task)
            _bring_up(graph, nodes, watcher, camera_topic, START if simulate else wait,
                      lambda: _refuse_rivals(graph, domain, ours, 1))
            if recorder is not None:
                recorder.require_alive()
            say(f"serving {folder.name} ({loaded.task}) in ROS domain {domain}; Ctrl-C stops")
            while not (camera and nodes[0].process.poll() == 0):
                for node in nodes:
                    node.require_alive()
                graph.spin(0.1)
                _refuse_rivals(graph, domain, ours, 1)
                if camera:      # a robot's latch is the operator's: /gate_node/reset, and the pedal
                    watcher.require_progress(wait if simulate else float("inf"), REPLAYED if replay else "")
                told.report()
        except KeyboardInterrupt:
            interrupted = True
        told.report()
        return {**told.read(), "bundle": str(folder), "interrupted": interrupted,
                **({"replay": str(replay)} if replay else {})}


def summary(results: dict[str, Any]) -> str:
    """One line: successes, image-to-command latency, frames that got an answer."""
    episodes = results.get("episodes", [])
    latencies = [value for episode in episodes for value in episode["latency_ms"]]
    if "replay" in results:
        return f"{results['replay']}: {'stopped' if results['interrupted'] else 'played to its end'}"
    if not latencies:
        return "stopped; no simulated episode was finished"
    successes = sum(episode["success"] for episode in episodes)
    p50, p99 = np.percentile(latencies, [50, 99])
    return (f"success {successes}/{len(episodes)}, image-to-command p50 {p50:.1f} ms p99 {p99:.1f} ms, "
            f"frames answered {results['frames_answered']}/{results['frames_sent']}")


class _StatusWatcher:
    """Keeps the states of our nodes; prints the gate's when it changes in more than its numbers."""

    def __init__(self, say: Callable[[str], None]):
        self.texts, self._say, self._shape = dict.fromkeys(NODES, ""), say, ""
        self._moved = float("inf")      # s, monotonic, when the arm last moved, or all was activated

    def __call__(self, node: str, text: str) -> None:
        self.texts[node] = text
        if node != "gate_node" or text.startswith("inactive"):
            return
        if text.startswith("active:") or self._moved == float("inf"):
            self._moved = time.monotonic()
        shape = "".join(letter for letter in text if not letter.isdigit())
        if shape != self._shape:
            self._say(f"gate {text}")
        self._shape = shape

    def require_progress(self, wait: float, hint: str) -> None:
        """UserError when a node is latched, and the hint, or when the arm has stood still for `wait` s."""
        for node, text in self.texts.items():
            if text.startswith("latched:"):
                raise UserError(f"{node} is {text}{hint}")
        if time.monotonic() - self._moved > wait + 1:       # the status comes once a second
            raise UserError(f"the policy has not moved the arm for {wait:g} s; {self.texts['gate_node']}")


class _Results:
    """The file that sim_node writes; prints the episodes as they come."""

    def __init__(self, path: Path, episodes: int, say: Callable[[str], None]):
        self.path, self._episodes, self._say, self._told = path, episodes, say, 0
        if path.is_dir():
            raise UserError(f"--results {path} is a folder; name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text()) if self.path.is_file() else {}

    def report(self) -> None:
        for episode in self.read().get("episodes", [])[self._told:]:
            self._told += 1
            measures = {name: value for name, value in episode.items()
                        if name not in ("seed", "success", "steps", "latency_ms")}
            self._say(f"episode {self._told}{f'/{self._episodes}' if self._episodes else ''}: "
                      f"{'success' if episode['success'] else 'no success'}, {episode['steps']} steps, "
                      + ", ".join(f"{name} {value:.3g}" for name, value in measures.items()))


def _bring_up(graph: Graph, nodes: list[NodeProcess], watcher: _StatusWatcher, camera: str, wait: float,
              refuse_rivals: Callable[[], None]) -> None:
    """Configure and activate the gate, then the policy, once there is a camera to see through."""
    def alive() -> bool:
        for node in nodes:
            node.require_alive()
        return True
    ours = [node for node in nodes if node.name in NODES]

    def up(node: NodeProcess) -> bool:
        # Its own process, by number: a lifecycle service alone might be that of somebody else's robot.
        return f"(process {node.process.pid})" in watcher.texts[node.name] and graph.lifecycle_ready(node.name)
    for node in ours:
        if not graph.wait_for(lambda node=node: alive() and up(node), START):
            raise UserError(f"{node.name} did not come up within {START:g} s: {node.last_words()}")
    if not graph.wait_for(lambda: alive() and graph.publishers(camera) > 0, wait):
        raise UserError(f"nobody publishes {camera} within {wait:g} s; start the camera, or set image_topic "
                        "in a parameter file (--params)")
    refuse_rivals()     # by now a slow one has been heard of, too
    for transition in ("configure", "activate"):
        for node in ours:
            if not graph.change_state(node.name, transition, still=alive):
                graph.wait_for(lambda node=node: "refused" in watcher.texts[node.name], 2.0)
                reason = watcher.texts[node.name].removeprefix(f"inactive: refused to {transition}: ")
                raise UserError(f"{node.name} did not {transition}: {reason}")


def _refuse_rivals(graph: Graph, domain: int, ours: dict[str, str], running: int) -> None:
    """UserError when someone else in the domain does what our nodes do (name: topic that it publishes).

    running: how many of each are ours by now, 0 or 1.
    """
    for name, topic in ours.items():
        named = graph.node_names().count(name) > running
        if named or graph.publishers(topic) > running:
            rival = f"a {name} runs" if named else f"someone publishes {topic}"
            raise UserError(f"{rival} in ROS domain {domain} already; stop it, or choose another domain "
                            "(--domain). A node that was killed is seen for up to 20 s more")


def _played(names: dict[str, str]) -> dict[str, str]:
    """Parameters with which a robot that is played answers where policy and gate look for theirs."""
    camera, _, last = names["image_topic"].rpartition("/")
    if last != "image_raw":
        raise UserError(f"parameter image_topic is {names['image_topic']}; a camera that is played publishes image_raw:"
                        " name a topic that ends so, or run with --no-sim")
    return {"arm": names["arm"], "camera": camera, "command_frame": names["command_frame"]}


def _names(file: Path) -> dict[str, str]:
    """Names of arm, command, camera and frame in a parameter file of both nodes, or what they are by default."""
    told = gate_and_policy(file)
    default = {"arm": "PSM1", "command": "servo_cp", "command_frame": "ECM",
               "image_topic": "/endoscope/left/image_raw"}
    return {name: str(told.get(name, value)) for name, value in default.items()}
