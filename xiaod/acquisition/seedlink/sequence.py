"""Sequence numbers of packets: order, and positions to go on after.

Those of SeedLink 3 have 24 bits and wrap. Those of SeedLink 4 have 64 and do not; below 2**24 they look like those of SeedLink 3.

>>> is_after(0, 0xFFFFFF), is_after(0xFFFFFF, 0), oldest([(2, 70), (0xFFFFFE, 60)])
(True, False, (16777214, 60))
>>> is_after(1 << 40, 7), is_after(7, 1 << 40)
(True, False)
"""

from collections.abc import Iterable

from xiaod.domain.seedlink import HALF_RANGE, SEQUENCE_MODULUS
from xiaod.domain.types import Position, Segment, Station

NOTHING = -1
"""In place of a sequence number: nothing of the station has to come again. The time is that of its last packet."""


def station_of(packet: Segment) -> Station:
    """The station that a packet belongs to."""
    return packet.channel.station_codes


def position_of(packet: Segment) -> Position:
    """The position of a packet."""
    return packet.sequence or 0, packet.start_ns


def before(packet: Segment) -> Position:
    """The position to go on after so that a packet comes again."""
    return (packet.sequence or SEQUENCE_MODULUS) - 1, packet.start_ns


def is_after(sequence: int, other: int) -> bool:
    """Whether a sequence number comes after another one."""
    if sequence >= SEQUENCE_MODULUS or other >= SEQUENCE_MODULUS:
        return sequence > other
    return 0 < (sequence - other) % SEQUENCE_MODULUS <= HALF_RANGE


def oldest(positions: Iterable[Position]) -> Position | None:
    """The position with the oldest sequence number; None when there is none."""
    found: Position | None = None
    for position in positions:
        if found is None or is_after(found[0], position[0]):
            found = position
    return found
