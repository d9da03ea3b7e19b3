r"""Answers to INFO in SeedLink 4: one packet with a JSON document.

Source: SeedLink 4.0, INFO and its JSON schema; names of times and numbers of stations as ringserver 4.5 writes them.

>>> info_packet({"software": "xiaod"})
b'SEJI\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00{"software": "xiaod"}'
"""

import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

from xiaod.domain.timegrid import iso_from_ns
from xiaod.replay.info import ConnectionStatus, StreamStatus
from xiaod.replay.packet4 import packet
from xiaod.replay.selection4 import stream_id

CAPABILITIES = ("SLPROTO:4.0", "SLPROTO:3.1", "TIME")
FORMATS = {
    "2": {"mimetype": "application/vnd.fdsn.mseed", "subformat": {"D": "data", "L": "log"}},
    "3": {"mimetype": "application/vnd.fdsn.mseed3", "subformat": {"D": "data", "L": "log"}},
}
Document = dict[str, Any]


def failure(code: str, message: str) -> Document:
    """What a document says besides who answers when a request fails."""
    return {"error": {"code": code, "message": message}}


def stations(
    statuses: Iterable[StreamStatus],
    numbers: tuple[int, int],
    patterns: Sequence[str],
    data_format: str,
    *,
    with_streams: bool,
) -> Document:
    """Stations, with their streams if asked for.

    Args:
        statuses: all streams.
        numbers: of the oldest packet, and of the next one to come.
        patterns: of station ID and stream ID; all where there are none.
        data_format: code of the format of all records.
        with_streams: whether to list streams.
    """
    of_station, of_stream = (*patterns, "*", "*")[:2] if patterns else ("*", "*")
    taken = [
        item
        for item in statuses
        if fnmatchcase(f"{item.network}_{item.station}", of_station)
        and fnmatchcase(stream_id(item.location, item.channel), of_stream.partition(".")[0])
    ]
    taken.sort(key=lambda item: (item.network, item.station, item.location, item.channel))
    listed = []
    for (network, station), streams in groupby(taken, key=lambda item: (item.network, item.station)):
        entry: Document = {
            "id": f"{network}_{station}",
            "description": f"{network}.{station} replayed",
            "start_seq": numbers[0],
            "end_seq": numbers[1],
            "backfill": -1,
        }
        if with_streams:
            entry["stream"] = [
                {
                    "id": stream_id(item.location, item.channel),
                    "format": data_format,
                    "subformat": item.kind,
                    "origin": "native",
                    "start_time": iso_from_ns(item.begin_ns),
                    "end_time": iso_from_ns(item.end_ns),
                }
                for item in streams
            ]
        listed.append(entry)
    return {"station": listed}


def connections(clients: Iterable[ConnectionStatus]) -> Document:
    """The clients connected now."""
    listed = [
        {
            "host": client.host,
            "client_port": str(client.port),
            "connect_time": iso_from_ns(client.since_ns),
            "transmit_packets": client.packets,
        }
        for client in clients
    ]
    return {"connections": {"client_count": len(listed), "client": listed}}


def info_packet(answer: Document) -> bytes:
    """The packet that carries a document."""
    return packet("JE" if "error" in answer else "JI", 0, "", json.dumps(answer).encode())
