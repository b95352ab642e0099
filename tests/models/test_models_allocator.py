"""The allocator's setting, each time in a process of its own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import models

FAULTS = """
import resource, sys
from models.allocator import keep_freed_memory
import numpy as np
print(keep_freed_memory())
np.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(8 << 20)        # 64 MiB of float64
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(**environment):
    out = subprocess.run([sys.executable, "-c", FAULTS], env={**os.environ, **environment}, check=True,
                         capture_output=True, text=True, cwd=Path(models.__file__).parents[1]).stdout.split()
    return out[0] == "True", int(out[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_kept_and_faults_vanish():
    took, faults = run(SURGRL_NO_MALLOPT="")
    refused, many = run(SURGRL_NO_MALLOPT="1")
    assert took and not refused and faults < many / 10
