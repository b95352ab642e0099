"""The gate against every fault that reaches it (F.. of the fault table), and against a thousand random lives.

Around it: an arm that goes where it is told, a camera with a policy, an operator, and one clock for all of them.
Every command of every test passes `Bench._watch`: limits by finite differences, and leave to move at all.
"""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from surgrl.policy.gate import BUSY, LATE, LOST, STOOD, Action, Command, Decision, Gate
from surgrl.policy.limits import Cone, Limits
from surgrl.policy.pose import Pose

DT = 0.01
LIMITS = Limits(speed=0.05, acceleration=1.0, jerk=50.0, box_low=(-0.04,) * 3, box_high=(0.04,) * 3)
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])
VELOCITY = ("v_x", "v_y", "v_z")
WITH_JAW = (*VELOCITY, "jaw")
FORTH = (0.02, 0.0, 0.0)        # m/s
PERIOD = 3                      # ticks from one action to the next: 33 Hz


class Bench:
    """A gate and all that it hears. What a test breaks is a field; `run` lets time pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limits: Limits = LIMITS, *, jaw: bool = False,
                 follows: bool = True, makes_busy: bool = False):
        self.time, self.skew = 100.0, 0.0       # s; skew: of the clock of stamps
        monkeypatch.setattr(time, "monotonic", lambda: self.time)
        self.gate = Gate(limits, dt=DT, moves_jaw=jaw, now=self.now, follows=follows,
                         makes_busy=makes_busy)
        self.limits, self.follows = limits, follows
        self.silent: set[str] = set()           # inputs that do not come
        self.late = {"measured_cp": 0.0, "setpoint_cp": 0.0, "image": 0.02}     # s, by the stamp
        self.asked: tuple[float, ...] = FORTH
        self.names, self.raw = VELOCITY, 0.4
        self.stamp: int | None = None           # ns, of all images; None: they are new ones
        self.pedal: bool | None = False         # None: it is not heard
        self.place, self.lag, self.jaw = np.zeros(3), np.zeros(3), 0.3     # the arm: setpoint, measured - setpoint, jaw
        self.jaw_slack = 0.0                    # rad, that the jaw cannot close because it holds something
        self.number = 0
        # Known to the one who watches
        self.may_move = False
        self._heard_pedal: tuple[bool, float] | None = None
        self._before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None      # of the commands of this motion
        self._jaw_before: float | None = None
        self._brakes_from: float | None = None
        self._setpoint: tuple[np.ndarray, float] | None = None
        self._held_at = -1.0
        self._ticked = self.time
        self.state("ENABLED")
        self.policy("active: doing")

    def now(self) -> int:
        return round((self.time + self.skew) * 1e9)

    def state(self, word: str) -> None:
        self.gate.hear_state(word)

    def policy(self, status: str) -> None:
        self.gate.hear_policy(status)
        if status.split(":")[0] not in ("active", "hold"):
            self.may_move = False
        self.policy_runs = status.split(":")[0] in ("active", "hold")

    def act(self, values: tuple[float, ...] | None = None, *, names: tuple[str, ...] | None = None,
            raw: float | None = None, age: float | None = None) -> None:
        """The policy asks."""
        wish = np.array(self.asked if values is None else values, dtype=float)
        stamp = self.now() - round((self.late["image"] if age is None else age) * 1e9)
        stamp = stamp if self.stamp is None else self.stamp
        self.gate.hear_action(Action(stamp, self.names if names is None else names, wish,
                                     np.full(len(wish), self.raw if raw is None else raw)))

    def press(self, pressed: bool) -> None:
        """The pedal is heard."""
        last = self._heard_pedal
        if last is None or self.time - last[1] > self.limits.max_enable_age:
            self.may_move, last = False, None
        if not pressed:
            self.may_move = False
        elif last is not None and not last[0] and self.gate.state != "latched" and self.policy_runs:
            self.may_move = True
        self._heard_pedal = pressed, self.time
        self.gate.hear_enable(pressed)

    def hear(self) -> None:
        """All that comes in within one period."""
        self.number += 1
        put = self.gate.inbox.put
        for name, place in (("measured_cp", self.place + self.lag), ("setpoint_cp", self.place)):
            if name not in self.silent:
                put(name, Pose(place.copy(), UPRIGHT), self.now() - round(self.late[name] * 1e9))
                if name == "setpoint_cp":
                    self._setpoint = place.copy(), self.time
        if "jaw/measured_js" not in self.silent:
            put("jaw/measured_js", self.jaw, self.now())
        if self.pedal is not None:
            self.press(self.pedal)
        if "action" not in self.silent and self.number % PERIOD == 0:
            self.act()

    def tick(self, *, hear: bool = True) -> Decision:
        self.time += DT
        if hear:
            self.hear()
        decision = self.gate.tick()
        self._watch(decision)
        if decision.command is not None and self.follows:
            self.place = decision.command.pose.position.copy()
            if decision.command.jaw is not None:
                self.jaw = max(decision.command.jaw, self.jaw_slack)
        return decision

    def run(self, seconds: float) -> list[Decision]:
        return [self.tick() for _ in range(round(seconds / DT))]

    def start(self) -> None:
        """Until the tip moves at the speed asked."""
        self.pedal = False
        self.run(0.05)
        self.pedal = True
        self.run(0.5)
        assert self.gate.state == "active", self.gate.reason
        if self.limits is LIMITS:
            assert np.allclose(self.velocity, self.asked[:3], atol=1e-9)

    @property
    def velocity(self) -> np.ndarray:
        """m/s, of the commands; zero where none are given."""
        return np.zeros(3) if self._before is None else self._before[1]

    def _watch(self, decision: Decision) -> None:
        """What no test may ever see."""
        limits, gate = self.limits, self.gate
        pedal_gone = self._heard_pedal is None or self.time - self._heard_pedal[1] > limits.max_enable_age
        if gate.state == "latched" or pedal_gone or gate.doubt or (
                gate.inbox.get("operating_state") not in ("ENABLED", BUSY)):
            self.may_move = False
        assert gate.state in ("hold", "active", "latched") and gate.reason
        assert self.may_move or gate.state != "active", "moves without leave"
        stood, self._ticked = self.time - self._ticked > LATE, self.time
        if self._before is not None and stood:      # the arm has come to rest meanwhile
            self._before = self._before[0], np.zeros(3), np.zeros(3)
        if decision.command is not None:
            self._watch_command(decision.command, gate.state == "active")
        if decision.hold:
            assert self._before is not None, "holds an arm that does not move"
            if decision.command is not None:
                assert np.linalg.norm(self._before[1]) < 1e-8, "holds before it rests"
            self._before, self._brakes_from, self._held_at = None, None, self.time
        elif decision.command is None:
            assert self._before is None, "falls silent without a hold"

    def _watch_command(self, command: Command, active: bool) -> None:
        limits, position = self.limits, command.pose.position
        assert np.isfinite(position).all() and np.allclose(np.linalg.norm(command.pose.quaternion), 1)
        assert (position >= np.array(limits.box_low) - 1e-8).all()
        assert (position <= np.array(limits.box_high) + 1e-8).all()
        if self._before is None:
            assert active and self._setpoint is not None
            place, heard = self._setpoint
            assert heard > self._held_at, "starts from a setpoint of before the last hold"
            self._before = place, np.zeros(3), np.zeros(3)
            self._jaw_before = None
        place, velocity, acceleration = self._before
        now_velocity = (position - place) / DT
        now_acceleration = (now_velocity - velocity) / DT
        assert np.linalg.norm(now_velocity) <= limits.speed * (1 + 1e-6)
        assert np.linalg.norm(now_acceleration) <= limits.acceleration * (1 + 1e-6)
        assert np.linalg.norm(now_acceleration - acceleration) / DT <= limits.jerk * (1 + 1e-6)
        if active:
            self._brakes_from = None
        else:
            if self._brakes_from is None:       # jerk lets a speed that grows not stop growing at once
                self._brakes_from = float(np.linalg.norm(velocity)
                                          + acceleration @ acceleration / (2 * limits.jerk))
            assert np.linalg.norm(now_velocity) <= self._brakes_from + 1e-8, "grows faster, but should brake"
            if np.linalg.norm(acceleration) < 1e-6:
                self._brakes_from = float(np.linalg.norm(now_velocity))
        if command.jaw is not None and self._jaw_before is not None:
            assert abs(command.jaw - self._jaw_before) <= limits.jaw_speed * DT + 1e-9
            assert active or command.jaw == self._jaw_before
        self._jaw_before = command.jaw
        self._before = position.copy(), now_velocity, now_acceleration


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


class Fault(NamedTuple):
    """Of a tip that moves at constant speed."""

    name: str
    inject: Callable[[Bench], object]
    cure: Callable[[Bench], object]
    state: str                      # what the gate does
    ticks: int                      # until it does, at most
    reason: str                     # part of what it says
    by_itself: bool = False         # whether it goes on with the pedal held, once the fault is gone


def silence(name: str) -> Callable[[Bench], object]:
    return lambda bench: bench.silent.add(name)


def hear_again(bench: Bench) -> None:
    bench.silent.clear()


def put(**changes: object) -> Callable[[Bench], None]:
    def change(bench: Bench) -> None:
        for name, value in changes.items():
            assert hasattr(bench, name)
            setattr(bench, name, value)
    return change


def delay(name: str, seconds: float) -> Callable[[Bench], None]:
    return lambda bench: bench.late.update({name: seconds})


def nothing(bench: Bench) -> None:
    """The fault goes by itself."""


def one(values: tuple[float, ...] = FORTH, **how: object) -> Callable[[Bench], None]:
    return lambda bench: bench.act(values, **how)


def wild(bench: Bench) -> None:
    bench.raw = 1.5


def stand(bench: Bench) -> None:
    bench.stamp = bench.gate.inbox.get("action").stamp


def estop(pressed: bool) -> Callable[[Bench], None]:
    return lambda bench: bench.gate.hear_estop(pressed)


def told(status: str) -> Callable[[Bench], None]:
    return lambda bench: bench.policy(status)


def trouble(reason: str | None) -> Callable[[Bench], None]:
    return lambda bench: setattr(bench.gate, "trouble", reason)


AGE = round(LIMITS.max_action_age / DT) + 1
STATE = round(LIMITS.max_state_age / DT) + 1
FAULTS = [
    Fault("F01 NaN", one((0.02, np.nan, 0.0)), nothing, "latched", 1, "not finite"),
    Fault("F01 NaN out of the network", one(raw=np.nan), nothing, "latched", 1, "not finite"),
    Fault("F02 inf", one((np.inf, 0.0, 0.0)), nothing, "latched", 1, "not finite"),
    Fault("F02 -inf", one((0.0, -np.inf, 0.0)), nothing, "latched", 1, "not finite"),
    Fault("F02 inf out of the network", one(raw=-np.inf), nothing, "latched", 1, "not finite"),
    Fault("F04 ten wild ones", wild, put(raw=0.4), "latched", 10 * PERIOD, "10 actions in a row were outside"),
    Fault("F05 too short", one((0.02, 0.0)), nothing, "latched", 1, "with 2 values"),
    Fault("F05 too long", one((0.02, 0.0, 0.0, 0.0)), nothing, "latched", 1, "with 4 values"),
    Fault("F05 no names", one(names=()), nothing, "latched", 1, "allowed"),
    Fault("F05 order", one(names=("v_y", "v_x", "v_z")), nothing, "latched", 1, "'v_y', 'v_x', 'v_z'"),
    Fault("F05 a jaw that may not move", one((0.02, 0.0, 0.0, 0.0), names=WITH_JAW), nothing, "latched", 1, "jaw"),
    Fault("F06 the policy falls silent", silence("action"), hear_again, "hold", AGE, "silent for|ms old", True),
    Fault("F07 images come, but with a stamp that stands", stand, put(stamp=None), "hold", AGE,
          "the image is 1.. ms old, limit 100 ms", True),
    Fault("F07 old images after new ones", delay("image", 0.12), delay("image", 0.02), "latched", PERIOD,
          "older than the one before"),
    Fault("F08 future", one(age=-0.006), nothing, "latched", 1, "future by 6 ms"),
    Fault("F09 back in time", one(age=0.06), nothing, "latched", 1, "older than the one before"),
    Fault("F25 measured_cp", silence("measured_cp"), hear_again, "hold", STATE, "measured_cp is 5. ms old", True),
    Fault("F25 old measured_cp", delay("measured_cp", 0.06), delay("measured_cp", 0.0), "hold", 1,
          "measured_cp is 60 ms old", True),
    Fault("F25 measured_cp of the future", delay("measured_cp", -0.006), delay("measured_cp", 0.0), "hold", 1,
          "measured_cp comes from the future", True),
    Fault("F26 the arm is elsewhere", put(lag=np.array([0.0, 0.0, 0.0101])), put(lag=np.zeros(3)), "latched", 1,
          "mm behind its command"),
    Fault("F26 the arm is nowhere", put(lag=np.full(3, np.nan)), put(lag=np.zeros(3)), "latched", 1, "behind"),
    Fault("F27 the pedal is released", put(pedal=False), put(pedal=True), "hold", 1, "pedal was released", True),
    Fault("F28 the pedal falls silent", put(pedal=None), put(pedal=True), "hold",
          round(LIMITS.max_enable_age / DT) + 1, "pedal is not heard"),
    Fault("F30 emergency stop", estop(True), estop(False), "latched", 1, "emergency stop is pressed"),
    Fault("policy holds", told("hold: frozen"), told("active: doing"), "hold", 1, "the policy: hold: frozen", True),
    Fault("policy latches", told("latched: strange"), told("active: doing"), "latched", 1, "latched: strange"),
    Fault("policy inactive", told("inactive"), told("active: doing"), "hold", 1, "the policy: inactive"),
    Fault("policy of another word", told("activated"), told("active: doing"), "hold", 1, "the policy: activated"),
    Fault("audit", trouble("the audit log is full"), trouble(None), "hold", 1, "audit log is full", True),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_stops_the_tip_in_time_and_it_goes_on_as_the_table_says(bench, fault):
    bench.start()
    fault.inject(bench)
    speeds, held, late = [], [], None
    for number in range(1, 101):
        decision = bench.tick()
        if late is None and bench.gate.state != "active":
            late = number
            assert number <= fault.ticks and bench.gate.state == fault.state
            assert re.search(fault.reason, bench.gate.reason), bench.gate.reason
        if late is not None:
            speeds.append(float(np.linalg.norm(bench.velocity)))
        held.append(decision.hold)
    assert late is not None, "nothing happened"
    assert speeds == sorted(speeds, reverse=True) and speeds[-1] == 0
    assert held.count(True) == 1
    # The hold comes when the tip rests, which takes as long as was told, and silence follows.
    assert held.index(True) + 1 - late <= bench.gate.motion.stop_seconds / DT + 2
    assert bench.gate.tick() == Decision(None, False, ())

    bench.place = bench.place + [0.0, 0.004, 0.0]       # somebody moves the arm meanwhile
    fault.cure(bench)
    decisions = bench.run(0.6)
    if fault.by_itself:
        assert first_command(decisions)[1] == pytest.approx(0.004)
        assert np.allclose(bench.velocity, FORTH)
        return
    assert not any(decision.command or decision.hold for decision in decisions)
    assert bench.gate.state == fault.state
    if fault.state == "latched":
        assert bench.gate.reset() is None
        assert not any(decision.command for decision in bench.run(0.5)), "goes on without a new press"
    bench.pedal = False
    bench.run(0.05)
    bench.pedal = True
    assert first_command(bench.run(0.5))[1] == pytest.approx(0.004)
    assert np.allclose(bench.velocity, FORTH)


def first_command(decisions: list[Decision]) -> np.ndarray:
    return next(decision.command.pose.position for decision in decisions if decision.command is not None)


@pytest.mark.parametrize("state", ["DISABLED", "PAUSED", "FAULT", "ENABLED but not homed", BUSY, ""])
def test_an_arm_that_is_not_enabled_gets_no_command_any_more_and_must_be_armed_anew(bench, state):
    bench.start()
    bench.state(state)
    assert bench.tick() == Decision(None, True, ())
    assert bench.gate.state == "hold" and state in bench.gate.reason
    assert all(decision == Decision(None, False, ()) for decision in bench.run(0.5))
    bench.state("ENABLED")
    assert all(decision == Decision(None, False, ()) for decision in bench.run(0.5))
    bench.start()


@pytest.mark.parametrize("state", ["PAUSED", "DISABLED", BUSY])
def test_an_arm_that_was_not_enabled_between_two_ticks_was_not_enabled(bench, state):
    bench.start()
    bench.state(state)
    bench.state("ENABLED")
    assert bench.tick() == Decision(None, True, ())
    assert bench.gate.state == "hold"
    assert all(decision == Decision(None, False, ()) for decision in bench.run(0.5))
    assert bench.gate.reason == "waiting for the operator: release the pedal, then press it"
    bench.start()


def test_a_press_while_the_arm_is_not_enabled_counts_for_nothing(bench):
    bench.start()
    bench.state("DISABLED")
    bench.pedal = False
    bench.run(0.1)
    bench.press(True)
    bench.pedal = True
    bench.state("ENABLED")
    bench.may_move = False
    assert all(decision.command is None for decision in bench.run(0.5))


def test_an_arm_that_its_own_moves_make_busy_goes_on_but_does_not_start_so(monkeypatch):
    bench = Bench(monkeypatch, makes_busy=True)
    bench.start()
    bench.state(BUSY)
    assert all(decision.command is not None for decision in bench.run(0.3))
    bench.gate.trouble = "something"
    bench.run(0.3)              # it comes to rest, and the arm is still under way to there
    bench.gate.trouble = None
    assert all(decision == Decision(None, False, ()) for decision in bench.run(0.5))
    assert bench.gate.reason == f"the arm is {BUSY}, not ENABLED"
    bench.state("ENABLED")
    assert any(decision.command for decision in bench.run(0.5)), "the pedal is held, and the hold was ours"


def test_as_long_as_it_is_in_doubt_who_speaks_nothing_moves_and_then_only_after_a_new_press(bench):
    bench.start()
    bench.gate.doubt = "two of them tell measured_cp"
    bench.tick()
    assert bench.gate.state == "hold" and bench.gate.reason == "two of them tell measured_cp"
    bench.run(0.3)
    bench.pedal = False         # a press meanwhile may be that of the wrong one
    bench.run(0.1)
    bench.pedal = True
    bench.run(0.3)
    bench.gate.doubt = None
    bench.may_move = False
    assert all(decision.command is None for decision in bench.run(0.5))
    bench.start()


def test_an_arm_of_which_nothing_is_known_never_moves(monkeypatch):
    bench = Bench(monkeypatch)
    bench.gate.inbox.forget("operating_state")
    bench.pedal = False
    bench.run(0.1)
    bench.pedal = True
    assert not any(decision.command for decision in bench.run(0.5))
    assert bench.gate.reason == "operating_state is missing"


@pytest.mark.parametrize("name", ["measured_cp", "setpoint_cp", "action"])
def test_without_one_of_its_inputs_nothing_starts_and_the_reason_names_it(bench, name):
    bench.silent = {name}
    bench.run(0.1)
    bench.pedal = True
    assert not any(decision.command for decision in bench.run(0.5))
    assert bench.gate.reason.startswith(f"{name} is missing")


@pytest.mark.parametrize(("seconds", "anew"), [(LOST - 0.1, False), (LOST + 0.1, True)])
def test_a_policy_that_was_silent_for_long_moves_only_after_a_new_press(bench, seconds, anew):
    bench.start()
    bench.silent = {"action"}
    bench.run(seconds)
    bench.silent.clear()
    moved = any(decision.command for decision in bench.run(1.0))
    assert moved is not anew
    bench.start()


def test_why_an_input_was_thrown_away_is_told(bench):
    bench.start()
    bench.silent = {"measured_cp"}
    bench.gate.inbox.drop("measured_cp", "its frame is 'world'")
    bench.run(0.1)
    assert bench.gate.reason.endswith("the last one was dropped: its frame is 'world'")


def test_f29_a_pedal_held_from_before_moves_nothing_until_it_is_pressed_anew(bench):
    bench.pedal = True
    assert not any(decision.command for decision in bench.run(2))
    assert bench.gate.reason == "waiting for the operator: release the pedal, then press it"
    bench.start()


def test_before_the_first_press_nothing_moves(bench):
    bench.pedal = None
    assert not any(decision.command for decision in bench.run(0.5))
    assert bench.gate.reason == "waiting for the operator's pedal, which is not heard"
    bench.pedal = False
    assert not any(decision.command for decision in bench.run(0.5))
    assert bench.gate.reason == "waiting for the operator: press the pedal"


def test_the_first_press_counts_only_once_the_policy_runs(monkeypatch):
    bench = Bench(monkeypatch)
    bench.policy("inactive")
    bench.run(0.1)
    bench.pedal = True
    bench.run(0.1)
    bench.policy("active: doing")       # a policy that starts while the pedal is held does not start the arm
    assert not any(decision.command for decision in bench.run(0.5))
    bench.start()


def test_a_latch_lasts_beyond_a_restart_where_it_came_while_the_gate_ran(bench):
    bench.gate.hear_estop(True)         # before it was begun: pressed, and released
    bench.gate.hear_estop(False)
    bench.gate.restart()
    bench.start()
    bench.gate.latch("something is wrong")
    bench.run(0.5)
    for _ in range(2):
        bench.gate.end()
        bench.gate.restart()
        bench.pedal = False
        bench.run(0.1)
        bench.pedal = True
        assert not any(decision.command for decision in bench.run(0.5))
        assert (bench.gate.state, bench.gate.reason) == ("latched", "something is wrong")
    assert bench.gate.reset() is None
    bench.start()


@pytest.mark.parametrize("moving", [False, True])
def test_f31_a_gate_that_starts_anew_with_the_pedal_held_stays_still(bench, moving):
    bench.start()
    if not moving:
        bench.gate.latch("the gate ends")
        bench.run(0.5)
    bench.gate.restart()
    bench._before = None        # the node that ends brakes first; here it was killed
    assert not any(decision.command for decision in bench.run(1))
    bench.start()


def test_a_gate_that_starts_anew_asks_for_a_new_setpoint(bench):
    bench.run(0.05)
    bench.gate.restart()
    bench.silent = {"setpoint_cp"}
    bench.tick()
    assert bench.gate.reason == "setpoint_cp is missing"


def test_an_emergency_stop_heard_before_the_start_latches_the_start(bench):
    bench.gate.hear_estop(True)
    bench.gate.restart()
    assert (bench.gate.state, bench.gate.reason) == ("latched", "the emergency stop is pressed")
    bench.gate.hear_estop(False)
    assert not any(decision.command for decision in bench.run(0.5)) and bench.gate.state == "latched"


def test_a_policy_that_latched_before_the_start_latches_the_start(bench):
    bench.policy("latched: strange")
    bench.gate.restart()
    assert bench.gate.state == "latched"


def test_reset_is_refused_while_its_cause_is_there_or_the_tip_still_moves(bench):
    assert bench.gate.reset() == "nothing is latched"
    bench.start()
    bench.gate.hear_estop(True)
    assert bench.gate.reset() == "the emergency stop is still pressed"
    bench.gate.hear_estop(False)
    assert bench.gate.reset() == "the arm is still coming to rest"
    bench.policy("latched: strange")
    assert bench.gate.reset() == "the policy is latched itself: latched: strange"
    bench.run(0.3)
    bench.policy("active: doing")
    assert bench.gate.state == "latched" and bench.gate.reason == "the emergency stop is pressed"
    assert bench.gate.reset() is None and bench.gate.state == "hold"
    assert bench.gate.reset() == "nothing is latched"


def test_a_press_while_latched_counts_for_nothing_after_the_reset(bench):
    bench.start()
    bench.gate.latch("for a reason")
    bench.pedal = False
    bench.run(0.3)
    bench.pedal = True
    bench.run(0.3)
    assert bench.gate.reset() is None
    assert not any(decision.command for decision in bench.run(0.5))


def test_a_pedal_that_was_released_between_two_ticks_was_released(bench):
    bench.start()
    bench.press(False)
    bench.press(True)
    assert any(decision.hold for decision in bench.run(0.2))


def test_a_pedal_that_nobody_could_hear_was_not_held(bench):
    """The gate stands still for a second; then the pedal's newest message comes before the first tick."""
    bench.start()
    bench.time += 1.0
    assert bench.tick().hold
    assert not any(decision.command for decision in bench.run(0.5))


