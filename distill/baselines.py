"""The baselines: classic pickers of ObsPy on the same windows, their parameters tuned on training records.

*Recursive* and *classic STA/LTA* (Withers et al. 1998, doi:10.1785/BSSA0880010095) and the *Z-detector* (the same, p. 99),
on the vertical for P and the louder horizontal for S; *AR-AIC*: ObsPy's ``ar_pick`` (after Sleeman & van Eck 1999,
doi:10.1016/S0031-9201(99)00007-2), one P and one S a window.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> wave = rng.normal(0, 1, (3, 3000))
>>> wave[:, 1500:] *= 20
>>> setting = TriggerSetting("recursive STA/LTA", (2.0, 15.0), 0.5, 10.0)
>>> abs(triggers(characteristic(wave, setting)[0], on=4.0)[0] - 1500) < 20
True
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from distill.progress import SILENT, Progress
from distill.scores import Found, f1, hits_and_false
from models.conventions import RATE_HZ

OFF_PART = 0.375
"""A trigger ends where the ratio falls below this fraction of the value that began it."""
CORNERS = 4
BANDS_HZ = ((1.0, 20.0), (2.0, 15.0), (5.0, 20.0))
STA_S = (0.3, 0.5, 1.0)
LTA_S = (5.0, 10.0)
ONS = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 11.0, 15.0, 20.0)
ON_SCORES = (0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Of the Z-detector, in standard deviations."""
RECURSIVE, CLASSIC, Z_DETECT, AR_AIC = "recursive STA/LTA", "classic STA/LTA", "Z-detect", "AR-AIC"
TRIGGERS = (RECURSIVE, CLASSIC, Z_DETECT)
NAMES = (*TRIGGERS, AR_AIC)
AR_BANDS_HZ = ((1.0, 20.0), (2.0, 15.0), (1.0, 40.0))
AR_WINDOWS_S = {"lta_p": 1.0, "sta_p": 0.1, "lta_s": 4.0, "sta_s": 1.0}
AR_ORDERS = {"m_p": 2, "m_s": 8}
AR_VARIANCE_S = {"l_p": 0.1, "l_s": 0.2}
AR_BEFORE_P_S = 0.2
"""Time before P after which a window no longer counts as quiet."""
AR_LEAST_QUIET = 20
"""Fewest quiet samples that can be put before a window."""
TUNED_AT_S = 0.5

Picker = Callable[[NDArray[np.generic]], Mapping[str, Sequence[float]]]
"""A window ``(3, n)``, Z N E, -> samples of P and S picks."""
Labelled = Sequence[tuple[NDArray[np.floating], Mapping[str, float | None]]]
"""Windows and the samples of their labels."""


@dataclass(frozen=True)
class TriggerSetting:
    """Settings of a trigger."""

    method: str
    band_hz: tuple[float, float]
    sta_s: float
    lta_s: float
    """Without meaning for the Z-detector."""


@dataclass(frozen=True)
class Tuned:
    """A classic picker with the settings that are best on training records."""

    name: str
    described: str
    picker: Picker
    setting: TriggerSetting | None
    """None: not a trigger."""
    ons: Mapping[str, float]
    """Threshold of a trigger, for each phase."""


def characteristic(window: NDArray[np.generic], setting: TriggerSetting) -> NDArray[np.float64]:
    """Input of a trigger for P and for S, shape ``(2, n)``."""
    from obspy.signal.filter import bandpass

    waves = np.asarray(window, np.float64)
    curves = [
        _ratio(bandpass(trace - trace.mean(), *setting.band_hz, df=RATE_HZ, corners=CORNERS), setting)
        for trace in waves
    ]
    return np.stack([curves[0], max(curves[1:], key=lambda ratio: float(ratio.max()))])


def _ratio(wave: NDArray[np.float64], setting: TriggerSetting) -> NDArray[np.float64]:
    from obspy.signal.trigger import classic_sta_lta, recursive_sta_lta, z_detect

    sta, lta = round(setting.sta_s * RATE_HZ), round(setting.lta_s * RATE_HZ)
    if not np.any(wave):
        return np.zeros(len(wave))
    ratio = {
        RECURSIVE: lambda: recursive_sta_lta(wave, sta, lta),
        CLASSIC: lambda: classic_sta_lta(wave, sta, lta),
        Z_DETECT: lambda: z_detect(wave, sta),
    }[setting.method]()
    return np.nan_to_num(np.asarray(ratio, np.float64))


def triggers(curve: NDArray[np.floating], on: float) -> list[float]:
    """Samples at which a curve rises above a threshold."""
    from obspy.signal.trigger import trigger_onset

    return [float(onset) for onset, _ in trigger_onset(curve, on, OFF_PART * on)]


