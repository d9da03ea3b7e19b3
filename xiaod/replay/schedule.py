"""One round of the play: streams, and the order in which their records are filled.

In: an archive of records, how many copies of each station, delays by stream. Out: the streams as served, and all
packets of a round in order of the moment at which their last sample is recorded.

>>> from xiaod.replay.records import load
>>> streams, slots = plain_round(load(["example"]), 2, Faults())
>>> [stream.name for stream in streams][:3], len(slots)
(['BW_RJ000__EHE', 'BW_RJ000__EHN', 'BW_RJ000__EHZ'], 62)
>>> slots[0].due_ns <= slots[1].due_ns
True
"""

from dataclasses import dataclass
from typing import NamedTuple

from xiaod.replay.config import MAX_COPIES, ReplayError
from xiaod.replay.faults import Faults
from xiaod.replay.records import Archive, Record

_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Slot(NamedTuple):
    """One packet of a round.

    Attributes:
        due_ns: when its last sample is recorded, since the first sample of the round.
        stream: index of its stream.
        record: what to send; ``None`` for garbage.
    """

    due_ns: int
    stream: int
    record: Record | None


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


class Round(NamedTuple):
    """One playing of the whole archive: its packets, their due times, and which belong to each stream."""

    slots: tuple[Slot, ...]
    dues: list[int]
    of_stream: dict[int, list[int]]


def indexed(slots: tuple[Slot, ...]) -> Round:
    """Add to the packets of a round what is looked up often."""
    of_stream: dict[int, list[int]] = {}
    for place, slot in enumerate(slots):
        of_stream.setdefault(slot.stream, []).append(place)
    return Round(slots, [slot.due_ns for slot in slots], of_stream)


def plain_round(archive: Archive, copies: int, faults: Faults) -> tuple[tuple[Stream, ...], tuple[Slot, ...]]:
    """Lay out a round without faults other than delays.

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
    slots: list[Slot] = []
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
        slots.extend(
            Slot(record.end_ns - first_ns + delay_ns[name], index_of[name], record)
            for record in archive.records
            for name in (record.stream,)
        )
    slots.sort(key=lambda slot: slot.due_ns)
    return tuple(streams), tuple(slots)


def _synthetic(network: str, station: str, used: dict[tuple[str, str], int]) -> str:
    """Next unused code of the network: two characters of the original, three of base 36."""
    prefix = station[:2].ljust(2, "X")
    number = used.get((network, prefix), 0)
    if number >= MAX_COPIES:
        raise ReplayError(f"{network}.{station}: more than {MAX_COPIES} copies of {prefix}...; ask for fewer")
    used[network, prefix] = number + 1
    return prefix + _BASE36[number // 1296] + _BASE36[number // 36 % 36] + _BASE36[number % 36]
