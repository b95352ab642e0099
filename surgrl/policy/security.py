"""DDS-Security: demanded means had, or nothing starts. Asks the environment and files; needs no rclpy.

ROS 2 itself is lenient: ROS_SECURITY_ENABLE counts when it is exactly "true", ROS_SECURITY_STRATEGY when it is
exactly "Enforce"; with any other word, or an enclave that is not there, nodes talk in the clear.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from .errors import UserError

ENABLE, STRATEGY, KEYSTORE = "ROS_SECURITY_ENABLE", "ROS_SECURITY_STRATEGY", "ROS_SECURITY_KEYSTORE"
OVERRIDE = "ROS_SECURITY_ENCLAVE_OVERRIDE"
FILES = ("identity_ca.cert.pem", "cert.pem", "key.pem", "permissions_ca.cert.pem", "governance.p7s",
         "permissions.p7s")


def require_security(argv: Sequence[str]) -> bool:
    """Whether security is demanded; UserError when it is, and ROS 2 would run without. Call before rclpy.init.

    argv: the command line of the node, which may name its enclave.
    """
    word = os.environ.get(ENABLE, "")
    if word in ("", "false"):
        return False
    if word != "true":
        raise UserError(f"environment variable {ENABLE} is {word!r}, which ROS 2 takes for no security at all; "
                        "it must be 'true', or 'false'")
    strategy = os.environ.get(STRATEGY) or "Permissive"
    if strategy not in ("Enforce", "Permissive"):
        raise UserError(f"environment variable {STRATEGY} is {strategy!r}, which ROS 2 takes for Permissive; "
                        "it must be 'Enforce', or 'Permissive'")
    keystore = os.environ.get(KEYSTORE, "")
    if not keystore:
        raise UserError(f"{ENABLE}=true, but {KEYSTORE} is not set; set it to the folder that "
                        "`ros2 security create_keystore` made")
    folder = Path(keystore, "enclaves", _enclave(argv).strip("/"))
    missing = [name for name in FILES if not os.access(folder / name, os.R_OK)]
    if missing:
        raise UserError(f"{ENABLE}=true, but {folder} lacks {', '.join(missing)}, and ROS 2 would talk in the clear "
                        "or not at all; make the enclave with `ros2 security create_enclave`, and name it by "
                        f"`--ros-args --enclave` or {OVERRIDE}")
    return True


@contextmanager
def refusal_told(secured: bool) -> Iterator[None]:
    """Where security is demanded, what the middleware refuses as a node is made, in rclpy's word, is a UserError."""
    try:
        yield
    except RuntimeError as error:
        if not secured:
            raise
        raise _explain(error) from error


def _explain(error: Exception) -> UserError:
    """What a node that could not be made with security means, in one line."""
    if "doesn't have the security libraries" in str(error):
        return UserError(f"{ENABLE}=true, but the Fast DDS installed here (pip's wheels) was built without "
                         "DDS-Security; run on a ROS 2 installation that has it (apt, or built with "
                         "-DSECURITY=ON), or unset the variable and use SURGRL_TRANSPORT=local on one machine")
    return UserError(f"{ENABLE}=true, and the middleware refused the node: {error}; check the enclave's "
                     "certificates, and its permissions.p7s for this domain and these topics")


def _enclave(argv: Sequence[str]) -> str:
    """Name of the enclave as rcl finds it: the override, the last --enclave of --ros-args, else the root."""
    if os.environ.get(OVERRIDE):
        return os.environ[OVERRIDE]
    name, ours = "/", False
    for word, following in zip_longest(argv, argv[1:], fillvalue=""):
        if word in ("--ros-args", "--"):
            ours = word == "--ros-args"
        elif ours and word in ("-e", "--enclave"):
            name = following
    return name
