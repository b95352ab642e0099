"""Quality of service of every topic, in one place: a publisher and a subscriber that differ do not meet."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(depth: int, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


IMAGE = _profile(1, reliable=False)                     # only the newest frame is worth acting on
STATE = _profile(10, reliable=True)                     # measured_*, setpoint_*: as dVRK publishes them
SERVO = _profile(1, reliable=True)                      # servo_*: a newer command replaces an older one
EVENT = _profile(10, reliable=True)                     # hold: none may be lost
LATCHED = _profile(10, reliable=True, latched=True)     # operating_state: late joiners hear the last one
STATUS = _profile(1, reliable=True, latched=True)       # ~/status, camera_info
FRAMES = _profile(100, reliable=True)                   # /tf, as tf2 listens to it
