"""Whatever is asked, the tip stays within speed, acceleration, jerk, box and cone, and can always stop."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surgrl.policy.limits import Cone, Limits
from surgrl.policy.motion import LONGEST_STOP, ZERO, Motion, State

QUICK = settings(max_examples=100, derandomize=True, deadline=None)
LOW, HIGH = (-0.04, -0.036, 0.048), (0.04, 0.056, 0.134)        # m, the gate's own box
CONE = Cone((0.005, -0.002, -0.02), (0.1, 0.05, 1.0), 0.35, 0.08, 0.145)
RCM = Limits(0.05, 1.0, 50.0, LOW, HIGH, rcm=CONE)
BOX = Limits(0.05, 1.0, 50.0, LOW, HIGH)
INSIDE = (0.01, 0.0, 0.09)


def log(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(np.log(low), np.log(high)).map(lambda power: float(np.exp(power)))


@st.composite
def motions(draw: st.DrawFn, cone: bool | None = None) -> Motion:
    """Of any limits that stop within a second or so, from anywhere inside."""
    speed, stop, ramp = draw(log(0.003, 0.4)), draw(log(0.03, 0.7)), draw(log(0.02, 0.3))
    acceleration = speed / stop
    limits = Limits(speed, acceleration, acceleration / ramp, LOW, HIGH,
                    rcm=CONE if draw(st.booleans() if cone is None else st.just(cone)) else None)
    motion = Motion(limits, draw(st.sampled_from([0.005, 0.01, 0.02])))
    start = draw(st.tuples(*(st.floats(low, high) for low, high in zip(LOW, HIGH, strict=True)))
                 .filter(lambda place: motion.allows(place) is None))
    motion.start(start)
    return motion


@st.composite
def wishes(draw: st.DrawFn, speed: float, steps: int) -> list[tuple[float, float, float]]:
    """Velocities, m/s: at random, in steps from nothing to the most, to and fro, into a corner, round and round."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind, period = draw(st.sampled_from(["random", "step", "oscillate", "corner", "round"])), draw(st.integers(1, 30))
    most = speed * draw(st.sampled_from([0.3, 1.0, 1.0, 3.0]))
    way = rng.normal(size=3)
    way /= np.linalg.norm(way)
    number = np.arange(steps) // period
    if kind == "random":
        asked = rng.normal(size=(steps, 3))[number] * most
    elif kind == "step":
        asked = way * most * (number > 0)[:, None]
    elif kind == "oscillate":
        asked = way * most * np.where(number % 2, 1, -1)[:, None]
    elif kind == "corner":
        asked = np.tile(np.sign(way) * most / np.sqrt(3), (steps, 1))
    else:
        angle = np.arange(steps) / period
        asked = most * np.stack([np.cos(angle), np.sin(angle), 0.3 * np.sin(angle / 3)], axis=1)
    return [(x, y, z) for x, y, z in asked.tolist()]


def walk(motion: Motion, asked: list[tuple[float, float, float]]) -> list[State]:
    states = [motion.state]
    for velocity in asked:
        motion.step(velocity)
        states.append(motion.state)
    return states


def assert_within_limits(motion: Motion, states: list[State]) -> None:
    limits, dt = motion.limits, motion.dt
    position, velocity, acceleration = (np.array([state[part] for state in states]) for part in range(3))
    assert np.linalg.norm(velocity, axis=1).max() <= limits.speed * (1 + 1e-6)
    assert np.linalg.norm(acceleration, axis=1).max() <= limits.acceleration * (1 + 1e-6)
    assert np.linalg.norm(np.diff(acceleration, axis=0), axis=1).max() / dt <= limits.jerk * (1 + 1e-6)
    # What is told of velocity and acceleration is what the positions do.
    assert np.allclose(np.diff(position, axis=0) / dt, velocity[1:], rtol=1e-9, atol=1e-11)
    assert np.allclose(np.diff(velocity, axis=0) / dt, acceleration[1:], rtol=1e-9, atol=1e-9)
    assert (position >= np.array(limits.box_low) - 1e-8).all() and (position <= np.array(limits.box_high) + 1e-8).all()
    if limits.rcm is not None:
        arm = position - limits.rcm.centre
        depth = np.linalg.norm(arm, axis=1)
        assert depth.min() >= limits.rcm.depth_low - 1e-8 and depth.max() <= limits.rcm.depth_high + 1e-8
        assert (arm @ limits.rcm.axis >= depth * np.cos(limits.rcm.angle) - 1e-8).all()


