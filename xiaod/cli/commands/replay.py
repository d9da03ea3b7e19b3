"""``xiaod replay``: serve miniSEED files or folders over SeedLink."""

import argparse
from pathlib import Path

from xiaod.cli.commands.options import above_zero, one_or_more, refuse
from xiaod.domain.seedlink import PORT

HELP = "serve miniSEED files or folders over SeedLink"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="PATH",
        help="miniSEED file or folder, or 'example': ObsPy's example event",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=PORT, help="port, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument("--speed", type=_speed, default=1.0, help="times real time, or 'max' (default: 1)")
    parser.add_argument("--loop", action="store_true", help="play again and again, with a gap between")
    parser.add_argument("--shift-to-now", action="store_true", help="shift times so that the data begin now")
    parser.add_argument(
        "--tls-certificate",
        type=Path,
        metavar="FILE",
        help="PEM file with a certificate and its key; the port then speaks TLS only",
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM file with the key, if it is apart")
    parser.add_argument(
        "--copies",
        type=one_or_more,
        default=1,
        metavar="N",
        help="serve every station under N names, for load tests",
    )


def run(options: argparse.Namespace) -> int:
    """Serve miniSEED over SeedLink until a signal comes."""
    import asyncio
    import signal

    from xiaod.process.exit_status import ExitCode
    from xiaod.replay import AddressError, ReplayConfig, serve

    async def work() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        config = ReplayConfig(
            inputs=tuple(options.inputs),
            host=options.host,
            port=options.port,
            speed=options.speed,
            loop=options.loop,
            shift_to_now=options.shift_to_now,
            copies=options.copies,
            tls_certificate=options.tls_certificate,
            tls_key=options.tls_key,
        )
        await serve(config, _announce, stop)

    try:
        asyncio.run(work())
    except AddressError as error:
        refuse(error)
        return ExitCode.FAILURE
    except (ValueError, OSError) as error:
        return refuse(error)
    return ExitCode.OK


def _speed(text: str) -> float | str:
    return text if text == "max" else above_zero(text)


def _announce(host: str, port: int) -> None:
    print(f"replay server listens on {host}:{port}", flush=True)
