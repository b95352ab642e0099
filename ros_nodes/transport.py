"""Fast DDS settings without which camera frames are lost. Imports neither rclpy nor numpy."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CONFIG = Path(__file__).parent / "config"
PROFILE = CONFIG / "fastdds_shm.xml"


def profile_variables() -> tuple[str, ...]:
    """Names of the environment variables in which the Fast DDS installed here looks for a profile.

    Up to ROS 2 Jazzy (rclpy 7, Fast DDS 2) it reads the older name; later ones warn of it.
    """
    for name in ("ros-rclpy", "rclpy"):     # the wheel's name, and that of a ROS installation
        try:
            if int(version(name).split(".")[0]) >= 8:
                return ("FASTDDS_DEFAULT_PROFILES_FILE",)
        except PackageNotFoundError:
            continue
    return ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


def use_profile() -> None:
    """Point Fast DDS at our profile, unless the user has chosen one. Call before rclpy.init."""
    for name in profile_variables():
        os.environ.setdefault(name, str(PROFILE))
