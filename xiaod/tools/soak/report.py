"""The report of a soak: what was measured, and whether it meets the guarantees.

>>> slope_of([Sample(0.0, 0.0, 100.0, 8, 9), Sample(60.0, 172800.0, 103.0, 8, 9)])
1.5
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from xiaod.domain.types import Pick

DAY_S = 86_400.0
MAX_GROWTH_MB = 8.0
"""Growth of resident memory over the whole measured time that counts as flat: an allocator keeps some."""
MAX_MORE_FILES = 3
"""Descriptors that come and go with a connection or a file being written."""
MAX_MORE_THREADS = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at one moment."""

    wall_s: float
    data_s: float
    """Seconds of data since the play began."""
    resident_mb: float
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class EarlyPicks:
    """What became of early picks: exactly one final pick, or one withdrawal, says it of each."""

    picks: int = 0
    confirmed: int = 0
    revised: int = 0
    withdrawn: int = 0
    unsettled: int = 0
    """Early picks of which nothing says it."""
    twice: int = 0
    """Those of which more than one does."""
    unknown: int = 0
    """What says it of an early pick that is not there."""

    @property
    def failures(self) -> list[str]:
        """Broken guarantees; empty if there are none."""
        return [
            f"{count} {what}, of {self.picks}"
            for count, what in (
                (self.unsettled, "early picks are neither confirmed, revised nor withdrawn"),
                (self.twice, "early picks have more than one outcome"),
                (self.unknown, "outcomes are of early picks that are not there"),
            )
            if count
        ]


def followed(picks: Iterable[Pick], until_ns: int) -> EarlyPicks:
    """What became of the early picks of a sink with a time before ``until_ns``.

    Args:
        picks: of all stages, each once.
        until_ns: later ones may still be undecided.
    """
    picks = list(picks)
    early = {pick.id for pick in picks if pick.stage == "early"}
    counted = {pick.id for pick in picks if pick.id in early and pick.time_ns < until_ns}
    said = Counter(pick.early_id for pick in picks if pick.early_id is not None)
    outcomes = Counter(pick.outcome or pick.stage for pick in picks if pick.early_id in counted)
    return EarlyPicks(
        len(counted),
        outcomes["confirmed"],
        outcomes["revised"],
        outcomes["withdrawn"],
        unsettled=len(counted - said.keys()),
        twice=sum(said[one] > 1 for one in counted),
        unknown=len(said.keys() - early),
    )


@dataclass(frozen=True)
class SoakReport:
    """Everything a soak measured."""

    stations: int
    hours: float
    wall_s: float
    faults: Mapping[str, int]
    samples: Sequence[Sample]
    """Of the last process, after its start-up."""
    packets: int
    accounted: Mapping[str, int]
    """Packets of the last process by their result."""
    expected_picks: int
    missing: int
    unexpected: int
    twice: int
    sink_missing: int
    """Picks of the store, of any stage, that did not reach the sink."""
    status: int
    """Exit status of the daemon at the end."""
    early: EarlyPicks = EarlyPicks()

    @property
    def failures(self) -> list[str]:
        """Broken guarantees; empty if there are none."""
        samples = self.samples
        found = []
        if samples:
            growth_mb = slope_of(samples) * (samples[-1].data_s - samples[0].data_s) / DAY_S
            if growth_mb > MAX_GROWTH_MB:
                found.append(f"resident memory grew by {growth_mb:.1f} MB; at most {MAX_GROWTH_MB:g} is flat")
            for name, most in (("files", MAX_MORE_FILES), ("threads", MAX_MORE_THREADS)):
                values = [int(getattr(sample, name)) for sample in samples]
                if values[-1] - values[0] > most:
                    found.append(f"{name} grew from {values[0]} to {values[-1]}")
        if (counted := sum(self.accounted.values())) != self.packets:
            found.append(f"{self.packets} packets received, {counted} accounted for")
        for count, what in (
            (self.missing, "picks are missing"),
            (self.unexpected, "picks were not expected"),
            (self.twice, "picks are there twice"),
            (self.sink_missing, "picks did not come to the sink"),
        ):
            if count:
                found.append(f"{count} {what}, of {self.expected_picks}")
        found += self.early.failures
        if self.status:
            found.append(f"the daemon ended with status {self.status}")
        return found

    @property
    def decided(self) -> bool:
        """Whether memory was measured: without it nothing is promised of a run that has no failures."""
        return bool(self.samples)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **asdict(self),
            "slope_mb_per_day_of_data": round(slope_of(self.samples), 3) if self.samples else None,
            "failures": self.failures,
            "decided": self.decided,
        }

    def text(self) -> str:
        """For a person."""
        faults = ", ".join(f"{count} x {name}" for name, count in sorted(self.faults.items()))
        reasons = ", ".join(f"{count} {name}" for name, count in sorted(self.accounted.items()) if count)
        lines = [
            f"{self.hours:g} h of {self.stations} stations in {self.wall_s / 60:.1f} min: {faults or 'no faults'}",
        ]
        if self.samples:
            first, last = self.samples[0], self.samples[-1]
            lines += [
                (
                    f"resident memory {first.resident_mb:.1f} -> {last.resident_mb:.1f} MB, "
                    f"{slope_of(self.samples):+.2f} MB per day of data over {(last.data_s - first.data_s) / 3600:.1f} h"
                ),
                f"file descriptors {first.files} -> {last.files}, threads {first.threads} -> {last.threads}",
            ]
        lines += [
            f"packets since the last start {self.packets}: {reasons}",
            (
                f"picks expected {self.expected_picks}, missing {self.missing}, unexpected {self.unexpected}, twice {self.twice}; "
                f"not at the sink {self.sink_missing}"
            ),
            (
                f"early picks {self.early.picks}: confirmed {self.early.confirmed}, revised {self.early.revised}, "
                f"withdrawn {self.early.withdrawn}"
            ),
            self._verdict(),
        ]
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.failures:
            return "NOT AS PROMISED: " + "; ".join(self.failures)
        return (
            "as promised" if self.decided else "not decided: too short to measure memory; give more --hours"
        )


def slope_of(samples: Sequence[Sample]) -> float:
    """Growth of resident memory in MB per day of data, by least squares."""
    if len(samples) < 2:
        return 0.0
    days = np.array([sample.data_s for sample in samples]) / DAY_S
    slope, _ = np.polyfit(days, [sample.resident_mb for sample in samples], 1)
    return round(float(slope), 6)
