"""What a channel makes of the motion of the ground: the product of its stages, sensor, digitizer and decimation filters.

The rules are those of evalresp, the reference for StationXML (FDSN StationXML 1.2, chapter 5), which ObsPy uses: each stage has its gain
at its gain frequency, and filters with finite responses are normalised, and shifted back by the delay that is corrected in the times of
samples. ObsPy's own function for it takes 113 MB of libraries with it. Amplitudes are the same, within half a percent where coefficients
are rounded; phases too, but for half a sample by which evalresp shifts a digitizer that has no coefficients.

>>> geophone = Stage("laplace", gain=28.8, gain_hz=15.0, zeros=(0j, 0j), poles=(-22.2 - 17.7j, -22.2 + 17.7j))
>>> response = Response("M/S", (geophone, Stage("gain", gain=1000.0)))
>>> abs(response.at(np.array([0.0, 15.0]))).round().tolist()
[0.0, 28800.0]
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Spectrum = NDArray[np.complexfloating]
Kind = Literal["gain", "laplace", "digital", "coefficients", "list"]

SCALES = {"": 1.0, "C": 1e2, "M": 1e3, "N": 1e9}
"""Of metres, centimetres, millimetres and nanometres."""
DERIVATIVES = {
    "M": 0,
    "M/S": 1,
    "M/SEC": 1,
    "M/S**2": 2,
    "M/(S**2)": 2,
    "M/SEC**2": 2,
    "M/(SEC**2)": 2,
    "M/S/S": 2,
}
"""Units of the motion of the ground, and which derivative of displacement each is."""
VELOCITY = 1
NEEDED_HZ = (0.5, 20.0)
"""A list must have them: what lies outside is as at its ends."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a response."""

    kind: Kind
    """``gain`` alone; poles and zeros, ``laplace`` in radians a second or ``digital``; ``coefficients`` of a digital filter; a ``list``."""
    gain: float
    gain_hz: float = 0.0
    """Frequency at which the gain holds."""
    factor: float | None = None
    """Of the product of poles and zeros; None: what makes it one at :attr:`gain_hz`."""
    zeros: tuple[complex, ...] = ()
    poles: tuple[complex, ...] = ()
    numerator: tuple[float, ...] = ()
    """Coefficients; of a list, its amplitudes."""
    denominator: tuple[float, ...] = ()
    """Coefficients, none of a filter with a finite response; of a list, its phases in degrees."""
    frequencies_hz: tuple[float, ...] = ()
    """Of a list."""
    interval_s: float = 0.0
    """Of the samples that go into a digital filter."""
    corrected_s: float = 0.0
    """Delay of a filter without symmetry, and with a finite response, that is corrected in the times of samples."""

    def at(self, frequencies_hz: NDArray[np.floating]) -> Spectrum:
        """Its output for each unit of its input, shape ``(n,)``."""
        shape = _SHAPES[self.kind]
        values: Spectrum = self.gain * shape(self, frequencies_hz)
        if self.kind in ("laplace", "digital"):
            if self.factor is not None:
                values *= self.factor
            else:
                values /= abs(shape(self, np.array([self.gain_hz]))[0])
        return values


@dataclass(frozen=True, slots=True)
class Response:
    """Response of a channel during some time."""

    unit: str
    """Of the motion of the ground, as the first stage has it, such as ``M/S``."""
    stages: tuple[Stage, ...]

    def at(self, frequencies_hz: NDArray[np.floating]) -> Spectrum:
        """Counts for each m/s of ground velocity, shape ``(n,)``.

        Raises:
            ValueError: when the response is not to the motion of the ground, not known where it is needed, or no finite number.
        """
        unit = self.unit.upper()
        prefix = unit[:1] if unit[1:] in DERIVATIVES else ""
        derivative = DERIVATIVES.get(unit[len(prefix) :])
        if derivative is None or prefix not in SCALES:
            raise ValueError(f"its input is in {self.unit or 'no unit'}, not in M, M/S or M/S**2")
        listed = [stage.frequencies_hz for stage in self.stages if stage.kind == "list"]
        if any(not one or one[0] > NEEDED_HZ[0] or one[-1] < NEEDED_HZ[1] for one in listed):
            raise ValueError(
                f"a stage is a list that does not go from {NEEDED_HZ[0]:g} to {NEEDED_HZ[1]:g} Hz"
            )
        with np.errstate(all="ignore"):
            values: Spectrum = np.full(len(frequencies_hz), SCALES[prefix], np.complex128)
            for stage in self.stages:
                values *= stage.at(frequencies_hz)
            values *= (2j * math.pi * frequencies_hz) ** (derivative - VELOCITY)
        # Of displacement nothing is left at rest, and the product is no number.
        values[frequencies_hz == 0] = values[frequencies_hz == 0] if derivative >= VELOCITY else 0
        if not np.isfinite(values).all() or not values.any():
            raise ValueError("it is zero, or not finite")
        return values


def _laplace(stage: Stage, frequencies_hz: NDArray[np.floating]) -> Spectrum:
    return _ratio(stage, 2j * math.pi * frequencies_hz)


def _digital(stage: Stage, frequencies_hz: NDArray[np.floating]) -> Spectrum:
    return _ratio(stage, _turned(frequencies_hz * stage.interval_s))


def _turned(turns: NDArray[np.floating]) -> Spectrum:
    values: Spectrum = np.exp(2j * math.pi * turns)
    return values


def _ratio(stage: Stage, at: Spectrum) -> Spectrum:
    values = np.ones(len(at), np.complex128)
    for zero in stage.zeros:
        values *= at - zero
    for pole in stage.poles:
        values /= at - pole
    return values


def _coefficients(stage: Stage, frequencies_hz: NDArray[np.floating]) -> Spectrum:
    late = _turned(-frequencies_hz * stage.interval_s)
    values: Spectrum = np.polynomial.polynomial.polyval(late, stage.numerator or (1.0,))
    if stage.denominator:
        values /= np.polynomial.polynomial.polyval(late, stage.denominator)
        return values
    values /= math.fsum(stage.numerator) or 1.0
    half_s = (len(stage.numerator) - 1) / 2 * stage.interval_s
    delay_s = half_s if stage.numerator == stage.numerator[::-1] else stage.corrected_s
    return values * _turned(frequencies_hz * delay_s)


def _list(stage: Stage, frequencies_hz: NDArray[np.floating]) -> Spectrum:
    phases = np.unwrap(stage.denominator, period=360.0)
    size = np.interp(frequencies_hz, stage.frequencies_hz, stage.numerator)
    values: Spectrum = size * _turned(np.interp(frequencies_hz, stage.frequencies_hz, phases) / 360.0)
    return values


def _gain(stage: Stage, frequencies_hz: NDArray[np.floating]) -> Spectrum:
    del stage
    return np.ones(len(frequencies_hz), np.complex128)


_SHAPES: dict[Kind, Callable[[Stage, NDArray[np.floating]], Spectrum]] = {
    "gain": _gain,
    "laplace": _laplace,
    "digital": _digital,
    "coefficients": _coefficients,
    "list": _list,
}
