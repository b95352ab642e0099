"""The gate as a ROS 2 lifecycle node: what the policy asks for in, bounded servo_cp out, 100 times a second.

A process of its own, without the network: a policy that is stuck, killed or wrong cannot stop it from
stopping the arm. What holds and what latches is told in surgrl/policy/gate.py and docs/ros.md; ~/status
says which it is now. It never enables the arm.
"""

import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.qos import QoSCompatibility, qos_check_compatible
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from surgrl.policy.audit import AuditLog, new_path
from surgrl.policy.errors import UserError
from surgrl.policy.gate import Action, Decision, Gate

from . import messages, parameters, process, qos
from .arm_reader import ArmReader
from .arm_writer import MODES, ArmWriter
from .meters import Durations, Rate
from .rivals import publishers
from .steady import make_timer
from .supervised import SupervisedNode

SOON = 0.7              # of the period; a tick that follows a late one sooner than that is left out
NUMBER = re.compile(r"\d+(\.\d+)?")
BUNDLE = re.compile(r"\[([^\[\]]+)\]$")      # which policy it is, at the end of the policy's ~/status
ESTOP, BOOL = "/operator/estop", "std_msgs/msg/Bool"
REST = 2.0              # s, in which an arm that can stop so soon must be at rest as the node ends


class GateNode(SupervisedNode):
    """Wires a Gate to topics, parameters and the lifecycle."""

    def __init__(self) -> None:
        """Declare parameters; all else waits for configure."""
        super().__init__("gate_node", parameters.GATE)
        self._parts: list[Any] = []
        self._ticking: list[Any] = []
        self._writer: ArmWriter | None = None
        self._arm: ArmReader | None = None
        self._reset: Any = None
        self._bundle = ""
        self._audit: AuditLog | None = None

    def configure(self) -> None:
        """Check all limits as one whole and join the topics."""
        (arm, policy, frame, mode, rate, every, joint_speed, jaw, self._dry, self._folder, self._audited) = (
            self.get_parameter(name).value for name in (
                "arm", "policy", "command_frame", "command", "rate", "command_every", "joint_speed", "moves_jaw",
                "dry_run", "audit_folder", "audit_required"))
        if mode not in MODES:
            raise UserError(f"parameter command is {mode!r}; allowed: {', '.join(MODES)}")
        self._dt = 1.0 / rate
        self._gate = Gate(parameters.read_limits(self), dt=self._dt, moves_jaw=jaw, follows=not self._dry,
                          makes_busy=mode.startswith("move"), now=lambda: self.get_clock().now().nanoseconds)
        self._writer = ArmWriter(self, arm, frame, mode=mode, every=every, dt=self._dt, joint_speed=joint_speed,
                                 max_state_age=self._gate.limits.max_state_age, moves_jaw=jaw, dry_run=self._dry)
        names = ("measured_cp", "setpoint_cp", *(("jaw/measured_js",) if jaw else ()))
        self._arm = ArmReader(self, arm, frame, self._gate.inbox, names, guard=self.guard,
                              on_state=self._gate.hear_state)
        hear = self.create_subscription
        for kind, topic, act, quality in (
                (JointState, f"/{policy}/action", self._on_action, qos.SERVO),
                (String, f"/{policy}/status", self._on_policy, qos.STATUS),
                (Bool, "/operator/enable", lambda said: self._gate.hear_enable(said.data), qos.STATE),
                (Bool, ESTOP, lambda said: self._gate.hear_estop(said.data), qos.LATCHED)):
            self._parts.append(hear(kind, topic, self.guard(act), quality))
        self._reset = self.create_service(Trigger, "~/reset", self._on_reset)
        self._askers = {f"/{policy}/action": 1}
        self._tellers = dict.fromkeys((f"/{policy}/status", "/operator/enable", ESTOP, *(
            f"/{arm}/{name}" for name in (*names, "operating_state"))), 1)

    def begin(self) -> None:
        """Open the audit log and start to tick. UserError where the log cannot be written."""
        self._audit = AuditLog(new_path(Path(self._folder).expanduser()),
                               about={"node": self.get_name(), "dry_run": self._dry, "limits": parameters.told(self)})
        self._gate.restart()
        self._last_tick, self._last_told, self._bundle_told = 0.0, "", ""
        self._asked: JointState | None = None
        self._commands, self._work, self._latency, self._cut = Rate(), Durations(), Durations(), 0
        self._has_stop = False          # whether anybody was there who may press the emergency stop
        self._ticking = [make_timer(self, self._dt, self.guard(self._tick)),
                        make_timer(self, 0.25, self.guard(self._look_for_rivals))]

    def end(self) -> None:
        """Brake, tell the arm to stay, close the log."""
        for timer in self._ticking:
            self.destroy_timer(timer)
        self._ticking = []
        moving = self._gate.motion.state is not None
        deadline = time.monotonic() + max(REST, 2 * self._gate.motion.stop_seconds)
        self._gate.end()
        while self._gate.motion.state is not None and time.monotonic() < deadline:
            self._step()
            time.sleep(self._dt)
        if not moving:      # else it was said as the tip came to rest
            self._writer.hold()
        self._writer.wait()
        self._audit.close()

    def leave(self) -> None:
        """Leave the topics, as far as they were joined."""
        for end in (self._writer, self._arm):
            if end is not None:
                end.close()
        for part in self._parts:
            self.destroy_subscription(part)
        if self._reset is not None:
            self.destroy_service(self._reset)
        self._writer = self._arm = self._reset = None
        self._parts = []

    def latch(self, reason: str) -> None:
        """Stop the arm until the operator resets."""
        self._gate.latch(reason)

    def told(self) -> str:
        """The gate's state and reason."""
        dry = " (dry run: the arm is told nothing)" if self._dry else ""
        return f"{self._gate.state}: {self._gate.reason}{dry}"

    def measures(self) -> dict[str, str]:
        """Rates, ages, times, and how far the arm goes on after a hold at full speed."""
        inbox, motion = self._gate.inbox, self._gate.motion
        ages = {f"age of {name}": f"{inbox.age(name) * 1e3:.0f} ms" for name in ("action", "measured_cp", "enable")}
        worked = {"commands": str(self._commands), "commands cut to a limit": str(self._cut),
                  "gate step": str(self._work), "image to command": str(self._latency)} if self._audit else {}
        return {**worked, **ages, "armed": str(self._gate.armed), "stop from full speed":
                f"{motion.stop_distance * 1e3:.1f} mm, {motion.stop_seconds * 1e3:.0f} ms"}

    def _on_action(self, message: JointState) -> None:
        if self.active:
            self._gate.hear_action(Action(messages.to_ns(message.header.stamp), tuple(message.name),
                                          np.array(message.position), np.array(message.effort)))
            self._asked = message

    def _on_policy(self, message: String) -> None:
        told = BUNDLE.search(message.data)
        self._bundle = told[1] if told else self._bundle
        self._gate.hear_policy(message.data)

    def _tick(self) -> None:
        began = time.monotonic()
        if began - self._last_tick < SOON * self._dt:
            return      # the one before was late: two steps at once would be twice as fast
        self._last_tick = began
        self._gate.trouble = self._trouble()
        changed = self._step()
        self._work.add(time.monotonic() - began)
        if changed:
            self.report()

    def _step(self) -> bool:
        """One tick, sent and written down; whether it changed what the gate tells."""
        decision = self._gate.tick()
        told = self._gate.state + NUMBER.sub("", self._gate.reason)     # not each time that an age has grown
        changed, self._last_told = told != self._last_told, told
        sent = decision.command is not None and self._writer.send(
            decision.command, now=decision.hold, expired=lambda: self._gate.too_late)
        if self._writer.failure:
            self._gate.latch(self._writer.failure)
        if decision.hold:
            self._writer.hold()
        if sent:
            self._commands.tick()
            self._cut += bool(decision.remarks)
        self._write_down(decision, sent, changed)
        return changed

    def _write_down(self, decision: Decision, sent: bool, changed: bool) -> None:
        """Into the audit log: what was asked, what was sent and why; nothing where nothing happened."""
        asked, self._asked = self._asked, None
        if asked is None and not (sent or decision.hold or changed):
            return
        record: dict[str, Any] = {"state": self._gate.state, "reasons": [self._gate.reason, *decision.remarks]}
        if asked is not None:
            stamp = messages.to_ns(asked.header.stamp)
            age = self._gate.now() - stamp
            self._latency.add(age * 1e-9)
            record |= {"asked": dict(zip(asked.name, asked.position, strict=False)), "raw": list(asked.effort),
                       "image": stamp, "image_age_ms": age * 1e-6}
        if sent:
            pose, jaw, stamp = decision.command
            x, y, z = pose.position.tolist()
            record |= {"sent": {"x": x, "y": y, "z": z, "jaw": jaw}, "answers": stamp}
            if self._writer.joints is not None:     # as published; the pose may be the next one's
                record["joints"] = self._writer.joints.tolist()
        if decision.hold:
            record["hold"] = True
        if self._bundle != self._bundle_told:
            record["policy"] = self._bundle_told = self._bundle
        self._audit.write(record)

    def _trouble(self) -> str | None:
        trouble = self._audit.trouble
        if trouble is None:
            return self._writer.obstacle()
        if self._audited:
            return f"the audit log cannot be trusted: {trouble}"
        self.get_logger().warning(f"audit log: {trouble}", throttle_duration_sec=10.0)
        return self._writer.obstacle()

    def _look_for_rivals(self) -> None:
        """Two who command one arm, or ask one gate, latch: the robot would follow a mixture. Two who tell hold.

        So does an emergency stop that would not be heard: its silence must not be taken for "not pressed".
        """
        rivals = self._crowded(self._writer.alone | self._askers)
        if rivals:
            self._gate.latch(rivals)
        self._gate.doubt = self._crowded(self._tellers) or self._deaf()

    def _deaf(self) -> str | None:
        """Why nobody would hear the emergency stop, or None; None too where there never was one."""
        stops = self.get_publishers_info_by_topic(ESTOP)
        for stop in stops:
            if stop.topic_type != BOOL:
                return f"the emergency stop would not be heard: {ESTOP} is published as {stop.topic_type}, not {BOOL}"
            fits, why = qos_check_compatible(stop.qos_profile, qos.LATCHED)
            if fits == QoSCompatibility.ERROR:
                return (f"the emergency stop would not be heard: {ESTOP} must be published reliable and transient "
                        f"local ({' '.join(why.split())})")
        gone = self._has_stop and not stops
        self._has_stop = self._has_stop or bool(stops)
        return f"the emergency stop has gone: nobody publishes {ESTOP} any more" if gone else None

    def _crowded(self, allowed: dict[str, int]) -> str | None:
        """The first topic with more publishers than allowed, and what to do, or None."""
        for topic, most in allowed.items():
            if publishers(self, topic) > most:
                topic = self.resolve_topic_name(topic)
                wanted = "more than one publisher on {}; only one may be" if most else (
                    "someone publishes {}, by which the arm can be moved past this gate")
                return f"{wanted.format(topic)}: stop the others (`ros2 topic info -v {topic}` names them)"
        return None

    def _on_reset(self, _: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
        why_not = self._gate.reset() if self.active else "the gate is not active"
        answer.success, answer.message = why_not is None, why_not or "reset; press the pedal anew"
        return answer


def main() -> int:
    """Entry point `gate_node`."""
    return process.run(GateNode, apart=True)


if __name__ == "__main__":
    sys.exit(main())
