"""What all methods of association have in common: picks in, events and how far they are decided out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from xiaod.config.inventory import Stations
from xiaod.domain.types import Event, EventMagnitude, EventOrigin, EventPick, StationDistance


@dataclass(frozen=True, slots=True)
class Cluster:
    """Picks of one event."""

    picks: tuple[EventPick, ...]
    """The first P of each station in order of time, then S picks in the order of their distances."""
    distances: tuple[StationDistance, ...]
    last_ns: int
    """Time of the last P."""
    origin: EventOrigin | None = None
    magnitude: EventMagnitude | None = None


@dataclass(frozen=True, slots=True)
class Association:
    """Events among picks, as far as they are decided."""

    clusters: list[Cluster]
    decided_ns: int
    """P picks up to this time, this one included, are decided."""
    due_ns: int
    """Once all picks until after this time are there, more may be decided."""


class Associator(Protocol):
    """A method. What it finds follows from the set of picks, whatever the order in which they came."""

    @property
    def method(self) -> str:
        """Its name in documents."""
        ...

    @property
    def measures(self) -> bool:
        """Whether it uses amplitudes."""
        ...

    @property
    def least_ns(self) -> int:
        """So much after a pick, at least, all picks must be there before anything about it is decided."""
        ...

    @property
    def forget_ns(self) -> int:
        """Picks so long before the time until which all are there are in no event that is not decided."""
        ...

    def associate(
        self, picks: Sequence[EventPick], complete_ns: int, decided_ns: int, decided: Sequence[Event]
    ) -> Association:
        """Find events for good.

        Args:
            picks: P and S, in any order, without those of decided times.
            complete_ns: until this time all picks are there; events that may still change are not decided.
            decided_ns: as :attr:`Association.decided_ns` of the calls before.
            decided: the last events that they found.
        """
        ...

    def announce(self, picks: Sequence[EventPick], decided: Sequence[Event]) -> list[Cluster]:
        """Find events among the picks that there are by now."""
        ...

    def locate_by(self, stations: Stations) -> None:
        """Use other coordinates from now on."""
        ...

    def decided_by(self, event: Event) -> int:
        """Time until which P picks are decided when this event is."""
        ...

    def says_more(self, cluster: Cluster, event: Event) -> bool:
        """Whether an announced event is worth another version."""
        ...
