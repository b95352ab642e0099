"""Many random faults in a row: no unsafe command, no memory that grows, and nothing left behind."""

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
from rosgraph import START
from stage import Stage
from verdict import judge

MINUTES = float(os.environ.get("SURGRL_SOAK_MINUTES", 0.35))
GROWTH = 1.05           # of the memory after a third of the time, at most
# Orders to the driver that stop the arm, whatever it does.
FAULTS: dict[str, dict[str, Any]] = {
    "no image": {"do": "show", "program": "none"}, "late images": {"do": "show", "program": "drift"},
    "frozen": {"do": "show", "moves": False}, "frozen but a clock": {"do": "show", "moves": False, "program": "clock"},
    "slow camera": {"do": "show", "program": "fourth"}, "to and fro": {"do": "show", "program": "swinging"},
    **{look: {"do": "show", "look": look} for look in (
        "black", "white", "bars", "defocused", "smoke", "blood", "room", "swapped", "larger", "wider")},
    **{f"network {code}": {"do": "show", "code": code} for code in (
        networks.NAN_CHANNEL, networks.PLUS_INF, networks.MINUS_INF, networks.WILD, networks.NAN_PIXEL,
        networks.STUCK)},
    "future": {"do": "set", "set": {"image_offset": 0.05}}, "other clock": {"do": "set", "set": {"image_offset": -1e3}},
    "encoding": {"do": "set", "set": {"encoding": "bgr8"}}, "short images": {"do": "set", "set": {"cut": 100}},
    "mute arm": {"do": "set", "set": {"tells": False}}, "other frame": {"do": "set", "set": {"frame_id": "world"}},
    "old state": {"do": "set", "set": {"state_offset": -0.2}}, "pushed": {"do": "push", "by": [0.0, 0.02, 0.0]},
    "NaN state": {"do": "spoil"}, "pedal up": {"do": "set", "set": {"pressed": False}},
    "pedal dead": {"do": "set", "set": {"pressed": None}}, "emergency stop": {"do": "estop", "pressed": True},
    "paused": {"do": "state", "state": "PAUSED"}, "fault": {"do": "state", "state": "FAULT"}}
STOPPED = ("policy_node", "gate_node")      # by SIGSTOP


def memory(pid: int) -> int:
    """kB, resident."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def segments(pid: int) -> set[Path]:
    """Fast DDS's segments of messages (16 MiB each) that a process has mapped.

    Not its queues, fastdds_portN of 52 kB: Fast DDS leaves them, and the next node with that port uses them again.
    """
    return {Path(path) for path in re.findall(r"/dev/shm/fastdds_[0-9a-f]{16}$", Path(f"/proc/{pid}/maps").read_text(),
                                              re.MULTILINE)}


def children() -> set[int]:
    """Processes that this one started, that live."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:     # it has just ended
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(int(entry.parent.name))
    return found


def disturb(stage: Stage, name: str, rng: np.random.Generator) -> None:
    """One fault, for a random time, and its end."""
    if name in STOPPED:
        os.kill(stage.pid(name), signal.SIGSTOP)
        stage.graph.spin(float(rng.uniform(0.2, 1.0)))
        os.kill(stage.pid(name), signal.SIGCONT)
        return
    since = stage.driver(**FAULTS[name])
    if not rng.integers(3):     # a fault that comes and goes before anyone has seen it
        stage.graph.spin(float(rng.uniform(0.0, 0.2)))
        return

    def rests() -> bool:
        return time.monotonic() > since + 0.4 and not stage.log.commands(time.monotonic() - 0.25)
    assert stage.wait(rests, 5.0), (
        f"{name}: it goes on: {stage.gate}; {stage.nodes.policy}")
    stage.stays(float(rng.uniform(0.1, 0.5)))


def soak(stage: Stage, minutes: float, sampled: dict[str, list[int]]) -> dict[str, int]:
    """Faults one after the other; how often each was there."""
    rng, counts = np.random.default_rng(0), dict.fromkeys((*FAULTS, *STOPPED), 0)
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        stage.driver("whole")
        stage.move()
        stage.graph.spin(float(rng.uniform(0.2, 1.2)))
        if np.abs(stage.log.commands()[-1].at - START.position).max() > 0.2:
            stage.home()
            continue
        name = str(rng.choice(list(counts)))
        disturb(stage, name, rng)
        counts[name] += 1
        for node, values in sampled.items():
            values.append(memory(stage.pid(node)))
    return counts


@pytest.mark.parametrize("minutes", [
    pytest.param(MINUTES, marks=pytest.mark.timeout(60 * MINUTES + 240)),
    pytest.param(30.0, marks=[pytest.mark.slow, pytest.mark.timeout(60 * 30 + 240)])])
def test_random_faults_leave_no_unsafe_command_no_memory_and_nothing_behind(
        minutes: float, fault_domain: int, faulty: Any, book: Any, tmp_path: Path) -> None:
    before, threads = children(), set(threading.enumerate())
    stage = Stage(fault_domain + 1, tmp_path, faulty)
    sampled: dict[str, list[int]] = {"gate_node": [], "policy_node": []}
    try:
        stage.ready()
        counts = soak(stage, minutes, sampled)
        stage.driver("whole")
        stage.down("gate_node")
        count = judge(stage.nodes.audit, stage.log, stage.unlogged)
        ours = set.union(*(segments(stage.pid(name)) for name in ("gate_node", "policy_node", "driver")))
    finally:
        stage.close()
    grown = {name: max(values[len(values) // 3:]) / values[len(values) // 3] for name, values in sampled.items()}
    book.remarks.append(
        f"Soak, {minutes:g} min: {sum(counts.values())} faults of {sum(map(bool, counts.values()))} kinds, "
        f"{count.sent} commands, {len(count.outside)} outside limits ({count.belated} left as the gate was stopped, "
        "one step from rest); memory after a third of the time, and at most since: "
        + ", ".join(f"{name} {values[len(values) // 3] / 1e3:.1f} MB, {100 * (grown[name] - 1):+.1f} %"
                    for name, values in sampled.items()) + ".")
    assert count.sent > 100 and count.outside == [], count.outside[:10]
    assert max(grown.values()) <= GROWTH, grown
    assert ours and not [path.name for path in ours if path.exists()]
    assert children() == before and set(threading.enumerate()) == threads
