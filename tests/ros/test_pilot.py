"""The pilot without a graph: which frames are acted on, and what the policy is told of the arm."""

import numpy as np
import pytest

from ros_nodes.messages import optical_to_crtk
from ros_nodes.pilot import ANOTHER_CLOCK, Pilot
from surgrl.policy.errors import UserError
from surgrl.policy.image_gate import ImageGate, ImageLimits
from surgrl.policy.inbox import Inbox
from surgrl.policy.pose import Pose
from surgrl.policy.runtime import PolicyRuntime

TIP = optical_to_crtk(Pose(np.array([0.01, 0.02, 0.1]), np.array([0.1, -0.5, 0.1, 0.854400374])))
TRUSTING = ImageLimits(frozen_frames=0, blank_frames=0, strange_frames=0, good_frames=1)
GREY = np.full((120, 160, 3), 128, np.uint8)


class Clock:
    """A clock that the test sets, ns."""

    now = 5_000_000_000


def fly(bundle, clock: Clock, limits=TRUSTING) -> Pilot:
    """A pilot whose arm is at TIP."""
    inbox = Inbox(lambda: clock.now)
    inbox.put("measured_cp", TIP, clock.now)
    inbox.put("jaw/measured_js", 0.4, clock.now)
    return Pilot(PolicyRuntime(bundle), inbox, ImageGate(bundle.image, limits, None), max_image_age=1.0,
                 max_state_age=1.0, on_change=lambda: None)


def acted_on(pilot: Pilot, clock: Clock, milliseconds: list[float]) -> list[bool]:
    """Whether each frame with these stamps got an action."""
    begin, answers = clock.now, []
    for offset in milliseconds:
        clock.now = begin + round(offset * 1e6)
        pilot.inbox.put("measured_cp", TIP, clock.now)
        answers.append(pilot.look(GREY, clock.now, "rgb8") is not None)
    return answers


def test_every_frame_is_used_though_they_jitter(make_bundle, tmp_path):
    clock = Clock()
    stamps = np.arange(1, 61) * 1e3 / 30 + np.random.default_rng(0).uniform(-7, 7, 60)     # ms
    assert all(acted_on(fly(make_bundle(tmp_path), clock), clock, list(stamps)))


@pytest.mark.parametrize("rate", [50, 60, 120])
def test_a_faster_camera_is_thinned_to_the_rate_of_the_policy(make_bundle, tmp_path, rate):
    clock = Clock()
    used = acted_on(fly(make_bundle(tmp_path), clock), clock, [n * 1e3 / rate for n in range(2 * rate)])
    assert sum(used) == pytest.approx(60, abs=1)


def test_a_frame_that_comes_twice_or_late_is_dropped(make_bundle, tmp_path):
    clock = Clock()
    pilot = fly(make_bundle(tmp_path), clock)
    assert acted_on(pilot, clock, [0, 40, 40, 20]) == [True, True, False, False]


def test_the_policy_is_told_of_the_arm_in_its_own_order_and_frame(make_bundle, tmp_path):
    pilot = fly(make_bundle(tmp_path, proprio=("jaw", "x", "qy", "z")), Clock())
    heard = []
    act = pilot.runtime.act_normalised
    pilot.runtime.act_normalised = lambda frame, proprio: heard.append(proprio) or act(frame, proprio)
    assert pilot.look(GREY, Clock.now, "rgb8") is not None
    assert np.allclose(heard[0], [0.4, 0.01, -0.5, 0.1])


def test_a_policy_that_reads_what_no_arm_tells_is_refused(make_bundle, tmp_path):
    with pytest.raises(UserError, match="reads bend_x, inserted, which no CRTK arm tells"):
        fly(make_bundle(tmp_path, proprio=("bend_x", "jaw", "inserted")), Clock())


def test_an_action_is_told_in_the_commands_frame_beside_what_the_network_gave(make_bundle, tmp_path):
    bundle = make_bundle(tmp_path, (-0.5, 0.1, 0.2, 0.4), names=("jaw", "v_z", "v_y", "v_x"),
                         units=("rad", "m/s", "m/s", "m/s"))
    action = fly(bundle, Clock()).look(GREY, Clock.now, "rgb8")
    assert action.names == ("v_x", "v_y", "v_z", "jaw") and action.stamp == Clock.now
    assert np.allclose(action.raw, [0.4, 0.2, 0.1, -0.5])
    assert np.allclose(action.values, [-0.02, -0.01, 0.005, -0.025])        # x and y point the other way


def test_stamps_of_another_clock_latch_and_nothing_is_asked_after(make_bundle, tmp_path):
    clock = Clock()
    pilot = fly(make_bundle(tmp_path), clock)
    assert acted_on(pilot, clock, [0, 40]) == [True, True]
    assert acted_on(pilot, clock, [-1e3 * ANOTHER_CLOCK - 100, 80]) == [False, False]
    assert pilot.state == "latched" and "clock" in pilot.reason


def test_what_is_not_finite_is_asked_for_all_the_same_so_that_the_gate_judges_too(make_bundle, tmp_path):
    pilot = fly(make_bundle(tmp_path, "nan"), Clock())
    action = pilot.look(GREY, Clock.now, "rgb8")
    assert np.isnan(action.raw).all() and pilot.state == "latched"


def test_an_old_image_or_an_old_arm_asks_for_nothing(make_bundle, tmp_path):
    clock = Clock()
    pilot = fly(make_bundle(tmp_path, proprio=("x",)), clock)
    clock.now += 2_000_000_000
    assert pilot.look(GREY, clock.now - 1_500_000_000, "rgb8") is None and pilot.reason.startswith("image is 1500 ms")
    assert pilot.look(GREY, clock.now - 1, "rgb8") is None and pilot.reason.startswith("measured_cp is 2000 ms old")
    pilot.inbox.put("measured_cp", TIP, clock.now)
    assert pilot.look(GREY, clock.now, "rgb8") is not None and pilot.state == "active"


def test_a_picture_that_may_not_be_believed_holds(make_bundle, tmp_path):
    clock = Clock()
    pilot = fly(make_bundle(tmp_path), clock, ImageLimits())
    black = np.zeros((120, 160, 3), np.uint8)
    for k in range(4):
        assert pilot.look(black, clock.now + k, "rgb8") is None
    assert pilot.state == "hold" and "black" in pilot.reason


def test_an_image_from_the_future_latches(make_bundle, tmp_path):
    clock = Clock()
    pilot = fly(make_bundle(tmp_path), clock)
    assert pilot.look(GREY, clock.now + 4_000_000, "rgb8") is not None      # clocks in step are as far apart
    assert pilot.look(GREY, clock.now + 50_000_000, "rgb8") is None
    assert pilot.state == "latched" and "future" in pilot.reason


def test_another_shape_of_the_picture_latches_once_it_runs(make_bundle, tmp_path):
    clock, wide = Clock(), np.full((90, 160, 3), 128, np.uint8)
    pilot = fly(make_bundle(tmp_path), clock)
    assert pilot.look(wide, clock.now - 2, "rgb8") is None and pilot.state == "hold"
    assert pilot.look(GREY, clock.now - 1, "rgb8") is not None
    assert pilot.look(wide, clock.now, "rgb8") is None and pilot.state == "latched"
