"""The safety filter: what it bounds, and what makes it hold."""

import numpy as np
import pytest

from surgrl.policy.errors import UserError
from surgrl.policy.safety import Limits, SafetyFilter

DT = 1 / 30
FRESH = {"image": 0.01, "state": 0.01}
SOUND = {"speed": 0.05, "acceleration": 1.0, "box_low": (-0.1, -0.1, 0.0), "box_high": (0.1, 0.1, 0.2),
         "max_lead": 0.01, "max_age": {"image": 0.1, "state": 0.05}, "jaw_speed": 1.0}
MIDDLE = np.array([0.0, 0.0, 0.1])


def seeded(setpoint=MIDDLE, jaw=None, **changes):
    """A filter that starts at `setpoint`."""
    safety = SafetyFilter(Limits(**{**SOUND, **changes}), DT)
    safety.seed(setpoint, jaw)
    return safety


@pytest.mark.parametrize(("name", "value"), [
    ("speed", 0.0), ("speed", -1.0), ("speed", np.nan), ("acceleration", np.inf), ("max_lead", 0.0),
    ("jaw_speed", np.nan), ("max_age", {"image": 0.0}), ("max_age", {"image": np.nan}),
    ("box_low", (0.2, 0.0, 0.0)), ("box_low", (np.nan, 0.0, 0.0)), ("box_high", (np.inf, 0.1, 0.1)),
    ("box_low", (0.0, 0.0))])
def test_limits_that_cannot_be_are_refused(name, value):
    with pytest.raises(UserError):
        Limits(**{**SOUND, name: value})


@pytest.mark.parametrize("dt", [0.0, -1.0, np.nan, np.inf])
def test_a_period_that_cannot_be_is_refused(dt):
    with pytest.raises(UserError, match="period"):
        SafetyFilter(Limits(**SOUND), dt)


def test_what_is_within_the_limits_goes_through_unchanged():
    velocity = np.array([0.01, -0.02, 0.005])
    verdict = seeded().filter(velocity, MIDDLE, FRESH)
    assert not verdict.hold and verdict.reasons == ()
    assert np.allclose(verdict.target, MIDDLE + velocity * DT)


@pytest.mark.parametrize("seed", range(5))
def test_no_policy_however_wild_breaks_a_limit(seed):
    rng = np.random.default_rng(seed)
    safety, target, velocity = seeded(max_lead=1.0), MIDDLE, np.zeros(3)
    for _ in range(300):
        verdict = safety.filter(rng.normal(0, 10 ** rng.uniform(-3, 3), 3), target, FRESH)
        new = (verdict.target - target) / DT
        assert not verdict.hold
        assert np.linalg.norm(new) <= 0.05 + 1e-9
        inside = np.all((verdict.target > (-0.1, -0.1, 0.0)) & (verdict.target < (0.1, 0.1, 0.2)))
        assert not inside or np.linalg.norm(new - velocity) <= 1.0 * DT + 1e-9
        assert np.all((verdict.target >= (-0.1, -0.1, 0.0)) & (verdict.target <= (0.1, 0.1, 0.2)))
        target, velocity = verdict.target, new


def test_a_face_of_the_box_stops_only_what_leads_through_it():
    safety = seeded(np.array([0.1, 0.0, 0.1]), acceleration=20.0)
    verdict = safety.filter(np.array([0.03, 0.03, 0.0]), np.array([0.1, 0.0, 0.1]), FRESH)
    assert verdict.target[0] == 0.1 and verdict.target[1] == pytest.approx(0.03 * DT)
    assert "box" in verdict.reasons[0]


@pytest.mark.parametrize("elapsed", [0.0, 0.001, DT, 5.0])
def test_images_in_a_burst_or_after_a_gap_do_not_make_the_arm_faster(elapsed):
    safety, steps = seeded(acceleration=20.0, max_lead=1.0), 30
    for _ in range(steps):
        verdict = safety.filter(np.array([0.05, 0.0, 0.0]), MIDDLE, FRESH, elapsed)
    assert verdict.target[0] <= 0.05 * min(steps * elapsed + 2 * DT, steps * DT) + 1e-12


