"""The front ends: they prepare raw counts for a network, with the same code in training and in service.

``standardise-1``, for windows: each component of each window loses its mean and is divided by its standard deviation, as
in Zhu & Beroza (2019, doi:10.1093/gji/ggy423). A component without signal, such as a missing one, stays zero. The result for a
window does not depend on the batch.

``stream-1``, for streams and windows alike: a causal high-pass, division by the running root mean square of all three
components, and a compression, so that a sample depends on nothing after it. The result is the same in pieces and at once.

>>> import numpy as np
>>> out = standardise(np.array([[[5, 7], [3, 3], [0, 0]]], np.float32))
>>> out.tolist()
[[[-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]
>>> waves = np.random.default_rng(0).normal(size=(1, 3, 64)).astype(np.float32)
>>> whole, _ = stream(waves, fresh_state(1))
>>> first, state = stream(waves[..., :40], fresh_state(1))
>>> second, _ = stream(waves[..., 40:], state)
>>> bool(np.allclose(whole, np.concatenate([first, second], axis=-1), atol=1e-6))
True
"""

import numpy as np
from numpy.typing import NDArray

from models.conventions import COMPONENTS, RATE_HZ
from models.recursive_filter import high_pass, recursive_filter

RELATIVE_FLOOR = 1e-7
"""A component whose standard deviation is below this part of its level counts as constant: the resolution of
float32."""
HIGH_PASS_HZ = 0.5
"""Corner of the streaming front end's second-order Butterworth high-pass."""
MEMORY_S = 10.0
"""Time constant of its running power."""
FILTER, POWER, COUNT, FIRST = slice(0, 6), 6, 7, slice(8, 11)
"""Where each part stands in a row of the state: of the filter two values for each component, the power summed so far, the
number of samples, and the first sample of each component."""
STATE_SIZE = 11
LEAST_DEVIATION = 1e-18
"""Squares of smaller numbers are subnormal in float32, or zero: their mean would be wrong."""
_TINY = float(np.finfo(np.float32).tiny)


def prepare(front_end: str, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Prepare windows that stand alone, shape ``(n, 3, samples)``.

    Raises:
        ValueError: for a front end that is not known.
    """
    if front_end == "standardise-1":
        return standardise(windows)
    if front_end == "stream-1":
        return stream(windows, fresh_state(len(windows)))[0]
    raise ValueError(f"front end {front_end!r}: not known; there are standardise-1 and stream-1")


def standardise(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove the mean and divide by the standard deviation, for each component of each window.

    Args:
        windows: shape ``(n, components, samples)``, float32.

    Returns:
        The same shape, float32, always finite: a component that holds NaN or infinity, or whose range float32
        cannot hold, gives zeros as a missing one does.
    """
    windows = np.ascontiguousarray(windows)
    with np.errstate(over="ignore", invalid="ignore"):
        # Taking the first sample out makes single precision enough for sensors with a large offset.
        centred = windows - windows[..., :1]
        centred -= centred.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True))
        live = (deviation > RELATIVE_FLOOR * np.abs(windows[..., :1])) & np.isfinite(deviation)
        live &= deviation > LEAST_DEVIATION
        scale = np.divide(np.float32(1), deviation, out=np.zeros_like(deviation), where=live)
        # The reciprocal of a subnormal number is infinite.
        live &= np.isfinite(scale)
        centred *= scale
    if not live.all():
        centred[~live[..., 0]] = 0
    return centred


def fresh_state(rows: int) -> NDArray[np.float64]:
    """State of the streaming front end before the first sample, shape ``(rows, STATE_SIZE)``."""
    return np.zeros((rows, STATE_SIZE))


def stream(
    waves: NDArray[np.float32], state: NDArray[np.float64], rows_of: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Prepare the next samples of streams.

    ``y = asinh(h / r)`` where ``h`` is the wave after the high-pass, which starts as if its first sample had been there
    always, and ``r^2`` an exponential average of the mean of ``h^2`` over the three components, with the time constant
    :data:`MEMORY_S`; divided by its weights so far (Kingma & Ba 2015, arXiv:1412.6980, sec. 3), it holds from the first
    sample on.

    Args:
        waves: shape ``(rows, 3, m)``, raw counts; samples that are not finite count as zero.
        state: shape ``(n, STATE_SIZE)``: :func:`fresh_state`, or what the last call gave; it is not changed.
        rows_of: shape ``(n,)``: how many rows each stream has, one at least, which follow each other; None: one.

    Returns:
        Prepared waves, of the same shape, float32, and the state after them.
    """
    samples = waves.shape[2]
    if samples == 0:
        return waves.astype(np.float32), state.copy()
    raw = waves.astype(np.float64, order="C")
    if not np.isfinite(raw).all():
        np.nan_to_num(raw, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    after, seen = state.copy(), state[:, COUNT]
    begins = np.arange(len(state))
    streams: NDArray[np.int64] | slice = slice(None)
    if rows_of is not None and len(waves) == len(state):
        rows_of = None
    if rows_of is not None:
        begins, streams = np.cumsum(rows_of) - rows_of, np.repeat(np.arange(len(state)), rows_of)
        seen = seen[streams] + (np.arange(len(raw)) - begins[streams]) * samples
    new = state[:, COUNT] == 0
    if new.any():
        after[new, FIRST] = raw[begins[new], :, 0]
    sizes = np.abs(raw)
    level = np.maximum(np.maximum(sizes[:, 0], sizes[:, 1]), sizes[:, 2])
    # What is subtracted first changes nothing but the digits that are left. So the filter is at rest at the first sample.
    raw -= after[streams, FIRST][:, :, None]
    memory = state[:, FILTER].reshape(-1, len(COMPONENTS), 2)
    high, memory = recursive_filter(*high_pass(HIGH_PASS_HZ, RATE_HZ), raw, memory, rows_of)
    after[:, FILTER] = memory.reshape(len(state), -1)
    power = np.einsum("ncm,ncm->nm", high, high)
    keep = float(np.exp(-1 / (MEMORY_S * RATE_HZ)))
    average, last = recursive_filter(
        ((1 - keep) / len(COMPONENTS),), (1.0, -keep), power, state[:, POWER, None], rows_of
    )
    after[:, POWER] = last[:, 0]
    after[:, COUNT] += samples if rows_of is None else samples * rows_of
    fading = keep ** seen[:, None] * keep ** np.arange(1.0, samples + 1)
    square = average / (1 - fading)
    # Without signal, zero. The level is that of the sample itself: the first one of a stream may be an odd one.
    least = np.maximum(RELATIVE_FLOOR * level, _TINY) ** 2
    square[square <= least] = np.inf
    high /= np.sqrt(square)[:, None]
    return np.arcsinh(high.astype(np.float32)), after
