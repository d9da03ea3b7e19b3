"""Freed memory is kept, and is not asked of the kernel again and again; or it is given back."""

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from xiaod.process.allocator import DAEMON_BYTES, OFFLINE_BYTES, keep_freed_memory

if sys.argv[1] != "given back":
    keep_freed_memory({"daemon": DAEMON_BYTES, "offline": OFFLINE_BYTES}[sys.argv[1]])

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def batches(count):
    for _ in range(count):
        held = [np.ones(1 << 20, np.uint8) for _ in range(4)]
        del held

batches(3)
before = faults()
batches(50)
print(faults() - before)
"""


def faults(how: str) -> int:
    """Page faults of 50 times four megabytes."""
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60
    )
    return int(found.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
@pytest.mark.parametrize("program", ["daemon", "offline"])
def test_memory_of_a_batch_serves_the_next_one(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    assert faults(program) < 1000 < faults("given back")
    # Who has set it knows why.
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    assert faults(program) > 1000


HOLES = """
import os
import numpy as np
from xiaod.process.allocator import give_back_freed_memory

def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

held = [np.ones(60_000, np.uint8) for _ in range(2000)]
full = resident_bytes()
# What is left lies at the end of the heap: nothing is given back by itself.
held = held[-1:]
kept = resident_bytes()
give_back_freed_memory()
print(full, kept, resident_bytes())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_memory_that_was_freed_is_given_back() -> None:
    command = [sys.executable, "-c", HOLES]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    full, kept, given_back = map(int, found.stdout.split())
    assert kept > full - 20e6
    assert given_back < full - 100e6
