"""``xiaod pick``: pick miniSEED files and folders, as fast as the CPU allows."""

import argparse
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xiaod.cli.commands.options import add_config, add_format, moment, one_or_more, refuse
from xiaod.process.exit_status import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xiaod.domain.types import Pick
    from xiaod.tools.archive.run import ArchiveOptions

_SCHEDULER = re.compile(r"([a-z]+://)?\S+:[0-9]+/?")
EXAMPLE = Path("example")
HELP = "pick miniSEED files and folders, as fast as the CPU allows"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="INPUT",
        help="miniSEED file or folder, or 'example': ObsPy's example event",
    )
    add_config(
        parser, help_text="windows, engine and picker as in this configuration (default: the defaults)"
    )
    parser.add_argument("--model", metavar="NAME", help="shipped model or path of an ONNX file")
    parser.add_argument(
        "--early",
        action="store_true",
        help="early picks too, as a daemon makes them, and which of them were withdrawn (default: final picks only)",
    )
    add_format(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write here instead of standard output")
    parser.add_argument(
        "--plots",
        type=Path,
        metavar="FOLDER",
        help="draw each pick there, as PNG; not with the options of archives",
    )
    archive = parser.add_argument_group(
        "archives", "with any of these, picks come in order of time, and are the same for any workers"
    )
    archive.add_argument("--workers", type=one_or_more, metavar="N", help="processes on this machine")
    archive.add_argument(
        "--dask", metavar="SCHEDULER", help="workers of a dask scheduler, such as tcp://10.0.0.1:8786"
    )
    archive.add_argument(
        "--resume", type=Path, metavar="FOLDER", help="keep what is finished there, and go on from it"
    )
    archive.add_argument(
        "--since", metavar="TIME", help="picks from then on, UTC, such as 2026-01-31T12:00:00Z"
    )
    archive.add_argument("--until", metavar="TIME", help="picks before then, UTC")
    archive.add_argument("--stations", metavar="NET.STA,...", help="only these; * ? [..] are allowed")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar on standard error")


def run(options: argparse.Namespace) -> int:
    """Pick files offline, through the daemon's own pipeline."""
    from xiaod.config.loader import ConfigError
    from xiaod.inference.errors import ModelError
    from xiaod.pipeline.offline import offline_config, pick_files
    from xiaod.process.allocator import OFFLINE_BYTES, keep_freed_memory
    from xiaod.process.plugins import MissingExtraError
    from xiaod.tools.archive.run import pick_archive

    keep_freed_memory(OFFLINE_BYTES)
    options.progress = not options.no_progress and sys.stderr.isatty()
    output = options.format, options.output, options.progress
    try:
        archive = _archive(options)
        with _files(options.inputs) as options.inputs:
            if options.plots is not None:
                return _pick_and_plot(options, archive)
            if archive is None:
                return pick_files(
                    options.inputs,
                    options.config,
                    options.model,
                    *output,
                    stations_file=options.stations_file,
                    early=options.early,
                )
            return pick_archive(
                options.inputs,
                offline_config(options.config, options.model, options.early),
                archive,
                *output,
                stations_file=options.stations_file,
            )
    except (ConfigError, ModelError, MissingExtraError, OSError, ValueError) as error:
        return refuse(error)
    except KeyboardInterrupt:
        if options.resume is None:
            raise
        print(f"stopped; the same command goes on from {options.resume}", file=sys.stderr)
        return ExitCode.SECOND_SIGNAL


@contextmanager
def _files(inputs: "Sequence[Path]") -> "Iterator[Sequence[Path]]":
    """The inputs, with a file of the event for ``example``, unless there is a file of this name."""
    if EXAMPLE not in inputs or EXAMPLE.exists():
        yield inputs
        return
    from tempfile import TemporaryDirectory

    from xiaod.replay.example import example_records

    with TemporaryDirectory(prefix="xiaod-pick-") as folder:
        path = Path(folder) / "example.mseed"
        path.write_bytes(example_records())
        yield [path if one == EXAMPLE else one for one in inputs]


def _pick_and_plot(options: argparse.Namespace, archive: "ArchiveOptions | None") -> int:
    """Pick files, then draw each pick.

    Raises:
        ValueError: when options of an archive are given too.
    """
    from xiaod.pipeline.offline import pick_files
    from xiaod.tools.plot.png import require_matplotlib

    if archive is not None:
        raise ValueError(
            "--plots: not with --workers, --dask, --resume, --since, --until or --stations; see xiaod plot"
        )
    require_matplotlib()
    options.plots.mkdir(parents=True, exist_ok=True)
    picks: list[Pick] = []
    status = pick_files(
        options.inputs,
        options.config,
        options.model,
        options.format,
        options.output,
        options.progress,
        picks,
        options.stations_file,
        options.early,
    )
    _plot(options, picks)
    return status


def _plot(options: argparse.Namespace, picks: "Sequence[Pick]") -> None:
    from xiaod.pipeline.factory import open_engine
    from xiaod.pipeline.offline import offline_config
    from xiaod.process.logs import configure_logs
    from xiaod.tools.plot.plots import plot_picks

    config = offline_config(options.config, options.model, options.early)
    # What is wrong with the files has been said.
    configure_logs("error", config.logs.format)
    made = plot_picks(options.inputs, config, open_engine(config), picks, options.plots)
    print(f"{len(made)} plot(s) in {options.plots}", file=sys.stderr)


def _archive(options: argparse.Namespace) -> "ArchiveOptions | None":
    """Options of an archive; None if none is given.

    Raises:
        ValueError: when an option is wrong.
    """
    from xiaod.tools.archive.plan import EVERYTHING, Selection, patterns_of
    from xiaod.tools.archive.run import ArchiveOptions

    given = (
        options.workers,
        options.dask,
        options.resume,
        options.since,
        options.until,
        options.stations,
    )
    if all(value is None for value in given):
        return None
    if options.dask is not None and _SCHEDULER.fullmatch(options.dask) is None:
        raise ValueError(
            f"--dask {options.dask}: must be the address of a scheduler, such as tcp://10.0.0.1:8786"
        )
    if options.workers is not None and options.dask is not None:
        raise ValueError("--workers and --dask: only one of them; dask's own workers are as many as it has")
    patterns = EVERYTHING if options.stations is None else patterns_of(options.stations)
    selection = Selection(moment("--since", options.since), moment("--until", options.until), patterns)
    return ArchiveOptions(selection, options.workers or 1, options.dask, options.resume)
