"""Events of picks that come one by one: announced at once, settled when all final picks are there, or withdrawn.

*Announced* (stage early): whatever picks there are, early ones among them, are associated anew with each pick. An event gets another
version when it says more, as its method sees it: half as many stations again, for example. It is withdrawn when its picks no longer make
one.

*Settled* (stage final): final picks alone are associated once, when the data are ``wait_s`` beyond them. So a final event does not depend
on early picks, nor on the order in which the stations came, as long as none lags by more. A pick that comes later changes no event.

Where data stop while an event is announced, :meth:`EventTracker.conclude` settles it by the final picks that there are, or withdraws it.

Memory: picks of the last minutes, at most :data:`MAX_PICKS`.

>>> from xiaod.association.coincidence import Coincidence, CoincidenceSettings
>>> tracker = EventTracker(Coincidence(CoincidenceSettings(stations=1)), wait_s=30.0)
>>> tracker.update()
[]
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from xiaod.association.cluster import Associator, Cluster
from xiaod.domain.document import DIGITS, amplitude_number
from xiaod.domain.onsets import event_id_of, first_name, standing
from xiaod.domain.timegrid import EARLIEST_NS, LATEST_NS, ns_from_s
from xiaod.domain.types import Event, EventPick, Pick, Stage

MAX_PICKS = 5000
"""Picks that are held at most; when there are more, the oldest tenth goes, and is in no event that is not settled yet."""
MAX_EVENTS = 1000
"""Events whose newest version is remembered, and all that are announced."""
MAX_WOOD_ANDERSON_MM = 1e9
"""Amplitudes that are larger, more than 400 m on the ground, come of a wrong response, and count for no magnitude."""
MAX_DECIDED = 100
"""Settled events that are remembered, since later picks may be theirs."""


@dataclass(slots=True)
class _Announced:
    """An event that is not settled."""

    event: Event
    onsets: frozenset[str]
    """Of its P picks."""


class EventTracker:
    """Picks in, events out."""

    def __init__(self, associator: Associator, wait_s: float) -> None:
        """Begin.

        Args:
            associator: what makes an event.
            wait_s: by how much stations may lag behind the newest data.
        """
        self.late = 0
        """P picks that came when their time was settled."""
        self._associator = associator
        self._wait_ns = ns_from_s(wait_s)
        self._final: dict[str, EventPick] = {}
        self._early: dict[str, EventPick] = {}
        self._onsets: dict[str, str] = {}
        """The early pick of the same onset, of final picks with one: the name of the onset."""
        self._announced: list[_Announced] = []
        self._decided: deque[Event] = deque(maxlen=MAX_DECIDED)
        self._versions: dict[str, int] = {}
        self._newest_ns = EARLIEST_NS
        self._decided_ns = EARLIEST_NS
        self._due_ns = LATEST_NS
        self._changed = False

    @property
    def announced(self) -> int:
        """Number of events that are announced, and neither settled nor withdrawn."""
        return len(self._announced)

    @property
    def picks(self) -> int:
        """Number of picks held."""
        return len(self._final) + len(self._early)

    def restore(self, picks: Iterable[Pick], events: Sequence[Event]) -> None:
        """Go on after an earlier run.

        Args:
            picks: of its last minutes, of all stages.
            events: its last ones, and those that are announced however old they are, in the order in which they were made.
        """
        newest: dict[str, Event] = {}
        for event in events:
            newest[first_name(event)] = event
        announced = [event for event in newest.values() if event.stage == "early"]
        withdrawn = {name for name, event in newest.items() if event.stage == "withdrawn"}
        dropped = {pick.id for event in events if first_name(event) in withdrawn for pick in event.picks}
        for event in events:
            self._versions[event.event_id] = event.version
            if event.stage == "final":
                self._decided_ns = max(self._decided_ns, self._associator.decided_by(event))
                self._decided.append(event)
        dropped -= {pick.id for event in announced for pick in event.picks}
        for pick in standing(picks):
            # What made an event that was withdrawn announces it no more; final picks may.
            if pick.stage != "early" or pick.id not in dropped:
                self.take(pick)
        self.late = 0
        self._announced = [_Announced(event, self._onsets_of(event.picks)) for event in announced]
        self._changed = True

    def take(self, pick: Pick) -> None:
        """Take a pick, or what withdraws one."""
        if pick.early_id is not None:
            self._changed |= self._early.pop(pick.early_id, None) is not None
        if pick.stage == "withdrawn":
            return
        # As documents have it: a run that goes on reads picks from there.
        time_ns, uncertainty_s = (pick.time_ns + 500) // 1000 * 1000, round(pick.time_uncertainty_s, DIGITS)
        if time_ns <= self._decided_ns:
            self.late += pick.phase == "P"
            return
        kept = EventPick(
            pick.id,
            pick.channel,
            pick.phase,
            time_ns,
            uncertainty_s,
            pick.stage,
            wood_anderson_mm=_amplitude_mm(pick) if self._associator.measures else None,
        )
        self._changed = True
        if pick.stage == "early":
            self._early[pick.id] = kept
        else:
            self._final[pick.id] = kept
            if pick.early_id is not None:
                self._onsets[pick.id] = pick.early_id
        self._due_ns = min(self._due_ns, time_ns + self._associator.least_ns)
        if self.picks > MAX_PICKS:
            self._drop_oldest()

    def advance(self, time_ns: int) -> None:
        """Final picks of an instrument are there until a time."""
        self._newest_ns = max(self._newest_ns, time_ns)

    def is_due(self, announce: bool = True) -> bool:
        """Whether :meth:`update` has anything to do."""
        return self._complete_ns > self._due_ns or (announce and self._changed)

    def update(self, everything: bool = False, announce: bool = True) -> list[Event]:
        """Events that are new, or have another version.

        Args:
            everything: no more picks will come.
            announce: False leaves what only announces events, or withdraws them, to a later call.
        """
        complete_ns = LATEST_NS if everything else self._complete_ns
        made = self._settle(complete_ns) if complete_ns > self._due_ns else []
        if self._changed and announce:
            self._changed = False
            made += self._announce()
        if everything:
            made += [self._withdrawn(one) for one in self._announced]
            self._announced = []
        return made

    def conclude(self) -> list[Event]:
        """Data have stopped: announced events are settled by the final picks that there are, or withdrawn.

        What is in no event waits for the data to go on.
        """
        self._early.clear()
        found = self._associator.associate(
            list(self._final.values()), LATEST_NS, self._decided_ns, self._decided
        )
        made = self._settled(found.clusters)
        self._decided_ns = max([self._decided_ns, *map(self._associator.decided_by, made)])
        self._forget(self._decided_ns)
        times = (pick.time_ns for pick in self._final.values())
        self._due_ns = min(times, default=LATEST_NS - self._associator.least_ns) + self._associator.least_ns
        self._changed = False
        made += [self._withdrawn(one) for one in self._announced]
        self._announced = []
        return made

    @property
    def _complete_ns(self) -> int:
        """Until this time all final picks are there."""
        return max(EARLIEST_NS, self._newest_ns - self._wait_ns)

    def _settle(self, complete_ns: int) -> list[Event]:
        try:
            found = self._associator.associate(
                list(self._final.values()), complete_ns, self._decided_ns, self._decided
            )
        except Exception:
            # A pick with which it fails does not stay for ever.
            self._forget(complete_ns - self._associator.forget_ns)
            raise
        made = self._settled(found.clusters)
        self._decided_ns = max(self._decided_ns, found.decided_ns)
        self._forget(max(self._decided_ns, complete_ns - self._associator.forget_ns))
        held = (pick.time_ns for picks in (self._final, self._early) for pick in picks.values())
        self._due_ns = min(found.due_ns, min(held, default=LATEST_NS) + self._associator.forget_ns)
        self._changed = True
        return made

    def _settled(self, clusters: Iterable[Cluster]) -> list[Event]:
        """Final events; those that announced them are no longer announced."""
        made = []
        for cluster in clusters:
            match = self._match(self._onsets_of(cluster.picks), self._announced)
            if match is not None:
                self._announced.remove(match)
            early_id = None if match is None else match.event.event_id
            made.append(self._event(cluster, _event_id(cluster), "final", early_id))
        self._decided += made
        return made

    def _announce(self) -> list[Event]:
        found = self._associator.announce([*self._final.values(), *self._early.values()], self._decided)
        made, left, kept = [], list(self._announced), []
        for cluster in found:
            onsets = self._onsets_of(cluster.picks)
            match = self._match(onsets, left)
            if match is None:
                event = self._event(cluster, f"{_event_id(cluster)}-early", "early", None)
                made.append(event)
            else:
                left.remove(match)
                event = match.event
                if self._associator.says_more(cluster, event):
                    event = self._event(cluster, event.event_id, "early", None)
                    made.append(event)
            kept.append(_Announced(event, onsets))
        made += [self._withdrawn(one) for one in left]
        self._announced = kept
        return made

    def _onsets_of(self, picks: Iterable[EventPick]) -> frozenset[str]:
        return frozenset(self._onsets.get(pick.id, pick.id) for pick in picks if pick.phase == "P")

    def _match(self, onsets: frozenset[str], announced: Collection[_Announced]) -> _Announced | None:
        """The announced event with most of these onsets, the first one of several; None: none has any."""
        # An event may have been announced with final picks whose early ones are known by now, or the other way round.
        shared = [(len(onsets & self._renamed(one.onsets)), one) for one in announced]
        most = max((number for number, _ in shared), default=0)
        return next((one for number, one in shared if number == most), None) if most else None

    def _renamed(self, onsets: frozenset[str]) -> frozenset[str]:
        return frozenset(self._onsets.get(name, name) for name in onsets)

    def _event(self, cluster: Cluster, event_id: str, stage: Stage, early_id: str | None) -> Event:
        version = self._next_version(event_id)
        return Event(
            id=f"{event_id}-v{version}",
            event_id=event_id,
            version=version,
            stage=stage,
            method=self._associator.method,
            time_ns=cluster.picks[0].time_ns,
            picks=cluster.picks,
            distances=cluster.distances,
            origin=cluster.origin,
            magnitude=cluster.magnitude,
            early_id=early_id,
        )

    def _withdrawn(self, one: _Announced) -> Event:
        event = one.event
        version = self._next_version(event.event_id)
        return replace(
            event,
            id=f"{event.event_id}-v{version}",
            version=version,
            stage="withdrawn",
            early_id=event.event_id,
            created_ns=None,
        )

    def _next_version(self, event_id: str) -> int:
        version = self._versions.pop(event_id, 0) + 1
        self._versions[event_id] = version
        if len(self._versions) > MAX_EVENTS:
            # The next version of what is announced must have another number.
            announced = {one.event.event_id for one in self._announced}
            settled = [name for name in self._versions if name != event_id and name not in announced]
            for name in settled[: len(self._versions) - MAX_EVENTS]:
                del self._versions[name]
        return version

    def _forget(self, until_ns: int) -> None:
        """Forget picks up to a time, that one included: what is decided, and S and early picks without a P."""
        for held in (self._final, self._early):
            for name in [name for name, pick in held.items() if pick.time_ns <= until_ns]:
                del held[name]
                self._onsets.pop(name, None)

    def _drop_oldest(self) -> None:
        times = sorted(pick.time_ns for held in (self._final, self._early) for pick in held.values())
        self._decided_ns = max(self._decided_ns, times[len(times) // 10])
        self._forget(self._decided_ns)


def _event_id(cluster: Cluster) -> str:
    first = cluster.picks[0]
    return event_id_of(first.time_ns, first.channel.instrument)


def _amplitude_mm(pick: Pick) -> float | None:
    """On the record of a Wood-Anderson seismograph, as documents have it; None unless it is one, and above the noise."""
    motion = pick.motion
    if motion is None or not 0 < motion.wood_anderson_mm <= MAX_WOOD_ANDERSON_MM:
        return None
    if not motion.wood_anderson_mm > motion.wood_anderson_noise_mm:
        return None
    return amplitude_number(motion.wood_anderson_mm)
