"""Picks and probabilities of an ObsPy stream, by the pipeline of ``xiaod pick``.

Buffers, windows, engine, picker and their settings are those of the daemon and of ``xiaod pick``: the same data give the same final
picks, with the same identifiers and times.

>>> from obspy import read
>>> [(str(pick.channel), pick.phase, pick.stage) for pick in Picker("micro").classify(read())]
[('BW.RJOB..EHZ', 'P', 'final'), ('BW.RJOB..EHN', 'S', 'final')]
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from obspy import Inventory, Stream, Trace, UTCDateTime

from xiaod.config.inventory import stations_of
from xiaod.config.loader import with_early, with_thresholds
from xiaod.domain.onsets import PHASES
from xiaod.domain.timegrid import GRID_NS, GRID_RATE_HZ, NS_PER_S
from xiaod.domain.types import Instrument, Segment
from xiaod.inference import Engine
from xiaod.library.picks import Picks
from xiaod.library.stream_source import StreamSource, runs_of, segments_of
from xiaod.pipeline.factory import open_engine
from xiaod.pipeline.offline import ListSink, located, offline_config, run_offline, tell_unpicked
from xiaod.pipeline.recording import ProbabilitySpan, RecordingEngine
from xiaod.pipeline.settings import picker_settings
from xiaod.process.logs import log_through_python
from xiaod.waveform.data_account import DataAccount

APART_NS = 60 * NS_PER_S
"""Data of an instrument that lie further apart share no array: a stream may have a minute of each of ten years."""


class Picker:
    """A loaded model with its settings; may be used for any number of streams, one after the other."""

    def __init__(
        self,
        model: str | None = None,
        *,
        early: bool = False,
        threshold_p: float | None = None,
        threshold_s: float | None = None,
        early_threshold_p: float | None = None,
        early_threshold_s: float | None = None,
        config: str | Path | None = None,
        stations: Inventory | str | Path | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: a shipped one, ``micro`` or ``small``, or the path of an ONNX file; None: that of the configuration, ``micro``.
            early: whether :meth:`classify` gives early picks too, and what withdraws them.
            threshold_p: probability, 0 to 1, from which a peak is a final P pick; None: that of the configuration or the model.
            threshold_s: the same for S.
            early_threshold_p: the same for early P picks.
            early_threshold_s: the same for early S picks.
            config: a configuration of the daemon, which gives model, windows and picker; None: the defaults.
            stations: an ObsPy inventory, or a file of StationXML: where it has responses, final picks get the motion of the ground; None:
                ``stations_file`` of the configuration.

        Raises:
            ConfigError: when the configuration or a threshold is wrong.
            ModelError: when the model cannot be used.
            StationsError: when the file of stations cannot be used.
        """
        # Lines about the data are warnings of the logger "xiaod".
        log_through_python()
        thresholds = {
            "threshold_p": threshold_p,
            "threshold_s": threshold_s,
            "early_threshold_p": early_threshold_p,
            "early_threshold_s": early_threshold_s,
        }
        given = {name: value for name, value in thresholds.items() if value is not None}
        path = None if config is None else Path(config)
        self._config = with_thresholds(offline_config(path, model, early, "model"), given)
        self._config = (
            self._config.located(stations_of(stations))
            if isinstance(stations, Inventory)
            else located(self._config, None if stations is None else Path(stations))
        )
        self._final_alone = with_early(self._config, "off")
        self._engine = open_engine(self._config)

    @property
    def model(self) -> str:
        """Name and version of the model, such as ``micro-0.1.0``."""
        return self._engine.spec.label

    def classify(self, stream: Stream) -> Picks:
        """Picks of a stream: of any stations, sampling rates and components, with gaps, in any order. The stream stays as it is.

        Streams of less than a window (20 s) give none; a warning names them.

        Raises:
            ValueError: when a trace cannot be used; the message names it.
        """
        return self._run(segments_of(stream), self._engine, early=True)

    def annotate(self, stream: Stream) -> Stream:
        """Probabilities of P and S for each instrument of a stream, at 100 Hz, as ``xiaod plot`` draws them.

        Each is a trace named after the instrument, with the phase in place of the component: ``BW.RJOB..EHP``. Where data have gaps, or
        are shorter than a window, so have probabilities.

        Raises:
            ValueError: when a trace cannot be used; the message names it.
        """
        segments = segments_of(stream)
        spans = _spans_of(segments)
        if spans:
            settings = picker_settings(self._final_alone, self._engine, next(iter(spans)), "final")
            recording = RecordingEngine(self._engine, settings, lambda instrument: spans[instrument])
            self._run(segments, recording, early=False)
        return Stream(
            [trace for _, own in sorted(spans.items()) for span in own for trace in _traces_of(span)]
        )

    def _run(self, segments: Sequence[Segment], engine: Engine, early: bool) -> Picks:
        config = self._config if early else self._final_alone
        source, sink, account = StreamSource(segments), ListSink(), DataAccount()
        # In a thread: notebooks have an event loop that runs already.
        with ThreadPoolExecutor(1, thread_name_prefix="xiaod") as executor:
            running = executor.submit(run_offline, config, engine, source, sink, account=account)
            try:
                running.result()
            finally:
                # After Ctrl-C, too.
                source.stop()
        tell_unpicked(account.unpicked, config)
        return Picks(sink.picks, config.agency)


def _spans_of(segments: Iterable[Segment]) -> dict[Instrument, list[ProbabilitySpan]]:
    """Spans of time with data of each instrument."""
    times: dict[Instrument, list[tuple[int, int]]] = {}
    for segment in segments:
        times.setdefault(segment.channel.instrument, []).append((segment.start_ns, segment.next_ns))
    spans = {}
    for instrument, own in times.items():
        own.sort()
        joined = [own[0]]
        for start_ns, stop_ns in own[1:]:
            first_ns, last_ns = joined[-1]
            if start_ns <= last_ns + APART_NS:
                joined[-1] = first_ns, max(last_ns, stop_ns)
            else:
                joined.append((start_ns, stop_ns))
        spans[instrument] = [ProbabilitySpan(instrument, *one) for one in joined]
    return spans


def _traces_of(span: ProbabilitySpan) -> list[Trace]:
    """The known probabilities of P and of S, as traces."""
    instrument, probabilities = span.instrument, span.probabilities
    known = runs_of(~np.isnan(probabilities[0]))
    return [
        Trace(
            probabilities[row, part].copy(),
            {
                "network": instrument.network,
                "station": instrument.station,
                "location": instrument.location,
                "channel": instrument.band + phase,
                "sampling_rate": GRID_RATE_HZ,
                "starttime": UTCDateTime(ns=(span.first + part.start) * GRID_NS + span.offset_ns),
            },
        )
        for row, phase in enumerate(PHASES)
        for part in known
    ]
