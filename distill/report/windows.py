"""The labelled windows of an evaluation, the same for all pickers.

>>> from distill.corpus import Record
>>> waves = np.random.default_rng(0).normal(size=(3, 9000)); waves[:, 4000:4100] *= 10
>>> none = np.zeros((3, 9000), np.float16)
>>> record = Record("a", "XX.A", "event", waves.astype(np.float32), none, (), (4000.0, None))
>>> window = cut_windows([record], {}, 3000)[0]
>>> window.waves.shape, window.labels["S"], 200 <= window.labels["P"] <= 1500, round(window.snr_db) in (19, 20, 21)
((3, 3000), None, True, True)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.config import SourceSection
from distill.corpus import Record
from distill.datasets import open_dataset
from distill.progress import SILENT, Progress
from distill.serving import PHASE_ROWS
from distill.views import MARGIN, P_PLACE_30_S, placed_starts
from models.conventions import RATE_HZ

SNR_S = 1.0
"""Length of the noise before P and of the signal after it."""
SNR_GAP_S = 0.1
"""Time before the pick that belongs to neither."""


@dataclass(frozen=True)
class LabelledWindow:
    """A window with analysts' picks."""

    record: str
    event: str
    number: int
    """Index among the record's windows."""
    waves: NDArray[np.generic]
    """Shape ``(3, n)``, Z N E, counts."""
    labels: Mapping[str, float | None]
    """Sample of each phase in this window; None: no label, or too close to its ends."""
    snr_db: float
    """Of the vertical component, after P and before it."""
    s_minus_p_s: float | None
    origin: str = ""
    """Where its record was published."""


def load_labelled(
    source: SourceSection, shared: Path, progress: Progress = SILENT
) -> tuple[list[Record], str]:
    """Records of a dataset that analysts picked, and its hash; no teacher is needed.

    Raises:
        ConfigError, FileNotFoundError: when it does not exist, or has none.
    """
    dataset = open_dataset(source, shared, progress)
    nothing = np.zeros((3, 0), np.float16)
    records = [
        Record(
            one.name,
            one.station,
            one.kind,
            one.waves,
            nothing,
            (),
            one.analyst,
            one.event,
            origin=one.origin,
        )
        for one in progress.over(dataset, source.path or source.name or source.kind, len(dataset))
        if any(pick is not None for pick in one.analyst)
    ]
    if not records:
        raise FileNotFoundError(f"{source.path or source.name}: holds no record with an analyst's pick")
    return records, dataset.fingerprint


def cut_windows(records: Sequence[Record], events: Mapping[str, str], samples: int) -> list[LabelledWindow]:
    """Windows of all records that have an analyst's P and are long enough, as :func:`distill.views.placed` places them."""
    windows = []
    for record in records:
        p_pick, s_pick = record.analyst
        if p_pick is None or record.waves.shape[1] < samples:
            continue
        for number, start in enumerate(
            placed_starts(record.name, p_pick, record.waves.shape[1], samples, P_PLACE_30_S)
        ):
            windows.append(
                LabelledWindow(
                    record.name,
                    events.get(record.name, record.name),
                    number,
                    record.waves[:, start : start + samples],
                    {
                        phase: None
                        if pick is None or not MARGIN < pick - start < samples - MARGIN
                        else pick - start
                        for (_, phase), pick in zip(PHASE_ROWS, record.analyst, strict=True)
                    },
                    signal_to_noise_db(record.waves[0], p_pick),
                    None if s_pick is None else (s_pick - p_pick) / RATE_HZ,
                    record.origin,
                )
            )
    return windows


def signal_to_noise_db(wave: NDArray[np.generic], onset: float) -> float:
    """Ratio of the root mean squares after and before an onset, each about its mean, in decibels."""
    length, gap, place = round(SNR_S * RATE_HZ), round(SNR_GAP_S * RATE_HZ), round(onset)
    before = np.asarray(wave[max(0, place - gap - length) : max(0, place - gap)], np.float64)
    after = np.asarray(wave[place : place + length], np.float64)
    if not before.size or not after.size:
        return 0.0
    return float(20 * np.log10(max(float(after.std()), 1e-9) / max(float(before.std()), 1e-9)))
