"""``xiaod pick``: miniSEED files through the pipeline of the daemon, without a clock.

Buffers, windows, engine and picker are those of the daemon; the source reads files and the sink writes to one stream. Live and offline
runs over the same data give the same picks.

>>> from io import StringIO
>>> StreamSink("csv", StringIO()).name
'output'
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, NoReturn

from xiaod.acquisition import Source
from xiaod.acquisition.joined_records import JoinedSource
from xiaod.acquisition.miniseed_files import FileSource, headers_of, holds_records, why_nothing
from xiaod.config import AgencyConfig, Config, EngineConfig, SeedLinkConfig
from xiaod.config.inventory import NO_STATIONS, Stations, read_stations
from xiaod.config.loader import load_config, with_early, with_stations
from xiaod.domain.timegrid import GRID_RATE_HZ
from xiaod.domain.types import Instrument, Pick, Stages, Wanted
from xiaod.inference import Engine
from xiaod.pipeline.assemble import NONE_BEFORE
from xiaod.pipeline.factory import open_engine, open_scout
from xiaod.pipeline.pipeline import OfflineRun, Pipeline
from xiaod.process.logs import configure_logs, get_logger
from xiaod.process.metrics import Metrics
from xiaod.process.stdout import leave_quietly
from xiaod.sinks import Sink
from xiaod.sinks.file.formats import LOCATED_FORMATS, line_format, render
from xiaod.waveform.data_account import Coverage, DataAccount
from xiaod.waveform.schedule import FIRST_STEP

if TYPE_CHECKING:
    from tqdm import tqdm

NOWHERE: Mapping[Instrument, Mapping[str, object]] = MappingProxyType({})
HOURS = "{percentage:3.0f}%|{bar}| {n:.2f} of {total:.2f} h of data [{elapsed}<{remaining}]"
"""Text of the progress bar."""
MAX_NAMED = 30
"""Instruments, or streams with one kind of problem, that are named; the rest are counted."""


class StreamSink:
    """Picks onto one stream in one format; a format of documents is written at the end."""

    name = "output"
    stages: Stages = "all"
    wanted: Wanted = "picks"

    def __init__(
        self,
        style: str,
        stream: IO[str] | None,
        agency: AgencyConfig | None = None,
        stations: Stations | None = None,
    ) -> None:
        self._style = style
        self._stream = stream or sys.stdout
        self._agency = agency or AgencyConfig()
        self._lines = line_format(style, self._agency, stations)
        self._held: list[Pick] = []
        if self._lines is not None:
            self._stream.write(self._lines.header.decode())

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """Write picks, or hold them for the document."""
        del now_ns
        if self._lines is None:
            self._held += picks
        else:
            self._stream.write(b"".join(map(self._lines.line, picks)).decode())

    def close(self) -> None:
        """Write the document, if the format is one, and flush the stream."""
        if self._lines is None:
            self._stream.write(render(self._style, self._held, self._agency).decode())
        self._stream.flush()


class ListSink:
    """Picks in a list."""

    name = "list"
    wanted: Wanted = "picks"

    def __init__(self, stages: Stages = "all") -> None:
        self.stages: Stages = stages
        self.picks: list[Pick] = []

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """Append picks."""
        del now_ns
        self.picks += picks

    def close(self) -> None:
        """Nothing is open."""


class KeepingSink:
    """Passes picks on to another sink and keeps them in a list."""

    name = "keeping"
    stages: Stages = "all"
    wanted: Wanted = "picks"

    def __init__(self, sink: Sink, picks: list[Pick]) -> None:
        self._sink = sink
        self._picks = picks

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """Pass picks on, then keep them."""
        self._sink.deliver(picks, now_ns)
        self._picks += picks

    def close(self) -> None:
        """Close the other sink."""
        self._sink.close()


def pick_files(
    inputs: Sequence[Path],
    config_path: Path | None,
    model: str | None,
    style: str,
    output: Path | None,
    progress: bool,
    keep: list[Pick] | None = None,
    stations_file: Path | None = None,
    early: bool = False,
) -> int:
    """Pick files and folders; gives the exit status: 0, or 1 when nothing could be read.

    Args:
        inputs: miniSEED files and folders.
        config_path: of the configuration; None: the defaults.
        model: replaces that of the configuration; None: does not.
        style: format of the output.
        output: the file to write; None: standard output.
        progress: whether to show a progress bar.
        keep: gets all picks appended.
        stations_file: coordinates and responses of stations; None: those of the configuration.
        early: whether early picks are made too.

    Raises:
        ConfigError, ModelError, StationsError: when the configuration, the model or the file of stations is wrong.
        OSError: when an input cannot be read or the output cannot be written.
    """
    config = located(offline_config(config_path, model, early), stations_file)
    configure_logs("warning", config.logs.format)
    engine = open_engine(config)
    if all(path.is_file() for path in inputs) and not any(map(_has_record, inputs)):
        return exit_status(0, inputs)
    try:
        with output_stream(output) as stream, _Bar(progress) as advance:
            source = FileSource(inputs, progress=advance)
            sink: Sink = StreamSink(style, stream, config.agency, config.stations)
            account = DataAccount()
            run_offline(
                config,
                engine,
                source,
                sink if keep is None else KeepingSink(sink, keep),
                account=account,
            )
    except BrokenPipeError:
        leave_quietly()
    tell_unpicked(account.unpicked, config)
    return exit_status(source.records, inputs)


def tell_unpicked(
    coverages: Mapping[Instrument, Coverage],
    config: Config,
    places: Mapping[Instrument, Mapping[str, object]] = NOWHERE,
) -> None:
    """Log instruments without a full window, with their ``places``, so that a run that picks nothing says why."""
    log = get_logger("pick")
    # First windows begin at multiples of a step.
    needed_s = config.windows.length_s + FIRST_STEP / GRID_RATE_HZ
    for instrument in sorted(coverages)[:MAX_NAMED]:
        coverage = coverages[instrument]
        log.error(
            "pick.too_little_data",
            instrument=str(instrument),
            **places.get(instrument, {}),
            data_s=round(coverage.data_s, 2),
            longest_s=round(coverage.longest_s, 2),
            needed_s=needed_s,
            consequence=f"not picked: a window needs {needed_s:g} s without a gap",
        )
    if len(coverages) > MAX_NAMED:
        log.error("pick.too_little_data", more_instruments=len(coverages) - MAX_NAMED)


def exit_status(records: int, inputs: Sequence[Path]) -> int:
    """Exit status of a run by the number of records it has used: 0, or 1 when there was none, with a line on standard error."""
    if records:
        return 0
    print(f"{', '.join(map(str, inputs))}: {why_nothing(inputs)}", file=sys.stderr)  # noqa: T201  as all commands do
    return 1


def _has_record(path: Path) -> bool:
    return any(not isinstance(found, str) for _, found in headers_of(path))


def offline_config(
    config_path: Path | None, model: str | None, early: bool = False, model_from: str = "--model"
) -> Config:
    """The configuration of an offline run: a file or the defaults, with another model if one is given; errors say where it is from.

    Early picks are made as the configuration says, or with a scout where it says ``off``; without ``early`` there are none.

    Raises:
        ConfigError: when the file is wrong, or its early picks would come after the final ones.
    """
    config = (
        load_config(config_path) if config_path else Config(sources=(SeedLinkConfig(server="localhost"),))
    )
    config = with_early(config, (config.early if config.early != "off" else "scout") if early else "off")
    if model is None:
        return config
    engine = EngineConfig.model_validate({**config.engine.model_dump(), "model": model})
    origin = replace(config.origin, given={**config.origin.given, ("engine", "model"): model_from})
    return config.model_copy(update={"engine": engine}).read_from(origin)


def located(config: Config, stations_file: Path | None) -> Config:
    """A configuration with the stations of a file, or else of its own ``stations_file``.

    Raises:
        ConfigError, StationsError: when the file cannot be used.
    """
    return with_stations(config) if stations_file is None else config.located(read_stations(stations_file))


def stations_for(style: str, config: Config, stations_file: Path | None) -> Stations:
    """Stations for a format that has their coordinates: those of a file, or else of the configuration; for others none are read.

    Raises:
        ConfigError, StationsError: when the file cannot be used.
    """
    if style not in LOCATED_FORMATS:
        return NO_STATIONS
    return located(config, stations_file).stations


def output_stream(output: Path | None) -> AbstractContextManager[IO[str]]:
    """A file to write to, or standard output.

    Raises:
        ValueError: when the file holds miniSEED: it is an input given by mistake.
        OSError: when it cannot be written.
    """
    if output is None:
        return nullcontext(sys.stdout)
    if output.is_file() and holds_records(output):
        raise ValueError(f"--output {output}: holds miniSEED, which would be lost; choose another file")
    return output.open("w", encoding="utf-8")


def picks_of(inputs: Sequence[Path], config: Config) -> list[Pick]:
    """All picks of files and folders.

    Raises:
        ModelError: when the model is wrong.
        OSError: when an input cannot be read.
    """
    sink = ListSink()
    run_offline(config, open_engine(config), FileSource(inputs), sink)
    return sink.picks


def run_offline(
    config: Config,
    engine: Engine,
    source: Source,
    sink: Sink,
    metrics: Metrics | None = None,
    letters: Mapping[Instrument, str] = NONE_BEFORE,
    account: DataAccount | None = None,
) -> None:
    """Run the pipeline without a clock, from a source into a sink.

    Args:
        config: windows, buffers, picker.
        engine: the loaded model.
        source: where records come from.
        sink: where picks go.
        metrics: of the run; None: they are not needed.
        letters: components that instruments have had before.
        account: takes notes on the data of each instrument; None: they are not needed.
    """

    async def work() -> None:
        pipeline = Pipeline(
            config,
            engine,
            [JoinedSource(source)],
            [sink],
            metrics or Metrics(),
            OfflineRun(letters, account),
            open_scout(config),
        )
        try:
            async with asyncio.TaskGroup() as group:
                pipeline.start(group)
        finally:
            pipeline.release_threads()

    try:
        asyncio.run(work())
    except ExceptionGroup as group:
        # One task failed and the others were cancelled: raise the cause.
        raise group.exceptions[0] from None


class _Bar:
    """A progress bar over the hours of data."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Callable[[float, float], None] | None:
        return self._advance if self._shown else None

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _advance(self, done: float, total: float) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                file=sys.stderr,
                bar_format=HOURS,
            )
        self._bar.update(done - self._bar.n)
