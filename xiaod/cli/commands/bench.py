"""``xiaod bench``: measure what the program costs on this machine."""

import argparse
import sys
from pathlib import Path

from xiaod.cli.commands.options import above_zero, end_on_sigterm, refuse, require_writable

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
    parser.add_argument("--output", type=Path, metavar="FILE", help="write everything as JSON here too")


def run(options: argparse.Namespace) -> int:
    """Measure this machine; a table on standard output."""
    import json

    from xiaod.inference.errors import ModelError
    from xiaod.tools.bench.daemon import BenchError
    from xiaod.tools.bench.load import LoadSettings
    from xiaod.tools.bench.run import run_bench
    from xiaod.tools.bench.table import markdown

    try:
        require_writable(options.output)
    except OSError as error:
        return refuse(error)
    end_on_sigterm()
    settings = LoadSettings(options.model, seconds=options.seconds)
    try:
        found = run_bench(
            options.stations, settings, say=lambda text: print(text, file=sys.stderr, flush=True)
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
