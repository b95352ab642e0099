"""F22 again and again: the policy stands still at any moment of its work, and the arm is held in time each time."""

import os
import signal
import time
from typing import Any

import numpy as np
import pytest
from rosgraph import START
from stage import Stage, first_safe

TRIALS = int(os.environ.get("SURGRL_STALL_TRIALS", 100))
BOUND = 120.0           # ms: the image-age limit, a tick, and the way to the arm


def stall(stage: Stage, seconds: float) -> float:
    """SIGSTOP after so much steady motion; ms from it to the first safe command. Then the policy goes on."""
    stage.move()
    stage.graph.spin(seconds)
    if np.abs(stage.log.commands()[-1].at - START.position).max() > 0.2:
        stage.home()
        stage.move()
        stage.graph.spin(seconds)
    os.kill(stage.pid("policy_node"), signal.SIGSTOP)
    since = time.monotonic()
    try:
        stage.wait_for_rest(since - 0.05)
        motion = stage.log.motion(stage.log.of("hold", since - 0.05)[0]["t"])
    finally:
        os.kill(stage.pid("policy_node"), signal.SIGCONT)
    return (first_safe([sent for sent in motion if sent.t > since - 0.1]) - since) * 1e3


@pytest.mark.slow
@pytest.mark.timeout(10 * TRIALS + 120)
def test_a_policy_that_stands_still_is_noticed_in_time_whenever_it_happens(stage: Any, book: Any, slack: float) -> None:
    stage.ready()
    rng = np.random.default_rng(0)
    times = np.array([stall(stage, float(rng.uniform(0.3, 0.4))) for _ in range(TRIALS)])
    book.remarks.append(
        f"Policy: SIGSTOP, {TRIALS} times: held within {BOUND:.0f} ms in {(times <= BOUND).sum()} of {TRIALS}; "
        f"p50 {np.median(times):.0f}, p90 {np.quantile(times, 0.9):.0f}, most {times.max():.0f} ms.")
    assert (times <= BOUND + slack).all(), np.sort(times)[-5:]
