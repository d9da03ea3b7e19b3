"""Where and when an earthquake was, by its picks: Geiger's method.

Least squares of the residuals, weighted by the uncertainty of each pick and of the model, :data:`MODEL_PART` of the travel time; large
ones count less (Huber 1964). Steps are damped (Marquardt 1963), and begin at several depths. The uncertainties are those of the linear
problem at the solution, with the scatter of the residuals where that is larger than expected (Havskov and Ottemöller 2010, chapter 5).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xiaod.association.velocity import Floats, TravelTimes

MODEL_S, MODEL_PART = 0.05, 0.02
"""Standard deviation of travel times of a velocity model: in seconds, and relative to them."""
HUBER = 1.5
"""Residuals of more standard deviations count less."""
STEPS = 25
START_KM = (8.0, 2.0, 20.0, 40.0)
"""Depths at which to begin."""
MANY = 60
"""Picks with which the first of these is enough."""
SMALL_KM = 0.01
UNKNOWNS = 4


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Picks as arrays of one length."""

    x_km: Floats
    y_km: Floats
    height_km: Floats
    """Of the stations: to the east, to the north, and above sea level."""
    is_s: NDArray[np.bool_]
    time_s: Floats
    sigma_s: Floats
    """Uncertainty of the picks."""

    def __len__(self) -> int:
        return len(self.time_s)

    def __getitem__(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> "Arrivals":
        return Arrivals(
            self.x_km[which],
            self.y_km[which],
            self.height_km[which],
            self.is_s[which],
            self.time_s[which],
            self.sigma_s[which],
        )


@dataclass(frozen=True, slots=True)
class Hypocentre:
    """A solution."""

    x_km: float
    y_km: float
    depth_km: float
    time_s: float
    misfit: float
    """Mean weighted square of the residuals."""
    covariance: Floats
    """Of x, y, depth and time, shape ``(4, 4)``."""

    @property
    def at(self) -> tuple[float, float, float]:
        """The place: x, y, depth."""
        return self.x_km, self.y_km, self.depth_km


class Locator:
    """Locates in one velocity model."""

    def __init__(self, times: TravelTimes, deepest_km: float) -> None:
        self._times = times
        self._deepest_km = deepest_km

    def predicted(self, at: tuple[float, float, float], arrivals: Arrivals) -> tuple[Floats, Floats]:
        """Travel times from a place (x, y, depth) to each arrival, and their derivatives by x, y and depth, shape ``(n, 3)``."""
        x_km, y_km, depth_km = at
        east, north = x_km - arrivals.x_km, y_km - arrivals.y_km
        away = np.hypot(east, north)
        times, slopes = np.empty(len(arrivals)), np.empty((len(arrivals), 3))
        for phase, which in (("P", ~arrivals.is_s), ("S", arrivals.is_s)):
            seconds, across, down = self._times.with_slopes(phase, away[which], depth_km)
            # Above sea level the wave goes straight up.
            times[which] = seconds + arrivals.height_km[which] / self._times.surface_km_s[phase]
            near = np.maximum(away[which], SMALL_KM)
            slopes[which] = np.column_stack([across * east[which] / near, across * north[which] / near, down])
        return times, slopes

    def locate(self, arrivals: Arrivals, at: tuple[float, float, float]) -> Hypocentre:
        """The best solution of those that begin at a place (x, y, depth), there and at other depths."""
        depths_km = START_KM if len(arrivals) < MANY else START_KM[:1]
        # Below the deepest one travel times are not known.
        starts = [min(at[2], self._deepest_km), *(depth for depth in depths_km if depth < self._deepest_km)]
        found = [self._from(arrivals, (at[0], at[1], depth)) for depth in starts]
        return min(found, key=lambda one: one.misfit)

    def placed(self, arrivals: Arrivals, at: tuple[float, float, float]) -> Hypocentre:
        """A source at a place (x, y, depth), with the time that fits best there."""
        x_km, y_km, depth_km = at[0], at[1], min(at[2], self._deepest_km)
        misfit, time_s, weights, _, slopes = self._state(arrivals, np.array((x_km, y_km, depth_km)))
        return Hypocentre(x_km, y_km, depth_km, time_s, misfit, _covariance(slopes, weights, misfit))

    def _from(self, arrivals: Arrivals, at: tuple[float, float, float]) -> Hypocentre:
        place, damping = np.array(at), 1e-2
        state = self._state(arrivals, place)
        for _ in range(STEPS):
            misfit, _, weights, residuals, slopes = state
            design = np.column_stack([slopes, np.ones(len(residuals))]) * np.sqrt(weights)[:, None]
            normal, right = design.T @ design, design.T @ (residuals * np.sqrt(weights))
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), right)[:3]
            moved = place + step
            moved[2] = min(max(moved[2], 0.0), self._deepest_km)
            after = self._state(arrivals, moved)
            if after[0] < misfit:
                small = float(np.abs(moved - place).max()) < SMALL_KM
                place, state, damping = moved, after, damping / 5
                if small:
                    break
            elif damping > 1e3:
                break
            else:
                damping *= 10
        misfit, time_s, weights, _, slopes = state
        return Hypocentre(
            float(place[0]),
            float(place[1]),
            float(place[2]),
            time_s,
            misfit,
            _covariance(slopes, weights, misfit),
        )

    def _state(self, arrivals: Arrivals, place: Floats) -> tuple[float, float, Floats, Floats, Floats]:
        """Misfit, origin time, weights, residuals and derivatives at a place."""
        times, slopes = self.predicted((float(place[0]), float(place[1]), float(place[2])), arrivals)
        sigma = np.sqrt(arrivals.sigma_s**2 + MODEL_S**2 + (MODEL_PART * times) ** 2)
        begun = arrivals.time_s - times
        weights = 1 / sigma**2
        time_s = float(np.median(begun))
        for _ in range(3):
            size = np.abs(begun - time_s) / sigma
            weights = np.minimum(1, HUBER / np.maximum(size, 1e-12)) / sigma**2
            time_s = float(weights @ begun / weights.sum())
        residuals = begun - time_s
        size = np.abs(residuals) / sigma
        loss = np.where(size <= HUBER, size**2, 2 * HUBER * size - HUBER**2)
        return float(loss.mean()), time_s, weights, residuals, slopes


def _covariance(slopes: Floats, weights: Floats, misfit: float) -> Floats:
    """Of the linear problem; unknowns that the picks do not tell have large variances."""
    design = np.column_stack([slopes, np.ones(len(slopes))]) * np.sqrt(weights)[:, None]
    normal = design.T @ design + np.diag([1e-8, 1e-8, 1e-8, 1e-8])
    freedom = len(slopes) - UNKNOWNS
    scatter = max(1.0, misfit * len(slopes) / freedom) if freedom > 0 else 1.0
    covariance: Floats = np.linalg.inv(normal) * scatter
    return covariance


def longest_axis_km(covariance: Floats) -> float:
    """Half of the longer axis of the ellipse of one standard deviation in the horizontal plane."""
    return math.sqrt(max(0.0, float(np.linalg.eigvalsh(covariance[:2, :2])[-1])))


def azimuthal_gap_deg(azimuths_deg: Sequence[float]) -> float:
    """The largest gap between directions.

    >>> azimuthal_gap_deg([10.0, 350.0, 100.0])
    250.0
    """
    ordered = sorted(azimuth % 360 for azimuth in azimuths_deg)
    return max(
        after - before for before, after in zip(ordered, [*ordered[1:], ordered[0] + 360], strict=True)
    )
