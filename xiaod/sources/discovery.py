"""What a SeedLink server has: INFO STREAMS on a connection of its own.

ObsPy refuses INFO while data flow, and a long answer would hold them up, so the question is asked on a second connection.

>>> info = parse_streams(b'<seedlink software="ringserver"><station name="RJOB" network="BW">'
...     b'<stream location="" seedname="EHZ" type="D" begin_time="a" end_time="b"/></station></seedlink>')
>>> info.software, str(info.streams[0].channel)
('ringserver', 'BW.RJOB..EHZ')
"""

import threading
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from pymseed import MS3Record, PymseedError

from xiaod.records import Channel
from xiaod.sources.framing import LinkError
from xiaod.sources.link import SLICE_S, Link
from xiaod.sources.miniseed import channel_of

MAX_INFO_BYTES = 64 * 1024 * 1024
LEVEL = "STREAMS"
WHOLE = 30
"""Some servers list megabytes, and some links are slow; but who dribbles must not hold up the data for ever."""


class DiscoveryError(Exception):
    """The server cannot be asked, or its answer cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream that a server has; times as the server writes them."""

    channel: Channel
    begin_time: str
    end_time: str


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server says of itself."""

    software: str
    organization: str
    streams: tuple[StreamInfo, ...]


def discover(address: str, timeout_s: float, stop: threading.Event | None = None) -> ServerInfo:
    """Ask a server for its streams.

    Args:
        address: ``HOST:PORT``.
        timeout_s: for the connection, and for each piece of the answer; :data:`WHOLE` times as much for all of it.
        stop: when set, the question is given up.

    Raises:
        DiscoveryError: when there is no usable answer in time.
        Stopped: when ``stop`` was set.
    """
    link = Link(address, timeout_s, stop or threading.Event())
    try:
        link.connect()
        link.request(LEVEL)
        return parse_streams(_answer(link, timeout_s))
    except (OSError, LinkError) as error:
        raise DiscoveryError(f"{address}: {error}") from error
    except DiscoveryError as error:
        raise DiscoveryError(f"{address}: {error}") from error
    finally:
        link.disconnect()


def parse_streams(text: bytes) -> ServerInfo:
    """Read the XML of INFO STREAMS (SeedLink 3).

    Raises:
        DiscoveryError: when it is not that.
    """
    # A document type is the way to entities that expand without end; the protocol has none.
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise DiscoveryError("INFO STREAMS: XML with a document type is refused")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  entities are refused above
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        # Not only what is malformed: an encoding that is not known is an error of another kind.
        raise DiscoveryError(f"INFO STREAMS: not XML that can be read: {error}") from error
    streams = []
    for station in root.iter("station"):
        network, name = station.get("network", "").strip(), station.get("name", "").strip()
        for stream in station.iter("stream"):
            if stream.get("type", "D") != "D":
                continue
            location, code = stream.get("location", "").strip(), stream.get("seedname", "").strip()
            # The same rule as for records: codes that no record can have are not asked for.
            channel = channel_of("_".join((network, name, location, code[:1], code[1:2], code[2:])))
            if channel is not None:
                streams.append(StreamInfo(channel, stream.get("begin_time", ""), stream.get("end_time", "")))
    return ServerInfo(
        root.get("software", ""),
        root.get("organization", ""),
        tuple(sorted(streams, key=lambda item: item.channel)),
    )


def _answer(link: Link, timeout_s: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    until_s = time.monotonic() + WHOLE * timeout_s
    while (now_s := time.monotonic()) < until_s and now_s < link.heard_s + timeout_s:
        for frame in link.frames(SLICE_S):
            if not frame.is_info:
                continue
            try:
                piece = bytes(MS3Record.parse(frame.record, unpack_data=True).datasamples)
            except (PymseedError, ValueError) as error:
                raise DiscoveryError(f"INFO {LEVEL}: a record cannot be read: {error}") from error
            pieces.append(piece)
            size += len(piece)
            if size > MAX_INFO_BYTES:
                raise DiscoveryError(f"INFO {LEVEL}: answer longer than {MAX_INFO_BYTES} bytes")
            if frame.is_last_info:
                return b"".join(pieces).rstrip(b"\0 \r\n")
    if now_s >= until_s:
        raise DiscoveryError(f"INFO {LEVEL}: no whole answer within {WHOLE * timeout_s:g} s, {size} bytes")
    raise DiscoveryError(f"INFO {LEVEL}: no whole answer, {size} bytes, and no more within {timeout_s:g} s")
