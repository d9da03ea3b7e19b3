"""``xiaod plot``: a PNG of waveform, probabilities and picks around a moment."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xiaod.cli.commands.options import above_zero, add_config, add_link, link_of, moment, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xiaod.config import Config

HELP = "draw waveform, probabilities and picks around a moment, as PNG"
DEFAULT_TIMEOUT_S = 30.0
EVER_S = 1e10
MAX_NAMED = 20
"""Instruments that an error names."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("stream", metavar="STREAM", help="NET.STA.LOC.CHA with wildcards, of one instrument")
    parser.add_argument("time", metavar="TIME", help="UTC, such as 2026-01-31T12:00:00Z")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument(
        "--input",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="miniSEED file or folder, such as an SDS archive",
    )
    data.add_argument(
        "--server", metavar="HOST:PORT", help="SeedLink server whose ring still holds that time"
    )
    add_link(parser)
    parser.add_argument(
        "--before", type=above_zero, default=10.0, metavar="SECONDS", help="default: %(default)s"
    )
    parser.add_argument(
        "--after", type=above_zero, default=20.0, metavar="SECONDS", help="default: %(default)s"
    )
    parser.add_argument("--raw", action="store_true", help="samples as they are, not from 2 to 20 Hz")
    add_config(
        parser, help_text="windows, engine and picker as in this configuration (default: the defaults)"
    )
    parser.add_argument("--model", metavar="NAME", help="shipped model or path of an ONNX file")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="PNG to write (default: STREAM.TIME.png here)"
    )
    parser.add_argument(
        "--timeout",
        type=above_zero,
        default=DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help="for the server (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Find the instrument, run the pipeline around the moment, draw."""
    from xiaod.acquisition.seedlink.framing import LinkError
    from xiaod.acquisition.seedlink.info import DiscoveryError
    from xiaod.config.loader import ConfigError
    from xiaod.inference.errors import ModelError
    from xiaod.pipeline.offline import offline_config
    from xiaod.process.exit_status import ExitCode
    from xiaod.process.logs import configure_logs
    from xiaod.process.plugins import MissingExtraError
    from xiaod.tools.plot.png import require_matplotlib

    try:
        at_ns = moment("TIME", options.time)
        assert at_ns is not None  # noqa: S101  it is not optional
        require_matplotlib()
        config = offline_config(options.config, options.model)
        configure_logs("error", config.logs.format)
        with _inputs(options, config, at_ns) as inputs:
            path = _draw(options, config, inputs, at_ns)
    except (DiscoveryError, LinkError, LookupError) as error:
        print(error.args[0], file=sys.stderr)
        return ExitCode.FAILURE
    except (ConfigError, ModelError, MissingExtraError, OSError, ValueError) as error:
        return refuse(error)
    print(path)
    return ExitCode.OK


@contextmanager
def _inputs(options: argparse.Namespace, config: "Config", at_ns: int) -> "Iterator[Sequence[Path]]":
    """Files to read: those that were named, or one with what a server still has."""
    from tempfile import TemporaryDirectory

    from xiaod.config import SeedLinkConfig
    from xiaod.domain.timegrid import ns_from_s
    from xiaod.tools.plot.plots import margins_ns
    from xiaod.tools.plot.server_records import fetch_records

    if options.server is None:
        yield options.input
        return
    try:
        source = SeedLinkConfig.model_validate({**link_of(options), "streams": [options.stream]})
        if source.replay_input is not None:
            raise ValueError("nothing is embedded here")
    except ValueError:
        raise ValueError(
            f"--server {options.server}, STREAM {options.stream}: must be HOST or HOST:PORT, and NET.STA.LOC.CHA with * ? [..] wildcards"
        ) from None
    before_ns, after_ns = margins_ns(config)
    start_ns = at_ns - ns_from_s(options.before) - before_ns
    stop_ns = at_ns + ns_from_s(options.after) + after_ns
    with TemporaryDirectory(prefix="xiaod-plot-") as folder:
        path = Path(folder) / "ring.mseed"
        path.write_bytes(fetch_records(source, options.stream, start_ns, stop_ns, options.timeout))
        yield [path]


def _what_there_is(inputs: "Sequence[Path]", at_ns: int, options: argparse.Namespace) -> str:
    """What could have been asked for instead."""
    from xiaod.acquisition.miniseed_files import why_nothing
    from xiaod.tools.plot.plots import instruments_of

    near = instruments_of(inputs, "*.*.*.*", at_ns, options.before, options.after)
    found = near or instruments_of(inputs, "*.*.*.*", at_ns, EVER_S, EVER_S)
    if not found:
        return f": {why_nothing(inputs)}"
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    named = ", ".join(map(str, found[:MAX_NAMED]))
    return f"; there {'is' if near else 'is, at other times,'} {named}{more}"


def _draw(options: argparse.Namespace, config: "Config", inputs: "Sequence[Path]", at_ns: int) -> Path:
    """Draw the picture; gives its path.

    Raises:
        LookupError: when there is nothing to draw, or more than one instrument.
    """
    from xiaod.domain.codes import safe
    from xiaod.pipeline.factory import open_engine
    from xiaod.tools.plot.plots import PlotRequest, instruments_of, make_plots

    engine = open_engine(config)
    found = instruments_of(inputs, options.stream, at_ns, options.before, options.after)
    if len(found) != 1:
        had = ", ".join(map(str, found)) or f"nothing{_what_there_is(inputs, at_ns, options)}"
        raise LookupError(
            f"{options.stream}: must match one instrument with data around {options.time}; it matches {had}"
        )
    [instrument] = found
    path: Path = options.output or Path(f"{safe(f'{instrument}.{options.time}')}.png")
    title = f"{instrument}  {engine.spec.label}"
    request = PlotRequest(instrument, at_ns, title, path)
    if not make_plots(inputs, config, engine, [request], options.before, options.after, raw=options.raw):
        raise LookupError(
            f"{instrument}: less than a window of {config.windows.length_s:g} s without a gap around {options.time}"
        )
    return path