@pytest.mark.parametrize("stall", [0.11, 0.15, 0.5])
def test_a_gate_that_stood_still_goes_on_from_rest(bench, stall):
    """The arm rests at the last target, or was moved: the old speed would be a jolt, the old place a leap."""
    bench.start()
    bench.time += stall - DT
    assert bench.tick() == Decision(None, True, (f"{STOOD} for {stall * 1e3:.0f} ms",))
    assert bench.gate.state == "hold"
    elsewhere = bench.place = bench.place + [0.0, 0.004, 0.0]       # by somebody else
    bench.start()
    assert np.linalg.norm(bench.place - elsewhere) < LIMITS.speed * 0.6


def test_what_a_gate_decided_before_it_stood_still_is_not_sent(bench):
    """It was stopped between its tick and the sending: the arm has come to rest one step before."""
    bench.start()
    assert bench.tick().command is not None and not bench.gate.too_late
    bench.time += 0.15
    assert bench.gate.too_late
    assert bench.gate.tick() == Decision(None, True, (f"{STOOD} for 150 ms",)) and not bench.gate.too_late


def test_a_tick_that_is_somewhat_late_changes_nothing(bench):
    bench.start()
    bench.time += 0.05
    assert not bench.tick().hold and bench.gate.state == "active"


@pytest.mark.parametrize(("jump", "then"), [(-3600.0, "latched"), (-0.05, "latched"), (0.2, "active"),
                                           (3600.0, "active")])
