"""The configuration: every key with its type, default, unit, limits and meaning.

The models are strict: a wrong type, a value out of range or an unknown key is an error. The text under a key describes it in the JSON
Schema and in ``config.yaml``, which are both generated from these models. :mod:`xiaod.config.loader` reads a file and names the line of
each error.

>>> config = Config.model_validate({"sources": [{"server": "rs.local:18000"}]})
>>> config.sources[0].streams
('*.*.*.*',)
>>> config.windows.final_hop_s, config.windows.early_hop_s
(4.0, 0.5)
"""

import math
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from xiaod.config.events import EventConfig
from xiaod.config.inventory import NO_STATIONS, Stations
from xiaod.config.model import MAX_PORT, Model, PositiveSeconds, Probability, Seconds
from xiaod.config.origin import Origin
from xiaod.config.rsam import RsamConfig
from xiaod.config.shard import ShardConfig
from xiaod.config.sinks import SinkConfig
from xiaod.config.snippets import SnippetConfig
from xiaod.config.source import REPLAY_PREFIX, SeedLinkConfig
from xiaod.domain.resumption import needed_picks_s, resumable_age_s

__all__ = [
    "REPLAY_PREFIX",
    "AgencyConfig",
    "BufferConfig",
    "Config",
    "Early",
    "EngineConfig",
    "EventConfig",
    "HttpConfig",
    "LogConfig",
    "Model",
    "Origin",
    "PickerConfig",
    "RsamConfig",
    "SeedLinkConfig",
    "ShardConfig",
    "SinkConfig",
    "SnippetConfig",
    "StateConfig",
    "StationConfig",
    "WindowConfig",
]

DEVICES = Path("/dev")
_STATION_PATTERN = re.compile(r"[A-Z0-9-]{1,8}\.[A-Z0-9-]{1,8}")
Early = Literal["scout", "windows", "off"]


def _early(given: object) -> object:
    """What is written for ``off`` and ``on`` when YAML reads them as truth values, as YAML 1.1 does."""
    if given is True or given == "on":
        raise ValueError("must be 'scout' or 'windows', or 'off'")
    return "off" if given is False else given


class BufferConfig(Model):
    """How records become continuous data."""

    max_component_wait_s: Seconds = 5.0
    """Seconds that a window waits for a slower component or a missing record, at most ``max_lead_s``; it then goes on
    without. The wait counts only while the source delivers."""
    max_lead_s: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Seconds of data; a component further behind the newest data is not waited for."""
    max_age_s: PositiveSeconds | None = None
    """Seconds; a record that ended longer ago is refused; null: no limit."""
    max_future_s: PositiveSeconds | None = 60.0
    """Seconds; a record that ends further in the future is refused; null: no limit."""
    forget_after_s: PositiveSeconds | None = 86_400.0
    """Seconds without a record after which the memory of an instrument is freed; it starts afresh when it comes back; null: never."""

    @model_validator(mode="after")
    def _consistent(self) -> "BufferConfig":
        if self.max_component_wait_s > self.max_lead_s:
            raise ValueError(
                f"max_component_wait_s is {self.max_component_wait_s:g} s, and nothing is waited for that is further than max_lead_s "
                f"({self.max_lead_s:g} s) behind; shorten it, or raise max_lead_s"
            )
        if self.forget_after_s is not None and self.forget_after_s <= self.max_component_wait_s:
            raise ValueError(
                f"forget_after_s is {self.forget_after_s:g} s: an instrument would be forgotten while it is waited for; it must be "
                f"above max_component_wait_s ({self.max_component_wait_s:g} s)"
            )
        return self


class WindowConfig(Model):
    """How continuous data are cut."""

    length_s: Annotated[float, Field(ge=5, le=120)] = 20.0
    """Seconds of a window. The shipped models take 10 to 30: longer windows give fewer false picks and cost more."""
    final_hop_s: Annotated[float, Field(ge=0.5, le=30)] = 4.0
    """Seconds between the starts of two windows for final picks, at most a quarter of ``length_s``. A longer hop costs less."""
    early_hop_s: Annotated[float, Field(ge=0.05, le=30)] = 0.5
    """The same for early picks: where ``early: scout`` has noticed something, and with ``early: windows`` everywhere. A shorter hop finds
    onsets sooner and costs more."""

    @model_validator(mode="after")
    def _consistent(self) -> "WindowConfig":
        for key, hop_s in (("final_hop_s", self.final_hop_s), ("early_hop_s", self.early_hop_s)):
            if hop_s > self.length_s / 4:
                raise ValueError(
                    f"{key} must be at most a quarter of length_s, {self.length_s / 4:g} s, so that windows overlap; it is {hop_s:g} s"
                )
        return self


class EngineConfig(Model):
    """What computes probabilities."""

    model: str = "micro"
    """The model that picks: a shipped one (micro, small), or the path of an .onnx file."""
    scout: str = "scout"
    """The model that notices onsets with ``early: scout``: a shipped one (scout), or the path of a .stateful.onnx file."""
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Threads of one call."""
    max_batch: Annotated[int, Field(ge=1, le=4096)] = 16
    """Windows in one call; more than the default no longer fit the cache of a small computer."""


