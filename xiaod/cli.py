"""The command line: ``xiaod --config FILE`` runs the daemon; subcommands check, pick, replay and ask.

Each command is a small function that imports what it needs when it runs, so that ``--help`` answers at once.

>>> build_parser().parse_args(["pick", "day.mseed", "--format", "csv"]).format
'csv'
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from xiaod import __version__

DEFAULT_CONFIG = Path("config.yaml")
EPILOG = """exit status: 0 done or stopped in order; 1 failure; 2 wrong configuration, model or arguments;
3 the orderly stop was cut short; 130 ended by a second signal"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="xiaod",
        description="Real-time seismic phase picker: SeedLink in, P and S picks out. Without a command it runs the daemon.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, default=None, metavar="FILE", help="run the daemon with this configuration"
    )
    parser.add_argument("--version", action="version", version=f"xiaod {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    check = commands.add_parser(
        "check", help="validate a configuration: exit status 0, or 2 with every problem"
    )
    _add_config(check)

    pick = commands.add_parser("pick", help="pick miniSEED files and folders, as fast as the CPU goes")
    pick.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="miniSEED file or folder")
    _add_config(pick, help_text="windows, engine and picker as in this configuration (default: the defaults)")
    pick.add_argument("--model", metavar="NAME", help="shipped model or path of an ONNX file")
    pick.add_argument("--format", choices=["jsonl", "quakeml", "csv"], default="jsonl")
    pick.add_argument("--output", type=Path, metavar="FILE", help="write here instead of standard output")
    pick.add_argument("--no-progress", action="store_true", help="no progress bar on standard error")

    replay = commands.add_parser("replay", help="serve miniSEED files or folders over SeedLink")
    replay.add_argument(
        "inputs",
        nargs="+",
        metavar="PATH",
        help="miniSEED file or folder, or 'example': ObsPy's example event",
    )
    replay.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    replay.add_argument(
        "--port", type=int, default=18000, help="port, 0 for a free one (default: %(default)s)"
    )
    replay.add_argument("--speed", type=_speed, default=1.0, help="times real time, or 'max' (default: 1)")
    replay.add_argument("--loop", action="store_true", help="play again and again, with a gap between")
    replay.add_argument("--shift-to-now", action="store_true", help="shift times so that the data begin now")
    replay.add_argument(
        "--copies", type=int, default=1, metavar="N", help="serve every station under N names, for load tests"
    )

    stations = commands.add_parser(
        "stations", help="ask the servers what they have and say what the configuration selects"
    )
    _add_config(stations)
    stations.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="for each server (default: %(default)s)",
    )

    picks = commands.add_parser("picks", help="print the picks that the daemon has stored")
    _add_config(picks)
    picks.add_argument(
        "--since", metavar="TIME", help="UTC, such as 2026-01-31T12:00:00Z (default: the oldest)"
    )
    picks.add_argument("--until", metavar="TIME", help="UTC (default: the newest)")
    picks.add_argument("--format", choices=["jsonl", "quakeml", "csv"], default="jsonl")
    bench = commands.add_parser("bench", help="measure what the program costs on this machine")
    bench.add_argument(
        "--stations",
        type=_counts,
        default=(1, 10, 100, 1000),
        metavar="N,...",
        help="loads (default: 1,10,100,1000; 0: none)",
    )
    bench.add_argument(
        "--seconds", type=float, default=60.0, help="measured for each load (default: %(default)s)"
    )
    bench.add_argument(
        "--model", default="micro", metavar="NAME", help="shipped model or path (default: %(default)s)"
    )
    bench.add_argument(
        "--engine", choices=["onnx", "stateful"], default="onnx", help="engine.kind of the loads"
    )
    bench.add_argument("--output", type=Path, metavar="FILE", help="write everything as JSON here too")
    soak = commands.add_parser(
        "soak", help="days of data at high speed with faults: nothing lost, nothing twice, memory flat"
    )
    soak.add_argument("--hours", type=float, default=72.0, help="of data (default: %(default)s)")
    soak.add_argument("--stations", type=int, default=50, metavar="N", help="default: %(default)s")
    soak.add_argument("--faults", type=int, default=48, metavar="N", help="default: %(default)s")
    soak.add_argument(
        "--hop", type=float, default=2.5, metavar="SECONDS", help="between windows (default: %(default)s)"
    )
    soak.add_argument(
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="where the daemon's files stay (default: a temporary one)",
    )
    soak.add_argument("--output", type=Path, metavar="FILE", help="write everything as JSON here too")
    commands.add_parser("version", help="version of the program, its libraries and the shipped models")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        if options.config is None:
            parser.print_help()
            return 2
        return run(options)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "check": check,
        "pick": pick,
        "replay": replay,
        "stations": stations,
        "picks": picks,
        "bench": bench,
        "soak": soak,
        "version": version,
    }
    return commands[options.command](options)


