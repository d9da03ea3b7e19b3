"""What the pipeline writes into the store, and what it knows from it: picks once, and how far each instrument has been picked.

A pick that the store holds already is not made again, nor one of the same onset; after a resumption nothing is picked before the
time until which the instrument had been picked. So a daemon that was killed and goes on far enough back in the stream makes exactly
the picks that are missing.

>>> from tempfile import TemporaryDirectory
>>> from pathlib import Path
>>> with TemporaryDirectory() as folder:
...     progress = PickingProgress(PickStore(Path(folder) / "picks.sqlite"), resumed=True, settled_s=45)
...     instrument = Instrument("XX", "A", "", "HH")
...     progress.advance(instrument, 100_000_000_000)
...     progress.flush({})
...     progress.picked_until(), progress.known_since(instrument, 20_000_000_000)
({('XX', 'A'): 55000000000}, [])
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from xiaod.domain.onsets import CENTROID_S, sample_of
from xiaod.domain.resumption import is_abandoned, is_elsewhere, remembered_from_ns, station_picked_until_ns
from xiaod.domain.timegrid import GRID_NS, ns_from_s
from xiaod.domain.types import Instrument, Pick, Station, StationPositions
from xiaod.storage.pick_store import Given, PickStore, Result


class PickingProgress:
    """The store as the pick stage sees it.

    What reads or writes the store may wait for the disk: whoever has an event loop to turn calls :meth:`begin`, :meth:`known_since`,
    :meth:`store` and what :meth:`flushing` gives through :meth:`off_loop`, so that they follow one another, and the others as they are.
    """

    def __init__(self, store: PickStore, resumed: bool, settled_s: float) -> None:
        """Begin.

        Args:
            store: the store.
            resumed: whether the stream goes on where an earlier run stopped: then nothing is picked before that.
            settled_s: behind the newest window, what is older is picked for good: see :func:`xiaod.domain.resumption.settled_s`.
        """
        self._settled_ns = ns_from_s(settled_s)
        self._store = store
        self._resumed = resumed
        self._picked_until: dict[Instrument, int] = {}
        self._flushed: dict[Instrument, int] = {}
        self._begun: dict[Instrument, int | None] = {}
        self._departed: set[Instrument] = set()
        """Gone, and forgotten when it is written down how far they have been picked."""

    async def off_loop(
        self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs
    ) -> Result:
        """Do it in the store's thread, while the event loop turns; gives what it gives."""
        return await self._store.off_loop(work, *arguments, **named)

    def begin(self, instrument: Instrument, time_ns: int) -> int:
        """An instrument's first window begins at a time.

        Returns:
            nanoseconds that neither an earlier run has seen nor this one will: the server did not hold them any more, or they
            were not asked for.
        """
        self._departed.discard(instrument)
        picked_until_ns = self._begun_from(instrument)
        if not self._resumed or picked_until_ns is None:
            return 0
        if is_elsewhere(time_ns, picked_until_ns):
            # Not where the last run stopped, but other data: they are picked.
            self._begun[instrument] = None
        return max(0, time_ns - picked_until_ns - self._settled_ns)

    def known_since(self, instrument: Instrument, time_ns: int) -> list[Pick]:
        """Picks of an instrument that a picker should remember when its first window begins at a time.

        A run that ended before it wrote down how far it was may have left picks too.
        """
        picked_until_ns = self._begun_from(instrument)
        from_ns = remembered_from_ns(time_ns if picked_until_ns is None else picked_until_ns)
        return self._store.between(from_ns, None, instrument)

    def store(self, picks: Sequence[Pick], separation: int) -> list[Pick]:
        """Store picks; gives those that are new.

        Pickers know what they have picked of late. A server that sends old data again, or a clock that was set back, brings onsets
        that only the store remembers; looked at in other windows they may lie a sample beside where they were.

        Args:
            picks: of whatever instruments.
            separation: samples; a pick of the same phase and model that is closer to one in the store is the same onset.

        Raises:
            StoreError: when nothing of it could be stored.
        """
        wanted = [pick for pick in picks if not self._done(pick) and not self._is_stored(pick, separation)]
        return self._store.add(wanted, {}) if wanted else []

    def advance(self, instrument: Instrument, time_ns: int) -> None:
        """Windows until a time have been picked, and what they gave has been stored."""
        time_ns -= self._settled_ns
        if (begun_ns := self._begun.get(instrument)) is not None:
            if self._resumed and time_ns <= begun_ns:
                # Not met yet: what the last run has decided stays decided, should this one end here.
                self._picked_until[instrument] = begun_ns
                return
            # Met: from here on nothing is old.
            self._begun[instrument] = None
        known_ns = self._picked_until.get(instrument, time_ns - 1)
        # Far behind is a clock that was set back: then that is where it stands.
        if time_ns > known_ns or is_abandoned(time_ns, known_ns):
            self._picked_until[instrument] = time_ns

    def flush(self, positions: Mapping[str, StationPositions]) -> None:
        """Write down how far instruments have been picked, and where each source has to begin again.

        Args:
            positions: by source, such as follow from :meth:`picked_until`.

        Raises:
            StoreError: when it cannot be written.
        """
        self.flushing(positions)()

    def flushing(self, positions: Mapping[str, StationPositions]) -> Callable[[], None]:
        """What does the same for how far instruments have been picked now, later and in the store's thread."""
        picked_until, departed = dict(self._picked_until), set(self._departed)

        def flush() -> None:
            changed = {
                instrument: time_ns
                for instrument, time_ns in picked_until.items()
                if self._flushed.get(instrument) != time_ns
            }
            self._store.save(changed, positions)
            self._flushed |= changed
            for instrument in departed:
                # Unless it has come back meanwhile.
                if instrument in self._departed:
                    self._departed.discard(instrument)
                    for known in (self._picked_until, self._flushed, self._begun):
                        known.pop(instrument, None)

        return flush

    def forget(self, instruments: Collection[Instrument]) -> None:
        """Instruments have gone: should they come back, they are known from the store."""
        self._departed.update(instruments)

    def picked_until(self) -> dict[Station, int]:
        """Time, for each station, until which it has been picked."""
        by_station: dict[Station, list[int]] = {}
        # A copy, made at one go: in the store's thread those that have departed leave.
        for instrument, time_ns in dict(self._picked_until).items():
            by_station.setdefault((instrument.network, instrument.station), []).append(time_ns)
        return {station: station_picked_until_ns(times) for station, times in by_station.items()}

    def _done(self, pick: Pick) -> bool:
        picked_until_ns = self._begun_from(pick.channel.instrument)
        return self._resumed and picked_until_ns is not None and pick.time_ns < picked_until_ns

    def _is_stored(self, pick: Pick, separation: int) -> bool:
        place, reach_ns = sample_of(pick), separation * GRID_NS + ns_from_s(2 * CENTROID_S)
        near = self._store.between(pick.time_ns - reach_ns, pick.time_ns + reach_ns, pick.channel.instrument)
        return any(
            (other.phase, other.model) == (pick.phase, pick.model)
            and abs(sample_of(other) - place) < separation
            for other in near
        )

    def _begun_from(self, instrument: Instrument) -> int | None:
        if instrument not in self._begun:
            self._begun[instrument] = self._store.picked_until(instrument)
        return self._begun[instrument]