def test_jitter_costs_no_speed():
    safety, rng = seeded(acceleration=20.0, max_lead=1.0), np.random.default_rng(0)
    safety.filter(np.zeros(3), MIDDLE, FRESH)
    elapsed = np.tile([0.8 * DT, 1.2 * DT], 15)
    rng.shuffle(elapsed)
    for time in elapsed:
        verdict = safety.filter(np.array([0.05, 0.0, 0.0]), MIDDLE, FRESH, time)
    assert verdict.target[0] >= 0.95 * 0.05 * elapsed.sum()


@pytest.mark.parametrize(("ages", "word"), [
    ({"image": 0.11, "state": 0.01}, "image is 110 ms old"),
    ({"image": 0.01, "state": 0.06}, "state is 60 ms old"),
    ({"image": 0.01}, "state is missing"),
    ({"image": np.nan, "state": 0.01}, "image is missing"),
    ({"image": np.inf, "state": 0.01}, "image is missing"),
    ({"image": -0.02, "state": 0.01}, "image comes from the future by 20 ms")])
def test_inputs_that_are_stale_missing_or_from_the_future_hold(ages, word):
    verdict = seeded().filter(np.full(3, 0.01), MIDDLE, ages)
    assert verdict.hold and word in verdict.reasons[0] and np.array_equal(verdict.target, MIDDLE)


def test_two_clocks_in_step_are_not_the_future():
    assert not seeded().filter(np.zeros(3), MIDDLE, {"image": -0.004, "state": 0.0}).hold


@pytest.mark.parametrize("velocity", [[np.nan, 0, 0], [np.inf, 0, 0], [0.0, 0.0], [[0.0, 0.0, 0.0]]])
def test_a_velocity_that_is_not_three_finite_numbers_holds(velocity):
    verdict = seeded().filter(np.array(velocity), MIDDLE, FRESH)
    assert verdict.hold and "three finite numbers" in verdict.reasons[0]


def test_nothing_moves_before_the_setpoint_is_known():
    verdict = seeded(None).filter(np.zeros(3), MIDDLE, FRESH)
    assert verdict.hold and "no setpoint" in verdict.reasons[0] and np.isnan(verdict.target).all()


def test_a_setpoint_outside_the_box_holds():
    outside = np.array([0.0, 0.0, 0.3])
    assert "outside" in seeded(outside).filter(np.zeros(3), outside, FRESH).reasons[0]


def test_rounding_at_the_face_of_the_box_is_not_outside():
    face = np.array([0.1 + 1e-9, 0.0, 0.1])
    assert not seeded(face).filter(np.zeros(3), face, FRESH).hold


def test_a_robot_that_lags_or_tells_nonsense_holds():
    assert "behind its command" in seeded().filter(np.zeros(3), MIDDLE + 0.01, FRESH).reasons[0]
    assert "measured" in seeded().filter(np.zeros(3), np.array([np.nan, 0, 0]), FRESH).reasons[0]


def test_after_a_hold_it_starts_from_rest():
    safety = seeded()
    for _ in range(5):
        safety.filter(np.array([0.05, 0.0, 0.0]), MIDDLE, FRESH)
    held = safety.filter(np.array([0.05, 0.0, 0.0]), MIDDLE, {})
    verdict = safety.filter(np.array([0.05, 0.0, 0.0]), MIDDLE, FRESH)
    assert held.hold and np.linalg.norm(verdict.target - held.target) <= 1.0 * DT * DT + 1e-12


def test_the_jaw_is_bounded_in_speed():
    safety, angles = seeded(jaw=0.2), [0.2]
    for _ in range(40):
        safety.filter(np.zeros(3), MIDDLE, FRESH)
        angles.append(safety.filter_jaw(1.0))
    assert angles[-1] == 1.0 and np.diff(angles).max() <= 1.0 * DT + 1e-12
