"""Limits that cannot be are refused by name before anything moves."""

from dataclasses import fields, replace

import numpy as np
import pytest

from surgrl.policy.errors import UserError
from surgrl.policy.limits import Cone, Limits
from surgrl.policy.motion import Motion

SOUND = Limits(speed=0.05, acceleration=1.0, jerk=50.0, box_low=(-0.04, -0.03, 0.05), box_high=(0.04, 0.05, 0.13))
CONE = Cone(centre=(0.0, 0.0, 0.0), axis=(0.0, 0.0, 2.0), angle=0.8, depth_low=0.045, depth_high=0.24)
PLACES = ("box_low", "box_high", "jaw_low", "jaw_high", "rcm")
POSITIVE = [entry.name for entry in fields(Limits) if entry.name not in PLACES]


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", POSITIVE)
def test_what_is_not_positive_and_finite_is_refused_by_name(name, value):
    with pytest.raises(UserError, match=rf"limits\.{name} is {value}; it must be positive"):
        replace(SOUND, **{name: value})


@pytest.mark.parametrize("corner", [(), (0.0,), (0.0, 0.0), (0.0, 0.0, 0.0, 0.0)])
@pytest.mark.parametrize("name", ["box_low", "box_high"])
def test_a_corner_of_the_box_that_is_not_three_numbers_is_refused_by_name(name, corner):
    with pytest.raises(UserError, match=rf"limits\.{name} is .*three numbers"):
        replace(SOUND, **{name: corner})


@pytest.mark.parametrize(("axis", "letter"), [(0, "x"), (1, "y"), (2, "z")])
@pytest.mark.parametrize(("name", "value"), [("box_low", np.nan), ("box_low", -np.inf), ("box_low", np.inf),
                                             ("box_low", 0.2), ("box_high", np.nan), ("box_high", np.inf),
                                             ("box_high", -0.2), ("box_high", None)])
def test_a_box_without_an_inside_is_refused_with_its_axis(axis, letter, name, value):
    corner = list(getattr(SOUND, name))
    corner[axis] = SOUND.box_low[axis] if value is None else value     # None: as flat as a sheet
    with pytest.raises(UserError, match=f"workspace box in {letter} "):
        replace(SOUND, **{name: tuple(corner)})


@pytest.mark.parametrize("jaw", [(0.5, 0.5), (0.6, 0.5), (np.nan, 1.0), (0.0, np.nan), (-3.2, 1.0), (0.0, 3.2),
                                 (-np.inf, 1.0), (0.0, np.inf)])
def test_a_jaw_that_cannot_be_is_refused(jaw):
    with pytest.raises(UserError, match="the jaw runs from"):
        replace(SOUND, jaw_low=jaw[0], jaw_high=jaw[1])


@pytest.mark.parametrize("wrong", [
    {"centre": (0.0, 0.0)}, {"centre": (0.0, np.nan, 0.0)}, {"centre": (np.inf, 0.0, 0.0)}, {"axis": (0.0, 1.0)},
    {"axis": (0.0, 0.0, 0.0)}, {"axis": (0.0, np.nan, 1.0)}, {"axis": (0.0, np.inf, 1.0)}, {"angle": 0.0},
    {"angle": -0.1}, {"angle": np.pi / 2}, {"angle": np.nan}, {"depth_low": 0.0}, {"depth_low": -0.1},
    {"depth_low": 0.24}, {"depth_low": 0.3}, {"depth_low": np.nan}, {"depth_high": np.inf}, {"depth_high": np.nan}])
def test_a_cone_without_an_inside_is_refused(wrong):
    with pytest.raises(UserError, match=r"limits\.rcm: .*cannot be"):
        replace(CONE, **wrong)


def test_sound_limits_are_kept_and_the_axis_has_length_one():
    limits = replace(SOUND, rcm=CONE)
    assert limits.rcm.axis == (0.0, 0.0, 1.0)
    assert (limits.speed, limits.box_low, limits.jaw_high, limits.good_frames) == (0.05, (-0.04, -0.03, 0.05), 1.4, 5)


def test_limits_with_which_nothing_stops_soon_are_refused_with_the_mend():
    slow = replace(SOUND, acceleration=0.001)
    with pytest.raises(UserError, match=r"acceleration 0\.001 .* takes more than 10 s; lower limits\.speed"):
        Motion(slow, 0.01)
    assert Motion(replace(slow, speed=0.005), 0.01).stop_seconds < 10
