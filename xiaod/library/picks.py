"""Picks that a library call gives: a sequence, and what other programs take.

>>> from xiaod.domain.types import Channel
>>> pick = Pick("20090824.002007.73-P-BW.RJOB..EH-micro-0.1.0", Channel("BW", "RJOB", "", "EHZ"), "P",
...     1_251_073_207_731_250_000, 0.1, 0.93, 5.0, 1200.0, "ZNE", "micro-0.1.0", "0" * 64)
>>> picks = Picks([pick])
>>> len(picks), picks[0].phase, picks.to_obspy()[0].time
(1, 'P', UTCDateTime(2009, 8, 24, 0, 20, 7, 731250))
>>> print(picks)
2009-08-24T00:20:07.731250Z  P  BW.RJOB..EHZ      final      probability 0.93  +-0.10 s  snr    5.0
"""

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, overload

from xiaod.config import AgencyConfig
from xiaod.config.sinks.console import ConsoleConfig
from xiaod.domain.document import pick_document
from xiaod.domain.types import DocumentStage, Pick
from xiaod.process.plugins import imported
from xiaod.sinks.console import ConsoleSink
from xiaod.sinks.file.quakeml import catalog_of
from xiaod.sinks.file.table import DOCUMENT_COLUMNS

if TYPE_CHECKING:
    import pandas
    from obspy.core.event import Catalog
    from obspy.core.event import Pick as ObspyPick

MOMENT = "time"
"""The column that holds a time, not a text or a number."""
NUMBERS = frozenset(
    {
        "time_uncertainty_s",
        "probability",
        "snr",
        "amplitude",
        "moved_s",
        "raw_amplitude",
        "velocity_m_s",
        "wood_anderson_mm",
        "wood_anderson_noise_mm",
        "motion_window_s",
    }
)
"""Columns of numbers: one that is not finite is NaN."""


class Picks(Sequence[Pick]):
    """Picks in order of time: :class:`xiaod.domain.types.Pick`; printed, a line for each."""

    def __init__(self, picks: Iterable[Pick], agency: AgencyConfig | None = None) -> None:
        """Take picks in any order; ``agency`` signs them in other formats."""
        self._picks = tuple(sorted(picks, key=lambda pick: (pick.time_ns, pick.id)))
        self._agency = agency or AgencyConfig()

    def __len__(self) -> int:
        return len(self._picks)

    @overload
    def __getitem__(self, index: int) -> Pick: ...

    @overload
    def __getitem__(self, index: slice) -> "Picks": ...

    def __getitem__(self, index: int | slice) -> "Pick | Picks":
        if isinstance(index, slice):
            return Picks(self._picks[index], self._agency)
        return self._picks[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picks) and self._picks == other._picks

    def __hash__(self) -> int:
        return hash(self._picks)

    def __repr__(self) -> str:
        stations = {pick.channel.instrument.station_text for pick in self._picks}
        return f"<{len(self._picks)} picks at {len(stations)} stations>"

    def __str__(self) -> str:
        """The lines that the daemon writes onto a terminal."""
        lines = StringIO()
        ConsoleSink(ConsoleConfig(kind="console"), self._agency, lines).deliver(self._picks, 0)
        return lines.getvalue().rstrip("\n")

    def of(self, stage: DocumentStage) -> "Picks":
        """Those of a stage: ``final``, ``early`` or ``withdrawn``."""
        return Picks((pick for pick in self._picks if pick.stage == stage), self._agency)

    def to_dataframe(self) -> "pandas.DataFrame":
        """A pandas table with the columns of the format ``csv``.

        ``time`` is a time in UTC with nanoseconds; a number that is not finite, or does not apply, is NaN; a text that does not apply is
        None.

        Raises:
            MissingExtraError: when pandas is not installed; the message has the command that installs it.
        """
        frame: Any = imported("pandas:DataFrame", "to_dataframe()", "pandas")
        documents = [pick_document(pick, self._agency) for pick in self._picks]
        moment = imported("pandas:to_datetime")(
            [pick.time_ns for pick in self._picks], unit="ns", utc=True
        ).as_unit("ns")
        series: Any = imported("pandas:Series")
        columns = {
            name: series(
                [document.get(name) for document in documents],
                dtype="float64" if name in NUMBERS else "object",
            )
            for name in DOCUMENT_COLUMNS
            if name != MOMENT
        }
        return frame({name: moment if name == MOMENT else columns[name] for name in DOCUMENT_COLUMNS})

    def to_obspy(self) -> "list[ObspyPick]":
        """ObsPy picks, each with time and uncertainty, waveform, phase and comments, as :meth:`to_catalog` has them.

        Of an onset with several documents the last one stands, so that there may be fewer of them.
        """
        return [pick for event in self.to_catalog() for pick in event.picks]

    def to_catalog(self) -> "Catalog":
        """An ObsPy catalog with one event that has all picks, as the QuakeML that the daemon writes; without picks an empty one."""
        return catalog_of(self._picks, self._agency)
