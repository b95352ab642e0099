"""ROS nodes of ours as child processes that leave no orphan behind."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .policy.errors import UserError

STOP_SECONDS = 5.0      # s, that a node gets to end by itself


class NodeProcess:
    """One node in a process of its own. It ends when we do, even when we are killed."""

    def __init__(self, name: str, parameter_files: Sequence[Path], parameters: Mapping[str, Any], folder: Path, *,
                 domain: int):
        """name: module in ros_nodes. Later files win over earlier ones, parameters over all. folder: for the log."""
        self.name, self.log = name, folder / f"{name}.log"
        arguments = ["--ros-args"]
        for file in parameter_files:
            arguments += ["--params-file", str(file)]
        for key, value in parameters.items():
            arguments += ["-p", f"{key}:={_yaml(value)}"]
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "SURGRL_PARENT": str(os.getpid()),
                       "PYTHONPATH": os.pathsep.join(paths)}
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches us alone, and we stop the policy before the robot.
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"ros_nodes.{name}", *arguments], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, env=environment, start_new_session=True)

    def require_alive(self) -> None:
        """UserError with the node's last words when it has ended."""
        code = self.process.poll()
        if code is not None:
            raise UserError(f"{self.name} ended with exit code {code}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line of the node's output that tells something."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """Ask it to end; insist after STOP_SECONDS."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def parameter_file(name: str) -> Path:
    """A parameter file that comes with ros_nodes: "policy.yaml", "simulation.yaml"."""
    spec = find_spec("ros_nodes")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the package 'ros_nodes' of surgrl is not installed; install surgrl anew")
    return Path(spec.submodule_search_locations[0]) / "config" / name


def _yaml(value: Any) -> str:
    """A parameter's value as YAML on the command line: strings in quotes, so that "123" stays one."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
