"""Distance of an earthquake from one station by the time between P and S.

For straight rays through a uniform crust, ``d = (t_S - t_P) * v_P * v_S / (v_P - v_S)`` (Havskov and Ottemöller, Routine Data Processing
in Earthquake Seismology, 2010, chapter 5; IASPEI New Manual of Seismological Observatory Practice, EX 11.1, with v_P = 5.9 and
v_S = 3.4 km/s: 8 km for each second). The uncertainty is that of both picks and of the factor, propagated to first order:
``sigma_d^2 = f^2 (sigma_P^2 + sigma_S^2) + (d r)^2``, f the factor and r its relative uncertainty.

It holds for Pg and Sg. From some 150 km on Pn and Sn, which are faster, come first.

>>> round(km_per_second(5.9, 3.4), 2)
8.02
>>> distance, uncertainty = distance_km(10.0, (0.1, 0.2), km_per_second(5.9, 3.4), 0.1)
>>> round(distance, 1), round(uncertainty, 1)
(80.2, 8.2)
"""

import math


def km_per_second(p_velocity_km_s: float, s_velocity_km_s: float) -> float:
    """Distance in km for each second between P and S."""
    return p_velocity_km_s * s_velocity_km_s / (p_velocity_km_s - s_velocity_km_s)


def distance_km(
    s_minus_p_s: float, uncertainties_s: tuple[float, float], factor_km_s: float, relative_uncertainty: float
) -> tuple[float, float]:
    """Distance and its standard deviation, km.

    Args:
        s_minus_p_s: time between the onsets.
        uncertainties_s: standard deviations of P and S; one that is not finite counts as 0.
        factor_km_s: see :func:`km_per_second`.
        relative_uncertainty: that of the factor.
    """
    distance = s_minus_p_s * factor_km_s
    known = [one for one in uncertainties_s if math.isfinite(one)]
    return distance, math.hypot(factor_km_s * math.hypot(*known), distance * relative_uncertainty)
