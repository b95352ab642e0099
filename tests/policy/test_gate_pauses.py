"""The gate after a pause: of itself, of the camera, of the arm."""

import time

import numpy as np
import pytest

from surgrl.policy.gate import ENABLED, LATE, VELOCITY, Action, Gate
from surgrl.policy.limits import Limits
from surgrl.policy.pose import Pose

LIMITS = Limits(0.05, 1.0, 50.0, (-1.0,) * 3, (1.0,) * 3)
DT = 0.01           # s
UP = np.array([0.0, 0.0, 0.0, 1.0])


class Clock:
    """Both clocks of the gate, which the test sets."""

    now = 1000.0    # s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


class Site:
    """A gate, an arm that obeys, a pedal, a policy that asks every `every` ticks. late: ticks, of the arm's state."""

    def __init__(self, clock, every=3, late=0):
        self.clock, self.every, self.late, self.ticks = clock, every, late, 0
        self.gate = Gate(LIMITS, dt=DT, moves_jaw=False, now=self.ns)
        self.told, self.sent, self.was = np.zeros(3), [], [np.zeros(3)] * 10
        self.gate.inbox.put("operating_state", ENABLED, 0)
        self.gate.hear_policy("active: yes")
        self.gate.hear_enable(False)
        self.gate.hear_enable(True)

    def ns(self):
        return round(self.clock.now * 1e9)

    def tick(self):
        self.clock.now += DT
        self.ticks += 1
        self.gate.hear_enable(True)
        self.was.append(self.told)
        for name in ("measured_cp", "setpoint_cp"):
            self.gate.inbox.put(name, Pose(self.was[-1 - self.late], UP), self.ns() - round(self.late * DT * 1e9))
        if self.ticks % self.every == 0:
            self.gate.hear_action(Action(self.ns(), VELOCITY, np.array([0.025, 0, 0]), np.array([0.5, 0, 0])))
        command = self.gate.tick().command
        if command is not None:
            self.told = command.pose.position
            self.sent.append(self.told)
        return command

    def run(self, ticks):
        return [self.tick() for _ in range(ticks)]


def test_a_gate_that_slept_goes_on_from_rest_and_by_good_actions(clock):
    site = Site(clock)
    assert site.run(60)[-1] is not None and site.gate.state == "active"
    at = site.told
    clock.now += 1.5 * LATE
    site.gate.hear_action(Action(site.ns(), VELOCITY, np.array([0.025, 0, 0]), np.array([0.5, 0, 0])))
    site.tick()
    assert site.gate.state == "hold" and np.linalg.norm(site.told - at) < 1e-6
    assert site.run(60)[-1] is not None


def test_a_camera_too_slow_does_not_make_the_arm_go_on_and_off(clock):
    site = Site(clock)
    site.run(60)
    site.every = 13
    site.run(40)
    assert site.run(300) == [None] * 300
    site.every = 3
    assert site.run(60)[-1] is not None


def test_a_motion_starts_from_where_the_arm_came_to_rest_though_its_state_comes_late(clock):
    site = Site(clock, every=1, late=4)
    site.run(60)
    site.gate.trouble = "a test"
    site.tick()
    site.gate.trouble = None
    commands = site.run(60)
    assert commands[-1] is not None and None in commands
    steps = np.linalg.norm(np.diff(site.sent, axis=0), axis=1)
    assert np.abs(np.diff(steps)).max() <= LIMITS.acceleration * DT ** 2 * (1 + 1e-6)