def at_speed(motion: Motion, start: tuple[float, float, float], way: tuple[float, float, float]) -> None:
    """From `start`, until the wanted velocity is reached."""
    motion.start(start)
    for _ in range(LONGEST_STOP):
        motion.step(way)
        if np.allclose(motion.state.velocity, way, atol=1e-9) and np.allclose(motion.state.acceleration, 0, atol=1e-9):
            return
    raise AssertionError(f"{way} m/s is not reached: {motion.state.velocity}")


@QUICK
@given(st.data())
def test_every_step_is_within_all_limits_and_the_tip_comes_to_rest_from_anywhere(data):
    motion = data.draw(motions())
    states = walk(motion, data.draw(wishes(motion.limits.speed, 60)))
    braking = [motion.state]
    while not motion.state.at_rest:
        motion.step(ZERO)
        braking.append(motion.state)
        assert (len(braking) - 1) * motion.dt <= motion.stop_seconds * 2
    assert_within_limits(motion, states + braking[1:])
    rest = motion.state.position
    assert all(state.position == rest for state in walk(motion, [ZERO] * 5))


@QUICK
@given(st.data())
def test_what_is_held_for_far_from_all_limits_is_far_from_them(data):
    """The shortcut of most steps, against the whole way of braking that it spares."""
    motion = data.draw(motions(cone=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    for _ in range(20):
        way, push, place = rng.normal(size=(3, 3))
        state = State(tuple((np.array(INSIDE) + place * 0.01).tolist()),
                      tuple((way / np.linalg.norm(way) * motion.limits.speed * rng.uniform() ** 0.3).tolist()),
                      tuple((push / np.linalg.norm(push) * motion.limits.acceleration * rng.uniform()).tolist()))
        if motion._far_from_all(state):
            braking = [state]
            while not braking[-1].at_rest:
                braking.append(motion._towards(braking[-1], ZERO))
            assert_within_limits(motion, braking)


@pytest.mark.parametrize("dt", [0.005, 0.01, 0.02])
@pytest.mark.parametrize("limits", [BOX, Limits(0.05, 0.2, 2.0, (-1.0,) * 3, (1.0,) * 3)])
def test_the_stop_that_is_told_is_the_stop_that_happens(limits, dt):
    motion = Motion(limits, dt)
    at_speed(motion, (-0.03, 0.0, 0.09), (limits.speed, 0.0, 0.0))
    before, steps = motion.state.position, 0
    while not motion.state.at_rest:
        motion.step(ZERO)
        steps += 1
    assert steps * dt == pytest.approx(motion.stop_seconds)
    assert motion.state.position[0] - before[0] == pytest.approx(motion.stop_distance, abs=1e-9)
    # As calculus has it: speed / acceleration + acceleration / jerk, but for steps.
    assert motion.stop_seconds == pytest.approx(limits.speed / limits.acceleration + limits.acceleration / limits.jerk,
                                                abs=4 * dt)


@QUICK
@given(st.data(), st.sampled_from([0.2, 1.0, 5.0]))
def test_full_speed_is_reached_in_free_space_in_the_direction_asked(data, asked):
    motion = data.draw(motions(cone=False))
    wide = Limits(motion.limits.speed, motion.limits.acceleration, motion.limits.jerk, (-9.0,) * 3, (9.0,) * 3)
    free = Motion(wide, motion.dt)
    way = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).normal(size=3)
    way /= np.linalg.norm(way)
    free.start(ZERO)
    states = walk(free, [tuple((way * wide.speed * asked).tolist())] * round(2 * free.stop_seconds / free.dt))
    assert np.allclose(states[-1].velocity, way * wide.speed * min(asked, 1.0), atol=wide.speed * 1e-6)
    along = np.array([state.position for state in states]) @ way
    assert np.allclose(np.array([state.position for state in states]), along[:, None] * way, atol=1e-9)
    assert all(here <= there + 1e-12 for here, there in pairwise(along))


@pytest.mark.parametrize("dt", [0.005, 0.01, 0.02])
@pytest.mark.parametrize(("axis", "sign"), [(axis, sign) for axis in range(3) for sign in (-1, 1)])
def test_a_face_is_reached_but_not_passed(axis, sign, dt):
    motion = Motion(BOX, dt)
    motion.start(INSIDE)
    way = [0.0, 0.0, 0.0]
    way[axis] = sign * BOX.speed
    states = walk(motion, [tuple(way)] * round(4 / dt))
    assert_within_limits(motion, states)
    face = (BOX.box_low if sign < 0 else BOX.box_high)[axis]
    # The smallest move there is, one step of full jerk and back, is jerk * dt^3: closer than that none can come.
    assert abs(states[-1].position[axis] - face) <= max(1e-4, BOX.jerk * dt**3)


@pytest.mark.parametrize("limits", [BOX, Limits(0.05, 0.5, 5.0, LOW, HIGH)])
@pytest.mark.parametrize("angle", [0.2, 0.8, 1.3])
def test_along_a_face_the_tip_slides_at_the_speed_asked(limits, angle):
    motion = Motion(limits, 0.01)
    motion.start((HIGH[0] - 2e-4, -0.03, 0.09))
    way = (0.05 * np.cos(angle), 0.05 * np.sin(angle), 0.0)
    states = walk(motion, [way] * round(0.06 / way[1] / 0.01))
    assert_within_limits(motion, states)
    sideways = np.array([state.velocity[1] for state in states])[50:]
    assert np.allclose(sideways, way[1], atol=1e-6)
    assert HIGH[0] - states[-1].position[0] <= 3e-4


def test_in_a_corner_the_tip_rests_and_gets_out_again_at_full_speed():
    motion = Motion(BOX, 0.01)
    motion.start((0.03, 0.05, 0.12))
    walk(motion, [(0.03, 0.03, 0.03)] * 150)
    assert np.allclose(motion.state.position, HIGH, atol=3e-4)
    assert np.linalg.norm(motion.state.velocity) < 1e-3
    walk(motion, [(-0.03, 0.0, 0.0)] * 20)
    assert motion.state.velocity == pytest.approx((-0.03, 0.0, 0.0), abs=1e-3)


@pytest.mark.parametrize(("way", "ends"), [
    ((0.0, 0.0, -0.05), "depth_low"), ((0.005, 0.0025, 0.05), "depth_high"), ((0.05, 0.0, 0.0), "side"),
    ((-0.05, 0.0, 0.0), "side"), ((0.0, -0.03, 0.0), "side")])
def test_insertion_depth_and_cone_are_reached_but_not_passed(way, ends):
    wide = Limits(0.05, 1.0, 50.0, (-1.0,) * 3, (1.0,) * 3, rcm=CONE)
    motion = Motion(wide, 0.01)
    motion.start(INSIDE)
    states = walk(motion, [way] * 400)
    assert_within_limits(motion, states)
    arms = np.array([state.position for state in states]) - CONE.centre
    depth = np.linalg.norm(arms, axis=1)
    gaps = {"depth_low": depth - CONE.depth_low, "depth_high": CONE.depth_high - depth,
            "side": arms @ CONE.axis - depth * np.cos(CONE.angle)}
    assert gaps[ends].min() <= 2e-4


def test_how_a_wish_was_limited_is_told():
    motion = Motion(RCM, 0.01)
    motion.start(INSIDE)
    assert motion.step((0.2, 0.0, 0.0)) == ("speed 0.2000 m/s cut to 0.05",)
    assert motion.step((-0.05, 0.0, 0.0)) == ("acceleration and jerk cut to their limits",)
    assert any("cone" in remark for _ in range(200) for remark in motion.step((-0.05, 0.0, 0.0)))
    assert any("depth" in remark for _ in range(400) for remark in motion.step((0.005, 0.0, 0.05)))
    motion = Motion(BOX, 0.01)
    motion.start(INSIDE)
    assert any("box" in remark for _ in range(200) for remark in motion.step((0.05, 0.0, 0.0)))
    at_speed(motion, (-0.03, 0.0, 0.09), (0.02, 0.0, 0.0))
    assert motion.step((0.02, 0.0, 0.0)) == ()


@pytest.mark.parametrize("place", [(0.05, 0.0, 0.09), (0.0, 0.0, 0.02), (0.0, 0.055, 0.05), (0.0, 0.0, 0.133),
                                   (0.0, 0.0, -0.1), CONE.centre])
def test_from_outside_nothing_moves(place):
    motion = Motion(RCM, 0.01)
    assert motion.allows(place) is not None
    motion.start(place)
    assert all(state.position == place for state in walk(motion, [(0.05, 0.0, 0.05), (-0.05, 0.01, 0.0)] * 20))
