"""How messages travel: which Fast DDS profile is used, and what it may open. Asks the system; needs no rclpy.

  SURGRL_TRANSPORT=network   shared memory on this machine, UDP beyond it (the default)
  SURGRL_TRANSPORT=local     shared memory only: no port of any network is opened
"""

import fcntl
import os
import re
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .errors import UserError

SETTING = "SURGRL_TRANSPORT"
PROFILES = {"network": "fastdds_shm.xml", "local": "fastdds_local.xml"}
APART = "fastdds_udp.xml"   # of a node that no stopped process may hold up, as shared memory's locks let it
MEMORY = Path("/dev/shm")
NEEDED = 18_000_000         # bytes of it that one process takes: our profiles' segment, and its ports
OURS = re.compile(r"fast(dds|rtps)_")                           # Fast DDS 3 and 2
SEGMENT_LOCK = re.compile(r"fast(dds|rtps)_[0-9a-f]{16}_el")
# /proc/net table -> column of the socket's inode. Unix and netlink sockets do not leave the machine.
INET = {**dict.fromkeys(("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6"), 9),
        "packet": 8}


def is_local() -> bool:
    """Whether SURGRL_TRANSPORT asks for shared memory only. UserError when it is neither of its two words."""
    return _mode() == "local"


def profile(folder: Path) -> Path:
    """The profile in `folder` that SURGRL_TRANSPORT chooses."""
    return folder / PROFILES[_mode()]


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


def use_profile(folder: Path, *, apart: bool = False) -> None:
    """Point Fast DDS at the chosen profile, unless the user has set one of their own. Call before rclpy.init.

    apart: without shared memory, where there is a network.
    """
    ours = {(folder / file).resolve() for file in (*PROFILES.values(), APART)}
    chosen = folder / APART if apart and not is_local() else profile(folder)
    for name in profile_variables():
        told = os.environ.get(name, "")
        if not told or Path(told).resolve() in ours:        # in whatever words
            os.environ[name] = str(chosen)


def choose_local() -> None:
    """From now on this process and those that it starts use shared memory only: `--local` on a command line."""
    os.environ[SETTING] = "local"


def check_transport() -> None:
    """In local mode: close our shared memory to other users, and refuse if a network socket is open.

    Call after the node is made: its middleware opens what it opens then. UserError names the sockets.
    """
    if not is_local():
        return
    found = inet_sockets()
    if found:
        raise UserError(f"{SETTING}=local, but this process has network sockets open: {', '.join(found)}; "
                        f"{_likely_cause(os.environ)}")
    close_segments()


def inet_sockets() -> list[str]:
    """This process's sockets of any network, as "udp 0.0.0.0:7400"; unix and netlink sockets do not count."""
    inodes = set()
    for entry in os.scandir("/proc/self/fd"):
        with suppress(OSError):     # the one that scandir itself used is closed by now
            inodes.add(os.readlink(entry.path))
    found = []
    for table, column in INET.items():
        try:
            lines = Path("/proc/self/net", table).read_text().splitlines()[1:]
        except OSError:
            continue        # a kernel without that protocol
        for words in map(str.split, lines):
            if f"socket:[{words[column]}]" in inodes:
                found.append(table if table == "packet" else f"{table} {_address(words[1])}")
    return sorted(found)


def close_segments() -> None:
    """Let no other user read the shared memory of this process: Fast DDS makes it readable for all."""
    with open("/proc/self/maps") as file:
        mapped = {Path(line.split(maxsplit=5)[5].strip()) for line in file if f"{MEMORY}/" in line}
    for path in mapped:
        with suppress(OSError):     # one that is gone by now, or another user's
            if OURS.match(path.name) and path.stat().st_mode & 0o077:
                path.chmod(0o600)


def clean_segments(*, min_age: float = 10.0) -> list[str]:
    """Remove shared memory that killed processes have left; names of the segments removed.

    Fast DDS keeps an exclusive flock on NAME_el for as long as the segment's owner lives, in whatever
    container. Removed are only regular files of our own user whose lock is free and older than min_age s:
    a process that starts makes the file a moment before it locks it. Who still maps a dead node's segment
    keeps it.
    """
    removed = []
    for lock in MEMORY.iterdir() if MEMORY.is_dir() else ():
        if SEGMENT_LOCK.fullmatch(lock.name) is None:
            continue
        segment = lock.with_name(lock.name.removesuffix("_el"))
        with suppress(OSError):     # locked: its owner lives. Or gone by now, or not ours
            # Looked at before it is locked: a lock of ours, however short, must not meet a process that starts.
            if not (_abandoned(lock, min_age) and _abandoned(segment, min_age)):
                continue
            handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                segment.unlink()
                lock.unlink()
                removed.append(segment.name)
            finally:
                os.close(handle)
    return sorted(removed)


def require_memory() -> None:
    """UserError when shared memory has no room for one more process: pictures would be lost, or no node made."""
    if not MEMORY.is_dir():
        return
    status = os.statvfs(MEMORY)
    free = status.f_bavail * status.f_frsize
    if free < NEEDED:
        raise UserError(f"{MEMORY} has {free / 1e6:.0f} MB free, and each process of the graph takes "
                        f"{NEEDED / 1e6:.0f} MB; stop what fills it, or make it larger: docker run --shm-size=512m, or "
                        "mount -o remount,size=512m /dev/shm")


def _mode() -> str:
    mode = os.environ.get(SETTING) or "network"
    if mode not in PROFILES:
        raise UserError(f"environment variable {SETTING} is {mode!r}; it must be {' or '.join(PROFILES)}")
    return mode


def _likely_cause(environment: Mapping[str, str]) -> str:
    """What to mend, from what is known to open sockets in spite of the profile."""
    found = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE")
    if found == "LOCALHOST":
        return f"ROS_AUTOMATIC_DISCOVERY_RANGE={found} makes ROS 2 add UDP on all interfaces: unset it"
    for name in profile_variables():
        chosen = environment.get(name, "")
        if Path(chosen).name != PROFILES["local"]:
            return f"{name}={chosen} is another profile than {PROFILES['local']}: unset it"
    return "whatever opened them must not run in a node's process"


def _abandoned(path: Path, min_age: float) -> bool:
    status = path.lstat()
    return (stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            and time.time() - status.st_mtime > min_age)


def _address(hexadecimal: str) -> str:
    """"0100007F:1CE8" of /proc/net as "127.0.0.1:7400": words of four bytes in the machine's order."""
    host, port = hexadecimal.split(":")
    words = [bytes.fromhex(host[start:start + 8])[::-1] for start in range(0, len(host), 8)]
    raw = b"".join(words)
    if len(raw) == 4:
        return f"{'.'.join(map(str, raw))}:{int(port, 16)}"
    return f"[{':'.join(raw[start:start + 2].hex() for start in range(0, 16, 2))}]:{int(port, 16)}"
