"""The allocator of the C library: memory that was freed is kept for what comes next, or given back to the kernel.

Every batch of windows takes some megabytes for some milliseconds. By default glibc gives such memory back to the kernel at once, which
then clears each page anew: a fifth of the CPU time of an offline run, a third of what the scout of a daemon costs. A daemon keeps no more
than a batch takes, and gives back now and then what glibc keeps in spite of it: after a flood of data that would stay for months. See
mallopt(3) and malloc_trim(3).

>>> keep_freed_memory(DAEMON_BYTES)
>>> give_back_freed_memory()
"""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of the parameters in ``malloc.h`` of glibc."""
OFFLINE_BYTES, DAEMON_BYTES = 64 << 20, 8 << 20
"""Free memory at the end of a heap that is kept. What is larger than half of it comes from the kernel and goes back to it: more than 32 MB
there glibc does not take."""


def keep_freed_memory(kept_bytes: int) -> None:
    """Keep freed memory; nothing, where the C library has no ``mallopt`` or the environment says how (``MALLOC_TRIM_THRESHOLD_``)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return
    mallopt(M_TRIM_THRESHOLD, kept_bytes)
    mallopt(M_MMAP_THRESHOLD, kept_bytes // 2)


def give_back_freed_memory() -> None:
    """Give freed memory back to the kernel, wherever it lies; nothing, where the C library has no ``malloc_trim``."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
