"""``xiaod --config FILE``: the daemon in the foreground.

>>> run.__name__
'run'
"""

import argparse

from xiaod.commands.options import refuse


def run(options: argparse.Namespace) -> int:
    """Run the daemon in the foreground."""
    import asyncio

    from xiaod.configfile import ConfigError, load_config
    from xiaod.engines.errors import ModelError
    from xiaod.logs import configure_logs, get_logger
    from xiaod.service import ExitCode, Service, StartError, open_engine

    try:
        config = load_config(options.config)
        engine = open_engine(config)
    except (ConfigError, ModelError) as error:
        return refuse(error)
    configure_logs(config.logs.level, config.logs.format)

    async def serve() -> ExitCode:
        return await Service(config, engine, options.config).run()

    try:
        return asyncio.run(serve())
    except StartError as error:
        get_logger("service").error("service.cannot_start", error=str(error))
        return error.code
    except Exception:  # noqa: BLE001  whatever failed is logged, and the service manager told
        get_logger("service").exception("service.failed")
        return ExitCode.FAILURE
