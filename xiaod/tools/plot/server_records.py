"""Reads the records around a moment from a SeedLink server, whose ring holds the last minutes to days.

In: address, stream pattern, begin and end. Out: the records in the order received, as a miniSEED file. Reading ends when each
channel has sent a record beyond the end, when nothing has arrived for :data:`QUIET_S`, or at the time-out.

>>> from xiaod.config import SeedLinkConfig
>>> fetch_records(SeedLinkConfig(server="127.0.0.1:1"), "BW.RJOB.*.*", 0, 1, timeout_s=2.0)
Traceback (most recent call last):
xiaod.acquisition.seedlink.info.UnreachableError: Connection refused: nothing listens on 127.0.0.1:1; ...
"""

import threading
import time

from xiaod.acquisition.miniseed import channel_of
from xiaod.acquisition.patterns import matches, plan
from xiaod.acquisition.seedlink.info import DiscoveryError, discover
from xiaod.acquisition.seedlink.links import connector
from xiaod.config import SeedLinkConfig
from xiaod.domain.types import Channel

QUIET_S = 5.0


def fetch_records(
    source: SeedLinkConfig, pattern: str, start_ns: int, stop_ns: int, timeout_s: float
) -> bytes:
    """Fetch the records that overlap a span of time.

    Args:
        source: the server, and how it is spoken to.
        pattern: ``NET.STA.LOC.CHA`` with wildcards.
        start_ns: beginning of the span.
        stop_ns: its end.
        timeout_s: for everything.

    Raises:
        DiscoveryError: when the server does not answer, or has no such stream.
        LinkError, OSError: when the connection breaks.
        MissingExtraError: when the version of SeedLink needs a package that is not installed.
    """
    from pymseed import MS3Record, PymseedError

    from xiaod.acquisition.seedlink.connection import SLICE_S

    until_s = time.monotonic() + timeout_s
    connect = connector(source)
    offered = [item.channel for item in discover(source.server, timeout_s, connect=connect).streams]
    channels = [channel for channel in offered if matches(channel, [pattern])]
    if not channels:
        raise DiscoveryError(f"{source.server}: has no stream that matches {pattern}")
    reached_ns: dict[Channel, int] = dict.fromkeys(channels, 0)
    kept: list[bytes] = []
    link = connect(source.server, timeout_s, threading.Event())
    try:
        link.connect()
        link.subscribe(plan([pattern], channels), {}, start_ns)
        heard_s = time.monotonic()
        while min(reached_ns.values()) < stop_ns and time.monotonic() < min(until_s, heard_s + QUIET_S):
            for frame in link.frames(SLICE_S):
                heard_s = time.monotonic()
                try:
                    record = MS3Record.parse(frame.record)
                except (PymseedError, ValueError):
                    continue
                channel = channel_of(record.sourceid)
                if channel not in reached_ns:
                    continue
                reached_ns[channel] = max(reached_ns[channel], record.endtime)
                if record.starttime < stop_ns and record.endtime >= start_ns:
                    kept.append(bytes(frame.record))
    finally:
        link.disconnect()
    return b"".join(kept)
