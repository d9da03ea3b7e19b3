"""Every Prometheus metric of the program: names, help and labels stand here alone.

Names follow Prometheus' conventions: base units, ``_total`` for counters. Labels are few: ``source``, ``sink``, ``phase``,
``station`` (an instrument, ``NET.STA.LOC.BI``). Series of stations (:class:`StationMetrics`) are filled from the station table at each
scrape, so they disappear with their station. Series of sources, sinks and phases exist from the start, with 0, so that an alert sees the
first failure, and a source that never sends anything.

>>> metrics = Metrics()
>>> metrics.picks.labels("P", "final").inc()
>>> b'xiaod_picks_total{phase="P",stage="final"} 1.0' in metrics.exposition()
True
"""

import contextlib
import shutil
import threading
import time
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

STAGES = ("early", "final")
"""Of picks: made within a second of the onset, and made with some seconds of data after it."""
RELOADS = ("done", "refused")
SNIPPET_FILES = ("mseed", "png")
SNIPPET_LOSSES = ("disk", "no_data", "picture", "queue_full")
HTTP_REFUSALS = ("full", "not_http")
SPAN_BUCKETS_S = (0.25, 0.5, 1, 2, 3, 4, 5, 7.5, 10, 20, 40)
LATENCY_BUCKETS_S = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 7.5, 10, 15, 20, 25, 30, 60, 300, 3600)
REVISION_BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2)
"""Of these, 0.1 s parts what confirms an early pick from what revises it."""
WORK_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
ASSOCIATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The metrics of one daemon, on a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        registry.register(ThreadCollector())
        self.build = Info("xiaod_build", "Version of the program", registry=registry)
        self.model = Info("xiaod_model", "Model in use", registry=registry)
        self.records = RecordMetrics()
        registry.register(self.records)
        self.bad_records = Counter(
            "xiaod_bad_records", "Records that could not be used", ["source", "reason"], registry=registry
        )
        self.connected = Gauge(
            "xiaod_source_connected", "1 while a source streams, 0 otherwise", ["source"], registry=registry
        )
        self.reconnects = Counter(
            "xiaod_reconnects",
            "Connections to a source that were lost or refused",
            ["source"],
            registry=registry,
        )
        self.left_out = Gauge(
            "xiaod_stations_left_out",
            "Stations of a source that are not requested: more than max_stations",
            ["source"],
            registry=registry,
        )
        self.queue_depth = Gauge("xiaod_queue_depth", "Items in a queue", ["queue"], registry=registry)
        self.queue_limit = Gauge(
            "xiaod_queue_limit", "Items that a queue can hold", ["queue"], registry=registry
        )
        self.windows = Counter("xiaod_windows", "Windows given to the engine", registry=registry)
        self.batch = Histogram(
            "xiaod_batch_windows",
            "Windows in one call of the engine",
            registry=registry,
            buckets=BATCH_BUCKETS,
        )
        self.inference = Histogram(
            "xiaod_inference_seconds",
            "Duration of one call of the engine",
            registry=registry,
            buckets=WORK_BUCKETS_S,
        )
        self.picks = Counter(
            "xiaod_picks",
            "Picks made; an onset can have one of each stage, early and final",
            ["phase", "stage"],
            registry=registry,
        )
        self.withdrawn = Counter(
            "xiaod_picks_withdrawn",
            "Early picks that were withdrawn: no final pick followed",
            ["phase"],
            registry=registry,
        )
        self.revision = Histogram(
            "xiaod_pick_revision_seconds",
            "How far final picks lie from the early ones of the same onsets, without sign",
            ["phase"],
            registry=registry,
            buckets=REVISION_BUCKETS_S,
        )
        self.undecided = Counter(
            "xiaod_onsets_rejected",
            "Onsets that were noticed, but did not reach the threshold when they were computed again",
            registry=registry,
        )
        self.pick_latency = Histogram(
            "xiaod_pick_latency_seconds",
            "Emission of a pick minus its time; final ones wait for data after the onset",
            ["phase", "stage"],
            registry=registry,
            buckets=LATENCY_BUCKETS_S,
        )
        self.events = Counter(
            "xiaod_events",
            "Versions of events made: announced (early), settled (final), or withdrawn",
            ["stage"],
            registry=registry,
        )
        self.events_late_picks = Counter(
            "xiaod_events_late_picks",
            "P picks that changed no event: their station lags by more than events.wait_s",
            registry=registry,
        )
        self.events_failed = Counter(
            "xiaod_events_failed",
            "Associations that failed unexpectedly, and made no event",
            registry=registry,
        )
        self.bus_picks = Counter(
            "xiaod_bus_picks",
            "Messages that xiaod events has read from the bus: new picks, picks that came before (repeated), and what is no pick (refused)",
            ["result"],
            registry=registry,
        )
        self.events_association = Histogram(
            "xiaod_event_association_seconds",
            "Time that one association of picks with coordinates takes, in its thread",
            registry=registry,
            buckets=ASSOCIATION_BUCKETS_S,
        )
        self.sink_delivered = Counter(
            "xiaod_sink_picks",
            "Picks, of the stages that it takes, and withdrawals delivered to a sink",
            ["sink"],
            registry=registry,
        )
        self.sink_errors = Counter(
            "xiaod_sink_errors", "Deliveries that failed and are tried again", ["sink"], registry=registry
        )
        self.sink_refused = Counter(
            "xiaod_sink_refused", "Picks that a sink refused permanently", ["sink"], registry=registry
        )
        self.sink_left_out = Counter(
            "xiaod_sink_left_out",
            "Messages that a sink did not send on their own: limits, quiet hours",
            ["sink"],
            registry=registry,
        )
        self.sink_backlog = Gauge(
            "xiaod_sink_backlog", "Picks waiting for a sink", ["sink"], registry=registry
        )
        self.sink_duration = Histogram(
            "xiaod_sink_seconds",
            "Duration of one delivery",
            ["sink"],
            registry=registry,
            buckets=WORK_BUCKETS_S,
        )
        self.store_errors = Counter(
            "xiaod_store_errors", "Times that picks could not be stored and picking waited", registry=registry
        )
        self.store_available = Gauge(
            "xiaod_store_available",
            "1 when picks are kept in the store, 0 when they go to the sinks from memory",
            registry=registry,
        )
        self.resume_gaps = Counter(
            "xiaod_resume_gaps",
            "Instruments whose data between two runs were no longer available",
            registry=registry,
        )
        self.resume_gap_s = Counter(
            "xiaod_resume_gap_seconds", "Length of these gaps, all together", registry=registry
        )
        self.reloads = Counter(
            "xiaod_reloads",
            "Reloads of the configuration, by result",
            ["result"],
            registry=registry,
        )
        self.reload_successful = Gauge(
            "xiaod_config_last_reload_successful",
            "1 when the configuration was accepted when it was read last, 0 when it was refused",
            registry=registry,
        )
        self.reload_time = Gauge(
            "xiaod_config_last_reload_success_timestamp_seconds",
            "When a configuration was accepted last, at the start or later",
            registry=registry,
        )
        # prometheus_client's process_start_time_seconds needs /proc/stat, which a service may not see.
        self.start_time = Gauge("xiaod_start_time_seconds", "When the daemon was started", registry=registry)
        self.disk_free = Gauge(
            "xiaod_state_disk_free_bytes", "Room on the disk of the state folder", registry=registry
        )
        self.disk_size = Gauge(
            "xiaod_state_disk_size_bytes", "Size of the disk of the state folder", registry=registry
        )
        self.clock_steps = Counter(
            "xiaod_clock_steps",
            "Times that the host's clock was set by more than a second",
            registry=registry,
        )
        self.state_errors = Counter(
            "xiaod_state_errors", "Times that state could not be saved", registry=registry
        )
        self.stream_clients = Gauge("xiaod_stream_clients", "Listeners to /api/stream", registry=registry)
        self.stream_ended = Counter(
            "xiaod_stream_refused",
            "Listeners to /api/stream that were refused (too many) or dropped (too slow)",
            ["reason"],
            registry=registry,
        )
        self.http_refused = Counter(
            "xiaod_http_refused",
            "Connections to the HTTP port that were refused, or cut to make room: too many at one time (full), or not HTTP (not_http)",
            ["reason"],
            registry=registry,
        )
        self.snippets_written = Counter(
            "xiaod_snippets_written", "Files of snippets written", ["file"], registry=registry
        )
        self.snippets_lost = Counter(
            "xiaod_snippets_lost",
            "Files of snippets that were not written: the disk is full, gone or refuses them (disk), no sample is held (no_data), "
            "the picture cannot be drawn (picture), too many wait (queue_full)",
            ["reason"],
            registry=registry,
        )
        self.snippets_deleted = Counter(
            "xiaod_snippets_deleted", "Files of snippets deleted: too old, or too many", registry=registry
        )
        self.snippet_bytes = Gauge("xiaod_snippet_bytes", "Size of all files of snippets", registry=registry)
        self.snippets_waiting = Gauge(
            "xiaod_snippets_waiting",
            "Final picks that wait for the data of their snippets",
            registry=registry,
        )
        self.held_bytes = Gauge("xiaod_buffer_bytes", "Memory of all sample buffers", registry=registry)
        self.longest_turn = Gauge(
            "xiaod_loop_longest_turn_seconds",
            "Longest turn of the event loop within the last one to two minutes: for so long nothing else was done",
            registry=registry,
        )

        for result in RELOADS:
            self.reloads.labels(result)
        for reason in HTTP_REFUSALS:
            self.http_refused.labels(reason)

    def expect_snippets(self) -> None:
        """Have the series of snippets before the first one."""
        for file in SNIPPET_FILES:
            self.snippets_written.labels(file)
        for reason in SNIPPET_LOSSES:
            self.snippets_lost.labels(reason)

    def expect_events(self) -> None:
        """Have the series of events before the first one."""
        for stage in (*STAGES, "withdrawn"):
            self.events.labels(stage)

    def expect_bus(self) -> None:
        """Have the series of a bus before the first message."""
        for result in ("new", "repeated", "refused"):
            self.bus_picks.labels(result)

    def expect_phase(self, phase: str) -> None:
        """Have the series of a phase before its first pick."""
        for stage in STAGES:
            self.picks.labels(phase, stage)
            self.pick_latency.labels(phase, stage)
        self.withdrawn.labels(phase)
        self.revision.labels(phase)

    def expect_source(self, source: str) -> None:
        """Have the series of a source before it connects."""
        self.records.received(source, 0)
        for series in (self.connected, self.reconnects, self.left_out):
            series.labels(source)

    def forget_source(self, source: str) -> None:
        """Drop what is said of the state of a source: it has been removed."""
        self.connected.remove(source)
        self.left_out.remove(source)

    def expect_sink(self, sink: str) -> None:
        """Have the series of a sink before its first pick."""
        for series in (
            self.sink_delivered, self.sink_errors, self.sink_refused, self.sink_left_out, self.sink_backlog,
            self.sink_duration,
        ):  # fmt: skip
            series.labels(sink)

    def forget_sink(self, sink: str) -> None:
        """Drop the backlog of a sink: it has been removed."""
        self.sink_backlog.remove(sink)

    def config_accepted(self, now_s: float) -> None:
        """Note that a configuration was accepted, at a Unix time."""
        self.reload_successful.set(1)
        self.reload_time.set(now_s)

    def update_disk(self, folder: Path) -> None:
        """Update size and room of the disk of a folder; if that fails the last values stay."""
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            return
        self.disk_free.set(usage.free)
        self.disk_size.set(usage.total)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class RecordMetrics:
    """What is counted of every record, by one thread. A counter of the library takes a lock for each: six times the time of these."""

    def __init__(self) -> None:
        self._bytes: Counts[str] = Counts()
        self._outcomes: Counts[tuple[str, str]] = Counts()
        self._spans = Tally(SPAN_BUCKETS_S)
        self._latencies = Tally(LATENCY_BUCKETS_S)

    def received(self, source: str, record_bytes: int) -> None:
        """Count the bytes of a record of a source, whatever becomes of it."""
        self._bytes[source] += record_bytes

    def judged(self, source: str, outcome: str) -> None:
        """Count a record of a source by what has become of it."""
        self._outcomes[source, outcome] += 1

    def used(self, span_s: float, latency_s: float) -> None:
        """Count a record with new samples: the length of its data, and its arrival minus the time of its last sample, in seconds."""
        self._spans.observe(span_s)
        self._latencies.observe(latency_s)

    def collect(self) -> Iterable[Metric]:
        """Counts as of now; called from any thread."""
        records = CounterMetricFamily(
            "xiaod_records", "Records received, by result", labels=["source", "verdict"]
        )
        for (source, outcome), count in list(self._outcomes.items()):
            records.add_metric([source, outcome], count)
        received = CounterMetricFamily("xiaod_received_bytes", "Bytes of records received", labels=["source"])
        for source, count in list(self._bytes.items()):
            received.add_metric([source], count)
        return [
            records,
            received,
            self._spans.family("xiaod_packet_span_seconds", "Data in a record: how long it took to fill"),
            self._latencies.family(
                "xiaod_feed_latency_seconds", "Arrival of a record minus the time of its last sample"
            ),
        ]


