"""What several commands have in common: arguments, and how they refuse.

>>> moment("--since", "1970-01-01T00:00:01Z")
1000000000
"""

import argparse
import sys
from pathlib import Path

DEFAULT_CONFIG = Path("config.yaml")
TERMINATED = 143
"""Exit status after SIGTERM, as shells give it."""


def add_config(
    parser: argparse.ArgumentParser, help_text: str = "configuration (default: config.yaml)"
) -> None:
    """Add ``--config``."""
    # Without a default of its own, so that it does not take away a --config that stands before the command.
    parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help=help_text)


def moment(option: str, text: str | None) -> int | None:
    """A time given as text, in nanoseconds.

    Raises:
        ValueError: when it is none; the message names the option.
    """
    from xiaod.timebase import ns_from_iso

    try:
        return None if text is None else ns_from_iso(text)
    except ValueError:
        raise ValueError(f"{option}: {text!r}: must be a time such as 2026-01-31T12:00:00Z") from None


def refuse(error: Exception) -> int:
    """Say what is wrong on standard error; gives the exit status for wrong configuration, model or arguments."""
    print(error, file=sys.stderr)
    return 2


def end_on_sigterm() -> None:
    """Let SIGTERM end this program as Ctrl-C does, so that it ends the processes it has started."""
    import signal

    def end(*_: object) -> None:
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, end)
