"""Accuracy against delay: a student with the daemon's own picker, for each lookahead and hop.

The delay of a pick is the time in the data from the labelled onset to the end of the window that decided; delays of the feed, the
length of records and the machine are added to it. Onsets are at the same sample in many records, so the grid of windows is shifted
at random in each (seed: CRC-32 of the record's name).

>>> def annotate(windows):
...     curve = np.exp(-0.5 * ((windows[:, :1] - 2500) / 10) ** 2)  # these samples hold their own index
...     return np.concatenate([1 - curve, curve, 0 * curve], axis=1)
>>> waves, none = np.tile(np.arange(4000.0, dtype=np.float32), (3, 1)), np.zeros((3, 0), np.float16)
>>> record = Record("a", "XX.A", "event", waves, none, (), (2500.0, None))
>>> [p, s] = trade_off(annotate, [record], 1000, (0.3, 0.3), lookahead_s=0.5, hop_s=0.5)
>>> p.f1_01, p.labels, 0.5 <= p.delay_median_s <= 1.0
(1.0, 1, True)
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.annotators import Annotate
from distill.corpus import Record
from distill.scores import Found, f1, hits_and_false
from distill.serving import FINAL, PHASE_ROWS, decisions, sample_of
from models.conventions import RATE_HZ
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


def trade_off(
    annotate: Annotate,
    records: Sequence[Record],
    length: int,
    thresholds: tuple[float, float],
    lookahead_s: float,
    hop_s: float,
) -> list[TradeOff]:
    """Accuracy and delay on all labelled onsets that have a whole window before them and :data:`AFTER_S` after them."""
    hop, lookahead = round(hop_s * RATE_HZ), round(lookahead_s * RATE_HZ)
    stage: Stage = "final" if lookahead >= FINAL.lookahead else "early"
    settings = PickerSettings(thresholds, hop, "evaluated", "", lookahead=lookahead, stage=stage)
    before, after = round(BEFORE_S * RATE_HZ), round(AFTER_S * RATE_HZ)
    found: dict[str, list[Found]] = {"P": [], "S": []}
    delays: dict[str, list[float]] = {"P": [], "S": []}
    for record in records:
        left_out = zlib.crc32(record.name.encode()) % hop
        waves = record.waves[:, left_out:]
        for row, phase in PHASE_ROWS:
            pick = record.analyst[row - 1]
            if pick is None:
                continue
            label = pick - left_out
            if label < length + before or label + after > waves.shape[1]:
                continue
            picks = [
                (at, sample_of(made))
                for at, made in decisions(
                    annotate,
                    waves,
                    length,
                    settings,
                    round(label) - before - length,
                    round(label) + after,
                )
                if made.phase == phase and abs(sample_of(made) - label) <= before
            ]
            found[phase].append(Found(record.name, tuple(sample for _, sample in picks), label))
            near = [
                (abs(sample - label), at) for at, sample in picks if abs(sample - label) <= MATCH_S * RATE_HZ
            ]
            if near:
                delays[phase].append((min(near)[1] - label) / RATE_HZ)
    result = []
    for phase, values in found.items():
        at_01, at_05 = (
            f1(*hits_and_false(values, tolerance_s), len(values)) for tolerance_s in (0.1, MATCH_S)
        )
        median, late = np.percentile(delays[phase], (50, 95)) if delays[phase] else (0.0, 0.0)
        result.append(
            TradeOff(
                phase,
                lookahead_s,
                hop_s,
                at_01,
                at_05,
                len(values),
                round(float(median), 2),
                round(float(late), 2),
                len(delays[phase]),
            )
        )
    return result
