"""The launch files as they run, where ROS 2's launch_ros is installed: order of the nodes, crashes, the end."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from surgrl.ros_graph import Graph
from surgrl.video_writer import write_video

if find_spec("launch_ros") is None:
    pytest.skip("launch_ros comes with a ROS 2 installation", allow_module_level=True)

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
source = PythonLaunchDescriptionSource(sys.argv[1])
service = LaunchService()
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    source, launch_arguments=[word.split(":=", 1) for word in sys.argv[2:]])]))
sys.exit(service.run())
"""


class Launched:
    """A launch file in a process of its own, and a view of its domain."""

    def __init__(self, domain: int, prefix: Path, file: str, *arguments: str) -> None:
        self.texts: dict[str, list[str]] = {"gate_node": [], "policy_node": []}
        self.graph = Graph(domain, lambda node, text: self.texts[node].append(text)).__enter__()
        paths = [str(prefix), os.environ.get("AMENT_PREFIX_PATH") or sys.prefix]
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(ROOT / "launch" / file), *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True, env={
                **os.environ, "ROS_DOMAIN_ID": str(domain), "HOME": str(prefix),
                "AMENT_PREFIX_PATH": os.pathsep.join(paths),
                "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])})
        self.lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self._reader.start()

    def wait(self, reached, seconds: float = 30.0) -> bool:
        return self.graph.wait_for(reached, seconds)

    def said(self, node: str, start: str) -> bool:
        """Whether the node's newest status begins so."""
        return bool(self.texts[node]) and self.texts[node][-1].startswith(start)

    def told(self, text: str) -> bool:
        """Whether the launch or a node has printed this."""
        return text in "".join(self.lines)

    def pids(self, node: str) -> list[int]:
        """Of all processes of the node that were started."""
        return [int(number) for number in re.findall(rf"\[{node}-\d+\]: process started with pid \[(\d+)\]",
                                                     "".join(self.lines))]

    def interrupt(self) -> int:
        """As Ctrl-C does, which the terminal tells to every process; the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(30)

    def close(self) -> None:
        """End what still runs, a launch that hangs too."""
        try:
            if self.process.poll() is None:
                self.interrupt()
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(10)
            self.process.stdout.close()
            self.graph.__exit__()


@pytest.fixture
def launch(domain, tmp_path):
    """Starts a launch file, as from an installation whose commands are this checkout's."""
    (tmp_path / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (tmp_path / "share/ament_index/resource_index/packages/surgrl").touch()
    (tmp_path / "lib/surgrl").mkdir(parents=True)
    for node in ("policy_node", "gate_node", "sim_node", "video_node", "record_node"):
        script = tmp_path / "lib/surgrl" / node
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ros_nodes.{node} "$@"\n')
        script.chmod(0o755)
    started: list[Launched] = []

    def start(file: str, *arguments: str) -> Launched:
        started.append(Launched(domain + 1, tmp_path, file, *arguments))
        return started[-1]
    yield start
    for one in started:
        one.close()


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_the_gate_is_active_before_the_policy_and_ctrl_c_ends_all(launch, right):
    running = launch("policy.launch.py", f"bundle:={right}")
    assert running.wait(lambda: running.said("policy_node", "hold: no image yet")), running.lines
    assert running.wait(lambda: running.said("gate_node", "hold:"))
    assert running.texts["gate_node"][-1].endswith("(dry run: the arm is told nothing)")
    assert running.wait(lambda: running.told("[policy_node]: hold: no image yet"), 5)
    whole = "".join(running.lines)
    assert 0 < whole.index("[gate_node]: hold: just activated") < whole.index("[policy_node]: hold: no image yet")
    pids = running.pids("policy_node") + running.pids("gate_node")
    assert len(pids) == 2
    assert running.interrupt() == 0 and all(gone(pid) for pid in pids)
    assert running.told("gate_node-1]: process has finished cleanly")


@pytest.mark.parametrize("node", ["policy_node", "gate_node"])
def test_a_node_that_crashed_comes_back_and_nobody_activates_it(launch, right, node):
    running = launch("policy.launch.py", f"bundle:={right}")
    assert running.wait(lambda: running.said("policy_node", "hold:")), running.lines
    other = {"policy_node": "gate_node", "gate_node": "policy_node"}[node]
    os.kill(running.pids(node)[0], signal.SIGKILL)
    assert running.wait(lambda: len(running.pids(node)) == 2)
    assert running.wait(lambda: running.said(node, "inactive: not configured"))
    assert not running.wait(lambda: not running.said(node, "inactive: not configured"), 3)
    assert running.told(f"{node} has ended. It stays unconfigured")
    assert running.wait(lambda: running.said(other, "hold:"))
    # The operator's configure is no activate.
    assert running.graph.change_state(node, "configure")
    assert not running.wait(lambda: running.said(node, "hold:"), 2)
    assert running.said(node, "inactive: configured")
    assert running.graph.change_state(node, "activate")
    assert running.wait(lambda: running.said(node, "hold:"))


def test_a_refused_configure_ends_the_autostart(launch):
    running = launch("policy.launch.py", "bundle:=nowhere")
    assert running.wait(lambda: running.said("policy_node", "inactive: refused to configure:")), running.lines
    assert running.wait(lambda: running.told("autostart ends: /policy_node was configuring and is unconfigured"))
    assert running.wait(lambda: running.said("gate_node", "hold:"))


def test_without_autostart_both_stay_unconfigured(launch, right):
    running = launch("policy.launch.py", f"bundle:={right}", "autostart:=false")
    assert running.wait(lambda: all(running.said(node, "inactive: not configured") for node in running.texts))
    assert not running.wait(lambda: not all(running.said(node, "inactive: not configured")
                                            for node in running.texts), 3)


def test_a_parameter_file_that_is_not_there_starts_nothing(launch, right):
    running = launch("policy.launch.py", f"bundle:={right}", "params:=nowhere.yaml")
    assert running.process.wait(30) == 1
    running.wait(lambda: running.told("nowhere.yaml: no such parameter file"), 5)
    assert running.told("nowhere.yaml: no such parameter file") and not running.pids("gate_node")


def test_a_simulated_episode_is_run_to_its_end(launch, tmp_path):
    running = launch("simulation.launch.py", "episodes:=1", "bundle:=reach", f"results:={tmp_path / 'results.json'}")
    end = time.monotonic() + 90
    while running.process.poll() is None and time.monotonic() < end:
        running.graph.spin(0.2)
    assert running.process.poll() == 0, "".join(running.lines[-40:])
    assert (tmp_path / "results.json").is_file() and not running.told("dry run")
    assert any(text.startswith("active: each action moves the arm") for text in running.texts["gate_node"])


def test_one_argument_puts_the_real_robot_in_the_place_of_the_simulated_one_in_a_dry_run(launch, right, tmp_path):
    running = launch("simulation.launch.py", f"bundle:={right}", "simulate:=false", f"record:={tmp_path / 'bags'}")
    assert running.wait(lambda: running.said("policy_node", "hold: no image yet")), running.lines
    assert running.wait(lambda: running.said("gate_node", "hold:"))
    assert running.texts["gate_node"][-1].endswith("(dry run: the arm is told nothing)")
    assert not running.pids("sim_node") and len(running.pids("gate_node")) == 1
    assert running.wait(lambda: list((tmp_path / "bags").glob("*/*.mcap")), 10)


def test_a_recording_is_replayed_in_a_dry_run_whatever_is_asked_for(launch, right, tmp_path):
    rows, columns = np.mgrid[:120, :160]
    write_video(tmp_path / "film.mp4", (np.repeat((128 + 80 * np.sin(rows / 7 + number / 3) * np.cos(columns / 9))[
        ..., None], 3, axis=2).astype(np.uint8) for number in range(200)), rate=20)
    running = launch("replay.launch.py", f"bundle:={right}", f"source:={tmp_path / 'film.mp4'}", "dry_run:=false")
    end = time.monotonic() + 90
    while running.process.poll() is None and time.monotonic() < end:
        running.graph.spin(0.2)
    assert running.process.poll() == 0, "".join(running.lines[-40:])
    assert any(text.startswith("active: each action moves the arm (dry run") for text in running.texts["gate_node"])
