"""Draws pictures of snippets, at the lowest priority: ``python -m xiaod.tools.plot.snippet``, which the daemon starts.

In, on standard input: a request a line, as JSON. Out: a PNG for each, and a line on standard error for each that failed.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pymseed import MS3TraceList

from xiaod.acquisition.miniseed import channel_of
from xiaod.domain.components import MISSING, ROWS, rows_of
from xiaod.domain.figure import OnsetFigure, PickLine, Waveforms
from xiaod.domain.onsets import PHASES
from xiaod.domain.timegrid import GRID_NS, GRID_RATE_HZ, NS_PER_S, iso_from_ns
from xiaod.tools.plot.png import write_png

LOWEST_PRIORITY = 19


def waveforms_of(path: Path) -> Waveforms:
    """The samples of a miniSEED file of one instrument, in bins that each hold at least one sample.

    Raises:
        ValueError: when there are none.
    """
    traces = MS3TraceList.from_file(str(path), unpack_data=True)
    parts = [
        (channel.component, segment.starttime, float(segment.samprate), segment.np_datasamples)
        for trace in traces
        if (channel := channel_of(trace.sourceid)) is not None
        for segment in trace
    ]
    if not parts:
        raise ValueError(f"{path}: no samples")
    bin_samples = max(1, math.ceil(GRID_RATE_HZ / min(rate_hz for _, _, rate_hz, _ in parts)))
    bin_ns = bin_samples * GRID_NS
    first = min(start_ns for _, start_ns, _, _ in parts) // bin_ns
    last = (
        max(start_ns + round(len(data) * NS_PER_S / rate_hz) for _, start_ns, rate_hz, data in parts)
        // bin_ns
    )
    low = np.full((ROWS, last - first + 1), np.inf)
    high = np.full_like(low, -np.inf)
    rows, components = rows_of({letter for letter, _, _, _ in parts}), [MISSING] * ROWS
    for letter, start_ns, rate_hz, data in parts:
        if letter not in rows:
            continue
        times_ns = start_ns + np.round(np.arange(len(data)) * (NS_PER_S / rate_hz)).astype(np.int64)
        bins = times_ns // bin_ns - first
        np.minimum.at(low[rows[letter]], bins, data)
        np.maximum.at(high[rows[letter]], bins, data)
        components[rows[letter]] = letter
    empty = low > high
    low[empty] = high[empty] = np.nan
    curves = np.full((len(PHASES), last - first + 1), np.nan)
    return Waveforms(first, bin_samples, low, high, curves, "".join(components))


def figure_of(request: Mapping[str, Any]) -> OnsetFigure:
    """What a request asks for."""
    waveforms = waveforms_of(Path(request["miniseed"]))
    lines = [
        PickLine(phase, (time_ns - waveforms.start_ns) / NS_PER_S, uncertainty_s, probability)
        for phase, time_ns, uncertainty_s, probability in request["picks"]
    ]
    return OnsetFigure(
        request["title"],
        waveforms,
        lines,
        band=request["band"],
        time_label=f"seconds after {iso_from_ns(waveforms.start_ns)}",
    )


def main() -> int:
    """Draw what standard input asks for."""
    os.nice(LOWEST_PRIORITY)
    status = 0
    for line in sys.stdin:
        request = json.loads(line)
        try:
            write_png(figure_of(request), Path(request["picture"]))
        except (OSError, ValueError, RuntimeError) as error:
            sys.stderr.write(f"{request['picture']}: {error}\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
