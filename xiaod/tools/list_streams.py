r"""``xiaod stations``: the streams of the configured servers, and which of them the configuration selects.

>>> from io import StringIO
>>> from xiaod.config import SeedLinkConfig
>>> out = StringIO()
>>> print_offers(Config(sources=(SeedLinkConfig(server="127.0.0.1:1"),)), timeout_s=2.0, out=out)
1
>>> "Connection refused" in out.getvalue()
True
"""

import asyncio
import re
from collections import Counter
from collections.abc import Collection
from typing import TextIO

from xiaod.acquisition.patterns import matcher, plan
from xiaod.acquisition.seedlink.info import DiscoveryError, discover
from xiaod.acquisition.seedlink.links import connector
from xiaod.acquisition.seedlink.listing import ServerInfo
from xiaod.config import Config, SeedLinkConfig
from xiaod.domain.sharding import ALONE, Shard, shard_of
from xiaod.process.plugins import MissingExtraError
from xiaod.replay.config import ReplayError


def print_offers(
    config: Config, timeout_s: float, out: TextIO, shard: Shard = ALONE, shown_shards: int = 1
) -> int:
    """Print every server's streams.

    Args:
        config: with the servers.
        timeout_s: for each.
        out: where to.
        shard: only its stations are marked as selected.
        shown_shards: above 1, for how many shards to show which has which station, and how many each has.

    Returns:
        the exit status: 0, or 1 when a server could not be asked or has nothing selected.
    """
    status = 0
    stations: set[tuple[str, str]] = set()
    for source in config.sources:
        try:
            info = ask(source, timeout_s)
        except (DiscoveryError, MissingExtraError, ReplayError) as error:
            out.write(f"{error}\n")
            status = 1
            continue
        channels = [item.channel for item in info.streams]
        asked = {one.station_codes for one in plan(source.streams, channels, info.stations)}
        stations |= asked
        out.write(_report(source, info, shard, shown_shards))
        if not any(map(matcher(source.streams), channels)) and asked.isdisjoint(info.stations):
            status = 1
    if shown_shards > 1:
        out.write(balance(stations, shown_shards))
    return status


def balance(stations: Collection[tuple[str, str]], shards: int) -> str:
    """How many stations each shard has, as text.

    >>> print(balance([("BW", name) for name in ("RJOB", "MANZ", "WETR")], 2), end="")
    shard 0/2: 2 of 3 stations, 67 %
    shard 1/2: 1 of 3 stations, 33 %
    """
    counts = Counter(shard_of(network, station, shards) for network, station in stations)
    return "".join(
        f"shard {index}/{shards}: {counts[index]} of {len(stations)} stations, {100 * counts[index] / max(1, len(stations)):.0f} %\n"
        for index in range(shards)
    )


def ask(source: SeedLinkConfig, timeout_s: float) -> ServerInfo:
    """The server's answer; a replay server that the daemon would embed is started for it."""
    if source.replay_input is None:
        return discover(source.server, timeout_s, connect=connector(source))
    played = source.replay_input

    async def embedded() -> ServerInfo:
        from xiaod.replay import ReplayConfig, ReplayServer

        async with ReplayServer(
            ReplayConfig(inputs=(played,), port=0, shift_to_now=True, loop=True)
        ) as server:
            return await asyncio.to_thread(discover, f"127.0.0.1:{server.port}", timeout_s)

    return asyncio.run(embedded())


def _iso(time: str) -> str:
    """A time of a server as ISO 8601; SeedLink 3 leaves the form open.

    >>> _iso("2026/11/30 03:52:46.8496"), _iso("2026-11-30T03:52:46Z")
    ('2026-11-30T03:52:46.8496Z', '2026-11-30T03:52:46Z')
    """
    return re.sub(r"^(\d{4})/(\d\d)/(\d\d) ([\d:.]+)$", r"\1-\2-\3T\4Z", time)


def _report(source: SeedLinkConfig, info: ServerInfo, shard: Shard, shown_shards: int) -> str:
    channels = [item.channel for item in info.streams]
    is_meant = matcher(source.streams)
    selected = {
        channel for channel in channels if shard.holds(channel.network, channel.station) and is_meant(channel)
    }

    def place(network: str, station: str) -> str:
        return f"  shard {shard_of(network, station, shown_shards)}" if shown_shards > 1 else ""

    lines = [
        f"{source.label}: {info.software or 'unknown software'}, {info.organization or 'unknown organization'}"
    ]
    lines += [
        f"  {'+' if item.channel in selected else ' '} {item.channel!s:<20} {_iso(item.begin_time)} to {_iso(item.end_time)}"
        + place(item.channel.network, item.channel.station)
        for item in info.streams
    ]
    asked = [
        one for one in plan(source.streams, channels, info.stations) if shard.holds(one.network, one.station)
    ]
    places = {one.station_codes for one in asked}
    lines += [
        f"  {'+' if station in places else ' '} {'.'.join(station)}: listed without streams" + place(*station)
        for station in info.stations
    ]
    listed = {(channel.network, channel.station) for channel in channels} | {*info.stations}
    lines += [
        f"  ? {subscription.network}.{subscription.station}: asked for by the configuration, not listed by the server"
        + place(subscription.network, subscription.station)
        for subscription in asked
        if subscription.station_codes not in listed
    ]
    lines += [f"  ! {remark}" for remark in info.remarks]
    where = "" if shard == ALONE else f" on shard {shard}"
    lines.append(
        f"  {len(selected)} of {len(channels)} streams selected (+) by {', '.join(source.streams)}{where}"
    )
    return "\n".join(lines) + "\n"
