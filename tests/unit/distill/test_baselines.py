"""Classic pickers give the same whatever else the process has done."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from distill.baselines import ar_aic
from tests.conftest import Recording

BAND_HZ = (1.0, 20.0)
P, S = 473, 571
"""Samples at which PhaseNet puts the onsets of the recording."""
CHUNKS = 400


@contextmanager
def memory_full_of(seed: int, size: int) -> Iterator[None]:
    """Holes of a size between pieces of memory that hold random numbers: what is allocated next has such neighbours."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    rng = np.random.default_rng(seed)
    held = [libc.malloc(size) for _ in range(CHUNKS)]
    for place in held:
        ctypes.memmove(place, rng.normal(0, 1e6, size // 4).astype(np.float32).tobytes(), size)
    for place in held[::2]:
        libc.free(place)
    yield
    for place in held[1::2]:
        libc.free(place)


@pytest.mark.parametrize("early", [100, 250, 380])
def test_s_does_not_depend_on_memory_where_p_is_early(early: int, rjob: Recording) -> None:
    waves = np.stack([rjob.components[letter] for letter in "ZNE"]).astype(np.float64)[:, P - early :]
    found = []
    for seed in range(6):
        with memory_full_of(seed, 4 * waves.shape[1]):
            found.append(ar_aic(waves, BAND_HZ))
    assert all(one == found[0] for one in found)
    assert found[0]["P"] == pytest.approx([early], abs=20)
    assert found[0]["S"] == pytest.approx([early + S - P], abs=50)
