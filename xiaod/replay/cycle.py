"""One cycle of the schedule: streams, and the order in which their records are filled.

In: an archive of records, how many copies of each station, delays by stream. Out: the streams as served, and all
packets of a cycle in order of the moment at which their last sample is recorded.

>>> from xiaod.replay.records import load
>>> streams, packets = plain_cycle(load(["example"]), 2, Faults())
>>> [stream.name for stream in streams][:3], len(packets)
(['BW_RJ000__EHE', 'BW_RJ000__EHN', 'BW_RJ000__EHZ'], 62)
>>> packets[0].due_ns <= packets[1].due_ns
True
"""

from dataclasses import dataclass
from typing import NamedTuple

from xiaod.replay.config import MAX_COPIES, ReplayError
from xiaod.replay.faults import Faults
from xiaod.replay.packet import Packet
from xiaod.replay.records import Archive

_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Stream:
    """One stream as served.

    Attributes:
        network, station, location, channel: codes without padding; the station's may be synthetic.
        kind: SeedLink type, ``D`` or ``L``.
        code: station code to write into records, padded to five bytes; ``None`` if it stays.
    """

    network: str
    station: str
    location: str
    channel: str
    kind: str
    code: bytes | None

    @property
    def name(self) -> str:
        """``NET_STA_LOC_CHA``."""
        return f"{self.network}_{self.station}_{self.location}_{self.channel}"


class Cycle(NamedTuple):
    """One replay of all records: the packets, their due times, and the positions of the packets of each stream."""

    packets: tuple[Packet, ...]
    dues: list[int]
    of_stream: dict[int, list[int]]


def indexed(packets: tuple[Packet, ...]) -> Cycle:
    """Index the packets of a cycle by due time and stream."""
    of_stream: dict[int, list[int]] = {}
    for number, packet in enumerate(packets):
        of_stream.setdefault(packet.stream, []).append(number)
    return Cycle(packets, [packet.due_ns for packet in packets], of_stream)


def plain_cycle(
    archive: Archive, copies: int, faults: Faults
) -> tuple[tuple[Stream, ...], tuple[Packet, ...]]:
    """Lay out a cycle without faults other than delays.

    Args:
        archive: the records; times count from the first sample of the earliest.
        copies: above 1, so many copies of each station under synthetic codes.
        faults: their delays by stream.

    Returns:
        the streams, and the packets in order of ``due_ns``.

    Raises:
        ReplayError: if the synthetic codes do not suffice.
    """
    first_ns = min(record.start_ns for record in archive.records)
    kinds = {record.stream: record for record in archive.records}
    stations = sorted({(record.network, record.station) for record in archive.records})
    used: dict[tuple[str, str], int] = {}
    streams: list[Stream] = []
    packets: list[Packet] = []
    for _ in range(copies):
        named = {key: _synthetic(*key, used) if copies > 1 else None for key in stations}
        index_of: dict[str, int] = {}
        delay_ns: dict[str, int] = {}
        for name, record in sorted(kinds.items()):
            code = named[record.network, record.station]
            stream = Stream(
                record.network,
                code or record.station,
                record.location,
                record.channel,
                record.kind,
                code.encode("ascii").ljust(5) if code else None,
            )
            index_of[name] = len(streams)
            delay_ns[name] = faults.delay_ns(stream.name)
            streams.append(stream)
        packets.extend(
            Packet(record.end_ns - first_ns + delay_ns[name], index_of[name], record)
            for record in archive.records
            for name in (record.stream,)
        )
    packets.sort(key=lambda packet: packet.due_ns)
    return tuple(streams), tuple(packets)


def _synthetic(network: str, station: str, used: dict[tuple[str, str], int]) -> str:
    """Next unused code of the network: two characters of the original, three of base 36."""
    prefix = station[:2].ljust(2, "X")
    number = used.get((network, prefix), 0)
    if number >= MAX_COPIES:
        raise ReplayError(f"{network}.{station}: more than {MAX_COPIES} copies of {prefix}...; ask for fewer")
    used[network, prefix] = number + 1
    return prefix + _BASE36[number // 1296] + _BASE36[number // 36 % 36] + _BASE36[number % 36]
