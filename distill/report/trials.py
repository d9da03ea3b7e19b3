"""Harder data: damaged windows, two events close together, noise.

>>> waves = np.ones((3, 3000)); waves[:, 1000:1100] = 50
>>> damaged = DAMAGES["vertical alone"](waves, 1000.0)
>>> float(damaged[0].max()), float(np.abs(damaged[1:]).max())
(50.0, 0.0)
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from distill.corpus import Record
from distill.progress import SILENT, Progress
from distill.report.contenders import Contender
from distill.report.scoring import Looked, Number, f1_of
from distill.report.windows import LabelledWindow
from distill.serving import PHASE_ROWS, picks_per_hour
from models.conventions import PHASES, RATE_HZ

TOLERANCES_S = (0.1, 0.5)
CLIP_AT = 0.2
GAP_S, GAP_BEFORE_S = 1.0, 2.0
SPIKES, SPIKE_TIMES = 3, 5.0
DISTANCES_S = (1.5, 2.0, 3.0, 5.0, 8.0)
CLOSE_S = 0.5

Damage = Callable[[NDArray[np.floating], float], NDArray[np.floating]]
"""Waves ``(3, n)`` and the sample of P -> damaged waves."""


def _gap(waves: NDArray[np.floating], onset: float) -> NDArray[np.floating]:
    """Samples before P are missing; the last value replaces them."""
    stop = round(onset - GAP_BEFORE_S * RATE_HZ)
    start = max(0, stop - round(GAP_S * RATE_HZ))
    damaged = waves.copy()
    if stop > start:
        damaged[:, start:stop] = damaged[:, start : start + 1]
    return damaged


def _clipped(waves: NDArray[np.floating], onset: float) -> NDArray[np.floating]:
    middle = np.median(waves, axis=1, keepdims=True)
    limit = CLIP_AT * np.abs(waves - middle).max(axis=1, keepdims=True)
    return np.asarray(np.clip(waves, middle - limit, middle + limit))


def _alone(waves: NDArray[np.floating], onset: float) -> NDArray[np.floating]:
    damaged = np.zeros_like(waves)
    damaged[0] = waves[0]
    return damaged


def _without_east(waves: NDArray[np.floating], onset: float) -> NDArray[np.floating]:
    damaged = waves.copy()
    damaged[2] = 0
    return damaged


def _without_vertical(waves: NDArray[np.floating], onset: float) -> NDArray[np.floating]:
    damaged = waves.copy()
    damaged[0] = 0
    return damaged


def _spiky(waves: NDArray[np.floating], onset: float) -> NDArray[np.floating]:
    rng = np.random.default_rng(zlib.crc32(f"{onset:.2f}".encode()))
    damaged = waves.copy()
    places = rng.integers(0, waves.shape[1], SPIKES)
    damaged[:, places] += SPIKE_TIMES * waves.std(axis=1, keepdims=True)
    return damaged


def _sampled_at(factor: int) -> Damage:
    def damage(waves: NDArray[np.floating], onset: float) -> NDArray[np.floating]:
        offset = waves.mean(axis=1, keepdims=True)
        coarse = resample_poly(waves - offset, 1, factor, axis=1, padtype="line")
        fine = resample_poly(coarse, factor, 1, axis=1, padtype="line")[:, : waves.shape[1]]
        return np.asarray(fine + offset)

    return damage


DAMAGES: Mapping[str, Damage] = {
    "as recorded": lambda waves, onset: waves,
    "1 s missing before P": _gap,
    "clipped at 20 % of the peak": _clipped,
    "three spikes": _spiky,
    "vertical alone": _alone,
    "no east component": _without_east,
    "no vertical": _without_vertical,
    "sampled at 50 Hz": _sampled_at(2),
    "sampled at 25 Hz": _sampled_at(4),
}


def robustness(
    contender: Contender, windows: Sequence[LabelledWindow], progress: Progress = SILENT
) -> Iterator[Number]:
    """F1 on damaged windows, the first window of each record."""
    chosen = [window for window in windows if window.number == 0]
    for name, damage in progress.over(DAMAGES.items(), f"{contender.name}: damaged windows", len(DAMAGES)):
        damaged = [
            replace(window, waves=damage(window.waves.astype(np.float64), window.labels["P"] or 0.0))
            for window in chosen
        ]
        looked = Looked(damaged, [contender.curves(window.waves) for window in damaged])
        for phase in PHASES:
            for tolerance_s in TOLERANCES_S:
                value, count = f1_of(contender, looked, phase, tolerance_s)
                yield Number(
                    "robustness", contender.name, phase, f"{name}, {tolerance_s:g} s", "f1", value, count
                )


def close_pairs(
    windows: Sequence[LabelledWindow],
) -> dict[float, list[tuple[NDArray[np.float64], tuple[float, float]]]]:
    """Windows in which a second event follows the first, by their distance in seconds, with the samples of both P.

    The second event is from another record, drawn by the name of the first, and scaled to the same peak.
    """
    chosen = [window for window in windows if window.number == 0 and window.labels["P"] is not None]
    pairs: dict[float, list[tuple[NDArray[np.float64], tuple[float, float]]]] = {}
    for distance_s in DISTANCES_S:
        for window in chosen:
            others = [other for other in chosen if other.event != window.event]
            if not others:
                continue
            other = others[zlib.crc32(f"{window.record} {distance_s:g}".encode()) % len(others)]
            first, second = window.labels["P"], other.labels["P"]
            if first is None or second is None:
                continue
            shift = round(first + distance_s * RATE_HZ - second)
            added = _shifted(_centred(other.waves), shift)
            waves = _centred(window.waves)
            waves = waves + added * (np.abs(waves).max() / max(float(np.abs(added).max()), 1e-9))
            if second + shift < waves.shape[1] - RATE_HZ:
                pairs.setdefault(distance_s, []).append((waves, (first, second + shift)))
    return pairs


def pair_recall(
    contender: Contender,
    pairs: Mapping[float, Sequence[tuple[NDArray[np.float64], tuple[float, float]]]],
    progress: Progress = SILENT,
) -> Iterator[Number]:
    """Fraction of pairs of which the first P, the second P, and both are picked."""
    for distance_s, members in progress.over(pairs.items(), f"{contender.name}: close events", len(pairs)):
        hits = []
        for waves, places in members:
            picks = contender.look(waves)["P"]
            hits.append([any(abs(pick - place) <= CLOSE_S * RATE_HZ for pick in picks) for place in places])
        seen = np.array(hits)
        for metric, part in (
            ("first", seen[:, 0]),
            ("second", seen[:, 1]),
            ("both", seen.all(axis=1)),
        ):
            yield Number(
                "close events",
                contender.name,
                "P",
                f"{distance_s:g} s apart",
                metric,
                round(float(part.mean()), 3),
                len(members),
            )


def noise_rates(
    contender: Contender, records: Sequence[Record], progress: Progress = SILENT
) -> Iterator[Number]:
    """Picks per station-hour of records of noise; students use the daemon's picker."""
    hours = sum(record.waves.shape[1] for record in records) / RATE_HZ / 3600
    if not hours:
        return
    said = f"{contender.name}: noise"
    if contender.serve is not None:
        looks = len(records) * len(set(contender.thresholds.values()))
        serve = progress.counted(contender.serve, looks, said)
        rates = picks_per_hour(serve, records, contender.thresholds)
        counts = {phase: round(rates[phase] * hours) for phase in PHASES}
    else:
        counts = dict.fromkeys(PHASES, 0)
        for record in progress.over(records, said, len(records)):
            for phase, picks in contender.look(record.waves).items():
                counts[phase] += len(picks)
    for _, phase in PHASE_ROWS:
        yield Number(
            "noise",
            contender.name,
            phase,
            f"{hours:.2f} h",
            "picks_per_hour",
            round(counts[phase] / hours, 2),
            counts[phase],
        )


def _centred(waves: NDArray[np.generic]) -> NDArray[np.float64]:
    exact = waves.astype(np.float64)
    return np.asarray(exact - exact.mean(axis=1, keepdims=True))


def _shifted(waves: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """Shifted by a number of samples; new samples are zero."""
    shifted = np.zeros_like(waves)
    if samples >= 0:
        shifted[:, samples:] = waves[:, : waves.shape[1] - samples]
    else:
        shifted[:, :samples] = waves[:, -samples:]
    return shifted
