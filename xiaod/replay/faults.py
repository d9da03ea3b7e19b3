"""Faults that a replay server makes on purpose, so that tests need no patched parts.

Two kinds in one frozen dataclass. Faults before the server (records lost, repeated, late, out of order or
damaged, a station with an outage) change the *schedule*: `Faults.disturb` is called once per cycle of the replay,
and such packets are numbered like all others. Faults of the *link* (cut, freeze, refusal, reset sequence
numbers) can be switched while the server runs (`ReplayServer.set_faults`).

>>> faults = Faults(delays_s={"BW_RJOB__EHN": 2.0})
>>> faults.delay_ns("BW_RJOB__EHN"), faults.delay_ns("BW_RJOB__EHZ")
(2000000000, 0)
>>> faults.disturbs, Faults(drop_every=3).disturbs
(False, True)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase

from xiaod.domain.timegrid import ns_from_s
from xiaod.replay.packet import Packet

LINK_FIELDS = frozenset(
    (
        "cut_after_packets",
        "cut_connections",
        "deny_info",
        "freeze_after_packets",
        "freeze_s",
        "lose_bytes",
        "lose_every",
        "lose_from",
        "lose_times",
        "refuse_connections",
        "refuse_stations",
        "reset_sequence_to",
        "resume_at_newest",
    )
)
"""Faults that may change while the server runs."""


@dataclass(frozen=True)
class Outage:
    """Streams that send nothing for a while.

    Attributes:
        stream: ``NET_STA_LOC_CHA`` with ``?`` and ``*``.
        begin_s: seconds of data after the start of the replay.
        end_s: the same; ``None``: it does not end.
    """

    stream: str
    begin_s: float = 0.0
    end_s: float | None = None

    def covers(self, stream: str, at_ns: int) -> bool:
        """Whether a stream sends nothing at an instant (ns of data since the start of the replay)."""
        if at_ns < ns_from_s(self.begin_s) or (self.end_s is not None and at_ns >= ns_from_s(self.end_s)):
            return False
        return fnmatchcase(stream, self.stream)


@dataclass(frozen=True)
class Faults:
    """What goes wrong; the default is nothing.

    ``every`` counts the records of the whole replay, the first being 1.

    Attributes:
        delays_s: extra delay by stream pattern (``NET_STA_LOC_CHA``): components out of step.
        drop_every: each n-th record is lost before it is numbered; 0 for none.
        duplicate_every: each n-th record is sent twice, with two numbers.
        reorder_every: each n-th record is sent after its successor of the same stream.
        garbage_every: a packet of proper length and header with meaningless bytes follows each n-th record.
        outages: streams that send nothing for a while.
        cut_after_packets: close a connection in the middle of a record after this many whole packets.
        cut_connections: how many connections are cut in this way.
        freeze_after_packets: send nothing more, replies included, after this many packets; the connection
            stays open.
        freeze_s: how long it stays frozen; ``None``: until the faults change.
        lose_every: bytes are lost from each n-th packet of a connection on, as in a bad tunnel; 0 for none.
        lose_bytes: how many.
        lose_from: how many bytes of that packet arrive first.
        lose_times: how often this happens, on all connections together.
        refuse_connections: do not listen; connections are closed.
        refuse_stations: stations (``NET_STA`` with ``?`` and ``*``) whose STATION is answered with ERROR.
        deny_info: refuse INFO and CAT for stations and streams.
        reset_sequence_to: number of the next packet, as after a server lost its ring.
        resume_at_newest: begin all stations of a request at the newest packet that any of them names by number
            and time, as ringserver does.
    """

    delays_s: Mapping[str, float] = field(default_factory=dict)
    drop_every: int = 0
    duplicate_every: int = 0
    reorder_every: int = 0
    garbage_every: int = 0
    outages: Sequence[Outage] = ()
    cut_after_packets: int | None = None
    cut_connections: int = 1
    freeze_after_packets: int | None = None
    freeze_s: float | None = None
    lose_every: int = 0
    lose_bytes: int = 0
    lose_from: int = 0
    lose_times: int = 1
    refuse_connections: bool = False
    refuse_stations: Sequence[str] = ()
    deny_info: bool = False
    reset_sequence_to: int | None = None
    resume_at_newest: bool = False

    @property
    def disturbs(self) -> bool:
        """Whether cycles of the replay differ from the plain schedule."""
        every = (self.drop_every, self.duplicate_every, self.reorder_every, self.garbage_every)
        return any(every) or bool(self.outages)

    @property
    def last_change_ns(self) -> int:
        """When the last outage has begun, and the last that ends has ended (ns of data)."""
        return ns_from_s(max((max(item.begin_s, item.end_s or 0.0) for item in self.outages), default=0.0))

    def same_schedule(self, other: "Faults") -> bool:
        """Whether two sets of faults differ only in the link."""
        names = (item.name for item in fields(self) if item.name not in LINK_FIELDS)
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def delay_ns(self, stream: str) -> int:
        """Extra delay of a stream ``NET_STA_LOC_CHA``; the longest wins if several patterns match (ns)."""
        found = (delay_s for pattern, delay_s in self.delays_s.items() if fnmatchcase(stream, pattern))
        return ns_from_s(max(found, default=0.0))

    def disturb(
        self, packets: Iterable[Packet], *, names: Sequence[str], ordinal: int, cycle_ns: int
    ) -> tuple[Packet, ...]:
        """Apply the schedule's faults to one cycle.

        Args:
            packets: the plain cycle, in order of ``due_ns``.
            names: stream names ``NET_STA_LOC_CHA`` by stream index.
            ordinal: records of the replay before this cycle.
            cycle_ns: begin of this cycle in ns of data since the start of the replay.

        Returns:
            the cycle as it will be sent, in order of ``due_ns``.
        """
        sent: list[Packet] = []
        held: dict[int, Packet] = {}
        for number, packet in enumerate(packets, ordinal + 1):
            silent = any(item.covers(names[packet.stream], cycle_ns + packet.due_ns) for item in self.outages)
            if silent or _hits(self.drop_every, number):
                continue
            if _hits(self.reorder_every, number) and packet.stream not in held:
                held[packet.stream] = packet
                continue
            sent.append(packet)
            if (late := held.pop(packet.stream, None)) is not None:
                sent.append(late._replace(due_ns=packet.due_ns))
            if _hits(self.duplicate_every, number):
                sent.append(packet)
            if _hits(self.garbage_every, number):
                sent.append(packet._replace(record=None))
        # A record held at the end of the cycle has no successor there: it comes last instead of being lost.
        last_ns = sent[-1].due_ns if sent else 0
        sent.extend(packet._replace(due_ns=max(packet.due_ns, last_ns)) for packet in held.values())
        return tuple(sent)


def _hits(every: int, number: int) -> bool:
    return every > 0 and number % every == 0
