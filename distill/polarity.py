"""How often the first motion of a P is decided, and how often against the analyst.

The picks are final ones of :class:`xiaod.library.Picker`, so of the daemon's own code. Each record counts as it is, and again with more of
its own noise, from before the P: there are few labels, and most are of clear onsets. Analysts err too, and say nothing where they are not
sure: both rates are of onsets whose first motion a person could tell.

>>> found = [FirstMotion("up", "up", 30.0, "a"), FirstMotion("up", "undecidable", 4.0, "a")]
>>> print(table("snr", found, by_snr, SNR_NAMES))
| snr | picks | decided | against the analyst |
|---|---|---|---|
| 3 to 5 | 1 | 0 % |  |
| 20 to 50 | 1 | 100 % | 0 of 1 (at most 79 %) |
| all | 2 | 50 % | 0 of 1 (at most 79 %) |
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from obspy import Stream, Trace, UTCDateTime

from distill.datasets import Waveform
from models.conventions import RATE_HZ
from xiaod.domain.timegrid import GRID_NS
from xiaod.domain.types import Polarity
from xiaod.library import Picker

NEAR_S = 0.5
"""A pick so near the analyst's is of the same onset."""
BEFORE_S, AFTER_S = 40.0, 20.0
"""What is picked of a record: so much around the analyst's P."""
QUIET_S = 1.0
"""What counts as noise of a record ends so long before its P."""
LEAST_QUIET_S = 10.0
"""A record with less of it is not repeated with more noise."""
NOISE_TIMES = (0.0, 2.0, 8.0, 32.0)
"""How many times its noise is added to a record."""
SNR_EDGES = (3.0, 5.0, 10.0, 20.0, 50.0)
SNR_NAMES = ("below 3", "3 to 5", "5 to 10", "10 to 20", "20 to 50", "50 and more")
NORMAL_95 = 1.96


@dataclass(frozen=True)
class FirstMotion:
    """Of a pick at an onset whose first motion an analyst has read."""

    label: Polarity
    found: Polarity
    snr: float
    """Of the pick."""
    origin: str
    """Where the label was published."""


def first_motions(picker: Picker, waveforms: Iterable[Waveform]) -> Iterator[tuple[float, FirstMotion]]:
    """Those of final P picks at labelled onsets; with each, how many times the noise was added. An onset without a pick gives none."""
    for waveform in waveforms:
        onset = waveform.analyst[0]
        if onset is None or waveform.polarity is None:
            continue
        begin = max(0, round(onset - BEFORE_S * RATE_HZ))
        waves = waveform.waves[:, begin : round(onset + AFTER_S * RATE_HZ)].astype(np.float64)
        quiet = waves[:, : max(0, round(onset - QUIET_S * RATE_HZ) - begin)]
        added = NOISE_TIMES if quiet.shape[1] >= LEAST_QUIET_S * RATE_HZ else NOISE_TIMES[:1]
        stream = Stream()
        for number, times in enumerate(added):
            stream += _stream(
                waves + times * _repeated(quiet, waves.shape[1]) if times else waves, f"N{number}"
            )
        nearest: dict[str, tuple[float, FirstMotion]] = {}
        for pick in picker.classify(stream):
            apart_s = abs(pick.time_ns / GRID_NS - (onset - begin)) / RATE_HZ
            if pick.polarity is None or apart_s > NEAR_S:
                continue
            station = pick.channel.station
            if station not in nearest or apart_s < nearest[station][0]:
                one = FirstMotion(waveform.polarity, pick.polarity, pick.snr, waveform.origin)
                nearest[station] = apart_s, one
        for number, times in enumerate(added):
            if (found := nearest.get(f"N{number}")) is not None:
                yield times, found[1]


def report(picker: Picker, waveforms: Iterable[Waveform]) -> str:
    """Both rates as tables: of records as they are, by the ratio of the pick and by origin, and of all with more noise."""
    labelled = list(waveforms)
    made = list(first_motions(picker, labelled))
    plain = [one for times, one in made if not times]
    if not plain:
        return f"{picker.model}: no final P pick at any of {len(labelled)} onsets"
    return "\n\n".join(
        [
            f"{picker.model}: P picks at {len(plain)} of {len(labelled)} onsets whose first motion an analyst has read",
            table("snr", plain, by_snr, SNR_NAMES),
            table("labels of", plain, by_origin),
            f"The same records, and again with {', '.join(f'{times:g}' for times in NOISE_TIMES if times)} times their noise added",
            table("snr", [one for _, one in made], by_snr, SNR_NAMES),
        ]
    )


def by_snr(one: FirstMotion) -> str:
    """Name of the range of its ratio."""
    return SNR_NAMES[sum(one.snr >= edge for edge in SNR_EDGES)]


def by_origin(one: FirstMotion) -> str:
    """Where its label was published."""
    return one.origin


def table(
    name: str, found: Sequence[FirstMotion], group: Callable[[FirstMotion], str], order: Sequence[str] = ()
) -> str:
    """Rates in Markdown, a row for each group and one for all.

    Args:
        name: of the groups.
        found: at least one.
        group: name of the group of one.
        order: of the groups; those that are not in it follow.
    """
    names = dict.fromkeys((*order, *sorted(map(group, found))))
    rows = {one: [each for each in found if group(each) == one] for one in names} | {"all": list(found)}
    return "\n".join(
        [
            f"| {name} | picks | decided | against the analyst |",
            "|---|---|---|---|",
            *(f"| {one} | {_rates(own)} |" for one, own in rows.items() if own),
        ]
    )


def _rates(found: Sequence[FirstMotion]) -> str:
    decided = [one for one in found if one.found != "undecidable"]
    wrong = sum(one.found != one.label for one in decided)
    said = f"{len(found)} | {100 * len(decided) / len(found):.0f} % | "
    if not decided:
        return said
    return f"{said}{wrong} of {len(decided)} (at most {100 * at_most(wrong, len(decided)):.0f} %)"


def at_most(wrong: int, of: int) -> float:
    """Upper limit of a rate, at 95 % (Wilson 1927, doi:10.2307/2276774, both sides).

    >>> round(at_most(0, 1), 2), round(at_most(5, 100), 2)
    (0.79, 0.11)
    """
    rate, square = wrong / of, NORMAL_95**2 / of
    spread = NORMAL_95 * math.sqrt(rate * (1 - rate) / of + square / of / 4)
    return (rate + square / 2 + spread) / (1 + square)


def _repeated(quiet: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """Noise of so many samples: back and forth, so that the pieces join; its mean is zero."""
    pieces = [quiet, quiet[:, ::-1]] * (samples // (2 * quiet.shape[1]) + 1)
    repeated: NDArray[np.float64] = np.concatenate(pieces, axis=1)[:, :samples] - quiet.mean(axis=1)[:, None]
    return repeated


def _stream(waves: NDArray[np.float64], station: str) -> Stream:
    """A record as a stream that begins in 1970; components that are missing have no trace."""
    return Stream(
        [
            Trace(
                row,
                {
                    "network": "XX",
                    "station": station,
                    "channel": f"HH{letter}",
                    "sampling_rate": RATE_HZ,
                    "starttime": UTCDateTime(0),
                },
            )
            for letter, row in zip("ZNE", waves, strict=True)
            if row.any()
        ]
    )
