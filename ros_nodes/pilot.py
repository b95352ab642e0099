"""Decides, image by image, whether the policy may move the arm, and where to. Knows no ROS but its poses.

  hold      nothing is sent. Left for `active` as soon as every input is sound, from the arm's own setpoint
  active    each image gives one bounded absolute target
  latched   nothing is sent until a person deactivates and activates the node

Targets are absolute and bounded, so silence is stillness: an arm that hears nothing stays where it was last
told to be. That makes a policy that is stuck or killed safe; no watchdog in its own process could.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from surgrl.policy.errors import UserError
from surgrl.policy.runtime import PolicyRuntime
from surgrl.policy.safety import Limits, SafetyFilter
from surgrl.policy.spec import ARM_PROPRIO, ActionSpec, Array

from .inbox import Inbox
from .messages import ENABLED, Pose, crtk_to_optical, turn_vector

VELOCITY = ("v_x", "v_y", "v_z")
EARLY = 0.45    # of the policy's period, by which a frame may come before it is due


class Command(NamedTuple):
    """What to send to the arm."""

    pose: Pose              # in the CRTK camera frame
    jaw: float | None       # rad; None: leave the jaw alone


class Pilot:
    """A policy at the arm's controls, with the safety filter between."""

    def __init__(self, runtime: PolicyRuntime, limits: Limits, inbox: Inbox,
                 on_change: Callable[[str, str], None]):
        """on_change(state, reason): called when the state changes, before anything else is sent."""
        bundle = runtime.bundle
        self.seats, self.jaw_seat = seats_of(bundle.action, bundle.image.camera)
        foreign = [name for name in bundle.proprio.names if name not in ARM_PROPRIO]
        if foreign:
            raise UserError(f"{bundle.folder}: the policy reads {', '.join(foreign)}, which no CRTK arm tells; this "
                            f"node knows {', '.join(ARM_PROPRIO)}: train one for an arm, or on images alone")
        if bundle.proprio.names and bundle.proprio.frame != bundle.image.camera:
            raise UserError(f"{bundle.folder}: proprio is told in frame {bundle.proprio.frame!r}; this node "
                            f"can tell it in its camera's, {bundle.image.camera!r}; export the policy so")
        self.runtime, self.inbox, self.on_change = runtime, inbox, on_change
        self.period = 1.0 / bundle.image.rate                   # s
        self.filter = SafetyFilter(limits, self.period)
        self.objection: str | None = None       # a reason from outside why nothing may be sent
        self.state, self.reason = "hold", "just activated"
        self.remarks: tuple[str, ...] = ()      # how the last command was limited
        self._quaternion = np.array([0.0, 0.0, 0.0, 1.0])       # kept from the seeding setpoint
        self._last_stamp, self._due = 0, 0.0    # ns of the last frame; s, when one is due
        self._last_time: float | None = None    # s, monotonic, of the last command

    def check(self) -> None:
        """Stop when an input is no longer sound; begin once all are. Call often: it costs microseconds."""
        if self.state == "active":
            obstacle = self._obstacle()
            if obstacle:
                self.hold(obstacle)
        elif self.state == "hold":
            self._begin_if_sound()

    def look(self, frame: Array, stamp: int) -> Command | None:
        """One camera frame (H, W, 3) uint8 RGB and its stamp in ns -> what to send now, if anything."""
        try:
            self.runtime.bundle.image.crop_in(*frame.shape[:2])
        except UserError as error:
            return self.inbox.drop("image", str(error))
        if stamp <= self._last_stamp:
            return self.inbox.drop("image", "its stamp is not later than the one before")
        self.inbox.put("image", None, stamp)
        self.check()
        self._last_stamp = stamp
        seconds = stamp * 1e-9
        if self.state != "active" or seconds < self._due - EARLY * self.period:
            return None
        # By schedule, not by distance: frames that jitter are all used, a faster camera is thinned out.
        self._due += self.period
        if self._due <= seconds:
            self._due = seconds + self.period
        action = self.runtime.act(frame, self._proprio())
        if not np.isfinite(action).all():
            return self.latch(f"the policy gave {action}, which is not finite")
        now = time.monotonic()
        elapsed = None if self._last_time is None else now - self._last_time
        # Ages are taken anew, after the inference: it may have been the slow part.
        verdict = self.filter.filter(turn_vector(action[self.seats]), self.inbox.get("measured_cp").position,
                                     self.inbox.ages(), elapsed)
        if verdict.hold:
            return self.hold(verdict.reasons[0])
        self._last_time, self.remarks = now, verdict.reasons
        jaw = None if self.jaw_seat is None else self.filter.filter_jaw(action[self.jaw_seat])
        return Command(Pose(verdict.target, self._quaternion), jaw)

    def hold(self, reason: str) -> None:
        """Send nothing until all inputs are sound again, then start anew from a setpoint told after this."""
        self.filter.seed(None)
        self.inbox.forget("setpoint_cp")
        self._last_stamp = 0
        self._change("hold", self.inbox.explain(reason))

    def latch(self, reason: str) -> None:
        """Send nothing more, whatever comes."""
        self.filter.seed(None)
        self._change("latched", f"{reason}; find out why, then deactivate and activate this node")

    def _begin_if_sound(self) -> None:
        setpoint, jaw = self.inbox.get("setpoint_cp"), self.inbox.get("jaw/measured_js")
        self.filter.seed(None if setpoint is None else setpoint.position, jaw)
        obstacle = self._obstacle()
        if obstacle:
            self.filter.seed(None)
            self.reason = self.inbox.explain(obstacle)
            return
        self.runtime.reset()
        self._quaternion = setpoint.quaternion
        self._last_time, self._due, self.remarks = None, 0.0, ()
        self._change("active", "each image moves the arm")

    def _obstacle(self) -> str | None:
        """Why nothing may move, or None."""
        state, measured = self.inbox.get("operating_state"), self.inbox.get("measured_cp")
        if self.objection:
            return self.objection
        if state != ENABLED:
            return "operating_state is missing" if state is None else f"the arm is {state}, not {ENABLED}"
        return self.filter.refuses(np.full(3, np.nan) if measured is None else measured.position,
                                   self.inbox.ages())

    def _proprio(self) -> Array | None:
        """(P,) as the bundle orders it, in the camera's optical frame."""
        names = self.runtime.bundle.proprio.names
        if not names:
            return None
        pose = crtk_to_optical(self.inbox.get("measured_cp"))
        jaw = self.inbox.get("jaw/measured_js") if "jaw" in names else 0.0
        told = dict(zip(ARM_PROPRIO, (*pose.position, *pose.quaternion, jaw), strict=True))
        return np.array([told[name] for name in names])

    def _change(self, state: str, reason: str) -> None:
        changed, self.state, self.reason = state != self.state, state, reason
        if changed:
            self.on_change(state, reason)


def seats_of(action: ActionSpec, camera: str) -> tuple[list[int], int | None]:
    """Where v_x, v_y, v_z and the jaw (or None) stand in the action. UserError for what cannot be mapped."""
    units = dict(zip(action.names, action.units, strict=True))
    expected = {**dict.fromkeys(VELOCITY, "m/s"), "jaw": "rad"}
    strange = [name for name, unit in units.items() if expected.get(name) != unit]
    missing = [name for name in VELOCITY if name not in units]
    if strange or missing or len(units) != len(action.names):
        raise UserError(f"the policy's action is {units}; this node can send v_x, v_y, v_z in m/s, "
                        "all three, and jaw in rad, each once")
    if action.frame != camera:
        raise UserError(f"the policy's action is told in frame {action.frame!r}; this node can turn it "
                        f"from the frame of its camera, {camera!r}, only")
    return ([action.names.index(name) for name in VELOCITY],
            action.names.index("jaw") if "jaw" in action.names else None)
