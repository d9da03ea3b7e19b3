"""Parser of the XML answer to INFO STREAMS or INFO STATIONS, station by station while it arrives.

An answer may have tens of megabytes, and it may be damaged: a description in another encoding, a control character, an ampersand. So each
station is cut out and parsed alone, and damage loses one station only. Only codes and times of wanted streams are kept, up to a limit.

>>> listing = Listing()
>>> listing.feed(b'<seedlink software="ringserver"><station name="RJOB" network="BW" description="Jochberg & more">'
...     b'<stream location="" seedname="EHZ" type="D" begin_time="a" end_time="b"/></station></seedlink>')
>>> info = listing.close()
>>> info.software, str(info.streams[0].channel)
('ringserver', 'BW.RJOB..EHZ')
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from xiaod.acquisition.miniseed import channel_of
from xiaod.domain.types import Channel

MAX_STREAMS = 50_000
"""Limit of streams; each takes some 600 bytes."""
MAX_STATION_BYTES = 1 << 20
"""Longest text of one station, or before the first; longer text is not a list."""

_STATION = re.compile(rb"<station(?=[\s/>])")
_STATION_END = "</station>"
_MARK_BYTES = 9
_DOCUMENT_TYPE = re.compile(rb"<!(?:DOCTYPE|ENTITY)")
_END = re.compile(rb"</seedlink\s*>")
_ROOT = re.compile(r"<seedlink\b[^>]*>")
# Descriptions are removed, so that they cannot do damage; one ends where another attribute, or the element, does.
_DESCRIPTION = re.compile(r"""\sdescription="[^\n]{0,500}?"(?=\s+\w+="|\s*/?>)""")
_TAG_CHARACTERS = 4096
"""A description is searched in so many characters of a station."""
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")
"""Characters that XML 1.0 does not allow."""
_BARE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9A-Fa-f]+);)")
"""An ampersand that is meant as such, or an undeclared entity."""


class ListingError(ValueError):
    """The text is not a list of streams; the message says why."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream of a server; times as the server writes them."""

    channel: Channel
    begin_time: str
    end_time: str


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The answer of a server."""

    software: str
    organization: str
    streams: tuple[StreamInfo, ...]
    """Sorted."""
    stations: tuple[tuple[str, str], ...] = ()
    """Stations that are listed without streams, sorted."""
    remarks: tuple[str, ...] = ()
    """What could not be used, in words."""


class ListingParser(Protocol):
    """Parses a list of streams."""

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the text.

        Raises:
            ListingError: when the text is not a list of streams.
        """
        ...

    def close(self) -> ServerInfo:
        """Parse the rest.

        Raises:
            ListingError: when the text is not a list of streams.
        """
        ...


class Listing:
    """Parses the text in pieces of any length; a :class:`ListingParser` of SeedLink 3."""

    def __init__(self, is_wanted: Callable[[Channel], bool] = lambda _: True) -> None:
        """Begin; streams that are not wanted are left out."""
        self._is_wanted = is_wanted
        self._text = bytearray()
        self._searched = 0
        self._head: str | None = None
        """The text before the first station."""
        self._streams: list[StreamInfo] = []
        self._bare: set[tuple[str, str]] = set()
        self._unread = 0
        self._complaint = ""
        self._left_out = 0

    def feed(self, piece: bytes) -> None:
        """Parse the next piece.

        Raises:
            ListingError: when the text is not a list of streams.
        """
        self._text += piece
        while (found := _STATION.search(self._text, self._searched)) is not None:
            self._take(bytes(self._text[: found.start()]))
            del self._text[: found.start()]
            # After the tag with which this station begins.
            self._searched = 1
        self._searched = max(self._searched, len(self._text) - _MARK_BYTES)
        if len(self._text) > MAX_STATION_BYTES:
            raise ListingError(f"more than {MAX_STATION_BYTES} bytes of one station")

    def close(self) -> ServerInfo:
        """Parse the rest.

        Raises:
            ListingError: when the text is not a list of streams.
        """
        end = _END.search(self._text)
        self._take(bytes(self._text[: end.start() if end else len(self._text)]))
        root = _attributes(self._head or "")
        remarks = []
        if self._unread:
            remarks.append(f"stations of the list that cannot be read: {self._unread} ({self._complaint})")
        if self._left_out:
            remarks.append(
                f"streams beyond {MAX_STREAMS} that are left out of the list: {self._left_out}; name networks or stations"
            )
        return ServerInfo(
            root.get("software", ""),
            root.get("organization", ""),
            tuple(sorted(self._streams, key=lambda item: item.channel)),
            tuple(sorted(self._bare)),
            tuple(remarks),
        )

    def _take(self, content: bytes) -> None:
        """Parse the text from one station tag to the next."""
        # Codes are ASCII; all other text is dropped, and this encoding accepts every byte.
        text = content.decode("latin-1")
        if self._head is None:
            # A document type allows entities that expand without end; the protocol has none.
            if _DOCUMENT_TYPE.search(content):
                raise ListingError("XML with a document type is refused")
            if _ROOT.search(text) is None:
                raise ListingError(f"no XML of a SeedLink server, it begins with {content[:40]!r}")
            self._head = text
            return
        # A station whose tag is damaged follows within the text of another one.
        text, end, rest = text.partition(_STATION_END)
        if rest.strip():
            self._unreadable("no beginning", rest)
        try:
            station = ElementTree.fromstring(_repaired(text + end))  # noqa: S314  without a document type there are no entities
        except (ElementTree.ParseError, ValueError) as error:
            self._unreadable(str(error), text)
        else:
            self._station(station)

    def _unreadable(self, why: str, text: str) -> None:
        self._unread += 1
        self._complaint = self._complaint or f"{why}: {text.strip()[:60]!r}"

    def _station(self, station: ElementTree.Element) -> None:
        network, name = station.get("network", "").strip(), station.get("name", "").strip()
        streams = list(station.iter("stream"))
        if not streams and _channel(network, name, "", "XXX") is not None:
            self._bare.add((network, name))
        for stream in streams:
            if stream.get("type", "D") != "D":
                continue
            channel = _channel(
                network, name, stream.get("location", "").strip(), stream.get("seedname", "").strip()
            )
            if channel is None or not self._is_wanted(channel):
                continue
            if len(self._streams) >= MAX_STREAMS:
                self._left_out += 1
                continue
            self._streams.append(
                StreamInfo(channel, stream.get("begin_time", ""), stream.get("end_time", ""))
            )


def _channel(network: str, station: str, location: str, code: str) -> Channel | None:
    """The channel, by the same rule as for records; None for codes that no record can have."""
    return channel_of("_".join((network, station, location, code[:1], code[1:2], code[2:])))


def _repaired(text: str) -> str:
    text = _DESCRIPTION.sub("", text[:_TAG_CHARACTERS], 1) + text[_TAG_CHARACTERS:]
    return _BARE.sub("&amp;", _ILLEGAL.sub("?", text))


def _attributes(head: str) -> dict[str, str]:
    """Attributes of the root element; empty when they are illegible."""
    found = _ROOT.search(head)
    if found is None:
        return {}
    element = found[0].removesuffix(">").removesuffix("/") + "/>"
    text = _repaired(element.encode("latin-1").decode("utf-8", "replace"))
    try:
        return dict(ElementTree.fromstring(text).attrib)  # noqa: S314  without a document type there are no entities
    except (ElementTree.ParseError, ValueError):
        return {}
