"""``xiaod bench``: measure what the program costs on this machine."""

import argparse
import sys
from pathlib import Path

from xiaod.cli.commands.options import above_zero, end_on_sigterm, refuse, require_writable, zero_or_more

HELP = "measure what the program costs on this machine"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument(
        "--stations",
        type=_counts,
        default=(1, 10, 100, 1000),
        metavar="N,...",
        help="loads (default: 1,10,100,1000; 0: none)",
    )
    parser.add_argument(
        "--seconds", type=above_zero, default=60.0, help="measured for each load (default: %(default)s)"
    )
    parser.add_argument(
        "--model", default="micro", metavar="NAME", help="shipped model or path (default: %(default)s)"
    )
    parser.add_argument(
        "--early",
        choices=("scout", "windows", "off"),
        default="scout",
        help="what early picks are made by (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        choices=("quiet", "events", "both"),
        default="both",
        help="of the loads: noise alone, an event a minute at all stations at once, or each in turn (default: %(default)s)",
    )
    parser.add_argument(
        "--stopped",
        type=zero_or_more,
        default=60,
        metavar="SECONDS",
        help="after the last load the daemon is stopped for so long, and catches up (default: %(default)s; 0: it is not)",
    )
    parser.add_argument(
        "--hours",
        type=_hours,
        default=24.0,
        help="of one station that are picked offline (default: %(default)s; 0: none)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything as JSON here too")


def run(options: argparse.Namespace) -> int:
    """Measure this machine; a table on standard output."""
    import json

    from xiaod.inference.errors import ModelError
    from xiaod.tools.bench.daemon import BenchError
    from xiaod.tools.bench.load import LoadSettings
    from xiaod.tools.bench.run import KINDS, run_bench
    from xiaod.tools.bench.table import markdown

    try:
        require_writable(options.output)
    except OSError as error:
        return refuse(error)
    end_on_sigterm()
    settings = LoadSettings(
        options.model, early=options.early, seconds=options.seconds, stopped_s=options.stopped
    )
    try:
        found = run_bench(
            options.stations,
            settings,
            kinds=KINDS if options.data == "both" else (options.data,),
            hours=options.hours,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    except (ModelError, FileNotFoundError) as error:
        return refuse(error)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(markdown(found))
    return 0


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(int(part) for part in text.split(","))
    if any(count < 0 for count in counts):
        raise argparse.ArgumentTypeError("must be whole numbers, such as 1,10,100")
    return tuple(count for count in counts if count)


def _hours(text: str) -> float:
    return 0.0 if text == "0" else above_zero(text)
