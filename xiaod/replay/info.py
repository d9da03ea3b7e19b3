"""Answers to INFO: XML documents in miniSEED text records.

Each record follows ``SLINFO *``, the last one ``SLINFO`` and two blanks.

Source: SeedLink v3 as spoken by SeisComP and ringserver: element and attribute names are theirs. ID,
CAPABILITIES, STATIONS, STREAMS and CONNECTIONS are answered; GAPS, ALL and anything unknown get an ID
document in records of channel ``ERR``, as ringserver does.

>>> packets = info_packets(identity("xiaod", "here", 0), failed=False)
>>> len(packets), packets[:8]
(520, b'SLINFO  ')
"""

import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple

from pymseed import DataEncoding, MS3Record

from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.domain.timegrid import NS_PER_S

CAPABILITIES = (
    "dialup",
    "multistation",
    "window-extraction",
    "info:id",
    "info:capabilities",
    "info:stations",
    "info:streams",
    "info:connections",
)


@dataclass(frozen=True)
class StreamStatus:
    """One stream and what is available of it.

    Attributes:
        network, station, location, channel: codes without padding.
        kind: SeedLink type, ``D`` or ``L``.
        begin_ns: first available sample; before anything is available, the first one to come.
        end_ns: last available sample; before anything is available, equal to ``begin_ns``.
    """

    network: str
    station: str
    location: str
    channel: str
    kind: str
    begin_ns: int
    end_ns: int


class ConnectionStatus(NamedTuple):
    """One client: address, port, time of connection (ns), packets sent, number of the next packet."""

    host: str
    port: int
    since_ns: int
    packets: int
    sequence: int


def identity(software: str, organization: str, started_ns: int) -> ET.Element:
    """Root element of every document; alone it is the answer to INFO ID."""
    return ET.Element("seedlink", software=software, organization=organization, started=_text(started_ns))


def add_capabilities(root: ET.Element) -> None:
    """Add what the server can do."""
    for name in CAPABILITIES:
        ET.SubElement(root, "capability", name=name)


def add_stations(
    root: ET.Element, statuses: Iterable[StreamStatus], sequences: tuple[int, int], *, with_streams: bool
) -> None:
    """Add the stations, with their streams if asked for, and the oldest and newest sequence numbers."""
    begin, end = (f"{sequence:06X}" for sequence in sequences)
    ordered = sorted(statuses, key=lambda item: (item.network, item.station, item.location, item.channel))
    for (network, station), streams in groupby(ordered, key=lambda item: (item.network, item.station)):
        element = ET.SubElement(
            root,
            "station",
            name=station,
            network=network,
            description=f"{network}.{station} replayed",
            begin_seq=begin,
            end_seq=end,
            stream_check="enabled",
        )
        for item in streams if with_streams else ():
            ET.SubElement(
                element,
                "stream",
                location=item.location,
                seedname=item.channel,
                type=item.kind,
                begin_time=_text(item.begin_ns),
                end_time=_text(item.end_ns),
            )


def add_connections(root: ET.Element, clients: Iterable[ConnectionStatus], record_bytes: int) -> None:
    """Add the clients connected now."""
    for client in clients:
        element = ET.SubElement(
            root,
            "station",
            name="CLIENT",
            network="SL",
            description="client",
            begin_seq="0",
            end_seq="0",
            stream_check="enabled",
        )
        ET.SubElement(
            element,
            "connection",
            host=client.host,
            port=str(client.port),
            ctime=_text(client.since_ns),
            begin_seq="0",
            current_seq=f"{client.sequence:06X}",
            sequence_gaps="0",
            txcount=str(client.packets),
            totBytes=str(client.packets * (record_bytes + 8)),
            begin_seq_valid="yes",
            realtime="yes",
            end_of_data="no",
        )


def info_packets(root: ET.Element, *, failed: bool) -> bytes:
    """Pack a document into 520-byte INFO packets, joined."""
    document = b'<?xml version="1.0"?>' + ET.tostring(root, encoding="us-ascii")
    template = MS3Record(reclen=RECORD_BYTES, encoding=DataEncoding.TEXT)
    template.formatversion = 2
    template.sourceid = "FDSN:XX_INFO__E_R_R" if failed else "FDSN:XX_INFO__I_N_F"
    template.samprate = 0
    template.starttime = int(time.time()) * NS_PER_S
    return _framed(list(template.generate(document, "t")))


def _framed(records: Sequence[bytes]) -> bytes:
    heads = [b"SLINFO *"] * (len(records) - 1) + [b"SLINFO  "]
    return b"".join(head + record for head, record in zip(heads, records, strict=True))


def _text(time_ns: int) -> str:
    moment = datetime.fromtimestamp(time_ns // NS_PER_S, UTC)
    return f"{moment:%Y/%m/%d %H:%M:%S}.{time_ns % NS_PER_S // 100_000:04d}"
