"""Arguments that several commands share, and how they report errors.

>>> moment("--since", "1970-01-01T00:00:01Z")
1000000000
>>> above_zero("2.5"), zero_or_more("0")
(2.5, 0)
"""

import argparse
import os
import sys
from pathlib import Path

from xiaod.process.exit_status import ExitCode

DEFAULT_CONFIG = Path("config.yaml")
FORMATS = ("jsonl", "quakeml", "scml", "anss", "csv", "gamma", "pyocto", "quakeflow")
"""The names of :data:`xiaod.sinks.file.formats.FORMATS`, here so that the parser does not import the writers."""


def add_config(
    parser: argparse.ArgumentParser, help_text: str = "configuration (default: config.yaml)"
) -> None:
    """Add ``--config``."""
    # No default: it would replace a --config before the command.
    parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help=help_text)


def add_shard(parser: argparse.ArgumentParser) -> None:
    """Add ``--shard``."""
    parser.add_argument(
        "--shard",
        default=argparse.SUPPRESS,
        metavar="INDEX[/COUNT]",
        help="which of several processes: overrides XIAOD_SHARD and the configuration's 'shard'",
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--format`` and ``--stations-file``."""
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help="what to write (default: jsonl)"
    )
    parser.add_argument(
        "--stations-file",
        type=Path,
        metavar="FILE",
        help="coordinates for --format anss, responses for ground motion: CSV, FDSN text or StationXML (default: the configuration's)",
    )


def add_link(parser: argparse.ArgumentParser) -> None:
    """Add what says how a server is spoken to: ``--protocol``, ``--tls`` and ``--ca-file``."""
    parser.add_argument(
        "--protocol",
        type=_protocol,
        choices=[3, 4, "auto"],
        default=3,
        help="version of SeedLink (default: %(default)s)",
    )
    parser.add_argument(
        "--tls",
        action="store_true",
        help="the server's port speaks TLS, with a certificate that the system trusts",
    )
    parser.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="the same, with a certificate that the authority in this PEM file has signed",
    )


def link_of(options: argparse.Namespace) -> dict[str, object]:
    """Keys of a source of the configuration, from ``--server`` or SERVER and the options of :func:`add_link`."""
    tls = {"tls": {"ca_file": options.ca_file}} if options.tls or options.ca_file else {}
    return {"server": options.server, "protocol": options.protocol, **tls}


def _protocol(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def moment(option: str, text: str | None) -> int | None:
    """A time given as text, in nanoseconds.

    Raises:
        ValueError: when it is not a time; the message names the option.
    """
    from xiaod.domain.timegrid import ns_from_iso

    try:
        return None if text is None else ns_from_iso(text)
    except ValueError as error:
        raise ValueError(f"{option}: {text!r}: {error}") from None


def above_zero(text: str) -> float:
    """The type of an argument that is a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0; got {text!r}")
    return value


def one_or_more(text: str) -> int:
    """The type of an argument that is a whole number of at least 1."""
    return _at_least(1, text)


def zero_or_more(text: str) -> int:
    """The type of an argument that is a whole number of at least 0."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}; got {text!r}")
    return value


def refuse(error: Exception) -> int:
    """Print an error; returns the exit status for wrong configuration, model or arguments."""
    from xiaod.process.logs import goes_to_journal, prioritised

    journal = goes_to_journal(sys.stderr, os.environ)
    print(prioritised(str(error), "error") if journal else error, file=sys.stderr)
    return ExitCode.CONFIGURATION


def called() -> str:
    """How this program was called, for commands that are advised: ``xiaod`` is not on the path of everybody."""
    import shlex
    import shutil

    path = Path(sys.argv[0])
    if path.parts[-2:] == ("xiaod", "__main__.py"):
        return f"{shlex.quote(sys.executable)} -m xiaod"
    if path.name != "xiaod" or shutil.which("xiaod") == str(path):
        return "xiaod"
    return shlex.quote(str(path))


def require_writable(path: Path | None) -> None:
    """Check before hours of work that a file can be written.

    Raises:
        OSError: when it cannot.
    """
    if path is not None:
        path.open("ab").close()


def end_on_sigterm() -> None:
    """Let SIGTERM end this program as Ctrl-C does, so that the processes it started end too."""
    import signal

    def end(*_: object) -> None:
        raise SystemExit(ExitCode.TERMINATED)

    signal.signal(signal.SIGTERM, end)
