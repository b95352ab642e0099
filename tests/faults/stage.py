"""The graph of the fault suite: gate, policy and driver in processes of their own, and what the driver wrote down."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from networks import build
from rosgraph import START, Nodes

from surgrl.policy.bundle import PolicyBundle

TICK = 0.01             # s, of the gate
LATE = 0.045            # s, by which the driver may hear the last command after the hold; no motion starts as soon
SMALL = 1e-5            # m of way in a tick; braking takes 5e-5 from the first, other pictures less than this
STEADY = 0.6            # s, of undisturbed motion before a fault
PATIENCE = 20.0         # s
# The gate's own limits. Only the box is wide: the suite is longer than the way through the usual one.
GATE = {"dry_run": False, "command_frame": "ECM", "limits__speed": 0.05, "limits__acceleration": 1.0,
        "limits__jerk": 50.0, "limits__max_lead": 0.01, "limits__max_image_age": 0.1, "limits__max_action_age": 0.1,
        "limits__max_state_age": 0.05, "limits__max_enable_age": 0.2, "limits__good_frames": 5,
        "limits__wild_actions": 10, "limits__oscillation": 0.25,
        "limits__box_low": [-0.4, -0.4, -0.4], "limits__box_high": [0.4, 0.4, 0.6], "limits__rcm__use": False}
POLICY: dict[str, Any] = {"task": "", "providers": ["CPUExecutionProvider"], "allow_fallback": False,
                          "max_image_age": 0.1, "max_state_age": 0.1}


class Sent(NamedTuple):
    """One servo_cp as the driver got it."""

    t: float                # s, monotonic
    at: np.ndarray          # (3,) m


class Log:
    """What the driver wrote, read as it grows."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file, self._rest = path.open(), ""
        self.lines: list[dict[str, Any]] = []

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def read(self) -> list[dict[str, Any]]:
        """All lines so far."""
        *whole, self._rest = (self._rest + self._file.read()).split("\n")
        self.lines += [json.loads(line) for line in whole]
        return self.lines

    def of(self, what: str, since: float = 0.0) -> list[dict[str, Any]]:
        """Lines of one kind from a time on."""
        found = []
        for line in reversed(self.read()):
            if line["t"] < since - 1.0:     # a line may be written a little after its time
                break
            if line["what"] == what and line["t"] >= since:
                found.append(line)
        return found[::-1]

    def commands(self, since: float = 0.0) -> list[Sent]:
        """What the arm was told."""
        return [Sent(line["t"], np.array(line["at"])) for line in self.of("command", since)]

    def motion(self, until: float) -> list[Sent]:
        """The commands of the last motion that began before `until`, from its start to its end."""
        ends = [line["t"] + (LATE if line["what"] == "hold" else 0.0)
                for line in self.read() if line["what"] in ("hold", "place")]
        begin = max((end for end in ends if end < until), default=0.0)
        end = min((end for end in ends if end >= until), default=np.inf)
        return [sent for sent in self.commands(begin) if sent.t <= end]


def ways(commands: list[Sent]) -> np.ndarray:
    """(n - 1,) m from each command to the next."""
    return np.linalg.norm(np.diff([sent.at for sent in commands], axis=0), axis=1) if len(commands) > 1 else np.zeros(0)


def first_slower(commands: list[Sent]) -> float:
    """When the first command came that is slower than the one before; s, monotonic."""
    way = ways(commands)
    return next(commands[k + 1].t for k in range(1, len(way)) if way[k] < way[k - 1] - SMALL)


def first_safe(commands: list[Sent]) -> float:
    """When the first command came since which the tip only gets slower; s, monotonic."""
    way = ways(commands)
    last = len(way) - 1
    while last > 0 and way[last] <= way[last - 1] + SMALL:
        last -= 1
    slower = [k for k in range(last + 1, len(way)) if way[k] < way[k - 1] - SMALL]
    return commands[slower[0] + 1].t if slower else commands[-1].t


