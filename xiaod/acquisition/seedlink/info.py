"""The list of streams of a SeedLink server: INFO STREAMS, or INFO STATIONS where that is denied.

It is requested on a second connection: ObsPy refuses INFO while data flow, and a long answer would delay the data. The answer is
parsed while it arrives (:mod:`xiaod.acquisition.seedlink.listing`).
"""

import threading
import time
from collections.abc import Callable

from pymseed import MS3Record, PymseedError

from xiaod.acquisition.seedlink.connection import SLICE_S, Connection
from xiaod.acquisition.seedlink.framing import ClosedError, ErrorReplyError, LinkError
from xiaod.acquisition.seedlink.links import Connector
from xiaod.acquisition.seedlink.listing import ListingError, ListingParser, ServerInfo
from xiaod.domain.types import Channel

MAX_INFO_BYTES = 64 * 1024 * 1024
LEVELS = ("STREAMS", "STATIONS")
WHOLE = 30
"""Some lists have megabytes, and some links are slow; but a server that dribbles must not hold up the data for ever."""
REFUSED = "E_R_R"
"""End of the source identifier of records that deny INFO (ringserver: channel ``ERR``)."""


class DiscoveryError(Exception):
    """The server gives no list that can be used; the message says why."""


class UnreachableError(DiscoveryError):
    """No SeedLink server answers at the address."""


class DeniedError(DiscoveryError):
    """The server denies this request; it may answer another one."""


def discover(
    address: str,
    timeout_s: float,
    stop: threading.Event | None = None,
    is_wanted: Callable[[Channel], bool] = lambda _: True,
    connect: Connector = Connection,
) -> ServerInfo:
    """Ask a server for its streams, or for its stations alone where it denies that.

    Args:
        address: ``HOST:PORT``.
        timeout_s: for the connection, and for each piece of the answer; :data:`WHOLE` times as much for all of it.
        stop: when set, the request is given up.
        is_wanted: other streams are left out.
        connect: makes a connection of the right version.

    Raises:
        UnreachableError: when no server answers.
        DiscoveryError: when there is no usable answer in time.
        Stopped: when ``stop`` was set.
    """
    denials = []
    for level in LEVELS:
        link = connect(address, timeout_s, stop or threading.Event())
        try:
            _connect(link)
            link.request(level)
            return _answer(link, level, timeout_s, link.listing(is_wanted))
        except DeniedError as error:
            denials.append(str(error))
        except UnreachableError:
            raise
        except (OSError, LinkError, DiscoveryError) as error:
            raise DiscoveryError(f"{address}: {error}") from error
        finally:
            link.disconnect()
    raise DiscoveryError(f"{address}: {', '.join(denials)}")


def _connect(link: Connection) -> None:
    try:
        link.connect()
    except (OSError, LinkError) as error:
        said = str(error)
        raise UnreachableError(said if link.sladdr in said else f"{link.sladdr}: {said}") from error


def _answer(link: Connection, level: str, timeout_s: float, listing: ListingParser) -> ServerInfo:
    size = 0
    until_s = time.monotonic() + WHOLE * timeout_s
    while (now_s := time.monotonic()) < until_s and now_s < link.heard_s + timeout_s:
        try:
            for frame in link.frames(SLICE_S):
                if not frame.is_info:
                    continue
                piece = frame.record if frame.is_document else _text(frame.record, level)
                listing.feed(piece)
                size += len(piece)
                if size > MAX_INFO_BYTES:
                    raise DiscoveryError(f"INFO {level}: answer longer than {MAX_INFO_BYTES} bytes")
                if frame.is_last_info:
                    return listing.close()
        except (ErrorReplyError, ClosedError) as error:
            raise DeniedError(f"INFO {level} is denied: {error}") from error
        except ListingError as error:
            raise DeniedError(f"INFO {level}: {error}") from error
    if now_s >= until_s:
        raise DiscoveryError(f"INFO {level}: no whole answer within {WHOLE * timeout_s:g} s, {size} bytes")
    raise DiscoveryError(f"INFO {level}: no whole answer, {size} bytes, and no more within {timeout_s:g} s")


def _text(record: bytes, level: str) -> bytes:
    """Text of a record; empty when it is illegible, which loses the stations in it."""
    try:
        parsed = MS3Record.parse(record, unpack_data=True)
        text = bytes(parsed.datasamples).rstrip(b"\0")
    except (PymseedError, ValueError):
        return b""
    if parsed.sourceid.endswith(REFUSED):
        raise DeniedError(f"INFO {level} is denied")
    return text
