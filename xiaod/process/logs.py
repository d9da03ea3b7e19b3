"""Logs: structlog on standard error, JSON unless a person watches.

An event is a name with fields, one for each fact: ``log.info("station.stale", instrument="BW.RJOB..EH", silent_s=61.2)``. No line is
written per packet. If standard error is systemd's journal, each line begins with its priority (sd-daemon(3)), so that
``journalctl -p warning`` selects by level. Messages of libraries through Python's ``logging`` become lines of the same log
(``library.message``), at a limited rate for each place in a library. If the log cannot be written, because the disk is full or its reader
has gone, the program goes on.

>>> configure_logs("info", "json")
>>> get_logger("example").debug("not.shown")
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Literal, TextIO, cast

import structlog

from xiaod.process.log_rate_limit import LogRateLimit

Logger = structlog.typing.FilteringBoundLogger

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Level -> priority of syslog(3)."""
_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)
LIBRARY_LINES = 10
LIBRARY_PERIOD_S = 3600.0
"""One place of a library writes so many lines within this time."""


def configure_logs(level: str, style: Literal["auto", "json", "console"]) -> None:
    """Set up logging for the process; ``auto`` is ``console`` on a terminal and ``json`` elsewhere."""
    # A process without standard error logs to standard output.
    terminal = sys.stderr is not None and sys.stderr.isatty()
    console = style == "console" or (style == "auto" and terminal)
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if console:
        # With the package rich structlog would show all local variables, and secrets with them.
        plain = structlog.dev.plain_traceback
        processors.append(structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain))
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if goes_to_journal(sys.stderr, os.environ):
        processors.append(_with_priority)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(
            file=cast(TextIO, _LossyStream(sys.stderr or sys.stdout))
        ),
        cache_logger_on_first_use=False,
    )
    _handle_libraries()


def _handle_libraries() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, LibraryHandler) for handler in root.handlers):
        root.addHandler(LibraryHandler())


def log_through_python() -> None:
    """Make warnings and errors messages of the logger ``xiaod`` of Python's ``logging``, for a program that uses this one as a library.

    A process that has set up structlog keeps what it has.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: logging.getLogger("xiaod"),
        cache_logger_on_first_use=False,
    )


def goes_to_journal(stream: TextIO | None, environment: Mapping[str, str]) -> bool:
    """Whether a stream is the one to the journal that systemd names in ``JOURNAL_STREAM`` (systemd.exec(5)).

    >>> goes_to_journal(sys.stderr, {}), goes_to_journal(None, {})
    (False, False)
    """
    try:
        status = os.fstat(-1 if stream is None else stream.fileno())
    except (OSError, ValueError):
        # Closed, or no file at all.
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _with_priority(_: object, level: str, line: structlog.typing.EventDict) -> str:
    """The last processor: puts the priority before the rendered line."""
    return prioritised(str(line), level)


def prioritised(text: str, level: str) -> str:
    r"""Text with the priority of a level before each of its lines; a traceback has several.

    >>> prioritised("one\ntwo", "warning")
    '<4>one\n<4>two'
    """
    priority = f"<{PRIORITIES.get(level, PRIORITIES['error'])}>"
    return "\n".join(priority + line for line in text.splitlines())


def get_logger(component: str) -> Logger:
    """A logger whose lines say which part of the program they come from."""
    return cast(Logger, structlog.get_logger().bind(component=component))


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """While it is entered, messages of libraries in this thread go into the list and not into the log: they may hold secrets.

    >>> configure_logs("info", "json")
    >>> with collected() as said:
    ...     logging.getLogger("library").warning("refused %s", "hush")
    >>> said
    ['refused hush']
    """
    _handle_libraries()
    said: list[str] = []
    token = _collected.set(said)
    try:
        yield said
    finally:
        _collected.reset(token)


class LibraryHandler(logging.Handler):
    """Puts messages of libraries into the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._rate_limit = LogRateLimit(LIBRARY_LINES, LIBRARY_PERIOD_S)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, unless this place is over its rate, or the message is collected."""
        if (said := _collected.get()) is not None:
            said.append(record.getMessage())
            return
        unlogged = self._rate_limit.admit((record.name, record.pathname, record.lineno))
        if unlogged is None:
            return
        fields: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
        if unlogged:
            fields["unlogged"] = unlogged
        log = get_logger("library")
        write = log.error if record.levelno >= logging.ERROR else log.warning
        write("library.message", library=record.name, text=record.getMessage(), **fields)


class _LossyStream:
    """A stream that drops what it cannot write: a full disk is no reason to stop picking."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        # ValueError: it is closed.
        with contextlib.suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.flush()