class Driver:
    """The driver's process."""

    def __init__(self, domain: int, folder: Path, log: Path, pedal: str = "up") -> None:
        here = Path(__file__).parent
        path = os.pathsep.join([str(here), str(here.parent), str(here.parents[1]), os.environ.get("PYTHONPATH", "")])
        with (folder / "driver.log").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(here / "driver.py"), str(domain), str(log), pedal], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
                env={**os.environ, "PYTHONPATH": path, "ROS_DOMAIN_ID": str(domain)})
        self._answer()

    def __call__(self, do: str, **order: Any) -> float:
        """Have it done; when it took effect, s, monotonic."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self.process.stdin.flush()
        return float(self._answer()["t"])

    def close(self) -> None:
        """End it."""
        if self.process.poll() is None and self.process.stdin is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the driver has ended; see driver.log"
        return dict(json.loads(line))


class Stage:
    """All three, and the operator's hand."""

    def __init__(self, domain: int, folder: Path, bundle: PolicyBundle) -> None:
        self.folder, self.bundle, self._domain = folder, bundle, domain
        self.log = Log(folder / "driver.jsonl")
        self.driver = Driver(domain, folder, folder / "driver.jsonl")
        self.nodes = Nodes(domain, folder)
        self.graph = self.nodes.graph
        self.unlogged: list[tuple[float, float]] = []       # s, monotonic, when the gate's log may lack what it sent
        self._set: dict[str, dict[str, Any] | None] = {"gate_node": None, "policy_node": None}
        self._is: dict[str, bool] = {"gate_node": False, "policy_node": False}      # configured, active or not

    def kill(self, name: str) -> float:
        """SIGKILL; when."""
        process = self.driver.process if name == "driver" else self.nodes.process[name].process
        process.kill()
        now = time.monotonic()
        process.wait()
        if name == "gate_node":
            self.unlogged.append((now - 0.5, now + 0.1))
        return now

    @property
    def gate(self) -> str:
        """The newest text of gate_node's ~/status."""
        return self.nodes.gate

    def pid(self, name: str) -> int:
        """Of gate_node, policy_node or driver."""
        return self.driver.process.pid if name == "driver" else self.nodes.process[name].process.pid

    def ready(self, **changes: Any) -> None:
        """The tip has been moving steadily for STEADY. changes: of parameters, ("__" for ".")."""
        gate, policy = self.usual("gate_node"), self.usual("policy_node")
        for name, value in changes.items():
            (gate if name in gate or name.startswith("limits") else policy)[name] = value
        self.driver("whole")
        for name, wanted in (("gate_node", gate), ("policy_node", policy)):
            if self._set[name] != wanted or not self._is[name]:
                self.down(name)
                if name == "gate_node":
                    self.driver("place", at=START.position.tolist())
                assert self.configure(name, wanted), self.nodes.heard[name]
                assert self.activate(name), self.nodes.heard[name]
        end = time.monotonic() + 4 * PATIENCE
        while time.monotonic() < end:
            self.move()
            if self.wait(lambda: self._is_steady() or not self.log.commands(time.monotonic() - 0.2), 5.0) and (
                    self._is_steady()):
                return
        raise AssertionError(f"no {STEADY} s of undisturbed motion: {self.gate}; {self.nodes.policy}")

    def usual(self, name: str) -> dict[str, Any]:
        """The parameters that a node has but for what a fault changes."""
        return ({**GATE, "audit_folder": str(self.nodes.audit)} if name == "gate_node" else
                {**POLICY, "bundle": str(self.bundle.folder)})

    def forget(self, name: str) -> None:
        """Its parameters are not the usual ones."""
        self._set[name] = None

    def with_channels(self, *names: str) -> Path:
        """A bundle of other channels than the stage's."""
        folder = self.folder / "-".join(names)
        if not folder.is_dir():
            build(folder, names=names, profiled=False)
        return folder

    def records(self) -> list[dict[str, Any]]:
        """Of the gate's newest audit log, those that are whole by now."""
        *lines, _ = max(self.nodes.audit.glob("*.jsonl")).read_text().split("\n")
        return [json.loads(line) for line in lines]

    def configure(self, name: str, parameters: dict[str, Any]) -> bool:
        """Set all parameters of an unconfigured node, and configure it; whether it went well."""
        reasons = self.nodes.set(name, **parameters)
        assert not reasons, reasons
        self._set[name] = dict(parameters)
        self._is[name] = self.graph.change_state(name, "configure")
        return self._is[name]

    def activate(self, name: str) -> bool:
        """Activate a configured node; whether it went well."""
        return self.graph.change_state(name, "activate")

    def again(self, name: str) -> None:
        """Deactivate and activate: a person has looked."""
        assert self.graph.change_state(name, "deactivate")
        assert self.activate(name), self.nodes.heard[name]

    def down(self, name: str) -> None:
        """Back to unconfigured."""
        from lifecycle_msgs.srv import GetState
        future = self.nodes._getter[name].call_async(GetState.Request())
        assert self.wait(future.done)
        for transition in {"active": ("deactivate", "cleanup"), "inactive": ("cleanup",)}.get(
                future.result().current_state.label, ()):
            assert self.graph.change_state(name, transition)
        self._is[name] = False

    def restart(self, name: str) -> None:
        """A new process for one that was killed, configured as that was, and active."""
        self._is[name] = False
        self.nodes.start_again(name)
        self.wait_for_ghost({"policy_node": "/policy_node/action", "gate_node": "/PSM1/servo_cp"}[name], 0)
        wanted = self._set[name]
        assert wanted is not None and self.configure(name, wanted) and self.activate(name), self.nodes.heard[name]

    def new_driver(self) -> None:
        """A new process for one that was killed, the pedal held from its start."""
        self.driver.close()
        self.driver = Driver(self._domain, self.folder, self.folder / "driver.jsonl", "held")
        self.wait_for_ghost("/endoscope/left/image_raw", 1)

    def wait_for_ghost(self, topic: str, others: int) -> None:
        """Until a killed node counts no more as a publisher."""
        assert self.wait(lambda: self.graph.publishers(topic) <= others, 30.0), f"{topic} is still published"
        self.graph.spin(1.2)        # others hear of the last sign of its life a second apart at most

    def move(self) -> None:
        """Whatever it takes until the arm moves: what a person at the robot would do."""
        def moves() -> bool:
            return len(self.log.commands(time.monotonic() - 0.05)) > 1
        if moves() and self.gate.startswith("active"):
            return
        self.driver("estop", pressed=False)
        self.driver("state", state="ENABLED")
        for _ in range(5):
            if self.nodes.policy.startswith("latched"):
                self.again("policy_node")
            if self.gate.startswith("latched"):
                self.wait(lambda: self.nodes.policy.startswith("active"), 2.0)
                self.wait(lambda: self.nodes.reset_gate()[0], 2.0)
            if not self.wait(moves, 0.5):
                self.press()
            if self.wait(moves, 3.0):
                return
        raise AssertionError(f"it does not move: {self.gate}; {self.nodes.policy}")

    def press(self) -> None:
        """A new edge of the pedal."""
        self.driver("set", set={"pressed": False}, since="press")
        self.driver("set", set={"pressed": True}, since="press")

    def wait(self, reached: Callable[[], Any], seconds: float = PATIENCE) -> bool:
        """Whether it came true in time. Looks often: the log is no topic."""
        end = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > end:
                return False
            self.graph.spin(0.01)
        return True

    def wait_for_rest(self, since: float, seconds: float = PATIENCE) -> None:
        """Until the arm is told to hold after that time, and nothing after it."""
        assert self.wait(lambda: self.rests(since), seconds), f"it goes on: {self.gate}; {self.nodes.policy}"

    def rests(self, since: float = 0.0) -> bool:
        """Whether the arm was told to hold after that time, and nothing of late."""
        holds = self.log.of("hold", since)
        now = time.monotonic()
        return bool(holds) and now > holds[-1]["t"] + 0.06 and not self.log.commands(now - 0.05)

    def stays(self, seconds: float) -> None:
        """Nothing is sent for so long."""
        since = time.monotonic()
        self.graph.spin(seconds)
        sent = self.log.commands(since)
        assert not sent, f"{len(sent)} commands: {self.gate}; {self.nodes.policy}"

    def said(self, since: float, words: str) -> bool:
        """Whether any of `words` ("|" between) stood in a status since then."""
        texts = [line["text"] for name in ("gate", "policy") for line in self.log.of(name, since)]
        return any(word in text for text in texts for word in words.split("|"))

    def close(self) -> None:
        """End all."""
        self.nodes.close()
        self.driver.close()
        self.log.close()

    def _is_steady(self) -> bool:
        now = time.monotonic()
        commands = self.log.motion(now)
        if not commands or now - commands[0].t < STEADY + 0.2 or now - commands[-1].t > 0.04:
            return False
        way = ways([sent for sent in commands if sent.t > now - STEADY])
        if np.abs(commands[-1].at - START.position).max() > 0.25:       # before it comes to the box
            self.home()
            return False
        return len(way) > 0.8 * STEADY / TICK and bool(np.ptp(way) < SMALL)

    def home(self) -> None:
        """Back to the start, at rest."""
        self.driver("set", set={"pressed": False}, since="press")
        # It may have held before the pedal was let go, on a busy machine: then it is told no second time.
        assert self.wait(self.rests), f"it goes on: {self.gate}; {self.nodes.policy}"
        self.driver("place", at=START.position.tolist())
        self.driver("set", set={"pressed": True}, since="press")
