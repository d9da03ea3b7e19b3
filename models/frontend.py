"""The front ends: they prepare raw counts for a network, with the same code in training and in service.

``standardise-1``, for windows: each component of each window loses its mean and is divided by its standard deviation, as
in Zhu & Beroza (2019, doi:10.1093/gji/ggy423). A component without signal, such as a missing one, stays zero. The result for a
window does not depend on the batch.

``bands-1``, for streams and windows alike: the power of three bands of the vertical and of both horizontals, each relative to its own
running power over a short and over a long time. So the microseism sets the scale of no band but its own. The running power ends a block
earlier, so that an onset does not scale itself. A column depends on nothing after it. The result is the same in pieces and at once.

>>> import numpy as np
>>> out = standardise(np.array([[[5, 7], [3, 3], [0, 0]]], np.float32))
>>> out.tolist()
[[[-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]
>>> waves = np.random.default_rng(0).normal(size=(1, 3, 2 * BLOCK)).astype(np.float32)
>>> whole, _ = bands(waves, fresh_state(1))
>>> first, state = bands(waves[..., :BLOCK], fresh_state(1))
>>> second, _ = bands(waves[..., BLOCK:], state)
>>> bool(np.allclose(whole, np.concatenate([first, second], axis=-1), atol=1e-6))
True
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.conventions import BANDS, COMPONENTS, FRONT_ENDS, RATE_HZ, STANDARDISE
from models.recursive_filter import Filter, filter_matrix, high_pass, low_pass

RELATIVE_FLOOR = 1e-7
"""A component whose standard deviation is below this part of its level counts as constant: the resolution of
float32."""
LEAST_DEVIATION = 1e-18
"""Squares of smaller numbers are subnormal in float32, or zero: their mean would be wrong."""
BANDS_HZ = ((1.0, 4.0), (4.0, 12.0), (12.0, 30.0))
"""Corners of the second-order Butterworth high-pass and low-pass of each band."""
EVERY = (4, 2, 1)
"""Of the samples of a band, the last one of so many makes its power: it holds nothing faster."""
MEMORIES_S = (2.0, 30.0)
"""Time constants of the running power."""
STEP = FRONT_ENDS[BANDS].step
"""Samples over which the power of a band is averaged."""
BLOCK = FRONT_ENDS[BANDS].block
"""Samples after which the running power moves on."""
FAINT = 0.1
"""Part of the running power beside which the power itself says no more: its logarithm would go to minus infinity twice a period."""
LOUDEST = 1e6
"""Largest ratio of power: amplitudes a thousand times as large."""
LARGEST = 1e15
"""No sensor counts further, and its square is a number in float32."""


def _band(low_hz: float, high_hz: float, every: int) -> Filter:
    """A band-pass of the differences of samples: one of the two differences in the high-pass is taken already."""
    (numerator, *_), first = high_pass(low_hz, RATE_HZ)
    smoothing, second = low_pass(high_hz, RATE_HZ)
    forward = np.convolve((numerator, -numerator), smoothing)
    return Filter(tuple(forward.tolist()), tuple(np.convolve(first, second).tolist()), every)


def _bank() -> NDArray[np.float64]:
    """From the samples of a block and what is known before it to all bands, one behind the other, and to what is known after it.

    What is known: the memories of the filters, and the last sample, so that they see differences: no offset takes digits from what follows.
    """
    filters = tuple(_band(*corners_hz, every) for corners_hz, every in zip(BANDS_HZ, EVERY, strict=True))
    given = filter_matrix(filters, BLOCK)
    size = len(given)
    differences = np.eye(size + 1, size)
    differences[range(BLOCK - 1), range(1, BLOCK)] = -1
    differences[-1, 0] = -1
    last = np.eye(size + 1)[:, BLOCK - 1 : BLOCK]
    return np.concatenate([differences @ given, last], axis=1)


def _means() -> NDArray[np.float32]:
    """From the squares of all bands, one behind the other, to the mean of each over the block, and then over each of its steps."""
    steps, samples = BLOCK // STEP, [range(0, BLOCK, every) for every in EVERY]
    means = np.zeros((len(EVERY) * (1 + steps), sum(map(len, samples))), np.float32)
    column = 0
    for band, every in enumerate(EVERY):
        for sample in samples[band]:
            means[band, column] = every / BLOCK
            means[len(EVERY) + band * steps + sample // STEP, column] = every / STEP
            column += 1
    return means


def _sums() -> NDArray[np.float64]:
    """From the powers in a block and the running powers before it to those after it: exponential sums, of each time constant in turn."""
    keep = np.exp(-BLOCK / (np.array(MEMORIES_S) * RATE_HZ))
    return np.concatenate([np.tile(np.eye(_POWERS), len(keep)), np.diag(np.repeat(keep, _POWERS))])


_TRACES, _BANDS, _STEPS = len(COMPONENTS), len(BANDS_HZ), BLOCK // STEP
_CHANNELS = 2 * _BANDS
_BANK, _MEANS = _bank(), _means()
_KNOWN = len(_BANK) - BLOCK
_VALUES = np.ascontiguousarray(_BANK[:, :-_KNOWN].T)
_GIVES, _LEFT = np.ascontiguousarray(_BANK[:BLOCK, -_KNOWN:]), np.ascontiguousarray(_BANK[BLOCK:, -_KNOWN:])
"""What a block puts into what is known after it, and what is left there of what was known before."""
_POWERS = 1 + _CHANNELS
"""A channel that has always 1 stands before the others: its running power is the sum of the weights."""
_SUMS = _sums()
FILTER = slice(0, _TRACES * _KNOWN)
RUNNING = slice(FILTER.stop, FILTER.stop + len(_SUMS))
"""Where each part stands in a row of the state: what is known of each component; and the powers in the last block, and running powers."""
STATE_SIZE = RUNNING.stop


def prepare(front_end: str, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Prepare windows that stand alone, shape ``(n, 3, samples)``; with ``bands-1`` the result has a column for each :data:`STEP` samples.

    Raises:
        ValueError: for a front end that is not known.
    """
    if front_end == STANDARDISE:
        return standardise(windows)
    if front_end == BANDS:
        samples = windows.shape[-1]
        # Nothing that is put behind a window changes what comes before.
        whole = np.pad(windows, ((0, 0), (0, 0), (0, -samples % BLOCK)), mode="edge")
        return bands(whole, fresh_state(len(windows)))[0][..., : -(-samples // STEP)]
    raise ValueError(f"front end {front_end!r}: not known; there are {' and '.join(FRONT_ENDS)}")


def standardise(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove the mean and divide by the standard deviation, for each component of each window.

    Args:
        windows: shape ``(n, components, samples)``, float32.

    Returns:
        The same shape, float32, always finite: a component that holds NaN or infinity, or whose range float32
        cannot hold, gives zeros as a missing one does.
    """
    ones = np.ones(windows.shape[-1], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        # Taking the first sample out makes single precision enough for sensors with a large offset.
        centred = np.subtract(windows, windows[..., :1], order="C")
        # Sums as products of rows and columns: one pass each.
        centred -= np.dot(centred, ones)[..., None] / np.float32(len(ones))
        deviation = np.sqrt((centred[..., None, :] @ centred[..., None])[..., 0] / np.float32(len(ones)))
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


def bands(
    waves: NDArray[np.float32], state: NDArray[np.float64], rows_of: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Prepare the next samples of streams.

    ``y = ln((e / r + f) / (1 + f)) / 2`` with ``f`` = :data:`FAINT`, where ``e`` is the mean square of a band over :data:`STEP` samples, of
    the vertical or of both horizontals, and ``r`` an exponential average of it up to the end of the block before the last, with one of the
    time constants :data:`MEMORIES_S`; divided by its weights so far (Kingma & Ba 2015, arXiv:1412.6980, sec. 3). The filters start as if
    the first sample had been there always. Zero where there is no signal, and in the first two blocks.

    Args:
        waves: shape ``(rows, 3, m)``, raw counts, ``m`` a multiple of :data:`BLOCK`; samples that are not finite count as zero.
        state: shape ``(n, STATE_SIZE)``: :func:`fresh_state`, or what the last call gave; it is not changed.
        rows_of: shape ``(n,)``: how many rows each stream has, one at least, which follow each other; None: one.

    Returns:
        Shape ``(rows, 12, m / STEP)``, float32, and the state after them. Channels: bands of the vertical, then of the horizontals, against
        the shorter time, then all against the longer.

    Raises:
        ValueError: when there is a part of a block.
    """
    rows, _, samples = waves.shape
    if samples % BLOCK:
        raise ValueError(f"a piece of a stream must hold whole blocks of {BLOCK} samples; got {samples}")
    blocks = samples // BLOCK
    if blocks == 0 or rows == 0:
        return np.zeros((rows, 2 * _CHANNELS, 0), np.float32), state.copy()
    if blocks > 1:
        waves = waves.reshape(rows, _TRACES, blocks, BLOCK).swapaxes(1, 2).reshape(-1, _TRACES, BLOCK)
        rows_of = np.full(rows, blocks) if rows_of is None else rows_of * blocks
    given, after = _blocks(waves, state, rows_of)
    if blocks > 1:
        given = given.reshape(rows, blocks, 2 * _CHANNELS, -1).swapaxes(1, 2).reshape(rows, 2 * _CHANNELS, -1)
    return given, after


class _Table:
    """Rows of streams, side by side, as a table of turns and streams."""

    def __init__(self, streams: int, rows_of: NDArray[np.int64] | None) -> None:
        self.turns = 1
        self.rows: Any = (0, slice(None))
        """Where each row stands."""
        self.ends: Any = (1, slice(None))
        """Where the turn after the last one of each stream stands."""
        if rows_of is not None:
            numbers = np.arange(streams)
            stream = np.repeat(numbers, rows_of)
            self.turns = int(rows_of.max())
            self.rows = np.arange(len(stream)) - (np.cumsum(rows_of) - rows_of)[stream], stream
            self.ends = rows_of, numbers

    def of(self, first: NDArray[np.float64]) -> NDArray[np.float64]:
        """A table that begins with what was before, ``(streams, ...)``; the rest is zero."""
        table = np.zeros((self.turns + 1, *first.shape))
        table[0] = first
        return table


def _blocks(
    waves: NDArray[np.float32], state: NDArray[np.float64], rows_of: NDArray[np.int64] | None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The same for rows of a block each.

    The rows are the last axis of all that is large: NumPy is quick along it.
    """
    streams, count = len(state), len(waves)
    table, after = _Table(streams, None if count == streams else rows_of), np.empty_like(state)
    raw = np.ascontiguousarray(waves.swapaxes(0, 1), np.float32)
    if not np.vdot(raw, raw) < LARGEST**2:
        raw = np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0).clip(-LARGEST, LARGEST)

    known = table.of(state[:, FILTER].reshape(streams, _TRACES, _KNOWN))
    if (new := state[:, RUNNING.start] == 0).any():
        begins = slice(None) if rows_of is None else np.cumsum(rows_of) - rows_of
        known[0, new, :, -1] = raw[:, begins, 0].T[new]
    joined = np.empty((_TRACES, count, BLOCK + _KNOWN))
    joined[..., :BLOCK] = raw
    known[1:][table.rows] = (joined[..., :BLOCK] @ _GIVES).swapaxes(0, 1)
    flat = known.reshape(len(known), -1, _KNOWN)
    for turn in range(table.turns):
        flat[turn + 1] += flat[turn] @ _LEFT
    joined[..., BLOCK:] = known[table.rows].swapaxes(0, 1)
    after[:, FILTER] = known[table.ends].reshape(streams, -1)
    squares = (_VALUES @ joined.reshape(-1, BLOCK + _KNOWN).T).astype(np.float32)
    np.square(squares, out=squares)
    means = (_MEANS @ squares).reshape(-1, _TRACES, count)
    means[:, 1] += means[:, 2]
    # Without signal, the floor. It follows the level of the samples themselves.
    level = np.abs(raw[..., 0])
    np.maximum(level[1], level[2], out=level[1])
    least = np.square(np.maximum(RELATIVE_FLOOR * level[:2], LEAST_DEVIATION))
    power = np.maximum(means[:, :2], least)

    # Two blocks late: neither this block nor the one before it is in them.
    sums = table.of(state[:, RUNNING])
    sums[1:, :, 0] = 1
    sums[1:, :, 1:_POWERS][table.rows] = power[:_BANDS].reshape(_CHANNELS, count).T
    for turn in range(table.turns):
        np.matmul(sums[turn], _SUMS, out=sums[turn + 1, :, _POWERS:])
    after[:, RUNNING] = sums[table.ends]
    running = sums[table.rows][:, _POWERS:].T.reshape(len(MEMORIES_S), _POWERS, count)
    weights = running[:, :1] / (1 + FAINT)
    early = weights[0, 0] == 0
    weights[..., early] = 1
    scale = (running[:, 1:] / weights).astype(np.float32).reshape(len(MEMORIES_S), _BANDS, 1, 2, count)
    np.maximum(scale, (1 + FAINT) * least, out=scale)
    # After silence the ratio can be infinite.
    with np.errstate(over="ignore"):
        given = power[_BANDS:].reshape(_BANDS, _STEPS, 2, count) / scale
    np.minimum(given, np.full(count, LOUDEST, np.float32), out=given)
    given += FAINT / (1 + FAINT)
    np.log(given, out=given)
    given *= 0.5
    given[..., early] = 0
    return np.ascontiguousarray(given.transpose(4, 0, 3, 1, 2)).reshape(count, 2 * _CHANNELS, -1), after
