"""The store as the pick stage sees it: each onset is stored once in each stage, and the time until which each instrument has been picked.

A pick whose onset is in the store is not stored again, and after a resumption nothing is picked before ``picked_until``. So a daemon that
was killed makes exactly the picks that are missing: see the time-line in :mod:`xiaod.domain.resumption`.

>>> from tempfile import TemporaryDirectory
>>> from pathlib import Path
>>> with TemporaryDirectory() as folder:
...     progress = PickingProgress(PickStore(Path(folder) / "picks.sqlite"), resumed=True, not_final_s=45)
...     instrument = Instrument("XX", "A", "", "HH")
...     progress.advance(instrument, 100_000_000_000)
...     progress.write(progress.snapshot(), {})
...     progress.picked_until(), progress.known_since(instrument, 20_000_000_000)
({('XX', 'A'): 55000000000}, [])
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from xiaod.domain.onsets import CENTROID_S, sample_of, unresolved_early
from xiaod.domain.resumption import (
    is_abandoned,
    is_elsewhere,
    remembered_from_ns,
    resolved_from_ns,
    station_picked_until_ns,
)
from xiaod.domain.timegrid import GRID_NS, ns_from_s
from xiaod.domain.types import Instrument, Pick, Station, StationPositions
from xiaod.storage.pick_store import Given, PickStore, Result


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """The progress of one moment, to be written in the thread of the store while picking goes on."""

    picked_until: Mapping[Instrument, int]
    departed: frozenset[Instrument]


class PickingProgress:
    """How far all instruments have been picked, and their picks.

    Reading and writing may wait for the disk. An event loop therefore calls :meth:`begin`, :meth:`known_since`, :meth:`unresolved`,
    :meth:`instruments`, :meth:`store` and :meth:`write` through :meth:`run_in_thread`, where one follows the other; it calls the other
    methods directly.
    """

    def __init__(self, store: PickStore, resumed: bool, not_final_s: float) -> None:
        """Begin.

        Args:
            store: the store.
            resumed: whether sources go on where an earlier run stopped: then nothing is picked before that.
            not_final_s: how far behind the newest window picks are final: see :func:`xiaod.domain.resumption.not_final_s`.
        """
        self._not_final_ns = ns_from_s(not_final_s)
        self._store = store
        self._resumed = resumed
        self._picked_until: dict[Instrument, int] = {}
        self._saved: dict[Instrument, int] = {}
        self._begun: dict[Instrument, int | None] = {}
        self._departed: set[Instrument] = set()
        """Instruments that have gone; they are forgotten once their progress is in the store."""

    async def run_in_thread(
        self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs
    ) -> Result:
        """Call it in the thread of the store, so that the event loop goes on; its result."""
        return await self._store.run_in_thread(work, *arguments, **named)

    def begin(self, instrument: Instrument, time_ns: int) -> int:
        """The first window of an instrument begins at a time.

        Returns:
            nanoseconds of data that neither run sees: the server no longer had them, or was not asked for them.
        """
        self._departed.discard(instrument)
        picked_until_ns = self._begun_from(instrument)
        if not self._resumed or picked_until_ns is None:
            return 0
        if is_elsewhere(time_ns, picked_until_ns):
            # Other data than those of the last run: they are picked.
            self._begun[instrument] = None
        return max(0, time_ns - picked_until_ns - self._not_final_ns)

    def known_since(self, instrument: Instrument, time_ns: int) -> list[Pick]:
        """Picks that the picker of an instrument must remember when its first window begins at a time: final ones, early ones, withdrawals.

        With each early pick comes what became of it. A run that ended before its first save left no ``picked_until``, but it may have left
        picks.
        """
        picked_until_ns = self._begun_from(instrument)
        from_ns = remembered_from_ns(time_ns if picked_until_ns is None else picked_until_ns)
        found = self._store.between(resolved_from_ns(from_ns), None, instrument)
        return [pick for pick in found if pick.time_ns >= from_ns or pick.early_id is not None]

    def unresolved(self, instrument: Instrument) -> list[Pick]:
        """Early picks of an instrument whose outcome no run has said, however old they are.

        Those of long before ``picked_until`` have one. Without it, as after a run that ended before its first save, none is sure to have.
        """
        saved_ns = self._store.picked_until(instrument)
        from_ns = None if saved_ns is None else resolved_from_ns(remembered_from_ns(saved_ns))
        return unresolved_early(self._store.between(from_ns, None, instrument))

    def instruments(self) -> list[Instrument]:
        """Instruments of which the store has picks."""
        return self._store.instruments()

    def store(self, picks: Sequence[Pick], separation: int) -> list[Pick]:
        """Store picks; those that are new.

        Pickers remember their recent picks. Where a server sends old data again, or a clock was set back, only the store knows the picks;
        confirmed in other windows, their onsets may lie a sample beside the old ones. A final pick is known by final ones alone; an early
        pick also by them: once an onset has its final pick, an early one makes no sense. A withdrawal is known by its identifier, and gets
        through whenever its early pick was made.

        Args:
            picks: of any instruments, in the order in which they were made.
            separation: samples; a pick of the same phase and model that is closer to one in the store is the same onset.

        Raises:
            StoreError: when none could be stored.
        """
        wanted: list[Pick] = []
        of_instrument: dict[Instrument, list[Pick]] = {}
        for pick in picks:
            before = of_instrument.setdefault(pick.channel.instrument, [])
            if pick.stage == "withdrawn" or not (
                self._done(pick) or self._is_known(pick, before, separation)
            ):
                before.append(pick)
                wanted.append(pick)
        return self._store.add(wanted, {}) if wanted else []

    def advance(self, instrument: Instrument, time_ns: int) -> None:
        """Windows until a time have been picked, and their picks have been stored."""
        time_ns -= self._not_final_ns
        if (begun_ns := self._begun.get(instrument)) is not None:
            if self._resumed and time_ns <= begun_ns:
                # The last run was further: its decisions hold, should this one end here.
                self._picked_until[instrument] = begun_ns
                return
            # This run has reached the last one: from here on everything is new.
            self._begun[instrument] = None
        known_ns = self._picked_until.get(instrument, time_ns - 1)
        # Far behind means that the clock of the station was set back: its new time counts.
        if time_ns > known_ns or is_abandoned(time_ns, known_ns):
            self._picked_until[instrument] = time_ns

    def snapshot(self) -> ProgressSnapshot:
        """The progress as it is now, for :meth:`write`."""
        return ProgressSnapshot(dict(self._picked_until), frozenset(self._departed))

    def write(self, snapshot: ProgressSnapshot, positions: Mapping[str, StationPositions]) -> None:
        """Save how far instruments had been picked, and where each source has to begin again.

        Args:
            snapshot: the progress.
            positions: by source, for the times of :meth:`picked_until` when the snapshot was taken.

        Raises:
            StoreError: when it cannot be written.
        """
        changed = {
            instrument: time_ns
            for instrument, time_ns in snapshot.picked_until.items()
            if self._saved.get(instrument) != time_ns
        }
        self._store.save(changed, positions)
        self._saved |= changed
        for instrument in snapshot.departed:
            # It may have come back meanwhile.
            if instrument in self._departed:
                self._departed.discard(instrument)
                for known in (self._picked_until, self._saved, self._begun):
                    known.pop(instrument, None)

    def forget(self, instruments: Collection[Instrument]) -> None:
        """Instruments have gone; should they come back, the store knows them."""
        self._departed.update(instruments)

    def picked_until(self) -> dict[Station, int]:
        """Time, for each station, until which it has been picked."""
        by_station: dict[Station, list[int]] = {}
        # A copy: the thread of the store removes instruments that have gone.
        for instrument, time_ns in dict(self._picked_until).items():
            by_station.setdefault((instrument.network, instrument.station), []).append(time_ns)
        return {station: station_picked_until_ns(times) for station, times in by_station.items()}

    def _done(self, pick: Pick) -> bool:
        picked_until_ns = self._begun_from(pick.channel.instrument)
        return self._resumed and picked_until_ns is not None and pick.time_ns < picked_until_ns

    def _is_known(self, pick: Pick, before: Sequence[Pick], separation: int) -> bool:
        """Whether the onset of a pick has one in the store, or among those before it that will be stored with it."""
        peak, reach_ns = sample_of(pick), separation * GRID_NS + ns_from_s(2 * CENTROID_S)
        near = self._store.between(
            pick.time_ns - reach_ns,
            pick.time_ns + reach_ns,
            pick.channel.instrument,
            "all" if pick.stage == "early" else "final",
        )
        return any(
            (other.phase, other.model) == (pick.phase, pick.model)
            and abs(sample_of(other) - peak) < separation
            and (pick.stage == "early" or other.stage == "final")
            for other in (*near, *before)
        )

    def _begun_from(self, instrument: Instrument) -> int | None:
        if instrument not in self._begun:
            self._begun[instrument] = self._store.picked_until(instrument)
        return self._begun[instrument]
