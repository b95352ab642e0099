"""The last word before the robot: which of a policy's actions become commands. No learned part, no ROS.

  hold      the tip comes to rest within the limits and stays. Left by itself once all is sound: enough good
            actions in a row, the operator's pedal held since it was pressed anew
  active    each tick gives one bounded absolute target
  latched   as hold; left only by the operator's reset, and a new press of the pedal

Targets are absolute and bounded, so silence is stillness: an arm that hears nothing stays where it was last
told to be. That holds whatever happens to this process too.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .inbox import FUTURE, Inbox
from .limits import Limits
from .motion import ZERO, Motion
from .pose import Pose
from .spec import Array
from .swing import Swing

ENABLED = "ENABLED"
BUSY = "ENABLED but busy"       # what we call an arm that homes, or follows a move
VELOCITY = ("v_x", "v_y", "v_z")
ROUNDING = 1e-6         # of an action's [-1, 1]
LOST = 2.0              # s of the policy's silence, after which the pedal must be pressed anew
SETTLED = 0.05          # s after the last command, from which on the arm's setpoint is sure to be that command
LATE = 0.1              # s between two ticks, after which the arm has long come to rest at the last target
STOOD = "the gate itself stood still"       # what is told then: the motion begins anew, at rest
JAW_STILL = 0.05        # rad; a jaw that moved less during a hold was not moved by anyone


class Action(NamedTuple):
    """What the policy asks for, A channels."""

    stamp: int                  # ns, of the image that it answers
    names: tuple[str, ...]
    values: Array               # (A,) SI, velocities in the command frame
    raw: Array                  # (A,) as the network gave them, meant to be in [-1, 1]


class Command(NamedTuple):
    """What to send to the arm."""

    pose: Pose
    jaw: float | None           # rad; None: leave the jaw alone
    stamp: int                  # ns, of the newest image that it answers


class Decision(NamedTuple):
    """What one tick comes to."""

    command: Command | None     # None: send nothing
    hold: bool                  # whether to tell the arm, once, to stay where it is
    remarks: tuple[str, ...]    # how the command was limited


class Gate:
    """Between one policy and one arm. Tell it all that comes in, then `tick` at a fixed rate."""

    def __init__(self, limits: Limits, *, dt: float, moves_jaw: bool, now: Callable[[], int], follows: bool = True,
                 makes_busy: bool = False):
        """dt: s between ticks. moves_jaw: whether the arm has a jaw that may move. now: the clock of stamps, ns.

        follows: whether the arm gets the commands, so that it must be where they lead; a dry run's does not.
        makes_busy: whether the arm counts as busy while it follows them, as with CRTK's move_*.
        """
        self.limits, self.dt, self.now, self.follows, self._makes_busy = limits, dt, now, follows, makes_busy
        self.inbox = Inbox(now)
        self.motion = Motion(limits, dt)
        self.trouble: str | None = None         # a reason from outside to hold
        self.doubt: str | None = None           # likewise, which the pedal does not outlive: who speaks is not sure
        self._arm_inputs = ("measured_cp", "setpoint_cp", *(("jaw/measured_js",) if moves_jaw else ()))
        self._allowed = (VELOCITY, *(((*VELOCITY, "jaw"),) if moves_jaw else ()))
        self._estop = False
        self._policy = "never heard"
        self.state, self.reason, self._lasts = "hold", "just activated", False
        self.restart()
        self._running = False        # whether it ticks; what latches it meanwhile lasts until the operator's reset

    def restart(self) -> None:
        """As new, but for what arm, policy and emergency stop told last: nothing moves before a new press.

        A latch of the time in which it ran stays: only the operator's reset says that it is dealt with.
        """
        self._running = True
        if not (self.state == "latched" and self._lasts):
            self.state, self.reason = "hold", "just activated"
        self._pressed: bool | None = None       # the pedal, as last heard
        self._armed = False                     # pressed anew since nothing was wrong, and held since
        self._left = False                      # the arm left ENABLED since it was last told where to be
        self._good = self._wild = 0
        self._excess = 1.0                      # of the policy's action over [-1, 1]
        self._wanted = ZERO
        self._jaw: float | None = None          # rad, as last commanded
        self._jaw_left: float | None = None     # rad, as measured when it was last commanded
        self._jaw_wanted: float | None = None
        self._quaternion = np.array([0.0, 0.0, 0.0, 1.0])       # kept from the seeding setpoint
        self._swing = Swing(self.limits.speed)
        self._rested = 0                        # ns, when the arm was last told to stay
        self._ticked = time.monotonic()
        self.motion.state = None
        for name in ("action", "setpoint_cp"):
            self.inbox.forget(name)
        self.hear_policy(self._policy)
        if self._estop:
            self.hear_estop(True)

    def hear_action(self, action: Action) -> None:
        """The policy asks. What cannot be an action latches."""
        last = self.inbox.get("action")
        ahead = (action.stamp - self.now()) * 1e-9
        allowed = self._allowed if last is None else (last.names,)
        if action.names not in allowed or not len(action.names) == len(action.values) == len(action.raw):
            return self.latch(f"the policy's action is {list(action.names)} with {len(action.values)} values; allowed: "
                              + " or ".join(str(list(names)) for names in allowed))
        if not (np.isfinite(action.values).all() and np.isfinite(action.raw).all()):
            return self.latch(f"the policy's action {np.round(action.values, 4)} is not finite")
        if ahead > FUTURE:
            return self.latch(f"the image comes from the future by {ahead * 1e3:.0f} ms; are the clocks in step?")
        if last is not None and action.stamp < last.stamp:
            return self.latch("an image is older than the one before; do two clocks stamp them?")
        self.inbox.put("action", action, action.stamp)
        if self.inbox.stale("action", self.limits.max_image_age):
            self._good = 0
        elif last is None or action.stamp > last.stamp:     # the same image twice is one
            self._good += 1
        self._excess = excess = max(1.0, float(np.abs(action.raw).max(initial=0.0)))
        self._wild = self._wild + 1 if excess > 1 + ROUNDING else 0
        if self._wild >= self.limits.wild_actions:
            return self.latch(f"{self._wild} actions in a row were outside [-1, 1]")
        told = dict(zip(action.names, action.values.tolist(), strict=True))
        x, y, z = (told.get(name, 0.0) / excess for name in VELOCITY)
        power = self._swing.add((x, y, z))
        if power > self.limits.oscillation:
            self.latch(f"the policy swings to and fro: {power:.2f} of the most that is possible, "
                       f"limit {self.limits.oscillation:g}")
        self._wanted, self._jaw_wanted = (x, y, z), told.get("jaw")

    def hear_policy(self, status: str) -> None:
        """The text of the policy's ~/status; its first word is its state."""
        self._policy = status
        if self._policy_word == "latched":
            self.latch(f"the policy: {status}")
        elif self._policy_word not in ("active", "hold"):
            self._disarm()      # a policy that was started anew never moves the arm by itself

    def hear_state(self, word: str) -> None:
        """The arm's operating_state: one that is ready no more, for however short a time, is moved no further."""
        self.inbox.put("operating_state", word, 0)
        if self._takes_commands:
            return
        self._left = True
        if not self._enabled:
            self._lose_arm()
        if self.state == "active":
            self._fall_back(f"the arm is {word}, not {ENABLED}")

    def hear_enable(self, pressed: bool) -> None:
        """The operator's pedal."""
        self._miss_pedal()      # a gate that stood still cannot know whether the pedal was held meanwhile
        if not pressed:
            self._armed = False
            if self.state == "active":      # at once: it may be pressed again before the next tick
                self._fall_back("the pedal was released")
        elif (self._pressed is False and self.state != "latched" and self._enabled and self.doubt is None
              and self._policy_word in ("active", "hold")):
            self._armed = True
        self._pressed = pressed
        self.inbox.put("enable", pressed, self.now())

    def hear_estop(self, pressed: bool) -> None:
        """The emergency stop."""
        self._estop = pressed
        if pressed:
            self.latch("the emergency stop is pressed")

    def latch(self, reason: str) -> None:
        """Come to rest and stay there until `reset`. The first reason stays."""
        if self.state != "latched":
            self._disarm()
            self.state, self.reason, self._lasts = "latched", reason, self._running

    def end(self) -> None:
        """Come to rest, and ask for nothing of the operator before the next start but a press of the pedal."""
        self._running = False
        self.latch("the gate ends")

    def reset(self) -> str | None:
        """The operator's word that a latch is dealt with; why it is not, or None."""
        if self.state != "latched":
            return "nothing is latched"
        if self._estop:
            return "the emergency stop is still pressed"
        if self._policy_word == "latched":
            return f"the policy is latched itself: {self._policy}"
        if self.motion.state is not None:
            return "the arm is still coming to rest"
        self.inbox.forget("action")
        self._swing.clear()
        self._wild = 0
        self._fall_back("reset; press the pedal anew")
        return None

    def tick(self) -> Decision:
        """Once every dt: what to send now."""
        now = time.monotonic()
        late, self._ticked = now - self._ticked, now
        obstacle = self._obstacle()
        stood: tuple[str, ...] = ()
        if self.motion.state is not None and not late <= LATE:
            stood = (f"{STOOD} for {late * 1e3:.0f} ms",)
            obstacle = obstacle or stood[0]
        if self.state == "active" and obstacle:
            self._fall_back(obstacle)
        elif self.state == "hold":
            if obstacle is not None:
                self._good = 0
            if self.motion.state is not None:
                self.reason = self.reason if obstacle is None else obstacle
            elif obstacle is None and self._good >= self.limits.good_frames and self._armed:
                self._begin()
            else:
                self.reason = obstacle or self._waiting()
        if self.motion.state is None:
            return Decision(None, False, ())
        if self._left or not self._takes_commands:      # nor may old commands wait for it
            decision = self._done(None)
            self._jaw_left = None       # an arm without power grips nothing: the jaw starts from where it is
            return decision
        if stood:
            # The arm has come to rest where it was last told to be, or somebody else has moved it since. To go on at
            # the speed of long ago would be a jolt, to tell it the place of long ago a leap.
            return self._done(None)._replace(remarks=stood)
        lag = self._lag()
        if self.state == "active" and not lag <= self.limits.max_lead:
            self.latch(f"the arm is {lag * 1e3:.1f} mm behind its command, limit {self.limits.max_lead * 1e3:.1f} mm")
        remarks = self.motion.step(self._wanted if self.state == "active" else ZERO)
        if self.state == "active":
            remarks += self._shrunk() + self._move_jaw()
        command = Command(Pose(np.array(self.motion.state.position), self._quaternion),
                          None if self._jaw_wanted is None else self._jaw, self._answered())
        if self.state != "active" and self.motion.state.at_rest:
            return self._done(command)
        return Decision(command, False, remarks)

    @property
    def too_late(self) -> bool:
        """Whether the last tick is so long ago that what it decided must not be sent any more."""
        return not time.monotonic() - self._ticked <= LATE

    @property
    def armed(self) -> bool:
        """Whether the operator's pedal was pressed anew and is held."""
        return self._armed

    def _begin(self) -> None:
        setpoint = self.inbox.get("setpoint_cp")
        self.motion.start(tuple(setpoint.position.tolist()))
        self._quaternion, jaw = setpoint.quaternion, self.inbox.get("jaw/measured_js")
        # A jaw that grips is told to close further than it can: to start from where it is would let go.
        if self._jaw is None or self._jaw_left is None or not abs(jaw - self._jaw_left) <= JAW_STILL:
            self._jaw = jaw
        self.state, self.reason, self._left = "active", "each action moves the arm", False

    def _fall_back(self, reason: str) -> None:
        self.state, self.reason, self._good = "hold", reason, 0

    def _done(self, command: Command | None) -> Decision:
        """At rest: tell the arm to stay. The next start is from a setpoint that is told well after this."""
        self.motion.state, self._rested, self._left = None, self.now(), False
        self._jaw_left = self.inbox.get("jaw/measured_js")
        self.inbox.forget("setpoint_cp")
        return Decision(command, True, ())

    @property
    def _enabled(self) -> bool:
        """Whether the arm is ENABLED; what it is busy with must come from here."""
        state = self.inbox.get("operating_state")
        return bool(state == ENABLED or (state == BUSY and self._makes_busy))

    @property
    def _takes_commands(self) -> bool:
        """Whether the arm may be told the next command, or a first one: then it must not be busy at all."""
        return self._enabled and (self.motion.state is not None or self.inbox.get("operating_state") == ENABLED)

    @property
    def _policy_word(self) -> str:
        return self._policy.split(":")[0]

    def _miss_pedal(self) -> None:
        """Forget a pedal that was not heard for too long."""
        if not self.inbox.silence("enable") <= self.limits.max_enable_age:
            self._armed, self._pressed = False, None

    def _disarm(self) -> None:
        self._armed = False
        self._good = 0

    def _lose_arm(self) -> None:
        self._disarm()
        self._jaw_left = None       # as in `tick`

    def _obstacle(self) -> str | None:
        """Why nothing may move, or None."""
        limits, inbox = self.limits, self.inbox
        self._miss_pedal()
        if not self._takes_commands:
            if not self._enabled:
                self._lose_arm()
            state = inbox.get("operating_state")
            return "operating_state is missing" if state is None else f"the arm is {state}, not {ENABLED}"
        if self.doubt:
            self._disarm()
            return self.doubt
        for name in self._arm_inputs:
            # A setpoint is forgotten on purpose once the arm was told to hold; until then it need not be fresh.
            stale = inbox.stale(name, limits.max_state_age)
            if stale and not (name == "setpoint_cp" and self.motion.state is not None):
                return stale
        if self.motion.state is None:
            if self.now() < self._rested:       # the clock was set back: no setpoint would ever be new enough
                self._rested = self.now()
            if (inbox.stamp("setpoint_cp") - self._rested) * 1e-9 < SETTLED:
                return "setpoint_cp is missing: the arm has told none since it was told to stay"
            misplaced = self._misplaced()
            if misplaced:
                return misplaced
        if self.trouble:
            return self.trouble
        if self._policy_word != "active":
            return f"the policy: {self._policy}"
        if inbox.get("action") is None:
            return "action is missing: the policy has asked for nothing yet"
        if not inbox.silence("action") <= limits.max_action_age:
            if inbox.silence("action") > LOST:
                self._disarm()      # it may be another one by now, whose `inactive` nobody heard
            return f"the policy has been silent for {inbox.silence('action') * 1e3:.0f} ms"
        if not -FUTURE <= inbox.age("action") <= limits.max_image_age:
            return (f"the image is {inbox.age('action') * 1e3:.0f} ms old, "
                    f"limit {limits.max_image_age * 1e3:.0f} ms")
        if self.state == "active" and not self._armed:
            if self._pressed is None:
                return "the pedal is not heard any more"
            return "the pedal must be pressed anew" if self._pressed else "the pedal was released"
        return None

    def _waiting(self) -> str:
        if self._armed:
            return f"waiting for {self.limits.good_frames} good actions in a row"
        if self._pressed is None:
            return "waiting for the operator's pedal, which is not heard"
        asked = "release the pedal, then press it" if self._pressed else "press the pedal"
        return f"waiting for the operator: {asked}"

    def _misplaced(self) -> str | None:
        setpoint = self.inbox.get("setpoint_cp").position
        outside = self.motion.allows(tuple(setpoint.tolist()))
        if outside:
            return (f"the setpoint {np.round(setpoint, 4)} m is out of bounds ({outside}); "
                    "move the arm into them")
        lag = float(np.linalg.norm(setpoint - self.inbox.get("measured_cp").position))
        if not lag <= self.limits.max_lead:
            return f"the arm is {lag * 1e3:.1f} mm from its setpoint, limit {self.limits.max_lead * 1e3:.1f} mm"
        return None

    def _lag(self) -> float:
        """m, of the measured tip behind the command."""
        if not self.follows:
            return 0.0
        measured = self.inbox.get("measured_cp")
        assert self.motion.state is not None
        return float(np.linalg.norm(np.subtract(self.motion.state.position, measured.position)))

    def _shrunk(self) -> tuple[str, ...]:
        """How an action outside [-1, 1] was limited."""
        if not self._excess > 1 + ROUNDING:
            return ()
        return (f"an action up to {self._excess:.3g} of [-1, 1], made smaller by that",)

    def _move_jaw(self) -> tuple[str, ...]:
        """The jaw's next step; how it was limited."""
        if self._jaw is None or self._jaw_wanted is None:
            return ()
        most = self.limits.jaw_speed * self.dt
        goal = min(max(self._jaw_wanted, self.limits.jaw_low), self.limits.jaw_high)
        way = goal - self._jaw
        self._jaw += min(max(way, -most), most)
        return ((("the jaw is kept in its range",) if goal != self._jaw_wanted else ())
                + (("the jaw is slowed to its limit",) if abs(way) > most else ()))

    def _answered(self) -> int:
        action = self.inbox.get("action")
        return 0 if action is None else action.stamp
