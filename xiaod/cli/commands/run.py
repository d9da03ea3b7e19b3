"""``xiaod --config FILE``: the daemon in the foreground."""

import argparse

from xiaod.cli.commands.options import refuse


def end_in_spite_of_threads(status: int) -> None:
    """End the process at once where a thread may still hang in a call, for which Python would wait at the end."""
    import contextlib
    import os
    import sys
    import threading

    from xiaod.pipeline.sink_runner import BUS_THREAD, THREAD_PREFIX
    from xiaod.process.exit_status import ExitCode

    if status == ExitCode.CUT_SHORT or any(
        thread.name.startswith((THREAD_PREFIX, BUS_THREAD)) for thread in threading.enumerate()
    ):
        for stream in (sys.stdout, sys.stderr):
            # It may be closed, or was never open.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)


def run(options: argparse.Namespace) -> int:
    """Run the daemon in the foreground."""
    import signal

    # One that comes while everything is loaded, which takes a while, would end the process; it waits until it can be heeded.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        return _run(options)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _run(options: argparse.Namespace) -> int:
    import asyncio

    from xiaod.config.loader import ConfigError, with_stations
    from xiaod.config.paths import path_problems
    from xiaod.config.per_shard import load_placed
    from xiaod.daemon.service import Service
    from xiaod.inference.errors import ModelError
    from xiaod.pipeline.factory import open_engine, open_scout
    from xiaod.process.allocator import DAEMON_BYTES, keep_freed_memory
    from xiaod.process.exit_status import ExitCode, StartError
    from xiaod.process.logs import configure_logs, get_logger
    from xiaod.process.loop_turns import TurnMeter, new_loop

    keep_freed_memory(DAEMON_BYTES)
    try:
        config = load_placed(options.config, options.shard)
        if problems := path_problems(config):
            raise ConfigError("\n".join(problems))
        config = with_stations(config)
        engine, scout = open_engine(config), open_scout(config)
    except (ConfigError, ModelError) as error:
        return refuse(error)
    configure_logs(config.logs.level, config.logs.format)

    meter = TurnMeter()

    async def serve() -> ExitCode:
        return await Service(config, engine, options.config, options.shard, meter, scout).run()

    try:
        with asyncio.Runner(loop_factory=lambda: new_loop(meter)) as runner:
            code = runner.run(serve())
    except StartError as error:
        if config.logs.format == "json":
            get_logger("service").error("service.cannot_start", error=str(error))
        else:
            refuse(error)
        return error.code
    except Exception:  # noqa: BLE001  whatever failed is logged, and the service manager told
        get_logger("service").exception("service.failed")
        code = ExitCode.FAILURE
    end_in_spite_of_threads(code)
    return code
