"""The JSON documents of the API. That of a pick is in :mod:`xiaod.domain.document`.

>>> from xiaod.pipeline.trace import Trace
>>> trace_document("BW.RJOB..EH", Trace(), 0)["p"]
[]
"""

import base64
import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xiaod.config.inventory import NO_STATIONS, Site, Stations
from xiaod.domain.onsets import BAND_HZ
from xiaod.domain.timegrid import NS_PER_S, iso_from_ns
from xiaod.pipeline.envelopes import Envelope
from xiaod.pipeline.monitor import PhaseStatus, StationStatus
from xiaod.pipeline.problems import Problem
from xiaod.pipeline.trace import Trace

DIGITS = 4
"""Significant digits of samples, by their largest; decimal digits of probabilities."""


def station_document(status: StationStatus, host_ns: int, stations: Stations = NO_STATIONS) -> dict[str, Any]:
    """One station; ages are those at ``host_ns`` of the host's clock, and its site is that of its newest sample."""
    entry, condition = status.entry, status.condition
    instrument, pick = entry.instrument, entry.last_pick
    newest_ns = entry.newest_ns
    return {
        "id": instrument.text,
        "network": instrument.network,
        "station": instrument.station,
        "location": instrument.location,
        "band": instrument.band,
        "site": site_document(stations.find(instrument, host_ns if newest_ns is None else newest_ns)),
        "source": entry.source,
        "state": condition.state,
        "newest": None if newest_ns is None else iso_from_ns(newest_ns),
        "delay_s": None if newest_ns is None else round((host_ns - newest_ns) / NS_PER_S, 2),
        "latency_s": None if entry.latency_s is None else round(entry.latency_s, 2),
        "silent_s": round(condition.silent_s, 1),
        "records": entry.records,
        "gaps": entry.gaps.count,
        "gap_s": round(entry.gaps.total_s, 2),
        "overlaps": entry.overlaps,
        "picks": entry.picks,
        "early_picks": entry.early_picks,
        "withdrawn_picks": entry.withdrawn_picks,
        "pick_latency_s": {
            "early": None if entry.early_latency_s is None else round(entry.early_latency_s, 2),
            "final": None if pick is None or pick.latency is None else round(pick.latency.total_s, 2),
        },
        "last_pick": None
        if pick is None
        else {
            "id": pick.id,
            "phase": pick.phase,
            "time": iso_from_ns(pick.time_ns),
            "probability": round(pick.probability, DIGITS),
        },
        "phases": {phase.phase: _phase_document(phase) for phase in status.phases},
    }


def site_document(site: Site | None) -> dict[str, Any] | None:
    """Name and coordinates of a station; None when they are unknown."""
    return None if site is None else asdict(site)


def problem_document(problem: Problem) -> dict[str, str]:
    """Something that is wrong."""
    return {"code": problem.code, "text": problem.text}


def trace_document(station: str, trace: Trace, first: int | None = None) -> dict[str, Any]:
    """Bins of a trace, null where there are no data; bin ``first`` begins ``first * bin_s`` seconds after 1970.

    Args:
        station: identifier of the instrument.
        trace: of it.
        first: from this bin on; None: from the oldest with data.
    """
    raw = trace.part(first)
    band = trace.part(raw.first, band=True)
    return {
        "station": station,
        "components": raw.components,
        "first": raw.first,
        "bin_s": raw.bin_s,
        "start": iso_from_ns(raw.start_ns),
        "low": _rows(raw.low),
        "high": _rows(raw.high),
        "band_hz": list(BAND_HZ),
        "band_low": _rows(band.low),
        "band_high": _rows(band.high),
        "p": _numbers(raw.probabilities[0], DIGITS),
        "s": _numbers(raw.probabilities[1], DIGITS),
    }


def envelope_document(envelope: Envelope, first: int) -> dict[str, Any]:
    """The bins of an envelope from one on. ``peaks`` has base64 of two bytes for each: the upper half of a float32, the lower byte first.

    >>> from xiaod.pipeline.envelopes import WALL_BINS
    >>> envelope = Envelope(WALL_BINS)
    >>> envelope.put(7, np.array([1.0, np.nan, 1234.5], np.float32))
    >>> envelope_document(envelope, 0)
    {'first': 7, 'peaks': 'gD/Af5pE'}
    """
    begin, peaks = envelope.since(first)
    halves = (peaks.astype("<f4").view("<u4") >> 16).astype("<u2")
    return {"first": begin, "peaks": base64.b64encode(halves.tobytes()).decode()}


def _phase_document(phase: PhaseStatus) -> dict[str, Any]:
    return {
        "threshold": None if phase.threshold is None else round(phase.threshold, DIGITS),
        "highest": None if phase.highest is None else round(phase.highest, DIGITS),
        "reason": phase.reason.code,
        "text": phase.reason.text,
    }


def _rows(values: NDArray[np.floating]) -> list[list[float | None]]:
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    digits = DIGITS - 1 - math.floor(math.log10(largest)) if largest > 0 else 0
    return [_numbers(row, digits) for row in values]


def _numbers(row: NDArray[np.floating], digits: int) -> list[float | None]:
    # Rounded in double precision, so that the decimal text is short.
    values: list[float] = np.round(row.astype(np.float64), digits).tolist()
    number = int if digits <= 0 else float
    return [number(value) if math.isfinite(value) else None for value in values]
