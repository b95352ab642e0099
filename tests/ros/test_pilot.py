"""The pilot without a graph: which frames are acted on, and what the policy is told of the arm."""

import numpy as np
import pytest

from ros_nodes.inbox import Inbox
from ros_nodes.messages import Pose, optical_to_crtk
from ros_nodes.pilot import Pilot
from surgrl.policy.errors import UserError
from surgrl.policy.runtime import PolicyRuntime
from surgrl.policy.safety import Limits

TIP = optical_to_crtk(Pose(np.array([0.01, 0.02, 0.1]), np.array([0.1, -0.5, 0.1, 0.854400374])))
LIMITS = Limits(speed=0.05, acceleration=1.0, box_low=(-1, -1, 0), box_high=(1, 1, 1), max_lead=1.0,
                max_age={"image": 1.0, "measured_cp": 1.0, "setpoint_cp": 1.0})
GREY = np.full((120, 160, 3), 128, np.uint8)


class Clock:
    """A clock that the test sets, ns."""

    now = 5_000_000_000


def fly(bundle, clock: Clock) -> Pilot:
    """A pilot whose arm is ENABLED and at TIP."""
    inbox = Inbox(lambda: clock.now)
    inbox.put("operating_state", "ENABLED", 0)
    for name in ("measured_cp", "setpoint_cp"):
        inbox.put(name, TIP, clock.now)
    inbox.put("jaw/measured_js", 0.4, clock.now)
    return Pilot(PolicyRuntime(bundle), LIMITS, inbox, lambda state, reason: None)


def acted_on(pilot: Pilot, clock: Clock, milliseconds: list[float]) -> list[bool]:
    """Whether each frame with these stamps got a command."""
    begin, answers = clock.now, []
    for offset in milliseconds:
        clock.now = begin + round(offset * 1e6)
        for name in ("measured_cp", "setpoint_cp"):
            pilot.inbox.put(name, TIP, clock.now)
        answers.append(pilot.look(GREY, clock.now) is not None)
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
    act = pilot.runtime.act
    pilot.runtime.act = lambda frame, proprio: heard.append(proprio) or act(frame, proprio)
    assert pilot.look(GREY, Clock.now) is not None
    assert np.allclose(heard[0], [0.4, 0.01, -0.5, 0.1])


def test_a_policy_that_reads_what_no_arm_tells_is_refused(make_bundle, tmp_path):
    with pytest.raises(UserError, match="reads bend_x, inserted, which no CRTK arm tells"):
        fly(make_bundle(tmp_path, proprio=("bend_x", "jaw", "inserted")), Clock())
