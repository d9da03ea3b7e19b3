"""Bootstrap by event, and by origin and event: how much a score varies with the choice of earthquakes, and of where the data come from.

Events are drawn with replacement (Efron 1979, doi:10.1214/aos/1176344552), with all their records and windows, so that
dependent windows stay together.

>>> import numpy as np
>>> counts = {"a": (9, 1, 10), "b": (5, 5, 10), "c": (10, 0, 10)}
>>> low, high = interval(counts)
>>> low < 0.83 < high
True
>>> interval_of_difference(counts, counts)
(0.0, 0.0)
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
SEED = 20
LEVEL = (2.5, 97.5)
"""Percentiles: 95 of 100 draws lie between."""

Counts = Mapping[str, tuple[int, int, int]]
"""Event -> hits, false picks, labels."""


def interval(counts: Counts) -> tuple[float, float]:
    """Limits of F1."""
    return _limits(_draws(counts, sorted(counts)))


def interval_by_origin(origins: Sequence[Counts]) -> tuple[float, float]:
    """Limits of F1 where origins of the data are drawn, and of each that is drawn its events: what new data of other origins may give."""
    rng = np.random.default_rng(SEED)
    total = np.zeros((DRAWS, 3))
    times = rng.multinomial(len(origins), np.full(len(origins), 1 / len(origins)), DRAWS).T
    for counts, drawn in zip(origins, times, strict=True):
        table = np.array(list(counts.values()), np.float64)
        # Drawn twice, an origin gives twice as many events.
        total += rng.multinomial(drawn * len(table), np.full(len(table), 1 / len(table))) @ table
    return _limits(_f1(total))


def interval_of_difference(first: Counts, second: Counts) -> tuple[float, float]:
    """Limits of F1 of the first minus that of the second, on the same draws of events."""
    events = sorted(set(first) | set(second))
    return _limits(_draws(first, events) - _draws(second, events))


def _draws(counts: Counts, events: list[str]) -> NDArray[np.float64]:
    """F1 of each draw."""
    if not events:
        return np.zeros(1)
    table = np.array([counts.get(event, (0, 0, 0)) for event in events], np.float64)
    rng = np.random.default_rng(SEED)
    times = rng.multinomial(len(events), np.full(len(events), 1 / len(events)), DRAWS)
    return _f1(times @ table)


def _f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    hits, false, labels = counts.T
    return np.asarray(2 * hits / np.maximum(hits + false + labels, 1))


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, LEVEL)
    return round(float(low), 3), round(float(high), 3)
