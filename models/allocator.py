"""One setting of the C library that halves the time of an update on Linux CPUs."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3     # glibc's malloc.h
GIB = 1 << 30


def keep_freed_memory() -> bool:
    """Reuse large freed blocks instead of handing them back to the kernel. True when it took effect.

    By default glibc maps every activation above 32 MiB anew, and page faults cost as much as convolutions.
    For the process that trains, before its first update; SURGRL_NO_MALLOPT=1 leaves things as they are.
    Costs about 13 % of resident memory.
    """
    if os.environ.get("SURGRL_NO_MALLOPT") == "1" or platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(name, GIB) == 1 for name in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
