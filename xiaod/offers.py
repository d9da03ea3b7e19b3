r"""``xiaod stations``: what the configured servers have, and which of it the configuration selects.

>>> from io import StringIO
>>> from xiaod.config import SeedLinkConfig
>>> out = StringIO()
>>> print_offers(Config(sources=(SeedLinkConfig(server="127.0.0.1:1"),)), timeout_s=2.0, out=out)
1
>>> "Connection refused" in out.getvalue()
True
"""

import asyncio
from typing import TextIO

from xiaod.config import Config, SeedLinkConfig
from xiaod.sources.discovery import DiscoveryError, ServerInfo, discover
from xiaod.sources.patterns import matches, plan


def print_offers(config: Config, timeout_s: float, out: TextIO) -> int:
    """Print every server's streams; gives the exit status: 0, or 1 when a server could not be asked or has nothing selected."""
    status = 0
    for source in config.sources:
        try:
            info = ask(source, timeout_s)
        except DiscoveryError as error:
            out.write(f"{error}\n")
            status = 1
            continue
        out.write(_report(source, info))
        if not any(matches(item.channel, source.streams) for item in info.streams):
            status = 1
    return status


def ask(source: SeedLinkConfig, timeout_s: float) -> ServerInfo:
    """The server's answer; a replay server that the daemon would embed is started for it."""
    if source.replay_input is None:
        return discover(source.server, timeout_s)
    played = source.replay_input

    async def embedded() -> ServerInfo:
        from xiaod.replay import ReplayConfig, ReplayServer

        async with ReplayServer(
            ReplayConfig(inputs=(played,), port=0, shift_to_now=True, loop=True)
        ) as server:
            return await asyncio.to_thread(discover, f"127.0.0.1:{server.port}", timeout_s)

    return asyncio.run(embedded())


def _report(source: SeedLinkConfig, info: ServerInfo) -> str:
    channels = [item.channel for item in info.streams]
    selected = {channel for channel in channels if matches(channel, source.streams)}
    lines = [
        f"{source.label}: {info.software or 'unknown software'}, {info.organization or 'unknown organization'}"
    ]
    lines += [
        f"  {'+' if item.channel in selected else ' '} {item.channel!s:<20} {item.begin_time} to {item.end_time}"
        for item in info.streams
    ]
    listed = {(channel.network, channel.station) for channel in channels}
    lines += [
        f"  ? {subscription.network}.{subscription.station}: asked for by the configuration, not listed by the server"
        for subscription in plan(source.streams, channels)
        if (subscription.network, subscription.station) not in listed
    ]
    lines.append(f"  {len(selected)} of {len(channels)} streams selected (+) by {', '.join(source.streams)}")
    return "\n".join(lines) + "\n"