def test_f09_a_clock_that_jumps_holds_at_once_and_back_in_time_latches(bench, jump, then):
    bench.start()
    bench.skew += jump
    bench.tick(hear=False)
    assert bench.gate.state == "hold"
    bench.run(0.5)
    assert bench.gate.state == then


def test_f09_a_clock_that_is_set_back_while_the_arm_rests_is_no_hold_for_as_long(bench):
    bench.start()
    bench.pedal = False
    bench.run(0.5)
    bench.skew -= 3600.0
    bench.run(0.5)
    bench.gate.reset()      # images went back in time: that latches
    bench.start()


def test_f09_an_image_that_a_jump_of_the_clock_made_one_of_the_future_holds(bench):
    bench.start()
    bench.silent = {"action"}
    bench.skew -= 0.1
    bench.tick()        # the arm's stamps are of the new clock, the image's is of the old one
    assert bench.gate.state == "hold" and bench.gate.reason.startswith("the image is -")


def test_f08_a_stamp_that_is_ahead_by_no_more_than_clocks_differ_is_good(bench):
    bench.late["image"] = -0.004
    bench.start()


def test_f07_a_first_image_that_is_old_moves_nothing(bench):
    bench.late["image"] = 0.12
    bench.run(0.05)
    bench.pedal = True
    assert not any(decision.command for decision in bench.run(0.5))
    assert "ms old, limit 100 ms" in bench.gate.reason


