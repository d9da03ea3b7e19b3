"""What the pipeline writes into the store, and what it knows from it: picks once, and how far each instrument has been picked.

A pick that the store holds already is not made again, nor one of the same onset; after a resumption nothing is picked before the
time until which the instrument had been picked. So a daemon that was killed and goes on far enough back in the stream makes exactly
the picks that are missing.

>>> from tempfile import TemporaryDirectory
>>> from pathlib import Path
>>> with TemporaryDirectory() as folder:
...     progress = PickingProgress(PickStore(Path(folder) / "picks.sqlite"), resumed=True, settled_s=45)
...     instrument = Instrument("XX", "A", "", "HH")
...     progress.advance(instrument, 100 * NS_PER_S)
...     progress.flush({})
...     progress.resume_at(), progress.known_since(instrument, 20 * NS_PER_S)
({('XX', 'A'): 55000000000}, [])
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from xiaod.domain.onsets import CENTROID_S, sample_of
from xiaod.domain.timegrid import GRID_NS, NS_PER_S, ns_from_s
from xiaod.domain.types import Instrument, Pick, Positions
from xiaod.storage.pick_store import Given, PickStore, Result

REMEMBERED_S = 130
"""Picks of so long before the point of resumption are told to the pickers; older ones would not be made again in any case."""
ELSEWHERE_S = 86_400
"""A stream that begins so long before the point of resumption is another one."""
ABANDONED_S = 600
"""An instrument that is so far behind the newest of its station holds nobody back."""


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
            settled_s: behind the newest window, what is older is picked for good: see :func:`xiaod.daemon.state_folder.settled_s`.
        """
        self._settled_ns = ns_from_s(settled_s)
        self._store = store
        self._resumed = resumed
        self._frontiers: dict[Instrument, int] = {}
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
        frontier_ns = self._start_of(instrument)
        if not self._resumed or frontier_ns is None:
            return 0
        if time_ns < frontier_ns - ELSEWHERE_S * NS_PER_S:
            # Not where the last run stopped, but other data: they are picked.
            self._begun[instrument] = None
        return max(0, time_ns - frontier_ns - self._settled_ns)

    def known_since(self, instrument: Instrument, time_ns: int) -> list[Pick]:
        """Picks of an instrument that a picker should remember when its first window begins at a time.

        A run that ended before it wrote down how far it was may have left picks too.
        """
        frontier_ns = self._start_of(instrument)
        since_ns = time_ns if frontier_ns is None else frontier_ns
        return self._store.between(since_ns - REMEMBERED_S * NS_PER_S, None, instrument)

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
                self._frontiers[instrument] = begun_ns
                return
            # Met: from here on nothing is old.
            self._begun[instrument] = None
        known_ns = self._frontiers.get(instrument, time_ns - 1)
        # Far behind is a clock that was set back: then that is where it stands.
        if time_ns > known_ns or time_ns < known_ns - ABANDONED_S * NS_PER_S:
            self._frontiers[instrument] = time_ns

    def flush(self, positions: Mapping[str, Positions]) -> None:
        """Write down how far instruments have been picked, and where each source has to begin again.

        Args:
            positions: by source, such as follow from :meth:`resume_at`.

        Raises:
            StoreError: when it cannot be written.
        """
        self.flushing(positions)()

    def flushing(self, positions: Mapping[str, Positions]) -> Callable[[], None]:
        """What does the same for how far instruments have been picked now, later and in the store's thread."""
        frontiers, departed = dict(self._frontiers), set(self._departed)

        def flush() -> None:
            changed = {
                instrument: time_ns
                for instrument, time_ns in frontiers.items()
                if self._flushed.get(instrument) != time_ns
            }
            self._store.save(changed, positions)
            self._flushed |= changed
            for instrument in departed:
                # Unless it has come back meanwhile.
                if instrument in self._departed:
                    self._departed.discard(instrument)
                    for known in (self._frontiers, self._flushed, self._begun):
                        known.pop(instrument, None)

        return flush

    def forget(self, instruments: Collection[Instrument]) -> None:
        """Instruments have gone: should they come back, they are known from the store."""
        self._departed.update(instruments)

    def resume_at(self) -> dict[tuple[str, str], int]:
        """Time, for each station, from which a run that goes on must see everything again, less what warms it up."""
        by_station: dict[tuple[str, str], list[int]] = {}
        # A copy, made at one go: in the store's thread those that have departed leave.
        for instrument, time_ns in dict(self._frontiers).items():
            by_station.setdefault((instrument.network, instrument.station), []).append(time_ns)
        return {
            station: min(time_ns for time_ns in times if time_ns >= max(times) - ABANDONED_S * NS_PER_S)
            for station, times in by_station.items()
        }

    def _done(self, pick: Pick) -> bool:
        frontier_ns = self._start_of(pick.channel.instrument)
        return self._resumed and frontier_ns is not None and pick.time_ns < frontier_ns

    def _is_stored(self, pick: Pick, separation: int) -> bool:
        place, reach_ns = sample_of(pick), separation * GRID_NS + ns_from_s(2 * CENTROID_S)
        near = self._store.between(pick.time_ns - reach_ns, pick.time_ns + reach_ns, pick.channel.instrument)
        return any(
            (other.phase, other.model) == (pick.phase, pick.model)
            and abs(sample_of(other) - place) < separation
            for other in near
        )

    def _start_of(self, instrument: Instrument) -> int | None:
        if instrument not in self._begun:
            self._begun[instrument] = self._store.frontier(instrument)
        return self._begun[instrument]
