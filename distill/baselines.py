"""The floor: classic pickers of ObsPy on the same windows.

*STA/LTA*: recursive (Withers et al. 1998, doi:10.1785/BSSA0880010095), 0.5 s over 10 s, band 2 to 15 Hz, vertical for P, the
louder horizontal for S. *AR-AIC*: ObsPy's ``ar_pick`` (after Sleeman & van Eck 1999, doi:10.1016/S0031-9201(99)00007-2), one P and
one S a window. What can be tuned is tuned on training records.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> wave = rng.normal(0, 1, (3, 3000))
>>> wave[:, 1500:] *= 20
>>> picks = sta_lta(wave, on=4.0)
>>> abs(picks["P"][0] - 1500) < 20
True
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from distill.scores import RATE_HZ, Found, score

BAND_HZ = (2.0, 15.0)
STA_S, LTA_S = 0.5, 10.0
OFF = 1.5
ONS = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)
AR_BANDS_HZ = ((1.0, 20.0), (2.0, 15.0), (1.0, 40.0))
AR_WINDOWS_S = {"lta_p": 1.0, "sta_p": 0.1, "lta_s": 4.0, "sta_s": 1.0}
AR_ORDERS = {"m_p": 2, "m_s": 8}
AR_VARIANCE_S = {"l_p": 0.1, "l_s": 0.2}
TUNED_AT_S = 0.5

Picker = Callable[[NDArray[np.generic]], Mapping[str, Sequence[float]]]
"""A window ``(3, n)``, Z N E, -> samples of P and S picks."""
Labelled = Sequence[tuple[NDArray[np.floating], Mapping[str, float | None]]]
"""Windows and the samples of their labels."""


def sta_lta(window: NDArray[np.generic], on: float) -> dict[str, list[float]]:
    """Onsets of triggers."""
    from obspy.signal.filter import bandpass
    from obspy.signal.trigger import recursive_sta_lta, trigger_onset

    picks = {}
    curves = []
    for trace in np.asarray(window, np.float64):
        filtered = bandpass(trace - trace.mean(), *BAND_HZ, df=RATE_HZ, corners=4)
        ratio = recursive_sta_lta(filtered, round(STA_S * RATE_HZ), round(LTA_S * RATE_HZ))
        curves.append(np.nan_to_num(ratio))
    for phase, curve in (("P", curves[0]), ("S", max(curves[1:], key=lambda ratio: float(ratio.max())))):
        picks[phase] = [float(onset) for onset, _ in trigger_onset(curve, on, OFF)]
    return picks


def ar_aic(window: NDArray[np.generic], band_hz: tuple[float, float]) -> dict[str, list[float]]:
    """One P and one S, where it finds them."""
    from obspy.signal.trigger import ar_pick

    waves = np.asarray(window, np.float64)
    z, n, e = waves - waves.mean(axis=1, keepdims=True)
    if not (np.any(z) and np.any(n) and np.any(e)):
        return {"P": [], "S": []}
    p_s, s_s = ar_pick(z, n, e, RATE_HZ, *band_hz, **AR_WINDOWS_S, **AR_ORDERS, **AR_VARIANCE_S, s_pick=True)
    return {phase: [time_s * RATE_HZ] if time_s > 0 else [] for phase, time_s in (("P", p_s), ("S", s_s))}


def tuned(windows: Labelled) -> dict[str, tuple[Picker, float | tuple[float, float]]]:
    """Choose each picker's setting on training windows: best sum of F1 of P and S at 0.5 s; gives it with its setting."""
    on = max(ONS, key=lambda value: _quality(lambda window: sta_lta(window, value), windows))
    band = max(AR_BANDS_HZ, key=lambda value: _quality(lambda window: ar_aic(window, value), windows))
    return {
        "STA/LTA": (lambda window: sta_lta(window, on), on),
        "AR-AIC": (lambda window: ar_aic(window, band), band),
    }


def _quality(picker: Picker, windows: Labelled) -> float:
    found: dict[str, list[Found]] = {"P": [], "S": []}
    for number, (window, labels) in enumerate(windows):
        picks = picker(window)
        for phase, label in labels.items():
            if label is not None:
                found[phase].append(Found(str(number), tuple(picks[phase]), label))
    return sum(float(score(values, TUNED_AT_S)["f1"]) for values in found.values())
