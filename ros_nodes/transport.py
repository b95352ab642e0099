"""Fast DDS settings without which camera frames are lost. Imports neither rclpy nor numpy."""

from pathlib import Path

from surgrl.policy import transport
from surgrl.policy.transport import profile_variables

__all__ = ["CONFIG", "profile", "profile_variables", "use_profile"]
CONFIG = Path(__file__).parent / "config"


def profile() -> Path:
    """Our profile: fastdds_shm.xml, or with SURGRL_TRANSPORT=local fastdds_local.xml."""
    return transport.profile(CONFIG)


def use_profile(*, apart: bool = False) -> None:
    """Point Fast DDS at our profile, unless the user has chosen one. Call before rclpy.init. apart: fastdds_udp.xml."""
    transport.use_profile(CONFIG, apart=apart)
