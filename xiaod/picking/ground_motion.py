"""How strongly the ground moved after an onset: velocity in the band of onsets, and the amplitude of a Wood-Anderson seismograph.

Of the channel of a final pick, where its response ``R(f)``, in counts for each m/s, is known at the time of the pick::

    v(t) = F^-1[ X(f) B(f; 2, 20 Hz)   / R(f) ]         velocity, m/s
    w(t) = F^-1[ X(f) B(f; 0.5, 20 Hz) / R(f) * W(f) ]  amplitude, m
    W(f) = M s / (s^2 + 2 h w0 s + w0^2),  s = 2 pi i f,  w0 = 2 pi / T0

``X`` is the transform of the samples around the onset: from :data:`BEFORE_S` before it, with the first one subtracted, to
:data:`AFTER_S` after it, and zeros behind. ``B`` is the causal band-pass of :mod:`xiaod.picking.band`, with the second pair of corners so
that microseisms do not hide small earthquakes, while the Wood-Anderson record of all but the largest is unchanged. Where ``R`` is less than
a thousandth of its maximum it is raised to that, as the water level of ObsPy's ``remove_response`` does. ``W`` is the response to velocity
with the constants of the IASPEI (Uhrhammer and Collins 1990, Bull. Seismol. Soc. Am. 80, 702-716; IASPEI 2013, summary of magnitude
working group recommendations): free period T0 0.8 s, damping h 0.7, magnification M 2080.

The amplitudes are peaks, from zero, of the :data:`AFTER_S` after the onset: for a P the window of Wu and Kanamori (2005, Bull. Seismol.
Soc. Am. 95, 1181-1185), and what all final picks have. Only these samples count, so values do not depend on the window in which an onset
was seen. Nearer to the beginning of the data less is before it: filters begin at rest, what they make of the first samples may then be in
the noise, and with less than :data:`LEAST_BEFORE_S` nothing is measured.

>>> from xiaod.config.inventory import NO_STATIONS
>>> GroundMotions(NO_STATIONS, print).measured([])
[]
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xiaod.config.inventory import Stations
from xiaod.domain.onsets import BAND_HZ, WOOD_ANDERSON_HZ
from xiaod.domain.response import Response
from xiaod.domain.timegrid import GRID_RATE_HZ, samples_from_s
from xiaod.domain.types import Channel, GroundMotion, Pick
from xiaod.picking.measure import NOISE_S
from xiaod.picking.picker import Onset

BEFORE_S, AFTER_S = 10.0, 3.0
LEAST_BEFORE_S = 4.0
PERIOD_S, DAMPING, MAGNIFICATION = 0.8, 0.7, 2080.0
WATER_LEVEL = 1e-3
"""Of the largest response, 60 dB below it."""
LENGTH = 4096
"""Of the transform: what filters have left behind the last sample has died away when it comes round."""
FREQUENCIES_HZ: NDArray[np.floating] = np.arange(LENGTH // 2 + 1) * (GRID_RATE_HZ / LENGTH)
MOST_RESPONSES = 1000
"""Responses that are kept evaluated, 16 kB each."""
MM = 1000.0


def band(low_hz: float, high_hz: float) -> NDArray[np.complexfloating]:
    """Response of :func:`models.recursive_filter.band_pass` at :data:`FREQUENCIES_HZ`, for corners far below the rate too."""

    def warped(hz: NDArray[np.floating]) -> NDArray[np.floating]:
        # As the bilinear transform does. Half the rate would be infinite.
        values: NDArray[np.floating] = np.tan(
            math.pi * np.minimum(hz, GRID_RATE_HZ / 2 * (1 - 1e-9)) / GRID_RATE_HZ
        )
        return values

    s = 1j * warped(FREQUENCIES_HZ)
    low, high = warped(np.array([low_hz, high_hz]))
    values = np.ones(len(s), np.complex128)
    for angle in (math.pi / 8, 3 * math.pi / 8):
        damping = 2 * math.sin(angle)
        values *= s**2 / (s**2 + damping * low * s + low**2)
        values *= high**2 / (s**2 + damping * high * s + high**2)
    return values


def wood_anderson() -> NDArray[np.complexfloating]:
    """Amplitude of the seismograph for each m/s of ground velocity, m, at :data:`FREQUENCIES_HZ`."""
    s, resonance = 2j * math.pi * FREQUENCIES_HZ, 2 * math.pi / PERIOD_S
    values: NDArray[np.complexfloating] = (
        MAGNIFICATION * s / (s**2 + 2 * DAMPING * resonance * s + resonance**2)
    )
    return values


FILTERS = np.stack([band(*BAND_HZ), band(*WOOD_ANDERSON_HZ) * wood_anderson() * MM])
"""From velocity to what is measured, shape ``(2, LENGTH // 2 + 1)``."""


class GroundMotions:
    """Measures final picks on channels with responses; those are evaluated when they are needed first."""

    def __init__(self, stations: Stations, unusable: Callable[[Channel, str], None]) -> None:
        """Begin.

        Args:
            stations: with their responses.
            unusable: called with a channel whose response cannot be used, and why, once for each reason.
        """
        self._stations = stations
        self._unusable = unusable
        self._inverses: OrderedDict[Response | str, NDArray[np.complex64] | None] = OrderedDict()

    def measured(self, found: Sequence[tuple[Onset, Pick]]) -> list[Pick]:
        """The picks, final ones with the motion of the ground where the response is known."""
        return [
            replace(pick, motion=self._motion(onset, pick)) if pick.stage == "final" else pick
            for onset, pick in found
        ]

    def _motion(self, onset: Onset, pick: Pick) -> GroundMotion | None:
        response = self._stations.response(pick.channel, pick.time_ns)
        if response is None or onset.peak + onset.before < samples_from_s(LEAST_BEFORE_S):
            return None
        inverse = self._inverse(response, pick.channel)
        if inverse is None:
            return None
        row = pick.components.index(pick.channel.component)
        return ground_motion(onset.samples[row], onset.peak + onset.before, inverse)

    def _inverse(self, response: Response | str, channel: Channel) -> NDArray[np.complex64] | None:
        if response in self._inverses:
            self._inverses.move_to_end(response)
        else:
            try:
                if isinstance(response, str):
                    raise ValueError(response)
                self._inverses[response] = inverse_of(response)
            except ValueError as error:
                self._inverses[response] = None
                self._unusable(channel, str(error))
            if len(self._inverses) > MOST_RESPONSES:
                self._inverses.popitem(last=False)
        return self._inverses[response]


def inverse_of(response: Response) -> NDArray[np.complex64]:
    """m/s of ground velocity for each count, at :data:`FREQUENCIES_HZ`; zero where the response is.

    Raises:
        ValueError: when it cannot be used.
    """
    values = response.at(FREQUENCIES_HZ)
    size = np.abs(values)
    known = size > 0
    inverse = np.zeros(len(values), np.complex64)
    inverse[known] = size[known] / values[known] / np.maximum(size[known], WATER_LEVEL * size.max())
    return inverse


def ground_motion(
    samples: NDArray[np.float32], onset: int, inverse: NDArray[np.complex64]
) -> GroundMotion | None:
    """Motion of the ground after an onset.

    Args:
        samples: shape ``(n,)``, counts.
        onset: the sample at which it is.
        inverse: of the response, see :func:`inverse_of`.

    Returns:
        None when it is no finite number.
    """
    begin = max(0, onset - samples_from_s(BEFORE_S))
    around = samples[begin : onset + samples_from_s(AFTER_S) + 1].astype(np.float64)
    spectrum = np.fft.rfft(around - around[0], LENGTH) * inverse
    velocity, trace = np.abs(np.fft.irfft(spectrum * FILTERS, LENGTH)[:, : len(around)])
    first = onset - begin
    noise = slice(first - samples_from_s(NOISE_S[0]), first - samples_from_s(NOISE_S[1]))
    motion = GroundMotion(
        float(velocity[first:].max()),
        float(trace[first:].max()),
        float(trace[noise].max()),
        (len(around) - 1 - first) / GRID_RATE_HZ,
    )
    return motion if math.isfinite(motion.velocity_m_s + motion.wood_anderson_mm) else None
