"""What a run over files has to say of its data: how much came of each instrument, and what was odd with which stream.

A daemon tells such things in its log as they happen, one line for many. A run over an archive is many runs, on other machines maybe, so
it keeps them and tells them once.

>>> account = DataAccount(within=(0, 100))
>>> account.note("record.rate", "XX.A..LHZ", 5, sampling_rate_hz=1.0)
>>> account.note("record.rate", "XX.A..LHZ", 99, sampling_rate_hz=1.0)
>>> account.note("record.rate", "XX.A..LHZ", 100, sampling_rate_hz=1.0)
>>> account.notes
[Anomaly(event='record.rate', stream='XX.A..LHZ', count=2, facts={'start_ns': 5, 'sampling_rate_hz': 1.0})]
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from xiaod.domain.types import Instrument

Fact = str | int | float


@dataclass(slots=True)
class Coverage:
    """Data of one component or instrument."""

    data_s: float = 0.0
    """Seconds of samples that were used."""
    longest_s: float = 0.0
    """The longest stretch of them without a gap."""

    def add(self, new_s: float, stretch_s: float) -> None:
        """Seconds of samples more; the stretch they belong to has so many now."""
        self.data_s += new_s
        self.longest_s = max(self.longest_s, stretch_s)


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something odd with a stream, so and so often."""

    event: str
    stream: str
    count: int
    facts: Mapping[str, Fact]
    """Of the first time."""


class DataAccount:
    """Notes and coverages of one run."""

    def __init__(self, within: tuple[int, int] | None = None) -> None:
        """Begin; what lies outside of ``within``, times in ns, is not noted: it belongs to another run."""
        self._within = within
        self._notes: dict[tuple[str, str], Anomaly] = {}
        self.unpicked: dict[Instrument, Coverage] = {}
        """Instruments with data of which no window was full."""

    @property
    def notes(self) -> list[Anomaly]:
        """All, in the order in which they came first."""
        return list(self._notes.values())

    def note(self, event: str, stream: str, start_ns: int, **facts: Fact) -> None:
        """Note something that begins at a time."""
        if self._within is None or self._within[0] <= start_ns < self._within[1]:
            self.add([Anomaly(event, stream, 1, {"start_ns": start_ns, **facts})])

    def add(self, notes: Iterable[Anomaly]) -> None:
        """Add notes of another run."""
        for note in notes:
            known = self._notes.get((note.event, note.stream))
            self._notes[note.event, note.stream] = (
                note if known is None else replace(known, count=known.count + note.count)
            )
