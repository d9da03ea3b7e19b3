"""The account of a run over files: how much data each instrument had, and which streams were odd.

A daemon logs such things as they happen. A run over an archive consists of many runs, maybe on several machines: it keeps the accounts,
and logs them once.

>>> account = DataAccount(within=(0, 100))
>>> account.note("record.rate", "XX.A..LHZ", 5, sampling_rate_hz=1.0)
>>> account.note("record.rate", "XX.A..LHZ", 99, sampling_rate_hz=1.0)
>>> account.note("record.rate", "XX.A..LHZ", 100, sampling_rate_hz=1.0)
>>> account.anomalies
[Anomaly(event='record.rate', stream='XX.A..LHZ', count=2, facts={'start_ns': 5, 'sampling_rate_hz': 1.0})]
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from xiaod.domain.types import Instrument

Fact = str | int | float


@dataclass(slots=True)
class Coverage:
    """How much data one component or instrument had."""

    data_s: float = 0.0
    """Seconds of samples that were used."""
    longest_s: float = 0.0
    """The longest part of them without a gap."""

    def add(self, new_s: float, stretch_s: float) -> None:
        """Count seconds of samples; ``stretch_s`` is the length so far of the part without a gap that they belong to."""
        self.data_s += new_s
        self.longest_s = max(self.longest_s, stretch_s)


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something odd in a stream, and how often."""

    event: str
    stream: str
    count: int
    facts: Mapping[str, Fact]
    """Of the first time."""


class DataAccount:
    """Anomalies of streams, and coverage of instruments, of one run."""

    def __init__(self, within: tuple[int, int] | None = None) -> None:
        """Begin; anomalies outside of ``within``, begin and end in ns, are left out: they belong to another run."""
        self._within = within
        self._anomalies: dict[tuple[str, str], Anomaly] = {}
        self.unpicked: dict[Instrument, Coverage] = {}
        """Instruments with data that never filled a window."""

    @property
    def anomalies(self) -> list[Anomaly]:
        """All, in the order in which they first occurred."""
        return list(self._anomalies.values())

    def note(self, event: str, stream: str, start_ns: int, **facts: Fact) -> None:
        """Count an anomaly that begins at a time."""
        if self._within is None or self._within[0] <= start_ns < self._within[1]:
            self.add([Anomaly(event, stream, 1, {"start_ns": start_ns, **facts})])

    def add(self, anomalies: Iterable[Anomaly]) -> None:
        """Add anomalies of another run."""
        for one in anomalies:
            known = self._anomalies.get((one.event, one.stream))
            self._anomalies[one.event, one.stream] = (
                one if known is None else replace(known, count=known.count + one.count)
            )
