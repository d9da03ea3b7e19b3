"""Snippets of a run: takes records and picks from the stages, and gives what has all its data to the threads that write.

Everything here is called from the event loop and waits for nothing, but for :meth:`Snippets.written` at the end.
"""

import asyncio
import time
from collections.abc import Collection, Iterable

from xiaod.config import Config
from xiaod.domain.types import Instrument, Pick, Segment, Window
from xiaod.process.metrics import Metrics
from xiaod.snippets.folder import MINISEED, file_name
from xiaod.snippets.gather import Gatherer
from xiaod.snippets.writer import SnippetWriter

PATH = "/api/snippets/"
"""Where the files are, below the address of the status page."""
FINISH_S = 10.0
"""How long the files may take after a run whose sources have ended by themselves."""
SPARE_S = 15.0
"""Records and windows that are on their way from one stage to the next."""


class Snippets:
    """The waveforms around the final picks of a live run."""

    def __init__(self, config: Config, metrics: Metrics) -> None:
        """Start the threads that write."""
        # A window begins so long before its end; one that is cut again, and a component that lags, is as far behind as may be.
        reach_s = (
            config.windows.length_s + 2 * config.windows.final_hop_s + config.buffer.max_lead_s + SPARE_S
        )
        self._gatherer = Gatherer(config.snippets.before_s, config.snippets.after_s, reach_s)
        self._writer = SnippetWriter(config.snippets, config.stations, metrics)
        self._metrics = metrics
        self._finish_by_s: float | None = None
        metrics.expect_snippets()

    def reconfigure(self, config: Config) -> None:
        """Name stations as another file does from now on."""
        self._writer.stations = config.stations

    def path_of(self, pick: Pick) -> str:
        """Where the miniSEED of a final pick will be."""
        return PATH + file_name(pick.id, MINISEED)

    def take(self, segment: Segment) -> None:
        """Take a record whose samples are used."""
        self._gatherer.take(segment)

    def picked(self, pick: Pick) -> None:
        """Take a pick that is stored."""
        if pick.stage == "final":
            self._gatherer.picked(pick, time.monotonic_ns())

    def resumed(self, picks: Iterable[Pick]) -> None:
        """Take picks of an earlier run, which may have ended before it wrote their files."""
        final = [pick for pick in picks if pick.stage == "final" and pick.snippet is not None]
        self._gatherer.resumed(final, time.monotonic_ns())

    def followed(self, window: Window) -> None:
        """Take a window that has been picked."""
        if window.stage == "final" and window.revision == 0:
            self._gatherer.followed(window)

    def depart(self, instruments: Collection[Instrument]) -> None:
        """Instruments have gone."""
        self._gatherer.depart(instruments)

    def review(self) -> None:
        """Write what has all its data, or has waited too long; to be called once a second."""
        for snippet in self._gatherer.ready(time.monotonic_ns()):
            self._writer.put(snippet)
        self._metrics.snippets_waiting.set(self._gatherer.waiting)

    @property
    def complaint(self) -> str:
        """Why files are not written at present; empty: they are."""
        return self._writer.complaint

    @property
    def held_bytes(self) -> int:
        """Memory of the records that are held."""
        return self._gatherer.held_bytes

    def finish_within(self, limit_s: float) -> None:
        """Once no more data will come, give up what is not written after this time."""
        self._finish_by_s = time.monotonic() + limit_s

    def finish(self) -> None:
        """No more data will come: write what there is."""
        self._gatherer.finish()
        self.review()

    async def written(self) -> None:
        """Wait until everything is written, as long as :meth:`finish_within` allows."""
        left_s = FINISH_S if self._finish_by_s is None else self._finish_by_s - time.monotonic()
        await asyncio.to_thread(self._writer.join, left_s)
