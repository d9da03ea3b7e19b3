"""Plots from files: the files are read once for every few hundred plots, and only data around these are computed.

In: files, a configuration with its engine, and requests. Out: PNGs. Memory is that of one batch of plots.

>>> PlotRequest(Instrument("BW", "RJOB", "", "EH"), 10_000_000_000, "a title", Path("a.png")).span_ns(2.0, 3.0)
(8000000000, 13000000000)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xiaod.acquisition.miniseed import channel_of
from xiaod.acquisition.miniseed_files import FileSource, Wanted
from xiaod.acquisition.patterns import matches
from xiaod.config import Config
from xiaod.domain.codes import safe
from xiaod.domain.figure import OnsetFigure, PickLine, Waveforms
from xiaod.domain.onsets import PHASES
from xiaod.domain.resumption import warm_up_s
from xiaod.domain.timegrid import iso_from_ns, ns_from_s
from xiaod.domain.types import Instrument, Pick
from xiaod.inference import Engine
from xiaod.picking.band import RUN_IN, RUN_IN_S, band_passed
from xiaod.pipeline.offline import ListSink, run_offline
from xiaod.pipeline.recording import RecordedSpan, RecordingEngine
from xiaod.pipeline.settings import picker_settings
from xiaod.tools.plot.png import BAND_UNIT, write_png

if TYPE_CHECKING:
    from pymseed import MS3Record

BEFORE_S, AFTER_S = 10.0, 20.0
"""Shown around a moment by default."""
DOTS = 3
BATCH = 256
"""Plots for which the files are read once."""


@dataclass(frozen=True, slots=True)
class PlotRequest:
    """One plot to make."""

    instrument: Instrument
    at_ns: int
    """The moment that it shows."""
    title: str
    path: Path

    def span_ns(self, before_s: float, after_s: float) -> tuple[int, int]:
        """Begin and end of the plot."""
        return self.at_ns - ns_from_s(before_s), self.at_ns + ns_from_s(after_s)


def instruments_of(
    inputs: Sequence[Path], pattern: str, at_ns: int, before_s: float = BEFORE_S, after_s: float = AFTER_S
) -> list[Instrument]:
    """Instruments with data around a moment, in files, that a stream pattern matches.

    Raises:
        OSError: when a file cannot be read.
        ValueError: when the pattern is not valid.
    """
    if pattern.count(".") != DOTS:
        raise ValueError(
            f"STREAM: {pattern!r}: must be NET.STA.LOC.CHA with * ? [..] wildcards, for example 'AM.R0E05.00.EH?'"
        )
    start_ns, stop_ns = at_ns - ns_from_s(before_s), at_ns + ns_from_s(after_s)
    found: set[Instrument] = set()

    def look(_: Path, record: "MS3Record") -> bool:
        channel = channel_of(record.sourceid)
        near = record.starttime < stop_ns and record.endtime >= start_ns
        if near and channel is not None and matches(channel, [pattern]):
            found.add(channel.instrument)
        return False

    FileSource(inputs, wanted=look).run(lambda _: None)
    return sorted(found)


def make_plots(
    inputs: Sequence[Path],
    config: Config,
    engine: Engine,
    requests: Sequence[PlotRequest],
    before_s: float = BEFORE_S,
    after_s: float = AFTER_S,
    known: Sequence[Pick] | None = None,
    raw: bool = False,
) -> list[PlotRequest]:
    """Draw plots; returns the requests for which there were data.

    Args:
        inputs: miniSEED files and folders.
        config: windows and picker.
        engine: the loaded model.
        requests: what to draw.
        before_s: seconds shown before the moment of each.
        after_s: seconds after it.
        known: picks to draw; None: picks of the data around each request.
        raw: draw samples as they are, not in the band of onsets.

    Raises:
        OSError: when a file cannot be read or written.
    """
    made = []
    for first in range(0, len(requests), BATCH):
        batch = requests[first : first + BATCH]
        spans = [
            RecordedSpan(request.instrument, *request.span_ns(before_s + RUN_IN_S, after_s))
            for request in batch
        ]
        found = _record(inputs, config, engine, spans)
        picks = found if known is None else known
        for request, span in zip(batch, spans, strict=True):
            if np.isfinite(span.samples[:, RUN_IN:]).any():
                write_png(figure_of(request.title, span, picks, config, engine, raw), request.path)
                made.append(request)
    return made


def figure_of(
    title: str, span: RecordedSpan, picks: Sequence[Pick], config: Config, engine: Engine, raw: bool
) -> OnsetFigure:
    """The figure of a span but for its first :data:`~xiaod.picking.band.RUN_IN_S`, which the filter needs."""
    whole = span.waveforms
    samples = (whole.low if raw else band_passed(whole.low))[:, RUN_IN:]
    shown = Waveforms(
        whole.first + RUN_IN, 1, samples, samples, whole.probabilities[:, RUN_IN:], whole.components
    )
    settings = picker_settings(config, engine, span.instrument, "final")
    start_ns = shown.start_ns
    return OnsetFigure(
        title,
        shown,
        [
            PickLine.picked(
                start_ns,
                pick.phase,
                pick.time_ns,
                pick.time_uncertainty_s,
                pick.probability,
                pick.snr,
                pick.stage,
            )
            for pick in picks
            if pick.channel.instrument == span.instrument and start_ns <= pick.time_ns < span.stop_ns
        ],
        {phase: settings.threshold(row, span.components) for row, phase in enumerate(PHASES)},
        span.instrument.band,
        "counts, raw" if raw else BAND_UNIT,
        time_label=f"seconds after {iso_from_ns(start_ns)}",
    )


def plot_picks(
    inputs: Sequence[Path], config: Config, engine: Engine, picks: Sequence[Pick], folder: Path
) -> list[PlotRequest]:
    """A PNG for each pick, named by its identifier.

    Raises:
        OSError: when a file cannot be read or written.
    """
    requests = [
        PlotRequest(
            pick.channel.instrument,
            pick.time_ns,
            f"{pick.phase}  {pick.channel}  {iso_from_ns(pick.time_ns)}  probability {pick.probability:.2f}  "
            f"snr {pick.snr:.1f}  {pick.model}",
            folder / f"{safe(pick.id)}.png",
        )
        for pick in sorted(picks, key=lambda pick: pick.time_ns)
    ]
    return make_plots(inputs, config, engine, requests, known=picks)


def _record(
    inputs: Sequence[Path], config: Config, engine: Engine, spans: Sequence[RecordedSpan]
) -> list[Pick]:
    """Run the pipeline over the data around spans; returns the picks found there."""
    by_instrument: dict[Instrument, list[RecordedSpan]] = {}
    for span in spans:
        by_instrument.setdefault(span.instrument, []).append(span)
    settings = picker_settings(config, engine, spans[0].instrument, "final")
    recording = RecordingEngine(engine, settings, lambda instrument: by_instrument.get(instrument, ()))
    sink = ListSink()
    run_offline(config, recording, FileSource(inputs, wanted=_around(by_instrument, config)), sink)
    return sink.picks


def margins_ns(config: Config) -> tuple[int, int]:
    """Data needed before and after a plot, so that all windows over it are whole, ns."""
    length_s = config.windows.length_s
    return ns_from_s(warm_up_s(length_s)), ns_from_s(length_s)


def _around(by_instrument: dict[Instrument, list[RecordedSpan]], config: Config) -> Wanted:
    """Which records are needed: those around the spans of their instrument."""
    before_ns, after_ns = margins_ns(config)
    around = {
        instrument: [(span.start_ns - before_ns, span.stop_ns + after_ns) for span in spans]
        for instrument, spans in by_instrument.items()
    }

    def wanted(_: Path, record: "MS3Record") -> bool:
        channel = channel_of(record.sourceid)
        return channel is not None and any(
            record.starttime < stop and record.endtime >= start
            for start, stop in around.get(channel.instrument, ())
        )

    return wanted
