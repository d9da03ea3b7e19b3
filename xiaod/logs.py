"""Logs: structlog on standard error, JSON unless a person watches.

Events are names with fields, one for each fact: ``log.info("station.stale", instrument="BW.RJOB..EH", silent_s=61.2)``. No line is
written per packet.

>>> configure_logs("info", "json")
>>> get_logger("example").debug("not.shown")
"""

import logging
import sys
from typing import Literal, cast

import structlog

Logger = structlog.typing.FilteringBoundLogger


def configure_logs(level: str, style: Literal["auto", "json", "console"]) -> None:
    """Set up logging for the process; ``auto`` is ``console`` on a terminal and ``json`` elsewhere."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if console:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def get_logger(component: str) -> Logger:
    """A logger whose lines say which part of the program they come from."""
    return cast(Logger, structlog.get_logger().bind(component=component))
