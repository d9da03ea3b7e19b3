"""Waits that are over are found in a heap: windows are cut when they are cut by a look at every instrument."""

from collections.abc import Iterator

import numpy as np
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.domain.types import Channel, Segment
from xiaod.pipeline.assemble import CHECK_NS, Assembler
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.waveform.instrument import BufferSettings
from xiaod.waveform.schedule import Cutting, Cuttings

RELAXED = settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
LENGTH, HOP = 300, 100
SAMPLES = 120
Cut = tuple[str, int, str, int]


class Scanned(Assembler):
    """Looks at every instrument for a wait that is over."""

    def expire(self) -> Iterator[None]:
        """As :meth:`Assembler.expire`."""
        late_ns = {
            source: clock.time_ns
            for source, clock in self._clocks.items()
            if clock.time_ns - self._checked_ns.get(source, 0) >= CHECK_NS
        }
        self._checked_ns |= late_ns
        for instrument, parts in self._instruments.items():
            if parts.fed_by in late_ns and parts.deadline_ns <= late_ns[parts.fed_by] + parts.offset_ns:
                self._cut(parts, self._delivery_ns(parts))
                self._reports.contradictions(instrument, parts.channels.contradictions)
                yield


class Station:
    """Where the components of a station are."""

    def __init__(self) -> None:
        self.stops = dict.fromkeys("ZNE", 0)


def made(kind: type[Assembler]) -> Assembler:
    final = Cutting(LENGTH, HOP, 50, to_end=True)
    stream = Cutting(32, 32, revised=False, most=20)
    early = Cutting(LENGTH, 50, 50, revised=False, stage="early")
    return kind(
        BufferSettings(length=LENGTH, hop=HOP, wait_ns=2 * NS_PER_S, max_lead=900),
        Metrics(),
        StationTable(60 * NS_PER_S),
        lambda: 0,
        cuttings=Cuttings(final, early, stream, max_batch=1),
    )


def cut(assembler: Assembler) -> list[Cut]:
    """Windows since the last call, those of an instrument in order."""
    windows = [window for batch in assembler.final.take(everything=True) for window in batch.windows]
    windows += [window for batch in assembler.streams.take(everything=True) for window in batch.windows]
    found = [(one.instrument.text, one.index, one.components, one.revision) for one in windows]
    return sorted(found)


@RELAXED
@example(
    # One that waits for a component is fed by another source, which says nothing new of it.
    steps=[(0, "ZNE", "a", 1.2)] * 9
    + [(1, "ZNE", "b", 1.2)] * 9
    + [(0, "ZN", "a", 1.2), (0, "ZN", "a", 1.2), (0, "again", "b", 0.2)]
    + [(1, "ZNE", "b", 1.2)] * 5
)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["Z", "N", "E", "ZNE", "ZNE", "ZN", "gap", "again"]),
            st.sampled_from(["a", "a", "a", "b"]),
            st.sampled_from([0.0, 0.2, 1.2, 1.2, 3.0]),
        ),
        min_size=10,
        max_size=90,
    )
)
def test_waits_end_as_by_a_look_at_every_instrument(
    steps: list[tuple[int, str, str, float]],
) -> None:
    kinds = made(Assembler), made(Scanned)
    stations, now_ns = [Station() for _ in range(4)], 1
    for number, letters, source, passed_s in steps:
        now_ns += round(passed_s * NS_PER_S)
        station = stations[number]
        if letters == "gap":
            station.stops = {letter: stop + 150 for letter, stop in station.stops.items()}
        again = letters == "again"
        for letter in {"gap": "", "again": "Z"}.get(letters, letters):
            start = station.stops[letter] - SAMPLES * again
            station.stops[letter] = start + SAMPLES
            segment = Segment(
                Channel("XX", f"S{number}", "", f"HH{letter}"),
                start * GRID_NS,
                100.0,
                np.arange(start, start + SAMPLES, dtype=np.int32),
                source,
                0,
            )
            for one in kinds:
                one.take(segment, now_ns)
        for one in kinds:
            list(one.expire())
        assert cut(kinds[0]) == cut(kinds[1])
