"""The operator's picture: what it shows stands where it should, for any frame and any words."""

import numpy as np
import pytest

from surgrl.policy.overlay import AMBER, GREEN, GREY, RED, draw

TISSUE = (180, 90, 80)
LONG = "the image is 0.143 s old, limits.max_image_age is 0.1 s; the camera or its driver may be overloaded " * 3


def frame(height: int = 480, width: int = 640) -> np.ndarray:
    return np.full((height, width, 3), TISSUE, np.uint8)


def shown(height: int = 480, width: int = 640, **told) -> np.ndarray:
    return draw(frame(height, width), **{"state": "active", "reason": "going", "action": {}, "speed_limit": 0.05,
                                         **told})


def places(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(n, 2) rows and columns, below the bar, that have the colour."""
    found = np.argwhere((picture == colour).all(axis=2))
    return found[found[:, 0] >= picture.shape[0] - 480]


@pytest.mark.parametrize(("height", "width", "expected"), [
    (480, 640, (480, 640)), (1080, 1920, (360, 640)), (84, 84, (400, 400)), (2160, 3840, (360, 640)),
    (16, 500, (16, 500)), (1000, 20, (20000, 400))])
def test_the_picture_is_never_wider_than_640_and_keeps_its_shape(height, width, expected):
    short, long = shown(height, width), shown(height, width, reason=LONG, action={"v_x": 1.0, "v_y": 1.0, "v_z": 1.0,
                                                                               "jaw": 9.0})
    assert short.shape == long.shape == (short.shape[0], expected[1], 3) and short.dtype == np.uint8
    assert short.shape[0] - expected[0] == shown().shape[0] - 480      # the bar is as high for all


def test_the_frame_itself_is_left_as_it_was():
    given = frame()
    draw(given, state="hold", reason=LONG, action={"v_x": 0.05, "v_y": 0.05, "v_z": 0.05, "jaw": 1.0}, speed_limit=0.05)
    assert (given == TISSUE).all()


@pytest.mark.parametrize(("state", "colour"), [
    ("active", GREEN), ("hold", AMBER), ("latched", RED), ("dreaming", GREY)])
def test_the_bar_has_the_colour_of_the_state(state, colour):
    assert tuple(shown(state=state)[2, 2]) == colour


@pytest.mark.parametrize(("v_x", "v_y"), [(0.05, 0.0), (-0.05, 0.0), (0.0, 0.05), (0.0, -0.05), (0.03, -0.04)])
def test_the_arrow_goes_where_the_tip_is_to_go(v_x, v_y):
    picture = shown(action={"v_x": v_x, "v_y": v_y})
    middle = np.array([picture.shape[0] - 240, 320])
    row, column = (places(picture, GREEN) - middle).mean(axis=0)
    assert np.allclose(np.array([column, row]) / np.hypot(row, column), np.array([v_x, v_y]) / 0.05, atol=0.05)


def test_an_arrow_is_as_long_as_the_speed_and_stays_in_the_picture():
    def reach(speed):
        return np.ptp(places(shown(action={"v_x": speed, "v_y": 0.0}), GREEN)[:, 1])
    assert reach(0.025) == pytest.approx(reach(0.05) / 2, abs=12) and reach(5.0) < 320


@pytest.mark.parametrize(("v_z", "above"), [(0.04, True), (-0.04, False)])
def test_the_gauge_of_depth_is_up_for_away(v_z, above):
    picture = shown(action={"v_z": v_z})
    rows = places(picture, GREEN)[:, 0]
    assert ((rows < picture.shape[0] - 240) == above).mean() > 0.95


def test_the_jaw_opens_to_the_right():
    widths = [np.ptp(places(shown(action={"jaw": jaw}), GREEN)[:, 1]) for jaw in (0.0, 0.7, 1.4, 3.0)]
    assert widths[0] < widths[1] < widths[2] == widths[3]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_drawn(value):
    picture = shown(action=dict.fromkeys(("v_x", "v_y", "v_z", "jaw"), value))
    assert (picture[-480:] == TISSUE).all()


def test_what_the_policy_does_not_say_is_not_drawn():
    assert (shown(action={})[-480:] == TISSUE).all()


@pytest.mark.parametrize("reason", ["", LONG, "x" * 500, "Grüße, 日本語, \n\t newlines", "a " * 400])
def test_any_words_stay_inside_the_bar(reason):
    picture, plain = shown(reason=reason), shown(reason="")
    assert (picture[-480:] == plain[-480:]).all() and picture.shape == plain.shape
    assert (picture[:picture.shape[0] - 480, -4:] == plain[:picture.shape[0] - 480, -4:]).all()


def test_a_reason_of_two_lines_is_higher_than_one_of_one():
    def rows(reason):
        bar = shown(reason=reason)[:-480, 110:]
        return np.ptp(np.argwhere((bar > 200).all(axis=2))[:, 0])
    assert rows("the image is old " * 6) > 1.8 * rows("the image is old")
