"""How a service runs in the foreground, and with what status it ends."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from xiaod.cli.commands.options import refuse
from xiaod.process.exit_status import ExitCode, StartError

if TYPE_CHECKING:
    from xiaod.config import LogConfig


def run_service(run: "Callable[[], ExitCode]", logs: "LogConfig") -> int:
    """Run a service until it ends; whatever fails is logged, for the service manager too.

    Args:
        run: runs it.
        logs: how its log is written.

    Returns:
        the exit status.
    """
    from xiaod.process.logs import get_logger

    try:
        code = run()
    except StartError as error:
        if logs.format == "json":
            get_logger("service").error("service.cannot_start", error=str(error))
        else:
            refuse(error)
        return error.code
    except Exception:  # noqa: BLE001  whatever failed is logged, and the service manager told
        get_logger("service").exception("service.failed")
        code = ExitCode.FAILURE
    _end_in_spite_of_threads(code)
    return code


def _end_in_spite_of_threads(status: int) -> None:
    """End the process at once where a thread may still hang in a call, for which Python would wait at the end."""
    import contextlib
    import os
    import sys
    import threading

    from xiaod.pipeline.sink_runner import BUS_THREAD, THREAD_PREFIX

    if status == ExitCode.CUT_SHORT or any(
        thread.name.startswith((THREAD_PREFIX, BUS_THREAD)) for thread in threading.enumerate()
    ):
        for stream in (sys.stdout, sys.stderr):
            # It may be closed, or was never open.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)