def run(options: argparse.Namespace) -> int:
    """Run the daemon in the foreground."""
    import asyncio

    from xiaod.configfile import ConfigError, load_config
    from xiaod.engines.errors import ModelError
    from xiaod.logs import configure_logs, get_logger
    from xiaod.service import ExitCode, Service, StartError, open_engine

    try:
        config = load_config(options.config)
        engine = open_engine(config)
    except (ConfigError, ModelError) as error:
        return _refuse(error)
    configure_logs(config.logs.level, config.logs.format)

    async def serve() -> ExitCode:
        return await Service(config, engine, options.config).run()

    try:
        return asyncio.run(serve())
    except StartError as error:
        get_logger("service").error("service.cannot_start", error=str(error))
        return error.code
    except Exception:  # noqa: BLE001  whatever failed is logged, and the service manager told
        get_logger("service").exception("service.failed")
        return ExitCode.FAILURE


def check(options: argparse.Namespace) -> int:
    """Validate a configuration, and the model it names."""
    from xiaod.configfile import ConfigError, load_config
    from xiaod.engines.errors import ModelError
    from xiaod.service import open_engine

    try:
        config = load_config(options.config or DEFAULT_CONFIG)
        engine = open_engine(config)
    except (ConfigError, ModelError) as error:
        return _refuse(error)
    print(
        f"{options.config or DEFAULT_CONFIG}: valid; {len(config.sources)} source(s), {len(config.sinks)} sink(s), "
        f"model {engine.spec.name}-{engine.spec.version}"
    )
    return 0


def pick(options: argparse.Namespace) -> int:
    """Pick files offline, through the daemon's own pipeline."""
    from xiaod.configfile import ConfigError
    from xiaod.engines.errors import ModelError
    from xiaod.offline import pick_files

    try:
        return pick_files(
            options.inputs,
            options.config,
            options.model,
            options.format,
            options.output,
            progress=not options.no_progress,
        )
    except (ConfigError, ModelError, OSError) as error:
        return _refuse(error)


def picks(options: argparse.Namespace) -> int:
    """Print what the store holds."""
    from xiaod.configfile import ConfigError, load_config
    from xiaod.offline import StreamSink
    from xiaod.service import STORE
    from xiaod.store import PickStore

    try:
        config = load_config(options.config or DEFAULT_CONFIG)
        path = config.state.folder / STORE
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no picks have been stored there")
        since_ns, until_ns = _moment("--since", options.since), _moment("--until", options.until)
        store = PickStore(path)
    except (ConfigError, OSError, ValueError) as error:
        return _refuse(error)
    sink = StreamSink(options.format, None, config.agency)
    sink.deliver(store.between(since_ns, until_ns), 0)
    sink.close()
    store.close()
    return 0


