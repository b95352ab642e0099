"""The fault suite's arm, camera and pedal, in a process of their own, that log every command with the time it came.

Orders come as JSON lines on stdin; each is answered on stdout with the monotonic time at which it took effect:
  {"do": "set", "set": {attribute of Robot: value}, "since": "now"}      since: what the time is of, see SINCE
  {"do": "show", "look": "black", "code": 0, "moves": true, "program": ""}       what the camera shows from now on
The log is JSON lines: "what" happened, "t" (s, monotonic), and what belongs to it.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import PoseStamped
from pictures import FRAMES, LOOKS, film, marked, sensed, with_clock
from rosgraph import START, Robot
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Empty, String

from ros_nodes import messages, qos
from ros_nodes.messages import Pose
from ros_nodes.transport import use_profile

EVERY = 200             # messages kept: not only the newest command, all of them
DRIFT = 0.02            # s, by which each image is later than the one before, in program "drift"
LATE = 0.05             # s, of the extra images in program "disordered"


class Driver:
    """A Robot that obeys orders and keeps a log."""

    def __init__(self, domain: int, log: Path, *, pressed: bool) -> None:
        self._log = log.open("a", buffering=1)
        self._rng, self._film, self._shown = np.random.default_rng(0), film(77), 0
        self._ticks = self._sent = 0
        self.robot = Robot(domain, pressed=pressed)
        self.whole()
        self._write("place", at=START.position.tolist())
        node = self.robot.node
        hear = node.create_subscription
        self._listening = [
            hear(PoseStamped, "/PSM1/servo_cp", self._on_servo, EVERY),
            hear(JointState, "/PSM1/jaw/servo_jp", lambda said: self._write("jaw", at=list(said.position)), EVERY),
            hear(Empty, "/PSM1/hold", lambda _: self._write("hold"), EVERY),
            hear(JointState, "/policy_node/action", self._on_action, EVERY),
            hear(String, "/gate_node/status", lambda said: self._write("gate", text=said.data), qos.STATUS),
            hear(String, "/policy_node/status", lambda said: self._write("policy", text=said.data), qos.STATUS)]
        self._rivals = {"servo_cp": (PoseStamped, "/PSM1/servo_cp", qos.SERVO),
                        "estop": (Bool, "/operator/estop", qos.EVENT),
                        "action": (JointState, "/policy_node/action", qos.SERVO)}
        self._rival: Any = None
        self.robot.before_image, self.robot.after_image = self._draw, self._note_image
        self._extra = node.create_timer(1 / 30, self._show_late)

    def whole(self) -> None:
        """All as it should be, but for what is pressed and where the arm is."""
        robot = self.robot
        robot.noise = None                  # ours is drawn with the picture
        robot.image_offset = robot.state_offset = 0.0
        robot.cut, robot.encoding, robot.frame_id = 0, "rgb8", "ECM"
        robot.obeys = robot.follows = robot.tells = True
        if robot.measured is not robot.setpoint:
            robot.measured = robot.setpoint
        self._look, self._code, self._moves, self._program = "sound", 0, True, ""

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do it; when it took effect."""
        robot, do, began = self.robot, order["do"], time.monotonic()
        if do == "set":
            for name, value in order["set"].items():
                assert hasattr(robot, name), name
                setattr(robot, name, value)
        elif do == "show":
            for name in ("look", "code", "moves", "program"):
                if name in order:
                    setattr(self, f"_{name}", order[name])
        elif do == "whole":
            self.whole()
        elif do == "place":
            robot.setpoint = Pose(np.array(order["at"]), START.quaternion)
            robot.measured = robot.setpoint
            self._write("place", at=order["at"])
        elif do == "push":      # the tip, away from where it is told to be
            robot.follows = False
            robot.measured = Pose(robot.measured.position + order["by"], START.quaternion)
        elif do == "spoil":     # what it tells of itself
            robot.follows = False
            robot.measured = Pose(np.full(3, np.nan), START.quaternion)
        elif do == "estop":
            robot.press_stop(order["pressed"])
        elif do == "no estop":
            robot.leave_stop()
        elif do == "estop again":
            robot.join_stop()
            robot.press_stop(False)
        elif do == "state":
            robot.set_state(order["state"])
        elif do == "rival":
            kind, topic, profile = self._rivals[order["topic"]]
            self._rival = robot.node.create_publisher(kind, topic, profile)
        elif do == "no rival":
            robot.drop(self._rival)
        else:
            raise ValueError(do)
        return {"t": self._since(order.get("since", "now"), began)}

    def _since(self, what: str, began: float) -> float:
        """When a fault took effect: now; with the next image, state or press; or with the last one that was sound."""
        told = {"image": "last_image", "state": "last_state", "press": "last_press"}
        kind = what.removeprefix("last ")
        if kind not in told:
            return time.monotonic()
        if kind == what:
            while getattr(self.robot, told[kind]) <= began:
                time.sleep(0.0005)
        return float(getattr(self.robot, told[kind]))

    def _draw(self) -> bool:
        """The next image; False where none is due."""
        self._ticks += 1
        if self._moves:
            self._shown += 1
        robot, program = self.robot, self._program
        code = self._code
        if program == "none" or (program == "half" and self._ticks % 2) or (program == "fourth" and self._ticks % 4):
            return False
        if program == "drift":
            robot.image_offset -= DRIFT
        if program == "swinging":
            code = 5 + self._ticks % 2      # networks.LEFT, networks.RIGHT
        if not self._moves and robot.image is not None:
            if program == "clock":
                robot.image = with_clock(robot.image, self._ticks)
            return True
        picture = LOOKS[self._look](self._film[self._shown % FRAMES])
        if self._look not in ("black", "white", "bars"):
            picture = marked(picture, code)
        robot.image = sensed(picture, self._rng)
        if robot.encoding == "bgr8":
            robot.image = cv2.cvtColor(robot.image, cv2.COLOR_RGB2BGR)
        self._sent = code
        return True

    def _note_image(self, stamp: int) -> None:
        self._write("image", t=self.robot.last_image, stamp=stamp, code=self._sent, offset=self.robot.image_offset)

    def _show_late(self) -> None:
        """Images that were overtaken, between the others."""
        if self._program == "disordered":
            self.robot.image_offset = -LATE
            self.robot.show()
            self.robot.image_offset = 0.0

    def _on_servo(self, message: PoseStamped) -> None:
        at = message.pose.position
        self._write("command", at=[at.x, at.y, at.z], stamp=messages.to_ns(message.header.stamp))

    def _on_action(self, message: JointState) -> None:
        self._write("asked", raw=[str(value) for value in message.effort], names=list(message.name),
                    stamp=messages.to_ns(message.header.stamp), wall=time.time())

    def _write(self, what: str, t: float | None = None, **told: Any) -> None:
        self._log.write(json.dumps({"what": what, "t": time.monotonic() if t is None else t, **told}) + "\n")


def main(domain: int, log: str, pedal: str) -> None:
    """Until stdin ends."""
    use_profile()
    driver = Driver(domain, Path(log), pressed=pedal == "held")
    print(json.dumps({"pid": os.getpid()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(driver.obey(json.loads(line))), flush=True)
    driver.robot.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
