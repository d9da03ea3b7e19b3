"""``xiaod --config FILE``: the daemon in the foreground."""

import argparse

from xiaod.cli.commands.options import refuse
from xiaod.cli.commands.serving import run_service


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
    from xiaod.process.exit_status import ExitCode
    from xiaod.process.logs import configure_logs
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

    def run_loop() -> ExitCode:
        with asyncio.Runner(loop_factory=lambda: new_loop(meter)) as runner:
            return runner.run(serve())

    return run_service(run_loop, config.logs)
