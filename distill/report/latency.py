"""Accuracy against delay: a student with the daemon's own picker, for each lookahead and hop.

The delay of a pick is the time in the data from the labelled onset to the end of the window that decided; delays of the feed, the
length of records and the machine are added to it. Onsets are at the same sample in many records, so the grid of windows is shifted
at random in each (seed: CRC-32 of the record's name).

>>> def annotate(windows):
...     curve = np.exp(-0.5 * ((windows[:, :1] - 2500) / 10) ** 2)  # these samples hold their own index
...     return np.concatenate([1 - curve, curve, 0 * curve], axis=1)
>>> waves, none = np.tile(np.arange(4000.0, dtype=np.float32), (3, 1)), np.zeros((3, 0), np.float16)
>>> record = Record("a", "XX.A", "event", waves, none, (), (2500.0, None))
>>> [p, s] = trade_offs(annotate, [record], 1000, {0.5: (0.3, 0.3)}, hop_s=0.5)
>>> p.f1_01, p.labels, 0.5 <= p.delay_median_s <= 1.0
(1.0, 1, True)
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from distill.annotators import Annotate
from distill.corpus import Record
from distill.progress import SILENT, Progress
from distill.scores import Found, f1, hits_and_false
from distill.serving import FINAL, PHASE_ROWS, Computed, decisions, sample_of
from models.conventions import PHASES, RATE_HZ
from xiaod.domain.types import Stage
from xiaod.picking.picker import PickerSettings

BEFORE_S, AFTER_S = 5.0, 10.0
"""Time around a label that counts; picks in it without a label are false."""
MATCH_S = 0.5


@dataclass(frozen=True)
class TradeOff:
    """Accuracy and delay at one setting."""

    phase: str
    lookahead_s: float
    hop_s: float
    f1_01: float
    """F1 at 0.1 s."""
    f1_05: float
    labels: int
    delay_median_s: float
    delay_p95_s: float
    picked: int


def trade_offs(
    annotate: Annotate,
    records: Sequence[Record],
    length: int,
    thresholds: Mapping[float, tuple[float, float]],
    hop_s: float,
    progress: Progress = SILENT,
) -> list[TradeOff]:
    """Accuracy and delay on all labelled onsets that have a whole window before them and :data:`AFTER_S` after them.

    Args:
        annotate: the student.
        records: those that analysts picked count.
        length: samples of a window.
        thresholds: lookahead in seconds -> thresholds of P and of S. Those of a stage see the same windows, which are computed once.
        hop_s: between windows.
        progress: shows the stage.
    """
    hop, before, after = (round(span_s * RATE_HZ) for span_s in (hop_s, BEFORE_S, AFTER_S))
    settings = {lookahead_s: _settings(own, lookahead_s, hop) for lookahead_s, own in thresholds.items()}
    found: dict[tuple[float, str], list[Found]] = {key: [] for key in product(settings, PHASES)}
    delays: dict[tuple[float, str], list[float]] = {key: [] for key in found}
    for record in progress.over(records, f"delay, hop {hop_s:g} s", len(records)):
        left_out = zlib.crc32(record.name.encode()) % hop
        waves = record.waves[:, left_out:]
        for row, phase in PHASE_ROWS:
            pick = record.analyst[row - 1]
            if pick is None:
                continue
            label = pick - left_out
            if label < length + before or label + after > waves.shape[1]:
                continue
            span = round(label) - before - length, round(label) + after
            computed = {
                stage: Computed(annotate, waves, length, hop, stage, *span)
                for stage in {own.stage for own in settings.values()}
            }
            for lookahead_s, own in settings.items():
                picks = [
                    (at, sample_of(made))
                    for at, made in decisions(computed[own.stage], own)
                    if made.phase == phase and abs(sample_of(made) - label) <= before
                ]
                samples = tuple(sample for _, sample in picks)
                found[lookahead_s, phase].append(Found(record.name, samples, label))
                near = [
                    (abs(sample - label), at)
                    for at, sample in picks
                    if abs(sample - label) <= MATCH_S * RATE_HZ
                ]
                if near:
                    delays[lookahead_s, phase].append((min(near)[1] - label) / RATE_HZ)
    return [
        _trade_off(phase, lookahead_s, hop_s, values, delays[lookahead_s, phase])
        for (lookahead_s, phase), values in found.items()
    ]


def _settings(thresholds: tuple[float, float], lookahead_s: float, hop: int) -> PickerSettings:
    lookahead = round(lookahead_s * RATE_HZ)
    stage: Stage = "final" if lookahead >= FINAL.lookahead else "early"
    return PickerSettings(thresholds, hop, "evaluated", "", lookahead=lookahead, stage=stage)


def _trade_off(
    phase: str, lookahead_s: float, hop_s: float, found: Sequence[Found], delays_s: Sequence[float]
) -> TradeOff:
    at_01, at_05 = (f1(*hits_and_false(found, tolerance_s), len(found)) for tolerance_s in (0.1, MATCH_S))
    median, late = np.percentile(delays_s, (50, 95)) if delays_s else (0.0, 0.0)
    return TradeOff(
        phase,
        lookahead_s,
        hop_s,
        at_01,
        at_05,
        len(found),
        round(float(median), 2),
        round(float(late), 2),
        len(delays_s),
    )
