"""A recorded video or bag in the role of the endoscope: what would the policy ask for, had it seen this?

Plays the file at its own pace with stamps of now, beside an arm that stands still, so that gate_node can be watched
in a dry run. It is no robot: where somebody commands the arm that it plays, or is that arm, it ends.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from surgrl.ahead import ahead
from surgrl.policy.errors import UserError
from surgrl.policy.spec import Array
from surgrl.recordings import open_recording
from surgrl.view import View

from . import messages, parameters, process, qos, sim_operator
from .arm_writer import MOTIONS
from .rivals import publishers
from .sim_operator import SimOperator
from .steady import make_timer
from .still_arm import StillArm

POLL = 0.05         # s, between two looks for a subscriber
LATE = 0.1          # s behind the recording's pace, from which on it goes on slower instead
LEAST = 1 / 60      # s, that a recording's last picture is shown
DISCOVERY = 3.0     # s, in which whoever is in the domain has become known; before, nobody steps on a pedal


class Shot(NamedTuple):
    """What the camera shows from a time on."""

    time: float             # s, since the recording began
    pixels: Array | None    # (H, W, 3) uint8 RGB; None: it is over


def play(path: Path, topic: str, view: View, *, loop: bool) -> Iterator[Shot]:
    """Every picture of the recording, then its end; or, looping, no end. UserError where it cannot be read."""
    began = 0.0
    while True:
        with open_recording(path, topic or None, view) as video:
            picture = None
            for picture in video.pictures():
                yield Shot(began + picture.time, picture.rgb())
        if picture is None:
            raise UserError(f"{path}: shows no picture for any time; encode it anew")
        # A file need not say how long its last picture is shown.
        began += max(picture.until, picture.time + LEAST)
        if not loop:
            yield Shot(began, None)
            return


class VideoNode(Node):
    """Publishes the pictures of a recording, and what a still arm tells."""

    exit_code: int | None = None

    def __init__(self) -> None:
        """Open the recording and join the topics. UserError for what cannot be played."""
        super().__init__("video_node")
        parameters.declare(self, parameters.VIDEO)
        told = {parameter.name: self.get_parameter(parameter.name).value for parameter in parameters.VIDEO}
        source, operator = told["source"], told["operator"]
        camera, arm, position = told["camera"], told["arm"], told["position"]
        self._rate, self._waits = told["rate"], told["await_subscriber"]
        if not source:
            raise UserError("parameter source is empty; give a recording: mp4, avi, mkv, or a bag")
        if operator and not arm:
            raise UserError("parameter operator is true and arm is empty; a pedal that nobody holds is played only "
                            "to an arm that is played too")
        if len(position) != 3 or not np.isfinite(position).all():
            raise UserError(f"parameter position is {list(position)}; it must be three finite numbers, m")
        view = View(mask=Path(told["mask"]).expanduser() if told["mask"] else None, layout=told["layout"],
                    eye=told["eye"] or None, crop=told["crop"] or None)
        self._shots = ahead(play(Path(source).expanduser(), told["topic"], view, loop=told["loop"]))
        self._next = next(self._shots)
        self._began: float | None = None        # s, monotonic, of the recording's time 0
        height, width = self._next.pixels.shape[:2]
        lens = camera.strip("/").replace("/", "_")
        self._image, self._pixels = messages.make_image(height, width, lens)
        self._info = messages.make_camera_info(np.zeros((3, 3)), height, width, lens)   # K of 0: not calibrated
        self._images = self.create_publisher(Image, f"{camera}/image_raw", qos.IMAGE)
        self._infos = self.create_publisher(CameraInfo, f"{camera}/camera_info", qos.STATUS)
        self._timer = make_timer(self, POLL, self._show)
        self._arm = StillArm(self, arm, told["command_frame"], position) if arm else None
        # Topics that only this node may publish, and how many of those are its own.
        self._alone = ({f"/{arm}/measured_cp": 1} | {f"/{arm}/{mode}": 0 for mode in MOTIONS}) if arm else {}
        make_timer(self, 0.25, self._look_for_rivals)
        if operator:
            self._joined, self._moves = time.monotonic(), False
            self._operator: SimOperator | None = None
            self.create_subscription(String, "/gate_node/status", self._on_gate, qos.STATUS)
            make_timer(self, sim_operator.PERIOD, self._press)

    def stop(self) -> None:
        """Tell that the arm takes no commands; end the thread that decodes."""
        if self._arm is not None:
            self._arm.stop()
        self._shots.close()

    def fault(self, error: Exception) -> None:
        """A recording that turns out to be damaged ends the node, after all that could be shown."""
        if not isinstance(error, UserError):
            raise error
        self.get_logger().error(str(error))
        self.exit_code = 1

    def _show(self) -> None:
        """Publish the picture whose time has come; come back when it is the next one's."""
        if self._waits and not self._images.get_subscription_count():
            return
        self._waits, now = False, time.monotonic()
        if self._began is None:
            self._began = now
        late = now - self._due()
        if late > LATE:
            self._began += late
            self.get_logger().warning(f"{late:.2f} s behind: this machine cannot play it at its own pace",
                                      throttle_duration_sec=5.0)
        if self._next.pixels is None:
            self.exit_code = 0
            return
        self._publish(self._next.pixels)
        self._next = next(self._shots)
        self._timer.timer_period_ns = max(1, round((self._due() - time.monotonic()) * 1e9))
        self._timer.reset()

    def _due(self) -> float:
        return self._began + self._next.time / self._rate

    def _publish(self, pixels: Array) -> None:
        self._pixels[...] = pixels
        self._image.header.stamp = self._info.header.stamp = self.get_clock().now().to_msg()
        self._images.publish(self._image)
        self._infos.publish(self._info)

    def _look_for_rivals(self) -> None:
        for topic, ours in self._alone.items():
            if publishers(self, topic) > ours:
                raise UserError(f"someone publishes {topic}, and a recording must not be played to a robot; take "
                                "another ROS domain, start gate_node with dry_run true, or name another arm")

    def _on_gate(self, message: String) -> None:
        self._moves = message.data.startswith("active")

    def _press(self) -> None:
        if self._operator is None and time.monotonic() - self._joined > DISCOVERY:
            self._operator = SimOperator(self)
        if self._operator is not None:
            self._operator.act(paused=False, moved=self._moves)


def main() -> int:
    """Entry point `video_node`."""
    return process.run(VideoNode)


if __name__ == "__main__":
    sys.exit(main())
