"""What the server sends: a miniSEED record, and the packet of the schedule that carries it.

>>> Packet(due_ns=0, stream=0, record=None).record is None
True
"""

from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

RECORD_LENGTHS = tuple(1 << power for power in range(8, 14))
"""Lengths of records that can be served (bytes)."""


@dataclass(frozen=True)
class Record:
    """One miniSEED version 2 record and what the server needs to know about it.

    Attributes:
        network, station, location, channel: codes without padding.
        kind: SeedLink type, ``D`` for data, ``L`` for text.
        start_ns: time of the first sample.
        end_ns: time of the last sample.
        raw: the record.
        ticks: start time as written in its header (0.0001 s), without the microseconds of blockette 1001.
        order: byte order of the header.
    """

    network: str
    station: str
    location: str
    channel: str
    kind: str
    start_ns: int
    end_ns: int
    raw: bytes
    ticks: int
    order: Struct

    @property
    def stream(self) -> str:
        """``NET_STA_LOC_CHA``."""
        return f"{self.network}_{self.station}_{self.location}_{self.channel}"


class Packet(NamedTuple):
    """One packet of a cycle.

    Attributes:
        due_ns: when its last sample is recorded, since the first sample of the cycle.
        stream: index of its stream.
        record: what to send; ``None`` for garbage.
    """

    due_ns: int
    stream: int
    record: Record | None
