"""What is drawn, and where."""

import numpy as np
import pytest

from surgrl.annotate import Annotator, Note
from surgrl.policy.spec import ActionSpec

SPEC = ActionSpec(("v_x", "v_y", "v_z", "jaw"), ("m/s", "m/s", "m/s", "rad"), (-0.05, -0.05, -0.05, 0.0),
                  (0.05, 0.05, 0.05, 1.0), "camera")
VIEW = (0, 80, 480, 480)


def note(velocity=(0.0, 0.0, 0.0), *, hold=False, reasons=(), action=(0.0, 0.0, 0.0, 0.5)) -> Note:
    part = np.asarray(velocity, dtype=float)
    return Note(1.0, 30, 0.0, np.asarray(action), part, np.zeros(3) if hold else part, hold, tuple(reasons))


def draw(told: Note, *, size=(640, 480), view=VIEW, arrow=True) -> tuple[np.ndarray, np.ndarray]:
    """Luma (H, W) and the whole picture of planes, drawn on a grey of 90."""
    yuv = np.full((size[1] * 3 // 2, size[0]), 90, np.uint8)
    Annotator(SPEC, size, view=view, arrow=arrow).draw(yuv, told)
    return yuv[:size[1]], yuv


@pytest.mark.parametrize(("velocity", "rows", "columns"), [
    ((1, 0, 0), slice(225, 255), slice(312, 480)), ((-1, 0, 0), slice(225, 255), slice(160, 328)),
    ((0, 1, 0), slice(232, 400), slice(305, 335)), ((0, -1, 0), slice(80, 248), slice(305, 335))])
def test_the_arrow_points_where_the_tip_goes_in_the_image(velocity, rows, columns):
    still, moving = draw(note())[0], draw(note(velocity))[0]
    changed = still != moving
    assert changed[rows, columns].sum() > 500
    changed[rows, columns] = False
    assert not changed.any()


def test_the_gauge_fills_upwards_for_away_from_the_camera():
    gauge = slice(618, 622)
    away, near = draw(note((0, 0, 1)))[0][:, gauge], draw(note((0, 0, -1)))[0][:, gauge]
    assert away[180].mean() > 120 > away[300].mean() and near[300].mean() > 120 > near[180].mean()


def test_hold_is_red_and_draws_no_arrow():
    planes = draw(note((1, 0, 0), hold=True, reasons=["image is 200 ms old, limit 100 ms"]))[1]
    luma = planes[:480]
    assert (luma[225:255, 360:470] == 90).mean() > 0.9      # no more than the thin line of what was wanted
    red_difference = planes[600:].reshape(240, 320)
    assert red_difference[2:10, 2:10].min() > 180


def test_an_action_in_another_frame_than_the_camera_is_not_drawn_as_an_arrow():
    assert np.array_equal(draw(note((1, 0, 0)), arrow=False)[0], draw(note(), arrow=False)[0])


def test_numbers_that_are_none_are_drawn_as_a_dash():
    nothing = np.full(4, np.nan)
    drawn = draw(Note(0.0, 0, 0.2, nothing, nothing[:3], np.zeros(3), True, ("image is old",)))[0]
    assert drawn[405:475, 150:220].max() > 200


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (480, 640), (1920, 1080), (640, 640)])
def test_every_size_is_drawn_on_within_its_bounds(size):
    edge = min(size)
    draw(note((1, 1, 1)), size=size, view=((size[1] - edge) // 2, (size[0] - edge) // 2, edge, edge))
