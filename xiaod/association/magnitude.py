"""Local magnitude from amplitudes on the record of a Wood-Anderson seismograph.

``ML = log10(A) + 1.11 log10(R) + 0.00189 R - 2.09``, A the largest amplitude in nm of a horizontal component on such a seismograph of
magnification 1, R the distance from the hypocentre in km (IASPEI 2013, summary of magnitude working group recommendations; Hutton and Boore
1987, Bull. Seismol. Soc. Am. 77, 2074-2094, southern California). Amplitudes in mm of one of magnification 2080 give A times
:data:`NM_OF_MM`.

They are those of S picks: the :data:`~xiaod.picking.ground_motion.AFTER_S` after the S. Where the largest amplitude comes later, as of
large or distant earthquakes, the magnitude is too small. Beyond :data:`FARTHEST_KM` the formula does not hold.

>>> round(local_magnitude(1.0, 100.0), 2)
3.0
"""

import math
import statistics
from collections.abc import Sequence

from xiaod.domain.types import EventMagnitude

MAGNIFICATION = 2080.0
NM_OF_MM = 1e6 / MAGNIFICATION
NEAREST_KM, FARTHEST_KM = 1.0, 600.0
LEAST_STATIONS = 2
NORMAL = 1.4826
"""Standard deviation of a normal distribution by the median of distances from its median."""


def local_magnitude(wood_anderson_mm: float, distance_km: float) -> float:
    """ML of one station.

    Args:
        wood_anderson_mm: amplitude, from zero to the peak.
        distance_km: from the hypocentre.
    """
    distance_km = max(distance_km, NEAREST_KM)
    return (
        math.log10(wood_anderson_mm * NM_OF_MM)
        + 1.11 * math.log10(distance_km)
        + 0.00189 * distance_km
        - 2.09
    )


def network_magnitude(values: Sequence[float]) -> EventMagnitude | None:
    """Median of stations; None of fewer than :data:`LEAST_STATIONS`.

    >>> network_magnitude([3.0, 3.2, 3.1]).value
    3.1
    """
    if len(values) < LEAST_STATIONS:
        return None
    value = statistics.median(values)
    spread = NORMAL * statistics.median(abs(one - value) for one in values)
    return EventMagnitude(round(value, 2), round(spread, 2), len(values))