def test_f36_a_policy_that_answers_too_late_holds(bench):
    bench.start()
    bench.silent = {"action"}
    states = []
    for number in range(60):
        if number % 12 == 0:        # 20 ms old as it comes, 140 when the next one does
            bench.act()
        bench.tick()
        states.append(bench.gate.state)
    assert states[7] == "active" and set(states[8:]) == {"hold"}


def test_the_same_image_again_is_no_further_good_one(bench):
    bench.silent = {"action"}
    bench.run(0.05)
    bench.pedal = True
    bench.run(0.05)
    for _ in range(20):
        bench.act(age=0.0)
    bench.tick()
    assert bench.gate.state == "hold" and bench.gate.reason == "waiting for 5 good actions in a row"


def test_after_a_hold_as_many_good_actions_as_asked_for_come_first(bench):
    bench.start()
    bench.gate.trouble = "something"
    bench.run(1)
    bench.gate.trouble = None
    heard = []
    while bench.gate.state == "hold":
        bench.tick()
        heard.append(bench.number % PERIOD == 0)
    assert sum(heard) == LIMITS.good_frames


def test_f04_one_wild_action_is_scaled_down_in_its_direction_and_nine_do_not_latch(bench):
    bench.start()
    for _ in range(LIMITS.wild_actions - 1):
        bench.act((0.04, 0.02, 0.0), raw=2.0, age=0.0)
    bench.silent = {"action"}
    remarks = bench.run(0.09)[-1].remarks
    assert bench.gate.state == "active" and "an action up to 2 of [-1, 1], made smaller by that" in remarks
    assert bench.velocity == pytest.approx([0.02, 0.01, 0.0])
    bench.act((0.04, 0.02, 0.0), raw=1.0, age=0.0)
    bench.act((0.04, 0.02, 0.0), raw=2.0, age=0.0)
    assert bench.gate.state == "active", "they were not in a row"