def replay(options: argparse.Namespace) -> int:
    """Serve miniSEED over SeedLink until a signal comes."""
    import asyncio
    import signal

    from xiaod.replay import ReplayConfig, serve

    async def work() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        config = ReplayConfig(
            inputs=tuple(options.inputs),
            host=options.host,
            port=options.port,
            speed=options.speed,
            loop=options.loop,
            shift_to_now=options.shift_to_now,
            copies=options.copies,
        )
        await serve(config, _announce, stop)

    try:
        asyncio.run(work())
    except (ValueError, OSError) as error:
        return _refuse(error)
    return 0


def stations(options: argparse.Namespace) -> int:
    """List what the servers have."""
    from xiaod.configfile import ConfigError, load_config
    from xiaod.offers import print_offers

    try:
        config = load_config(options.config or DEFAULT_CONFIG)
    except ConfigError as error:
        return _refuse(error)
    return print_offers(config, options.timeout, sys.stdout)


def bench(options: argparse.Namespace) -> int:
    """Measure this machine; a table on standard output."""
    import json

    from xiaod.bench.daemon import BenchError
    from xiaod.bench.load import LoadSettings
    from xiaod.bench.run import run_bench
    from xiaod.bench.table import markdown
    from xiaod.engines.errors import ModelError

    settings = LoadSettings(options.model, options.engine, seconds=options.seconds)
    try:
        found = run_bench(
            options.stations, settings, say=lambda text: print(text, file=sys.stderr, flush=True)
        )
    except (ModelError, FileNotFoundError) as error:
        return _refuse(error)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(markdown(found))
    return 0


def soak(options: argparse.Namespace) -> int:
    """Days of data with faults; 0 when all was as promised."""
    import asyncio
    import json
    from tempfile import TemporaryDirectory

    from xiaod.bench.daemon import BenchError
    from xiaod.soak.run import SoakSettings
    from xiaod.soak.run import soak as run_soak

    settings = SoakSettings(
        stations=options.stations, hours=options.hours, hop_s=options.hop, faults=options.faults
    )
    with TemporaryDirectory(prefix="xiaod-soak-") as scratch:
        folder = options.folder or Path(scratch)
        try:
            found = asyncio.run(
                run_soak(settings, folder, say=lambda text: print(text, file=sys.stderr, flush=True))
            )
        except BenchError as error:
            print(f"{error}; the log is {folder / 'log.jsonl'}", file=sys.stderr)
            return 1
    if options.output is not None:
        options.output.write_text(json.dumps(found.document(), indent=2) + "\n", encoding="utf-8")
    print(found.text())
    return 1 if found.failures else 0


def version(_: argparse.Namespace) -> int:
    """Print versions."""
    import platform
    from importlib.metadata import version as version_of

    from models.weights import shipped

    print(f"xiaod {__version__}")
    print(f"python {platform.python_version()} on {platform.machine()}")
    for package in ("obspy", "onnxruntime", "numpy", "pymseed"):
        print(f"{package} {version_of(package)}")
    for name, sha256 in shipped().items():
        print(f"model {name} sha256:{sha256}")
    return 0


def _add_config(
    parser: argparse.ArgumentParser, help_text: str = "configuration (default: config.yaml)"
) -> None:
    # Without a default of its own, so that it does not take away a --config that stands before the command.
    parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help=help_text)


def _speed(text: str) -> float | str:
    if text == "max":
        return text
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a number above 0, or 'max'")
    return value


def _moment(option: str, text: str | None) -> int | None:
    from xiaod.timebase import ns_from_iso

    try:
        return None if text is None else ns_from_iso(text)
    except ValueError:
        raise ValueError(f"{option}: {text!r}: must be a time such as 2026-01-31T12:00:00Z") from None


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(int(part) for part in text.split(","))
    if any(count < 0 for count in counts):
        raise argparse.ArgumentTypeError("must be whole numbers, such as 1,10,100")
    return tuple(count for count in counts if count)


def _announce(host: str, port: int) -> None:
    print(f"replay server listens on {host}:{port}", flush=True)


def _refuse(error: Exception) -> int:
    print(error, file=sys.stderr)
    return 2
