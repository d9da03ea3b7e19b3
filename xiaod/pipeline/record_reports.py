"""What is told of records, gaps and connections: counted, logged, noted in the station table, and in the account of a run that ends."""

from xiaod.domain.types import BadRecord, Instrument, LinkChange, Segment
from xiaod.pipeline.station_table import StationTable
from xiaod.process.grouped_log import GroupedLog
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.waveform.channel import Contradiction, Gap, RecordOutcome
from xiaod.waveform.data_account import DataAccount

LOGGED_OUTCOMES = frozenset(
    {
        RecordOutcome.EXPIRED,
        RecordOutcome.FUTURE,
        RecordOutcome.CLOCK_STEP,
        RecordOutcome.RATE,
        RecordOutcome.COMPONENT,
    }
)
"""Outcomes that are logged, once for each instrument until another one follows."""
STATION_LINES = 30
STATION_PERIOD_S = 3600.0
"""At most so many gaps, and odd records of each kind, of one instrument are logged within this time; all are counted."""
BAD_PERIOD_S = 86_400.0
"""Bad records are logged once within this time, for each reason and stream."""
SOME = 5
"""Stations that one line of the log names."""
MAX_GAP_S = 30 * 86_400.0
"""A longer one is no gap: the clock of the station was wrong."""


class RecordReports:
    """Tells of what is not as usual with the data of all instruments."""

    def __init__(self, metrics: Metrics, station_table: StationTable, account: DataAccount | None) -> None:
        """Begin; ``account``: of the data of each instrument, in a run that ends."""
        self._metrics = metrics
        self._station_table = station_table
        self._account = account
        self._log = get_logger("assemble")
        self._grouped_log = GroupedLog(self._log, STATION_LINES, STATION_PERIOD_S)
        self._bad_log = GroupedLog(self._log, 1, BAD_PERIOD_S)

    def outcome(self, segment: Segment, outcome: RecordOutcome, now_ns: int | None, again: bool) -> None:
        """Count a record that overlaps others, or log that one is refused, once until another outcome follows."""
        if outcome is RecordOutcome.OVERLAPPING:
            self._station_table.entry(segment.channel.instrument, segment.source, now_ns or 0).overlaps += 1
        if outcome not in LOGGED_OUTCOMES:
            return
        stream, rate_hz = str(segment.channel), segment.sampling_rate_hz
        if self._account is not None:
            self._account.note(f"record.{outcome.value}", stream, segment.start_ns, sampling_rate_hz=rate_hz)
        if not again:
            self._grouped_log.tell(
                "warning",
                f"record.{outcome.value}",
                segment.channel.instrument.text,
                stream=stream,
                source=segment.source,
                start_ns=segment.start_ns,
                sampling_rate_hz=rate_hz,
            )

    def contradictions(self, instrument: Instrument, found_in: list[Contradiction]) -> None:
        """Records overlap others with different samples; the list is emptied."""
        for found in found_in:
            self._station_table.contradicted(instrument)
            stream, overlap_s = str(found.channel), round(found.overlap_s, 3)
            self._grouped_log.tell(
                "warning",
                "record.contradicting",
                instrument.text,
                stream=stream,
                start_ns=found.start_ns,
                overlap_s=overlap_s,
            )
            if self._account is not None:
                self._account.note("record.contradicting", stream, found.start_ns, overlap_s=overlap_s)
        found_in.clear()

    def gap(self, gap: Gap) -> None:
        """Samples of a channel are missing, or the clock of its station has jumped."""
        stream, instrument = str(gap.channel), gap.channel.instrument.text
        if gap.gap_s > MAX_GAP_S:
            self._grouped_log.tell(
                "warning",
                "station.time_jump",
                instrument,
                stream=stream,
                start_ns=gap.start_ns,
                stop_ns=gap.stop_ns,
            )
            if self._account is not None:
                self._account.note("station.time_jump", stream, gap.start_ns, stop_ns=gap.stop_ns)
            return
        self._station_table.gap(gap)
        self._grouped_log.tell(
            "info",
            "station.gap",
            instrument,
            stream=stream,
            start_ns=gap.start_ns,
            gap_s=round(gap.gap_s, 3),
        )

    def bad_record(self, record: BadRecord) -> None:
        """A record cannot be used."""
        self._metrics.bad_records.labels(record.source, record.reason).inc()
        self._metrics.records.received(record.source, record.record_bytes)
        self._bad_log.tell(
            "warning",
            "record.bad",
            # Each damaged file is logged.
            record.file or record.stream,
            f"{record.source} {record.reason}",
            source=record.source,
            reason=record.reason,
            stream=record.stream,
            detail=record.detail,
        )

    def link_change(self, change: LinkChange, now_ns: int) -> None:
        """The connection of a source has changed."""
        metrics = self._metrics
        self._station_table.links[change.source] = change.state
        if change.state in {"disconnected", "connect_failed"}:
            self._station_table.failures[change.source] = change.detail or change.state
        elif change.state != "connecting":
            self._station_table.failures.pop(change.source, None)
        metrics.connected.labels(change.source).set(change.state == "streaming")
        if change.state in {"disconnected", "connect_failed"}:
            metrics.reconnects.labels(change.source).inc()
        if change.state == "streaming":
            self._station_table.expect(change.source, change.channels, now_ns)
        retry = {} if change.retry_s is None else {"retry_s": round(change.retry_s, 2)}
        level = self._log.warning if change.state in {"disconnected", "connect_failed"} else self._log.info
        level(
            f"source.{change.state}",
            source=change.source,
            detail=change.detail,
            channels=len(change.channels),
            **retry,
        )
        if change.state == "streaming":
            metrics.left_out.labels(change.source).set(len(change.left_out))
        if change.left_out:
            self._log.warning(
                "source.stations_left_out",
                source=change.source,
                stations=len(change.left_out),
                some=list(change.left_out[:SOME]),
                remedy="raise max_stations of the source, and the memory limits with it, or choose streams",
            )

    def forgotten(self, instrument: Instrument) -> None:
        """An instrument has left the station table."""
        self._grouped_log.tell("warning", "station.forgotten", instrument.text, instrument=instrument.text)

    def flush(self, everything: bool = False) -> None:
        """Write waiting lines about stations: see :class:`~xiaod.process.grouped_log.GroupedLog`."""
        self._grouped_log.flush(everything)
        self._bad_log.flush(everything)