@pytest.mark.parametrize("huge", [1e3, 1e150])
def test_f32_however_much_is_asked_the_limits_hold(bench, huge):
    bench.start()
    bench.act((huge, -huge, huge))
    bench.asked = (huge, huge, huge)
    bench.run(2)
    assert np.allclose(bench.place, 0.04, atol=3e-4)


def test_f32_more_than_can_be_reckoned_with_is_no_motion(bench):
    bench.start()
    bench.asked = (1e308, -1e308, 1e308)
    bench.run(0.3)
    assert bench.gate.state == "active" and np.allclose(bench.velocity, 0)


def test_f33_a_wall_is_not_passed_and_what_leads_along_it_stays(bench):
    bench.place = np.array([0.0395, -0.03, 0.0])
    bench.asked = (0.02, 0.02, 0.0)
    bench.run(0.05)
    bench.pedal = True
    remarks = {remark for decision in bench.run(1) for remark in decision.remarks}
    assert "kept inside the workspace box" in remarks
    assert bench.velocity == pytest.approx([0.0, 0.02, 0.0], abs=1e-6)


def test_f34_the_cone_and_the_insertion_depth_are_not_passed(monkeypatch):
    cone = Cone((0.0, 0.0, -0.1), (0.0, 0.0, 1.0), 0.3, 0.08, 0.12)
    bench = Bench(monkeypatch, Limits(0.05, 1.0, 50.0, (-0.04,) * 3, (0.04,) * 3, rcm=cone))
    for asked in ((0.0, 0.0, -0.05), (0.05, 0.0, 0.0), (0.0, 0.0, 0.05), (0.0, -0.05, 0.0)):
        bench.asked = asked
        bench.start()
        for decision in bench.run(1.5):
            arm = decision.command.pose.position - cone.centre
            depth = np.linalg.norm(arm)
            assert cone.depth_low - 1e-8 <= depth <= cone.depth_high + 1e-8
            assert arm[2] >= depth * np.cos(cone.angle) - 1e-8
    assert depth == pytest.approx(cone.depth_high, abs=2e-4) and arm[1] < -0.02


