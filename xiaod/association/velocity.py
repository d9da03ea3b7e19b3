"""Travel times in a crust of flat layers, each with one velocity of P and one of S.

The first arrival is the direct wave or that of a layer below the source that refracts it, whichever comes first (Lee and Stewart,
Principles and Applications of Microearthquake Networks, 1981, chapter 4; as in HYPO71). Times are computed once, on a grid of
:data:`STEP_KM`, from the surface; between its points they are interpolated.

>>> times = TravelTimes([Layer(0.0, 6.0, 3.5)], 100.0, 30.0)
>>> [round(float(one), 2) for one in times.at("P", np.array([0.0, 30.0]), 10.0)]
[1.67, 5.27]
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xiaod.domain.onsets import PHASES

STEP_KM = 1.0
RAYS = 800
"""Rays of the direct wave, from each depth."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the crust."""

    top_km: float
    """Depth of its top below sea level."""
    p_km_s: float
    s_km_s: float


class TravelTimes:
    """Times of the first P and S, by distance and depth."""

    def __init__(self, layers: Sequence[Layer], distance_km: float, depth_km: float) -> None:
        """Compute them.

        Args:
            layers: from the surface down; the first begins at 0 km.
            distance_km: largest distance of a station from an epicentre.
            depth_km: largest depth of a source.
        """
        self.surface_km_s = {"P": layers[0].p_km_s, "S": layers[0].s_km_s}
        """Velocities above sea level."""
        columns, rows = int(np.ceil(distance_km / STEP_KM)) + 3, int(np.ceil(depth_km / STEP_KM)) + 3
        distances: Floats = np.arange(columns, dtype=np.float64) * STEP_KM
        tops = np.array([layer.top_km for layer in layers])
        self._times: dict[str, Floats] = {}
        for phase in PHASES:
            velocities = np.array([layer.p_km_s if phase == "P" else layer.s_km_s for layer in layers])
            self._times[phase] = np.stack(
                [_first(distances, row * STEP_KM, tops, velocities) for row in range(rows)], axis=1
            )

    def at(self, phase: str, distance_km: Floats, depth_km: float) -> Floats:
        """Seconds from a source to places at sea level; of farther ones than there are times, as at the farthest."""
        return self._interpolated(phase, distance_km, depth_km)[0]

    def with_slopes(self, phase: str, distance_km: Floats, depth_km: float) -> tuple[Floats, Floats, Floats]:
        """Seconds, and their derivatives by distance and depth, s/km."""
        return self._interpolated(phase, distance_km, depth_km)

    def write(self, path: Path) -> None:
        """Write the table as PyOcto reads it: numbers of columns and rows, step, and both tables."""
        columns, rows = self._times["P"].shape
        path.write_bytes(
            struct.pack("iid", columns, rows, STEP_KM)
            + b"".join(np.ascontiguousarray(self._times[phase]).tobytes() for phase in PHASES)
        )

    def _interpolated(
        self, phase: str, distance_km: Floats, depth_km: float
    ) -> tuple[Floats, Floats, Floats]:
        table = self._times[phase]
        columns, rows = table.shape
        across = np.clip(distance_km / STEP_KM, 0, columns - 1.001)
        down = min(max(depth_km / STEP_KM, 0), rows - 1.001)
        left, above = across.astype(np.intp), int(down)
        right_part, below_part = across - left, down - above
        corners = [table[left + i, above + j] for i in (0, 1) for j in (0, 1)]
        upper = corners[0] * (1 - right_part) + corners[2] * right_part
        lower = corners[1] * (1 - right_part) + corners[3] * right_part
        by_distance = (corners[2] - corners[0]) * (1 - below_part) + (corners[3] - corners[1]) * below_part
        return (
            upper * (1 - below_part) + lower * below_part,
            by_distance / STEP_KM,
            (lower - upper) / STEP_KM,
        )


def _first(distances: Floats, depth_km: float, tops: Floats, velocities: Floats) -> Floats:
    """Times of the first arrival from a depth to the surface."""
    bottoms = np.append(tops[1:], np.inf)
    # Of each layer, how much of it lies above the source.
    above = np.clip(np.minimum(bottoms, depth_km) - tops, 0, None)
    times = _direct(distances, above, velocities)
    for number in range(1, len(tops)):
        # The wave goes down to the top of this layer, along it, and up again.
        if tops[number] < depth_km or velocities[number] <= velocities[:number].max():
            continue
        legs = 2 * (bottoms - tops)[:number] - above[:number]
        cosine = np.sqrt(1 - (velocities[:number] / velocities[number]) ** 2)
        offset = np.sum(legs * cosine / velocities[:number])
        critical = np.sum(legs * velocities[:number] / velocities[number] / cosine)
        refracted = np.where(distances >= critical, distances / velocities[number] + offset, np.inf)
        times = np.minimum(times, refracted)
    return times


def _direct(distances: Floats, above: Floats, velocities: Floats) -> Floats:
    """Times of the wave that goes up."""
    crossed = above > 0
    if not crossed.any():
        along_the_surface: Floats = distances / velocities[0]
        return along_the_surface
    thickness, speed = above[crossed], velocities[crossed]
    fastest = int(np.argmax(speed))
    # Rays by their slope in the fastest layer: it reaches farthest there.
    farthest = distances[-1] / thickness[fastest] + 1
    slopes = np.concatenate([[0.0], np.geomspace(1e-3, farthest, RAYS)])
    sines = slopes / np.hypot(1, slopes) / speed[fastest]
    ratio = np.outer(speed, sines)
    cosine = np.sqrt(1 - ratio**2)
    reached = thickness @ (ratio / cosine)
    times: Floats = np.interp(distances, reached, (thickness / speed) @ (1 / cosine))
    return times
