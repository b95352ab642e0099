"""Decides, image by image, what a policy asks for, and whether its image may be believed. Sends nothing itself.

  hold      it asks for nothing. Left as soon as image and the arm's state are sound
  active    each image gives one action
  latched   it asks for nothing until a person deactivates and activates the node
"""

import time
from collections.abc import Callable

import numpy as np

from surgrl.policy.errors import UserError
from surgrl.policy.gate import VELOCITY, Action
from surgrl.policy.image_gate import ImageGate
from surgrl.policy.inbox import FUTURE, Inbox
from surgrl.policy.runtime import PolicyRuntime
from surgrl.policy.spec import ARM_PROPRIO, ActionSpec, Array

from .messages import crtk_to_optical, turn_vector

EARLY = 0.45        # of the policy's period, by which a frame may come before it is due
ANOTHER_CLOCK = 1.0     # s; a stamp that goes back further is no frame out of order


class Pilot:
    """A policy, the images it may believe, and the arm's state if it reads any."""

    def __init__(self, runtime: PolicyRuntime, inbox: Inbox, eyes: ImageGate, *, max_image_age: float,
                 max_state_age: float, on_change: Callable[[], None]):
        """eyes: says which images may be believed. Ages in s. on_change: called when the state has changed."""
        bundle = runtime.bundle
        self.seats = seats_of(bundle.action, bundle.image.camera)
        foreign = [name for name in bundle.proprio.names if name not in ARM_PROPRIO]
        if foreign:
            raise UserError(f"{bundle.folder}: the policy reads {', '.join(foreign)}, which no CRTK arm tells; this "
                            f"node knows {', '.join(ARM_PROPRIO)}: train one for an arm, or on images alone")
        if bundle.proprio.names and bundle.proprio.frame != bundle.image.camera:
            raise UserError(f"{bundle.folder}: proprio is told in frame {bundle.proprio.frame!r}; this node "
                            f"can tell it in its camera's, {bundle.image.camera!r}; export the policy so")
        self.runtime, self.inbox, self.eyes, self.on_change = runtime, inbox, eyes, on_change
        self.max_image_age, self.max_state_age = max_image_age, max_state_age
        self.names = tuple(bundle.action.names[seat] for seat in self.seats)
        self.period = 1.0 / bundle.image.rate                   # s
        self.objection: str | None = None       # a reason from outside why nothing may be asked
        self.state, self.reason = "hold", "no image yet"
        self.seconds = 0.0                      # s, of the last inference with all around it
        self._last_stamp, self._due = 0, 0.0    # ns of the last frame; s, when one is due

    def check(self) -> None:
        """Hold when images have stopped. Call often: it costs microseconds."""
        if self.state == "active":
            obstacle = self.objection or self.inbox.stale("image", self.max_image_age)
            if obstacle:
                self._change("hold", obstacle)
        elif self.state == "hold" and self.inbox.drops["image"] and not np.isfinite(self.inbox.age("image")):
            self._change("hold", self.inbox.explain("image is missing"))        # a camera of which none can be used

    def look(self, frame: Array, stamp: int, encoding: str) -> Action | None:
        """One camera frame (H, W, 3) uint8 RGB, its stamp in ns and its encoding -> what to ask for, if anything."""
        began = time.perf_counter()
        if self.state == "latched" or not self._in_order(stamp):
            return None
        try:
            self.runtime.bundle.image.crop_in(*frame.shape[:2])
        except UserError as error:
            if self.state == "active":
                self.latch(f"the camera has changed: {error}")
            return self.inbox.drop("image", str(error))
        self.inbox.put("image", None, stamp)
        ahead = -self.inbox.age("image")
        if ahead > FUTURE:      # it would look fresh for as long as it runs ahead, though the camera had stopped
            return self.latch(f"image comes from the future by {ahead * 1e3:.0f} ms; are the clocks in step?")
        verdict = self.eyes.look(frame, stamp * 1e-9, encoding)
        if verdict.state != "ok":
            return self._change("latched" if verdict.state == "latch" else "hold", verdict.reason)
        obstacle = self.objection or self.inbox.stale("image", self.max_image_age) or self._unknown_state()
        if obstacle:
            return self._change("hold", obstacle)
        if self.state != "active":
            self.runtime.reset()
            self._due = 0.0
            self._change("active", "each image gives an action")
        if not self._is_due(stamp * 1e-9):
            return None
        raw = self.runtime.act_normalised(frame, self._proprio())
        values = self.runtime.bundle.action.to_si(raw)[self.seats]
        values[:3] = turn_vector(values[:3])
        if not np.isfinite(raw).all():      # asked for all the same: the gate judges by itself, and at once
            self.latch(f"the policy gave {raw}, which is not finite")
        self.seconds = time.perf_counter() - began
        return Action(stamp, self.names, values, raw[self.seats].astype(float))

    def latch(self, reason: str) -> None:
        """Ask for nothing more, whatever comes."""
        self._change("latched", f"{reason}; find out why, then deactivate and activate this node")

    def _in_order(self, stamp: int) -> bool:
        if stamp > self._last_stamp:
            self._last_stamp = stamp
            return True
        if (self._last_stamp - stamp) * 1e-9 > ANOTHER_CLOCK:
            self.latch("the images' stamps went back: another clock stamps them now")
        else:
            self.inbox.drop("image", "its stamp is not later than the one before")
        return False

    def _is_due(self, seconds: float) -> bool:
        """By schedule, not by distance: frames that jitter are all used, a faster camera is thinned out."""
        if seconds < self._due - EARLY * self.period:
            return False
        self._due += self.period
        if self._due <= seconds:
            self._due = seconds + self.period
        return True

    def _unknown_state(self) -> str | None:
        """Why what the policy reads of the arm must not be believed, or None."""
        names = self.runtime.bundle.proprio.names
        wanted = (("measured_cp",) if names else ()) + (("jaw/measured_js",) if "jaw" in names else ())
        return next(filter(None, (self.inbox.stale(name, self.max_state_age) for name in wanted)), None)

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
            self.on_change()


def seats_of(action: ActionSpec, camera: str) -> list[int]:
    """Where v_x, v_y, v_z and the jaw, if any, stand in the action. UserError for what cannot be mapped."""
    units = dict(zip(action.names, action.units, strict=True))
    expected = {**dict.fromkeys(VELOCITY, "m/s"), "jaw": "rad"}
    strange = [name for name, unit in units.items() if expected.get(name) != unit]
    missing = [name for name in VELOCITY if name not in units]
    if strange or missing or len(units) != len(action.names):
        raise UserError(f"the policy's action is {units}; this node can ask for v_x, v_y, v_z in m/s, "
                        "all three, and jaw in rad, each once")
    if action.frame != camera:
        raise UserError(f"the policy's action is told in frame {action.frame!r}; this node can turn it "
                        f"from the frame of its camera, {camera!r}, only")
    return [action.names.index(name) for name in (*VELOCITY, "jaw") if name in units]
