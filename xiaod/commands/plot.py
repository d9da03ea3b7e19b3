"""``xiaod plot``: a PNG of waveform, probabilities and picks around a moment.

>>> parser = argparse.ArgumentParser()
>>> arguments(parser)
>>> options = parser.parse_args(['BW.RJOB..EH?', '2009-08-24T00:20:07Z', '--input', 'day.mseed'])
>>> options.before, options.after
(10.0, 20.0)
"""

import argparse
import sys
from pathlib import Path

from xiaod.commands.options import above_zero, add_config, moment, refuse

HELP = "draw waveform, probabilities and picks around a moment, as PNG"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("stream", metavar="STREAM", help="NET.STA.LOC.CHA with wildcards, of one instrument")
    parser.add_argument("time", metavar="TIME", help="UTC, such as 2026-01-31T12:00:00Z")
    parser.add_argument(
        "--input",
        nargs="+",
        type=Path,
        required=True,
        metavar="PATH",
        help="miniSEED file or folder, such as an SDS archive",
    )
    parser.add_argument(
        "--before", type=above_zero, default=10.0, metavar="SECONDS", help="default: %(default)s"
    )
    parser.add_argument(
        "--after", type=above_zero, default=20.0, metavar="SECONDS", help="default: %(default)s"
    )
    add_config(
        parser, help_text="windows, engine and picker as in this configuration (default: the defaults)"
    )
    parser.add_argument("--model", metavar="NAME", help="shipped model or path of an ONNX file")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="PNG to write (default: STREAM.TIME.png here)"
    )


def run(options: argparse.Namespace) -> int:
    """Find the instrument, run the pipeline around the moment, draw."""
    from xiaod.configfile import ConfigError
    from xiaod.engines.errors import ModelError
    from xiaod.exitcode import ExitCode
    from xiaod.logs import configure_logs
    from xiaod.offline import offline_config
    from xiaod.plot.album import Shot, instruments_of, make_pictures
    from xiaod.plot.figure import require_matplotlib
    from xiaod.service import open_engine
    from xiaod.sinks.naming import safe
    from xiaod.tables import MissingExtraError

    try:
        at_ns = moment("TIME", options.time)
        assert at_ns is not None  # noqa: S101  it is not optional
        require_matplotlib()
        config = offline_config(options.config, options.model)
        configure_logs("error", config.logs.format)
        engine = open_engine(config)
        found = instruments_of(options.input, options.stream, at_ns, options.before, options.after)
    except (ConfigError, ModelError, MissingExtraError, OSError, ValueError) as error:
        return refuse(error)
    if len(found) != 1:
        had = ", ".join(map(str, found)) or "nothing"
        print(
            f"{options.stream}: must match one instrument with data around {options.time}; it matches {had}",
            file=sys.stderr,
        )
        return ExitCode.FAILURE
    [instrument] = found
    path = options.output or Path(f"{safe(f'{instrument}.{options.time}')}.png")
    title = f"{instrument}  {engine.spec.name}-{engine.spec.version}"
    try:
        made = make_pictures(
            options.input,
            config,
            engine,
            [Shot(instrument, at_ns, title, path)],
            options.before,
            options.after,
        )
    except OSError as error:
        return refuse(error)
    if not made:
        print(
            f"{instrument}: less than a window of {config.windows.length_s:g} s without a gap around {options.time}",
            file=sys.stderr,
        )
        return ExitCode.FAILURE
    print(path)
    return ExitCode.OK
