"""``xiaod soak``: days of data at high speed with faults: no pick lost, none twice, memory flat."""

import argparse
import sys
from pathlib import Path

from xiaod.cli.commands.options import (
    above_zero,
    end_on_sigterm,
    one_or_more,
    refuse,
    require_writable,
    zero_or_more,
)

HELP = "days of data at high speed with faults: no pick lost, none twice, memory flat"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("--hours", type=above_zero, default=72.0, help="of data (default: %(default)s)")
    parser.add_argument("--stations", type=one_or_more, default=50, metavar="N", help="default: %(default)s")
    parser.add_argument("--faults", type=zero_or_more, default=48, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--early",
        choices=("scout", "windows", "off"),
        default="windows",
        help="what early picks are made by (default: %(default)s; at full speed a scout is too late)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="where the daemon's files stay (default: a temporary one)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything as JSON here too")


def run(options: argparse.Namespace) -> int:
    """Days of data with faults; 0 when all was as promised, 2 when it was too short to say."""
    import asyncio
    import json
    from tempfile import TemporaryDirectory

    from xiaod.process.exit_status import ExitCode
    from xiaod.tools.bench.daemon import BenchError
    from xiaod.tools.soak.run import SoakSettings
    from xiaod.tools.soak.run import soak as run_soak

    try:
        require_writable(options.output)
    except OSError as error:
        return refuse(error)
    end_on_sigterm()
    settings = SoakSettings(
        stations=options.stations, hours=options.hours, early=options.early, faults=options.faults
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
    if found.failures:
        return ExitCode.FAILURE
    return ExitCode.OK if found.decided else ExitCode.CONFIGURATION