def ar_aic(window: NDArray[np.generic], band_hz: tuple[float, float]) -> dict[str, list[float]]:
    """At most one P and one S.

    If P is less than ``lta_s`` after the beginning, ObsPy reads memory before its array, and its S is meaningless. The S of such a window
    is picked again, after the quiet part of the window, back and forth, is put before it.
    """
    waves = np.asarray(window, np.float64)
    waves = waves - waves.mean(axis=1, keepdims=True)
    if not waves.any(axis=1).all():
        return {"P": [], "S": []}
    p_s, s_s = _ar_pick(waves, band_hz)
    if p_s < AR_WINDOWS_S["lta_s"]:
        s_s = _s_behind_early_p(waves, p_s, band_hz)
    return {phase: [time_s * RATE_HZ] if time_s > 0 else [] for phase, time_s in (("P", p_s), ("S", s_s))}


def _s_behind_early_p(waves: NDArray[np.float64], p_s: float, band_hz: tuple[float, float]) -> float:
    """Seconds of S from the beginning of a window; 0: none."""
    quiet = round((p_s - AR_BEFORE_P_S) * RATE_HZ)
    if quiet < AR_LEAST_QUIET:
        return 0.0
    put_before = round(AR_WINDOWS_S["lta_s"] * RATE_HZ)
    before = np.pad(waves[:, :quiet], ((0, 0), (put_before, 0)), mode="reflect")[:, :put_before]
    again_s, s_s = _ar_pick(np.concatenate([before, waves], axis=1), band_hz)
    return s_s - put_before / RATE_HZ if again_s >= AR_WINDOWS_S["lta_s"] else 0.0


def _ar_pick(waves: NDArray[np.float64], band_hz: tuple[float, float]) -> tuple[float, float]:
    from obspy.signal.trigger import ar_pick

    found: tuple[float, float] = ar_pick(
        *waves, RATE_HZ, *band_hz, **AR_WINDOWS_S, **AR_ORDERS, **AR_VARIANCE_S, s_pick=True
    )
    return found


def tuned(windows: Labelled, progress: Progress = SILENT, names: Collection[str] = NAMES) -> dict[str, Tuned]:
    """Choose each picker's setting on training windows: best F1 at 0.5 s.

    Triggers: the sum of the best F1 of P and of S over :data:`BANDS_HZ`, :data:`STA_S`, :data:`LTA_S`, with a threshold for each phase
    from :data:`ONS`. AR-AIC: the sum over :data:`AR_BANDS_HZ`.
    """
    found = {method: _tuned_trigger(method, windows, progress) for method in TRIGGERS if method in names}
    if AR_AIC in names:
        bands = progress.over(AR_BANDS_HZ, f"tuning {AR_AIC}", len(AR_BANDS_HZ))
        band = max(bands, key=lambda value: _quality(lambda window: ar_aic(window, value), windows))
        described = f"band {band[0]:g} to {band[1]:g} Hz"
        found[AR_AIC] = Tuned(AR_AIC, described, lambda window: ar_aic(window, band), None, {})
    return found


def _tuned_trigger(method: str, windows: Labelled, progress: Progress) -> Tuned:
    best: tuple[float, TriggerSetting, dict[str, float]] | None = None
    spans = LTA_S[:1] if method == Z_DETECT else LTA_S
    settings = list(product(BANDS_HZ, STA_S, spans))
    for band_hz, sta_s, lta_s in progress.over(
        settings, f"tuning {method} on {len(windows)} records", len(settings)
    ):
        setting = TriggerSetting(method, band_hz, sta_s, lta_s)
        curves = [characteristic(window, setting) for window, _ in windows]
        total, ons = 0.0, {}
        for row, phase in enumerate("PS"):
            labelled = [
                (curve[row], labels[phase]) for curve, (_, labels) in zip(curves, windows, strict=True)
            ]
            scores = {
                on: _f1_of(
                    [
                        Found(str(number), tuple(triggers(curve, on)), label)
                        for number, (curve, label) in enumerate(labelled)
                        if label is not None
                    ]
                )
                for on in (ON_SCORES if method == Z_DETECT else ONS)
            }
            ons[phase] = max(scores, key=lambda on: scores[on])
            total += scores[ons[phase]]
        if best is None or total > best[0]:
            best = (total, setting, ons)
    if best is None:
        raise ValueError("there is no setting to try")
    _, setting, ons = best

    def pick(window: NDArray[np.generic]) -> Mapping[str, Sequence[float]]:
        curves = characteristic(window, setting)
        return {phase: triggers(curves[row], ons[phase]) for row, phase in enumerate("PS")}

    described = f"band {setting.band_hz[0]:g} to {setting.band_hz[1]:g} Hz, STA {setting.sta_s:g} s"
    if method != Z_DETECT:
        described += f", LTA {setting.lta_s:g} s"
    described += f", on {ons['P']:g} for P and {ons['S']:g} for S, off at {OFF_PART:g} of it"
    return Tuned(method, described, pick, setting, ons)


def _quality(picker: Picker, windows: Labelled) -> float:
    found: dict[str, list[Found]] = {"P": [], "S": []}
    for number, (window, labels) in enumerate(windows):
        picks = picker(window)
        for phase, label in labels.items():
            if label is not None:
                found[phase].append(Found(str(number), tuple(picks[phase]), label))
    return sum(_f1_of(values) for values in found.values())


def _f1_of(found: Sequence[Found]) -> float:
    hits, false = hits_and_false(found, TUNED_AT_S)
    return f1(hits, false, len(found))
