"""Time of one `Gate.tick`, whichever way the tip goes: us of wall time and of CPU.

python benchmarks/gate_step.py [--ticks 3000]
"""

import argparse
import os
import time
from dataclasses import replace

import numpy as np

from surgrl.policy.gate import Action, Gate
from surgrl.policy.limits import Cone, Limits
from surgrl.policy.pose import Pose

DT, CAMERA = 0.01, 3        # s; ticks from one image to the next
BOX = Limits(speed=0.05, acceleration=1.0, jerk=50.0, box_low=(-0.04, -0.04, 0.05), box_high=(0.04, 0.04, 0.14))
CONE = Cone((0.0, 0.0, -0.1), (0.0, 0.0, 1.0), 0.5, 0.045, 0.24)
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])
TURN = 0.03                 # m from the middle, where it turns round
# What is measured -> limits, the velocity asked for, m/s, and the axis along which it turns round.
WAYS = {"free motion, to and fro": (BOX, (0.02, 0.0, 0.0), 0), "pushed at a wall": (BOX, (0.05, 0.0, 0.0), 1),
        "sliding along a wall": (BOX, (0.05, 0.02, 0.0), 1),
        "the same with a cone": (replace(BOX, rcm=CONE), (0.05, 0.02, 0.0), 1)}


def measure(limits: Limits, asked: tuple[float, float, float], axis: int, ticks: int) -> str:
    """Ticks as fast as they go, on a clock of their own, with an arm that follows; medians and tails."""
    clock = [100.0]
    monotonic, time.monotonic = time.monotonic, lambda: clock[0]
    try:
        gate = Gate(limits, dt=DT, moves_jaw=False, now=lambda: round(clock[0] * 1e9))
        gate.hear_state("ENABLED")
        gate.hear_policy("active")
        place, way, wall, cpu = np.array([0.0, 0.0, 0.09]), np.array(asked), np.empty(ticks), np.empty(ticks)
        for k in range(-50, ticks):
            clock[0] += DT
            for name in ("measured_cp", "setpoint_cp"):
                gate.inbox.put(name, Pose(place, UPRIGHT), gate.now())
            gate.hear_enable(k > -40)
            if abs(place[axis]) > TURN and place[axis] * way[axis] > 0:
                way[axis] = -way[axis]
            if k % CAMERA == 0:
                gate.hear_action(Action(gate.now(), ("v_x", "v_y", "v_z"), way.copy(), np.zeros(3)))
            began, spent = time.perf_counter(), time.thread_time()
            decision = gate.tick()
            if k >= 0:
                wall[k], cpu[k] = time.perf_counter() - began, time.thread_time() - spent
            if decision.command is not None:
                place = decision.command.pose.position
        assert gate.state == "active", gate.reason
    finally:
        time.monotonic = monotonic
    p50, p99 = np.quantile(wall, (0.5, 0.99)) * 1e6
    return f"wall p50 {p50:6.1f}, p99 {p99:6.1f} us; CPU p50 {np.median(cpu) * 1e6:6.1f} us"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=3000)
    args = parser.parse_args()
    print(f"one tick of the gate, {args.ticks} of each, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, way in WAYS.items():
        print(f"  {name:26s} {measure(*way, args.ticks)}")


if __name__ == "__main__":
    main()