class StationConfig(Model):
    """Thresholds of one station."""

    threshold_p: Probability | None = None
    """Probability from which a peak is a final P pick at this station; null: the value for all stations."""
    threshold_s: Probability | None = None
    """Probability from which a peak is a final S pick at this station; null: the value for all stations."""
    early_threshold_p: Probability | None = None
    """Probability from which a peak is an early P pick at this station; null: the value for all stations."""
    early_threshold_s: Probability | None = None
    """Probability from which a peak is an early S pick at this station; null: the value for all stations."""


class PickerConfig(Model):
    """How probabilities become picks."""

    threshold_p: Probability | None = None
    """Probability from which a peak is a final P pick; null: the threshold of the model."""
    threshold_s: Probability | None = None
    """Probability from which a peak is a final S pick; null: the threshold of the model."""
    final_lookahead_s: Annotated[float, Field(ge=0.1, le=30)] = 4.0
    """Seconds of data after an onset before it is picked for good; with ``final_hop_s`` at most half of ``length_s``."""
    early_threshold_p: Probability | None = None
    """Probability from which a peak is an early P pick; null: the threshold of the model."""
    early_threshold_s: Probability | None = None
    """Probability from which a peak is an early S pick; null: the threshold of the model."""
    early_lookahead_s: Annotated[float, Field(ge=0.1, le=30)] = 0.5
    """Seconds of data after an onset before it is picked early; with ``early_hop_s`` at most ``final_lookahead_s``."""
    settle_s: Annotated[float, Field(ge=0, le=30)] = 0.5
    """Seconds after a gap in which nothing is picked; with the lookahead and the hop of each stage at most ``length_s``."""
    min_separation_s: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """Seconds; a peak of the same phase closer to a pick is the same onset."""
    stations: dict[str, StationConfig] = Field(
        default_factory=dict,
        json_schema_extra={"propertyNames": {"pattern": f"^{_STATION_PATTERN.pattern}$"}},
    )
    """Thresholds of single stations, for example {AM.R0E05: {threshold_p: 0.5, threshold_s: 0.6}}."""

    @model_validator(mode="after")
    def _consistent(self) -> "PickerConfig":
        for key in self.stations:
            if _STATION_PATTERN.fullmatch(key) is None:
                upper = _STATION_PATTERN.fullmatch(key.upper())
                remedy = f"in upper case: {key.upper()}" if upper else "NET.STA, for example AM.R0E05"
                raise ValueError(f"stations.{repr(key)[1:-1]}: must be {remedy}")
        return self


