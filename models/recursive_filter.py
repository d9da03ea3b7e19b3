"""Recursive filters in blocks, by matrices: what a stream needs of ``scipy.signal``, without its 70 MB of memory.

A filter is linear. So what a block of samples and the memory before it give, and the memory after it, is one matrix, the same for every
block of that length. It follows from the recursion itself, run over one unit at a time.

>>> memory = np.zeros((1, 1))
>>> values, memory = recursive_filter((0.5,), (1.0, -0.5), np.ones((1, 3)), memory)
>>> values.tolist(), memory.tolist()
([[0.5, 0.75, 0.875]], [[0.4375]])
"""

from functools import cache
from math import pi, sin, sqrt, tan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 64
"""Samples that one matrix takes at most."""
MOST = 2**18
"""Multiplications of one product at most: it is not worth several threads then."""

Coefficients = tuple[float, ...]


class Filter(NamedTuple):
    """A filter of a bank."""

    numerator: Coefficients
    denominator: Coefficients
    """The first number is 1."""
    every: int = 1
    """Its values are wanted at the last one of so many samples."""


def recursive_filter(
    numerator: Coefficients,
    denominator: Coefficients,
    waves: NDArray[np.float64],
    memory: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Filter along the last axis, as ``scipy.signal.lfilter`` does: direct form II, transposed.

    Args:
        numerator: coefficients, no more than the denominator has.
        denominator: coefficients, the first of which is 1.
        waves: shape ``(..., m)``.
        memory: shape ``(..., order)``: zeros, or what the last call gave; it is not changed.

    Returns:
        Values of the shape of the waves, and the memory after them.
    """
    samples, order = waves.shape[-1], memory.shape[-1]
    flat, memories = waves.reshape(-1, samples), memory.reshape(-1, order).copy()
    values = np.empty((len(flat), samples))
    for begin in range(0, samples, BLOCK):
        end = min(begin + BLOCK, samples)
        matrix = filter_matrix((Filter(numerator, denominator),), end - begin)
        most = max(1, MOST // matrix.size)
        for start in range(0, len(flat), most):
            some = slice(start, start + most)
            given = np.concatenate([flat[some, begin:end], memories[some]], axis=1) @ matrix
            values[some, begin:end], memories[some] = given[:, :-order], given[:, -order:]
    return values.reshape(waves.shape), memories.reshape(memory.shape)


def high_pass(corner_hz: float, rate_hz: float) -> tuple[Coefficients, Coefficients]:
    """Coefficients of a Butterworth high-pass of order two (bilinear transform; Oppenheim & Schafer, Discrete-Time Signal Processing, 7.1).

    >>> high_pass(25.0, 100.0)[1][0]
    1.0
    """
    warped = tan(pi * corner_hz / rate_hz)
    scale = 1 + sqrt(2) * warped + warped**2
    return (1 / scale, -2 / scale, 1 / scale), (
        1.0,
        2 * (warped**2 - 1) / scale,
        (1 - sqrt(2) * warped + warped**2) / scale,
    )


def low_pass(corner_hz: float, rate_hz: float) -> tuple[Coefficients, Coefficients]:
    """Coefficients of a Butterworth low-pass of order two, as those of the high-pass.

    >>> round(sum(low_pass(10.0, 100.0)[0]) / sum(low_pass(10.0, 100.0)[1]), 9)
    1.0
    """
    warped = tan(pi * corner_hz / rate_hz)
    scale = 1 + sqrt(2) * warped + warped**2
    gain = warped**2 / scale
    return (gain, 2 * gain, gain), high_pass(corner_hz, rate_hz)[1]


def band_pass(low_hz: float, high_hz: float, rate_hz: float) -> tuple[Coefficients, Coefficients]:
    """Coefficients of a Butterworth high-pass of order four and such a low-pass after it: order eight.

    For corners like 2 and 20 Hz at 100 Hz; the coefficients of a product say too little of corners far below the rate.
    """
    numerator, denominator = np.ones(1), np.ones(1)
    for corner_hz, sign in ((low_hz, -1.0), (high_hz, 1.0)):
        warped = tan(pi * corner_hz / rate_hz)
        for angle in (pi / 8, 3 * pi / 8):
            damping = 2 * sin(angle) * warped
            scale = 1 + damping + warped**2
            gain = (warped**2 if sign > 0 else 1.0) / scale
            numerator = np.convolve(numerator, np.array([gain, 2 * sign * gain, gain]))
            section = np.array([1.0, 2 * (warped**2 - 1) / scale, (1 - damping + warped**2) / scale])
            denominator = np.convolve(denominator, section)
    return tuple(numerator.tolist()), tuple(denominator.tolist())


def _padded(numerator: Coefficients, order: int) -> NDArray[np.float64]:
    return np.array([*numerator, *[0.0] * (order + 1 - len(numerator))])


@cache
def filter_matrix(filters: tuple[Filter, ...], samples: int) -> NDArray[np.float64]:
    """From samples and memory, a row of both, to values and the memory after them, each filter's after the other's.

    Args:
        filters: they all take the same samples; each says which of its values are wanted.
        samples: a multiple of each :attr:`Filter.every`.

    Returns:
        Shape ``(samples + orders, sum of samples / every + orders)``, the orders of all filters together.
    """
    orders = [len(one.denominator) - 1 for one in filters]
    units = np.eye(samples + sum(orders))
    given, memories, place = [], [], samples
    for one, order in zip(filters, orders, strict=True):
        held = units[:, place : place + order]
        values, memory = _recursion(one.numerator, one.denominator, units[:, :samples], held)
        given.append(values[:, one.every - 1 :: one.every])
        memories.append(memory)
        place += order
    return np.concatenate([*given, *memories], axis=1)


def _recursion(
    numerator: Coefficients,
    denominator: Coefficients,
    waves: NDArray[np.float64],
    memory: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One sample after the other: values and the memory after them."""
    forward, back = _padded(numerator, memory.shape[1]), np.array(denominator)
    values = np.empty_like(waves)
    for index in range(waves.shape[1]):
        values[:, index] = forward[0] * waves[:, index] + memory[:, 0]
        following = np.append(memory[:, 1:], np.zeros((len(waves), 1)), axis=1)
        memory = following + forward[1:] * waves[:, index, None] - back[1:] * values[:, index, None]
    return values, memory