def test_f35_a_policy_that_swings_to_and_fro_latches_within_half_a_second(bench):
    bench.start()
    for number in range(60):
        bench.asked = (0.05, 0.0, 0.0) if (number // PERIOD) % 2 else (-0.05, 0.0, 0.0)
        bench.tick()
        if bench.gate.state == "latched":
            break
    assert number * DT <= 0.55 and "swings to and fro" in bench.gate.reason


def test_f35_a_policy_that_turns_round_now_and_then_does_not_latch(bench):
    bench.start()
    for number in range(300):
        bench.asked = (0.05, 0.0, 0.0) if (number // 30) % 2 else (-0.05, 0.0, 0.0)
        bench.tick()
    assert bench.gate.state == "active"


def test_f26_an_arm_that_is_stuck_latches_before_the_command_runs_away(monkeypatch):
    bench = Bench(monkeypatch, follows=False)       # nothing follows the commands ...
    bench.gate.follows = True                       # ... but something should
    bench.start()
    decisions = bench.run(1)
    farthest = max(np.linalg.norm(decision.command.pose.position) for decision in decisions if decision.command)
    assert bench.gate.state == "latched" and "behind its command" in bench.gate.reason
    assert farthest <= LIMITS.max_lead + bench.gate.motion.stop_distance + LIMITS.speed * DT


def test_a_dry_run_moves_though_the_arm_does_not(monkeypatch):
    bench = Bench(monkeypatch, follows=False)
    bench.start()
    assert bench.run(1)[-1].command.pose.position[0] > LIMITS.max_lead and bench.gate.state == "active"


@pytest.mark.parametrize(("place", "lag", "reason"), [
    ((0.041, 0.0, 0.0), (0.0, 0.0, 0.0), "out of bounds"), ((0.0, 0.0, 0.0), (0.011, 0.0, 0.0), "11.0 mm from its"),
    ((np.nan, 0.0, 0.0), (0.0, 0.0, 0.0), "from its setpoint")])
def test_an_arm_that_is_not_where_it_should_be_is_not_moved(bench, place, lag, reason):
    bench.place, bench.lag = np.array(place), np.array(lag)
    bench.run(0.05)
    bench.pedal = True
    assert not any(decision.command for decision in bench.run(0.5))
    assert reason in bench.gate.reason


def test_while_it_moves_no_setpoint_need_come_but_to_start_again_a_new_one_must(bench):
    bench.start()
    bench.silent = {"setpoint_cp"}
    bench.run(0.5)
    assert bench.gate.state == "active"
    bench.gate.trouble = "something"
    bench.run(0.3)
    bench.gate.trouble = None
    assert not any(decision.command for decision in bench.run(0.5))
    assert bench.gate.reason.startswith("setpoint_cp is missing")


def test_what_was_asked_before_a_reset_is_forgotten(bench):
    bench.start()
    bench.gate.latch("for a reason")
    bench.run(0.3)
    bench.gate.reset()
    bench.silent = {"action"}
    bench.pedal = False
    bench.run(0.02)
    bench.pedal = True
    assert not any(decision.command for decision in bench.run(0.05))
    assert bench.gate.reason.startswith("action is missing")


def test_a_command_bears_the_stamp_of_the_image_that_it_answers(bench):
    bench.start()
    bench.act(age=0.0)
    stamp = bench.now()
    assert bench.tick(hear=False).command.stamp == stamp


@pytest.fixture
def gripper(monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(monkeypatch, jaw=True)
    bench.names, bench.asked = WITH_JAW, (*FORTH, -2.0)
    return bench


def test_the_jaw_moves_no_faster_and_no_further_than_it_may(gripper):
    gripper.pedal = False
    gripper.run(0.05)
    gripper.pedal = True
    decisions = [decision for decision in gripper.run(1) if decision.command]
    jaws = [decision.command.jaw for decision in decisions]
    assert jaws[0] == pytest.approx(0.3 - LIMITS.jaw_speed * DT) and jaws[-1] == LIMITS.jaw_low
    assert "the jaw is kept in its range" in decisions[-1].remarks
    assert "the jaw is slowed to its limit" in decisions[0].remarks and (
        "the jaw is slowed to its limit" not in decisions[-1].remarks)
    assert np.diff(jaws).min() >= -LIMITS.jaw_speed * DT - 1e-9


def test_a_jaw_that_is_not_heard_holds(gripper):
    gripper.start()
    gripper.silent = {"jaw/measured_js"}
    gripper.run(0.06)
    assert gripper.gate.state == "hold" and gripper.gate.reason.startswith("jaw/measured_js is 60 ms old")


def test_a_jaw_that_grips_does_not_let_go_over_a_hold(gripper):
    gripper.jaw_slack = 0.1         # rad, as far as the needle lets it close
    gripper.start()
    gripper.gate.trouble = "something"
    gripper.run(0.5)
    gripper.gate.trouble = None
    jaws = [decision.command.jaw for decision in gripper.run(0.5) if decision.command]
    assert gripper.jaw == 0.1 and set(jaws) == {LIMITS.jaw_low}


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_a_jaw_that_was_without_power_starts_from_where_it_is(gripper, seconds):
    gripper.jaw_slack = 0.1
    gripper.start()
    gripper.state("DISABLED")
    gripper.run(seconds)
    gripper.state("ENABLED")
    gripper.pedal = False
    gripper.run(0.05)
    gripper.pedal = True
    jaws = [decision.command.jaw for decision in gripper.run(0.5) if decision.command]
    assert jaws[0] == pytest.approx(0.1 - LIMITS.jaw_speed * DT)


def test_a_jaw_that_somebody_moved_during_a_hold_is_taken_up_where_it_is(gripper):
    gripper.start()
    gripper.gate.trouble = "something"
    gripper.run(0.5)
    gripper.jaw = 1.0
    gripper.gate.trouble = None
    jaws = [decision.command.jaw for decision in gripper.run(0.5) if decision.command]
    assert jaws[0] == pytest.approx(1.0 - LIMITS.jaw_speed * DT)


@pytest.mark.parametrize(("jaw", "end"), [(1.6, LIMITS.jaw_high), (-0.6, LIMITS.jaw_low)])
def test_a_jaw_beyond_its_range_is_led_back_no_faster_than_it_may_move(gripper, jaw, end):
    gripper.jaw, gripper.asked = jaw, (*FORTH, 100 * jaw)
    gripper.pedal = False
    gripper.run(0.05)
    gripper.pedal = True
    jaws = [decision.command.jaw for decision in gripper.run(0.5) if decision.command]
    assert abs(jaws[0] - jaw) <= LIMITS.jaw_speed * DT + 1e-9 and jaws[-1] == end


def test_a_policy_without_a_jaw_leaves_the_jaw_alone(monkeypatch):
    bench = Bench(monkeypatch, jaw=True)
    bench.start()
    assert {decision.command.jaw for decision in bench.run(0.2)} == {None}


@pytest.mark.parametrize(("first", "then"), [(WITH_JAW, VELOCITY), (VELOCITY, WITH_JAW)])
def test_f05_a_policy_that_changes_what_it_speaks_of_latches(monkeypatch, first, then):
    bench = Bench(monkeypatch, jaw=True)
    bench.names, bench.asked = first, (*FORTH, 0.3)[:len(first)]
    bench.start()
    bench.act((*FORTH, 0.3)[:len(then)], names=then)
    assert bench.gate.state == "latched"


CONED = Limits(0.05, 0.5, 10.0, (-0.03,) * 3, (0.03,) * 3, rcm=Cone((0.0, 0.0, -0.1), (0.0, 0.1, 1.0), 0.3, 0.08, 0.12))
WORDS = ["active: a", "active: a", "active: a", "hold: h", "inactive", "latched: l"]
PLACES = [0.0, 0.0, 0.02, 0.06, 0.12, -0.004, -0.02]        # s, ages of what comes


@pytest.mark.parametrize("seed", range(25))
def test_no_sequence_of_events_makes_a_command_that_must_not_be(monkeypatch, seed):
    """Each seed: forty lives of a gate; what must never be is what Bench watches. It must also move, often."""
    rng = np.random.default_rng(seed)
    starts = commands = 0
    for _ in range(40):
        bench = Bench(monkeypatch, CONED if rng.random() < 0.3 else LIMITS, jaw=bool(rng.random() < 0.5))
        mishap = rng.choice([0.0, 0.02, 0.2])
        moving = False
        for _ in range(int(rng.integers(30, 120))):
            if rng.random() < 0.05:
                bench.pedal = None if rng.random() < 0.05 else not bench.pedal
            if rng.random() < mishap:
                break_something(bench, rng)
            elif rng.random() < 0.2:
                mend(bench)
            if rng.random() < 0.1:
                bench.asked = (*(rng.normal(size=3) * 0.03), float(rng.normal()))[:len(bench.names)]
            decision = bench.tick(hear=rng.random() > 0.02)
            commands += decision.command is not None
            starts += bench.gate.state == "active" and not moving
            moving = bench.gate.state == "active"
    assert starts > 10 and commands > 300


def mend(bench: Bench) -> None:
    bench.silent.clear()
    bench.late = {"measured_cp": 0.0, "setpoint_cp": 0.0, "image": 0.0}
    bench.lag, bench.raw, bench.gate.trouble, bench.gate.doubt = np.zeros(3), 0.4, None, None
    bench.gate.hear_estop(False)
    bench.gate.reset()
    if bench.gate.inbox.get("operating_state") != "ENABLED":
        bench.state("ENABLED")
    if not bench.policy_runs:
        bench.policy("active: a")


def break_something(bench: Bench, rng: np.random.Generator) -> None:
    """One of all the things that can happen, at random."""
    wish = tuple((rng.normal(size=3) * rng.choice([0.02, 1.0, 1e9])).tolist())
    rng.choice(np.array([
        lambda: bench.silent.add(str(rng.choice(["measured_cp", "setpoint_cp", "jaw/measured_js", "action"]))),
        lambda: bench.late.update({str(rng.choice(list(bench.late))): float(rng.choice(PLACES))}),
        lambda: bench.state(str(rng.choice(["ENABLED", "DISABLED", "FAULT", BUSY]))),
        lambda: bench.policy(str(rng.choice(WORDS))),
        lambda: bench.press(bool(rng.integers(2))),
        lambda: bench.gate.hear_estop(bool(rng.integers(2))),
        lambda: bench.act((np.nan, np.inf, 0.0)),
        lambda: bench.act(wish, names=VELOCITY),
        lambda: bench.act((*wish, float(rng.normal())), names=WITH_JAW),
        lambda: bench.act(wish, names=VELOCITY, raw=float(rng.choice([0.0, 3.0, np.nan]))),
        lambda: bench.act(wish, names=VELOCITY, age=float(rng.choice(PLACES))),
        lambda: setattr(bench, "names", VELOCITY if rng.random() < 0.5 else WITH_JAW),
        lambda: setattr(bench, "raw", float(rng.choice([0.5, 2.0]))),
        lambda: setattr(bench, "lag", rng.normal(size=3) * rng.choice([1e-4, 1e-2])),
        lambda: setattr(bench, "place", rng.uniform(-0.05, 0.05, size=3)),
        lambda: setattr(bench, "jaw", float(rng.uniform(-0.5, 1.5))),
        lambda: setattr(bench, "time", bench.time + float(rng.choice([0.02, 0.08, 0.3]))),
        lambda: setattr(bench, "skew", bench.skew + float(rng.choice([-0.5, -0.01, 0.01, 0.5]))),
        lambda: setattr(bench.gate, "trouble", rng.choice(np.array([None, "audit"], dtype=object))),
        lambda: setattr(bench.gate, "doubt", "two of them"),
        lambda: bench.gate.latch("for a reason"),
        lambda: bench.gate.reset(),
    ], dtype=object))()