class HttpConfig(Model):
    """Metrics, health, status page and its API over HTTP."""

    enabled: bool = True
    """Whether the daemon listens."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines read."""
    port: Annotated[int, Field(ge=0, le=MAX_PORT)] = 9808
    """Port to listen on; 0: a free one, which the log names."""
    stale_after_s: PositiveSeconds = 60.0
    """Seconds without data after which a station is stale."""
    page: bool = True
    """Whether the status page at / and its API under /api are served beside metrics and health."""
    traces: Annotated[int, Field(ge=0, le=10_000)] = 128
    """Instruments whose last minute is kept for the status page, 87.6 kB each, even while nobody looks."""
    days: Annotated[int, Field(ge=0, le=10_000)] = 16
    """Instruments whose last 24 h are kept for the day view of the status page, 172.8 kB each: those that come first, until others are
    asked for. They begin anew with each start."""
    max_clients: Annotated[int, Field(ge=1, le=1000)] = 32
    """Listeners to /api/stream at one time; one more is refused."""

    def url(self, port: int) -> str:
        """Address at which this machine reaches its server on a port; one that listens on all addresses is reached through loopback.

        >>> HttpConfig(host="0.0.0.0").url(9808), HttpConfig(host="::").url(9808)
        ('http://127.0.0.1:9808', 'http://[::1]:9808')
        """
        try:
            address = ip_address(self.host)
        except ValueError:
            return f"http://{self.host}:{port}"
        host = ("::1" if address.version == 6 else "127.0.0.1") if address.is_unspecified else self.host
        return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"


class StateConfig(Model):
    """What survives a restart."""

    folder: Path = Field(default=Path("var/state"), strict=False)
    """Folder of the store."""
    save_interval_s: PositiveSeconds = 30.0
    """Seconds between saves; only what has changed is written."""
    keep_days: Annotated[float, Field(ge=0, le=36_500)] = 30.0
    """Days that picks stay in the store (picks.sqlite) once all sinks have them. Only days on which the daemon runs count; 0: for ever."""

    @property
    def keep_s(self) -> float:
        """The same in seconds."""
        return self.keep_days * 86_400.0


