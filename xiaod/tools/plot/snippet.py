"""Draws pictures of snippets, at the lowest priority: ``python -m xiaod.tools.plot.snippet``, which the daemon starts.

In, on standard input: a request a line, as JSON. Out: a PNG for each, and a line on standard error for each that failed. Samples are shown
as in other plots: on the 100 Hz grid, in the band in which onsets are measured.
"""

import json
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
from xiaod.domain.timegrid import iso_from_ns
from xiaod.picking.band import band_passed
from xiaod.tools.plot.png import BAND_UNIT, write_png
from xiaod.waveform.resample import converter_for

LOWEST_PRIORITY = 19


def waveforms_of(path: Path) -> Waveforms:
    """The samples of a miniSEED file of one instrument, in the band.

    Raises:
        ValueError: when there are none, or their rate is none that the picker takes.
    """
    parts = []
    for trace in MS3TraceList.from_file(str(path), unpack_data=True):
        channel = channel_of(trace.sourceid)
        for segment in trace:
            converter = converter_for(float(segment.samprate), segment.starttime)
            first, part = converter.push(segment.np_datasamples)
            if channel is not None and len(part):
                parts.append((channel.component, first, part))
    if not parts:
        raise ValueError(f"{path}: no samples")
    first = min(begin for _, begin, _ in parts)
    samples = np.full((ROWS, max(begin + len(part) for _, begin, part in parts) - first), np.nan)
    rows, components = rows_of({letter for letter, _, _ in parts}), [MISSING] * ROWS
    for letter, begin, part in parts:
        if letter in rows:
            samples[rows[letter], begin - first : begin - first + len(part)] = part
            components[rows[letter]] = letter
    shown = band_passed(samples)
    curves = np.full((len(PHASES), samples.shape[1]), np.nan)
    return Waveforms(first, 1, shown, shown, curves, "".join(components))


def figure_of(request: Mapping[str, Any]) -> OnsetFigure:
    """What a request asks for."""
    waveforms = waveforms_of(Path(request["miniseed"]))
    lines = [
        PickLine.picked(waveforms.start_ns, phase, time_ns, uncertainty_s, probability, snr, "final")
        for phase, time_ns, uncertainty_s, probability, snr in request["picks"]
    ]
    return OnsetFigure(
        request["title"],
        waveforms,
        lines,
        band=request["band"],
        unit=BAND_UNIT,
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
