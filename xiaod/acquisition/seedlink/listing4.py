"""Parser of the JSON answer to INFO STREAMS or INFO STATIONS of SeedLink 4.

Source: SeedLink 4.0, INFO and its JSON schema; times of streams are ``start_time`` or, in drafts, ``begin_time``.

>>> listing = Listing4()
>>> listing.feed(b'{"software": "x", "organization": "y", "station": [{"id": "BW_RJOB", "stream": ['
...     b'{"id": "_E_H_Z", "format": "2", "subformat": "D", "start_time": "a", "end_time": "b"}]}]}')
>>> [(str(one.channel), one.begin_time) for one in listing.close().streams]
[('BW.RJOB..EHZ', 'a')]
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from xiaod.acquisition.miniseed import channel_of
from xiaod.acquisition.seedlink.listing import MAX_STREAMS, ListingError, ServerInfo, StreamInfo
from xiaod.domain.types import Channel

DATA = "D"
"""Subformat of data, as opposed to logs and detections."""


class Listing4:
    """Parses the text; a :class:`~xiaod.acquisition.seedlink.listing.ListingParser`."""

    def __init__(self, is_wanted: Callable[[Channel], bool] = lambda _: True) -> None:
        """Begin; streams that are not wanted are left out."""
        self._is_wanted = is_wanted
        self._text = bytearray()
        self._streams: dict[Channel, StreamInfo] = {}
        self._bare: set[tuple[str, str]] = set()
        self._unread = 0
        self._left_out = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self._text += piece

    def close(self) -> ServerInfo:
        """Parse the text.

        Raises:
            ListingError: when the text is not a list of streams, or says why there is none.
        """
        try:
            found = json.loads(self._text)
        except (ValueError, RecursionError) as error:
            raise ListingError(f"no JSON: {error}") from error
        if not isinstance(found, dict):
            raise ListingError("no JSON object")
        if "error" in found:
            raise ListingError(f"the server says {str(found['error'])[:200]}")
        stations = found.get("station", [])
        for station in stations if isinstance(stations, list) else [None]:
            self._station(station)
        remarks = []
        if self._unread:
            remarks.append(f"stations and streams of the list that cannot be read: {self._unread}")
        if self._left_out:
            remarks.append(
                f"streams beyond {MAX_STREAMS} that are left out of the list: {self._left_out}; name networks or stations"
            )
        return ServerInfo(
            str(found.get("software", "")),
            str(found.get("organization", "")),
            tuple(sorted(self._streams.values(), key=lambda item: item.channel)),
            tuple(sorted(self._bare)),
            tuple(remarks),
        )

    def _station(self, station: Any) -> None:
        identifier = str(station.get("id", "")) if isinstance(station, Mapping) else ""
        network, _, code = identifier.partition("_")
        if channel_of(f"FDSN:{identifier}__X_X_X") is None or not network:
            self._unread += 1
            return
        streams = station.get("stream")
        if not streams or not isinstance(streams, list):
            self._bare.add((network, code))
            return
        for stream in streams:
            self._stream(identifier, stream)

    def _stream(self, station: str, stream: Any) -> None:
        if not isinstance(stream, Mapping) or not isinstance(stream.get("id"), str):
            self._unread += 1
            return
        if stream.get("subformat", DATA) != DATA:
            return
        channel = channel_of(f"FDSN:{station}_{stream['id']}")
        if channel is None:
            self._unread += 1
        elif self._is_wanted(channel):
            if len(self._streams) >= MAX_STREAMS and channel not in self._streams:
                self._left_out += 1
                return
            begin = stream.get("start_time", stream.get("begin_time", ""))
            self._streams[channel] = StreamInfo(channel, str(begin), str(stream.get("end_time", "")))