class LogConfig(Model):
    """Logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest severity that is logged."""
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, json elsewhere."""


class AgencyConfig(Model):
    """Who signs the picks."""

    agency_id: str = Field(default="XX", pattern=r"^[A-Za-z0-9_-]{1,32}$")
    """Agency in picks and QuakeML."""
    author: str = "xiaod"
    """Author in picks and QuakeML."""


class Config(Model):
    """The whole configuration."""

    config_version: Literal[2] = 2
    """Version of this format."""
    sources: Annotated[tuple[SeedLinkConfig, ...], Field(min_length=1, strict=False)]
    """Where data come from: one or more SeedLink servers."""
    buffer: BufferConfig = BufferConfig()
    """How records become continuous data."""
    early: Annotated[Early, BeforeValidator(_early)] = "scout"
    """What early picks are made by: soon after the onset, and later confirmed, revised or withdrawn by the final picks, which are the same
    with and without them. scout: windows every ``early_hop_s`` where a small net that streams has noticed something. windows: windows every
    ``early_hop_s`` everywhere, which costs more. off: there are none."""
    windows: WindowConfig = WindowConfig()
    """How continuous data are cut."""
    engine: EngineConfig = EngineConfig()
    """What computes probabilities."""
    picker: PickerConfig = PickerConfig()
    """How probabilities become picks."""
    sinks: Annotated[tuple[SinkConfig, ...], Field(strict=False)] = ()
    """Where picks go: any number of sinks of each kind. Paths are relative to the working directory."""
    stations_file: Path | None = Field(default=None, strict=False)
    """Names and coordinates of stations, for the page, the API, pictures, and sinks that write coordinates: StationXML, FDSN text, or CSV
    with the columns network, station, latitude, longitude, elevation and perhaps location, name, starttime, endtime; null: none are known.
    StationXML with responses gives final picks the motion of the ground. It is read again at each reload. A station that is not in it is
    no error."""
    snippets: SnippetConfig = SnippetConfig()
    """Waveforms that are kept: miniSEED and a PNG around each final pick, on the status page and below /api/snippets. A full or missing
    disk costs snippets, never picks. What is held in memory for them: some 100 kB for a station of three components at 100 Hz."""
    events: EventConfig = EventConfig()
    """Events from picks, for the sinks that take them ('of: events' or 'of: all'), the status page and /api/events. Automatic and
    unreviewed, not for early warning. With several shards each makes events of its own stations, or, with ``bus``, one process those of
    all."""
    rsam: RsamConfig = RsamConfig()
    """The mean absolute amplitude of each vertical over 1 and 10 minutes, for volcano observatories (RSAM, Endo & Murray 1991), and for
    the sinks that take it ('of: rsam')."""
    http: HttpConfig = HttpConfig()
    """Over HTTP: /metrics (Prometheus), /healthz, /readyz, and the status page at / with its API under /api."""
    state: StateConfig = StateConfig()
    """What survives a restart."""
    shard: ShardConfig = ShardConfig()
    """Several processes or machines can share the stations: each picks those that a hash of NET.STA assigns to it; see docs/shards.md.
    Where the index is not set here, give it with xiaod --shard INDEX[/COUNT] or XIAOD_SHARD=INDEX[/COUNT]. With more than one shard, state
    lies in state.folder/shard-INDEX, snippets in snippets.folder/shard-INDEX, http.port is raised by the index, and paths of sinks must
    contain {shard}."""
    logs: LogConfig = LogConfig()
    """Logs on standard error."""
    agency: AgencyConfig = AgencyConfig()
    """Who signs the picks."""
    grace_s: PositiveSeconds = 20.0
    """Seconds for an orderly stop before it is cut short."""
    _origin: Origin = PrivateAttr(default_factory=Origin)
    _stations: Stations = PrivateAttr(default_factory=lambda: NO_STATIONS)

    @property
    def stations(self) -> Stations:
        """What :attr:`stations_file` holds, once it has been read (:func:`xiaod.config.loader.with_stations`)."""
        return self._stations

    def located(self, stations: Stations) -> "Config":
        """The same configuration with other stations."""
        moved = self.model_copy()
        moved._stations = stations
        return moved

    @property
    def origin(self) -> Origin:
        """The file that it was read from."""
        return self._origin

    def read_from(self, origin: Origin) -> "Config":
        """The same configuration with another origin."""
        moved = self.model_copy()
        moved._origin = origin
        return moved

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        for what, names in (
            ("sources", [source.label for source in self.sources]),
            ("sinks", [sink.name for sink in self.sinks]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(
                    f"{what}: the name {twice[0]!r} is given twice; give each a 'name' of its own"
                )
        self._attachments_are_written()
        self._events_are_made()
        self._bus_brings_picks()
        self._amplitudes_are_measured()
        self._places_of_their_own()
        self._windows_have_something_to_pick()
        self._resumption_finds_what_it_needs()
        return self

    def _attachments_are_written(self) -> None:
        """Refuse to wait for files that nobody writes."""
        for sink in self.sinks:
            attached: tuple[str, ...] = getattr(sink, "attach", ())
            if attached and not self.snippets.enabled:
                raise ValueError(
                    f"sinks: {sink.name}: attach: there are no files without snippets; write snippets: {{enabled: true}}"
                )
            if "picture" in attached and not self.snippets.pictures:
                raise ValueError(
                    f"sinks: {sink.name}: attach: there is no picture with snippets.pictures: false; write attach: [miniseed]"
                )

    def _events_are_made(self) -> None:
        """Refuse to wait for events that nobody makes."""
        for sink in self.sinks:
            if sink.wanted in ("events", "all") and not self.events.enabled:
                raise ValueError(
                    f"sinks: {sink.name}: of: there are no events; write events: {{enabled: true}}, or of: picks"
                )
        if self.events.enabled and self.events.method == "pyocto" and self.stations_file is None:
            raise ValueError(
                "events: method: pyocto needs the coordinates of the stations; name their file with stations_file, or write "
                "method: coincidence"
            )

    def _bus_brings_picks(self) -> None:
        """Refuse a bus on which picks are missing, and files that two processes would write."""
        name = self.events.bus
        if name is None:
            return
        readable = [sink for sink in self.sinks if sink.READER]
        bus = next((sink for sink in readable if sink.name == name), None)
        if bus is None:
            kinds = "nats, mqtt or kafka"
            there = ", ".join(sink.name for sink in readable) or "there is none"
            raise ValueError(f"events.bus: {name!r}: must be the name of a sink of kind {kinds}: {there}")
        if not self.events.enabled:
            raise ValueError("events.bus: there are no events; write events: {enabled: true, bus: ...}")
        if bus.stage == "early" or bus.wanted not in ("picks", "all"):
            raise ValueError(
                f"events.bus: final picks do not come to sink {name!r}; it must have of: picks or all, and stage: all or final"
            )
        if getattr(bus, "qos", 1) == 0:
            raise ValueError(f"events.bus: with qos: 0 picks may be lost; write qos: 1 into sink {name!r}")
        for sink in self.sinks:
            written = sink.written_to
            if sink.wanted == "all" and written is not None and "{shard}" not in str(written):
                raise ValueError(
                    f"sinks: {sink.name}: {written} would be written by two processes, picks by the daemon and events by xiaod events; "
                    "put {shard} into it, which is 'events' for the latter"
                )

    def _amplitudes_are_measured(self) -> None:
        """Refuse to wait for means of the amplitude that nobody makes."""
        for sink in self.sinks:
            if sink.wanted == "rsam" and not self.rsam.enabled:
                raise ValueError(
                    f"sinks: {sink.name}: of: there are no amplitudes; write rsam: {{enabled: true}}, or of: picks"
                )

    def _windows_have_something_to_pick(self) -> None:
        """Refuse what leaves no sample of a window, or not every sample of continuous data, to be searched."""
        picker, windows = self.picker, self.windows
        for stage, lookahead_s, hop_s in (
            ("final", picker.final_lookahead_s, windows.final_hop_s),
            ("early", picker.early_lookahead_s, windows.early_hop_s),
        ):
            if lookahead_s + hop_s > windows.length_s / 2:
                raise ValueError(
                    f"picker.{stage}_lookahead_s + windows.{stage}_hop_s must be at most half of windows.length_s; "
                    f"{lookahead_s:g} + {hop_s:g} s is more than {windows.length_s / 2:g} s"
                )
            most_s = round(windows.length_s - hop_s - lookahead_s, 6)
            if picker.settle_s > most_s:
                raise ValueError(
                    f"picker.settle_s is {picker.settle_s:g} s, which leaves nothing to pick in windows of {windows.length_s:g} s; it "
                    f"must be at most {most_s:g} s (windows.length_s - windows.{stage}_hop_s - picker.{stage}_lookahead_s)"
                )
        early_s = picker.early_lookahead_s + windows.early_hop_s
        if self.early != "off" and early_s > picker.final_lookahead_s:
            raise ValueError(
                f"picker.early_lookahead_s + windows.early_hop_s, {early_s:g} s, must be at most picker.final_lookahead_s, "
                f"{picker.final_lookahead_s:g} s, or early picks come after the final ones; shorten them, or write early: off"
            )

    def _resumption_finds_what_it_needs(self) -> None:
        """Refuse limits under which the next run would make picks twice, or would not get the data that it requests."""
        length_s, max_lead_s, state = self.windows.length_s, self.buffer.max_lead_s, self.state
        needed_s = needed_picks_s(length_s, max_lead_s, state.save_interval_s)
        if 0 < state.keep_s < needed_s:
            raise ValueError(
                f"state.keep_days is {state.keep_days:g}, which is {state.keep_s:.0f} s: the next run must know the picks of "
                f"{needed_s:.0f} s, or it makes them again; write at least {math.ceil(needed_s / 86.4) / 1000:g}, or 0 to keep all"
            )
        least_s, max_age_s = resumable_age_s(length_s, max_lead_s), self.buffer.max_age_s
        resuming = [source.label for source in self.sources if source.begin == "resume"]
        if max_age_s is not None and max_age_s < least_s and resuming:
            raise ValueError(
                f"buffer.max_age_s is {max_age_s:g} s, and {resuming[0]!r} has begin: resume, which requests data that are "
                f"{least_s:g} s old and more; write null or at least {least_s:g}, or begin: now"
            )

    def _places_of_their_own(self) -> None:
        """Refuse two sinks with one path: each would overwrite the output of the other, or set its file aside."""
        owners: dict[Path, str] = {}
        for sink in self.sinks:
            if sink.written_to is None:
                continue
            place = sink.written_to.absolute()
            # Several sinks may write to a device.
            other = sink.name if DEVICES in place.parents else owners.setdefault(place, sink.name)
            if other != sink.name:
                raise ValueError(
                    f"sinks: {other!r} and {sink.name!r} both write to {place}; give each a place of its own"
                )