class Tally:
    """The counts of a histogram, by one thread.

    >>> tally = Tally((1, 2))
    >>> for value in (0.5, 2.0, 7.0):
    ...     tally.observe(value)
    >>> [sample.value for sample in tally.family("seconds", "").samples]
    [1.0, 2.0, 3.0, 3.0, 9.5]
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin; ``bounds`` are the upper ones of the buckets, each of which belongs to its bucket."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, documentation: str) -> HistogramMetricFamily:
        """The metric as of now."""
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(names, map(float, accumulate(self._counts)), strict=True))
        return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=self._sum)


class StationMetrics:
    """The metrics of stations, still without series: made and filled for each scrape."""

    def __init__(self) -> None:
        labels = ["station"]
        self.latency = GaugeMetricFamily(
            "xiaod_data_latency_seconds", "Age of the last record's last sample on arrival", labels=labels
        )
        self.delay = GaugeMetricFamily(
            "xiaod_data_delay_seconds", "Age of the newest sample now", labels=labels
        )
        self.stale = GaugeMetricFamily(
            "xiaod_station_stale", "1 when a station has sent nothing for too long", labels=labels
        )
        self.records = CounterMetricFamily("xiaod_station_records", "Records with new samples", labels=labels)
        self.gaps = CounterMetricFamily(
            "xiaod_gaps", "Gaps in the data; overlapping ones of several components are one", labels=labels
        )
        self.gap_s = CounterMetricFamily(
            "xiaod_gap_seconds", "Time in these gaps, in which any component has no data", labels=labels
        )
        self.overlaps = CounterMetricFamily("xiaod_overlaps", "Records that overlapped others", labels=labels)
        self.contradictions = CounterMetricFamily(
            "xiaod_contradictions", "Records with other samples for time that had come already", labels=labels
        )
        self.picks = CounterMetricFamily("xiaod_station_picks", "Final picks made", labels=labels)

    def families(self) -> list[Metric]:
        """All of them."""
        return list(vars(self).values())


class RsamCollector:
    """The mean amplitudes of stations.

    >>> [metric] = RsamCollector(lambda: [("BW.RJOB..EH", 10, 3.5)]).collect()
    >>> metric.samples[0].labels, metric.samples[0].value
    ({'station': 'BW.RJOB..EH', 'minutes': '10'}, 3.5)
    """

    def __init__(self, shown: Callable[[], Iterable[tuple[object, int, float]]]) -> None:
        """Take what tells instrument, minutes, and mean in counts; called from any thread."""
        self._shown = shown

    def collect(self) -> Iterable[Metric]:
        """Means that are not out of date."""
        family = GaugeMetricFamily(
            "xiaod_station_rsam_counts",
            "Mean absolute amplitude of the vertical, in the band of rsam, over the last whole minute or ten minutes",
            labels=["station", "minutes"],
        )
        for instrument, minutes, counts in self._shown():
            family.add_metric([str(instrument), str(minutes)], counts)
        return [family]


class PacketCollector:
    """Packets that sources have received, before they become records."""

    def __init__(self, counts: Callable[[], Mapping[str, Mapping[str, int]]]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """Counts as of now."""
        family = CounterMetricFamily(
            "xiaod_packets",
            "Packets of a source: all that were received; those of them that no pattern selects; those that had come before",
            labels=["source", "outcome"],
        )
        for source, counts in self._counts().items():
            for outcome, count in counts.items():
                family.add_metric([source, outcome], count)
        return [family]


class ThreadCollector:
    """CPU time of each running thread: where the time goes.

    Threads are named after their work: ``source.NAME`` receives and decodes, ``MainThread`` buffers, cuts, merges and picks, ``engine``
    infers, ``sink.NAME`` writes.
    """

    def collect(self) -> Iterable[Metric]:
        """CPU time as of now."""
        family = CounterMetricFamily("xiaod_thread_cpu_seconds", "CPU time of a thread", labels=["thread"])
        shown: set[str] = set()
        for thread in threading.enumerate():
            name = thread.name.removesuffix("_0")
            # Several threads may have one name: the oldest is shown, since a sum would fall when one of them ends.
            if name in shown or thread.ident is None or not thread.is_alive():
                continue
            # It may have ended just now.
            with contextlib.suppress(OSError):
                clock = time.pthread_getcpuclockid(thread.ident)
                family.add_metric([name], time.clock_gettime(clock))
                shown.add(name)
        return [family]
