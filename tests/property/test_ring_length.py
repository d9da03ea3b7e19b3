"""Rings are long enough: windows are those that rings without an end would give, whatever the settings."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.domain.types import Channel, Segment, Window
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.waveform.instrument import BufferSettings, history_of
from xiaod.waveform.rings import Rings
from xiaod.waveform.schedule import Cutting, Cuttings

WAVE = np.random.default_rng(7).integers(-100_000, 100_000, 60_000).astype(np.int32)


class Unlimited(BufferSettings):
    """The same limits, and rings that forget nothing."""

    def rings(self) -> Rings:
        return Rings(1 << 17)


Delivery = tuple[int, Segment]
"""Delivery time in samples, and what comes."""


def windows_of(
    limits: BufferSettings, cuttings: Cuttings, deliveries: Sequence[Delivery], live: bool
) -> list[Window]:
    clock_ns = [0]
    assembler = Assembler(
        limits,
        Metrics(),
        StationTable(3600 * NS_PER_S),
        lambda: clock_ns[0] if live else None,
        cuttings=cuttings,
    )
    windows: list[Window] = []

    def taken(everything: bool = False) -> None:
        for batches in (assembler.early, assembler.final):
            windows.extend(window for batch in batches.take(everything) for window in batch.windows)

    for arrived, segment in deliveries:
        clock_ns[0] = arrived * GRID_NS
        assembler.take(segment, clock_ns[0] if live else None)
        for _ in assembler.expire():
            pass
        taken()
    for _ in assembler.finish():
        pass
    taken(everything=True)
    return windows


@st.composite
def limits_of(draw: st.DrawFn) -> tuple[BufferSettings, Cuttings]:
    length = draw(st.integers(500, 3000))
    hop, early_hop = (draw(st.integers(50, length // 4)) for _ in range(2))
    max_lead = draw(st.one_of(st.integers(100, 300), st.integers(100, 4000)))
    wait_ns = draw(st.integers(0, max_lead)) * GRID_NS
    cuttings = Cuttings(
        Cutting(length, hop, history_of(hop), to_end=True),
        Cutting(length, early_hop, history_of(early_hop), revised=False, stage="early")
        if draw(st.booleans())
        else None,
        max_batch=32,
    )
    return BufferSettings(length, max(hop, early_hop), wait_ns, max_lead), cuttings


@st.composite
def deliveries_of(draw: st.DrawFn, limits: BufferSettings) -> list[Delivery]:
    """Components that begin and end when they want, have gaps, and come late, each in its own records."""
    reach, deliveries = limits.length + limits.hop + limits.max_lead, []
    total = 2 * limits.length + 3 * limits.max_lead
    for number, letter in enumerate("ZNE"):
        begin = draw(
            st.sampled_from([0, limits.length // 2, limits.length, limits.length + limits.hop])
        ) + draw(st.integers(0, limits.hop))
        late, size = draw(st.integers(0, reach)), draw(st.integers(20, 2500))
        lost = draw(st.sets(st.integers(0, max(1, total // size)), max_size=2))
        channel = Channel("XX", "A", "", "HH" + letter)
        for record, first in enumerate(range(begin, begin + total, size)):
            if record not in lost:
                samples = WAVE[first : first + size] + number
                segment = Segment(channel, first * GRID_NS, 100.0, samples, source="here")
                deliveries.append((first + size + late, segment))
    return sorted(deliveries, key=lambda delivery: delivery[0])


def facts(windows: Sequence[Window]) -> list[tuple[object, ...]]:
    return [
        (
            *(window.stage, window.index, window.components, window.revision, window.discontinuous),
            *(
                window.until,
                window.ends,
                window.samples.tobytes(),
                b"" if window.history is None else window.history.tobytes(),
            ),
        )
        for window in windows
    ]


@settings(max_examples=100)
@given(data=st.data(), live=st.booleans())
def test_windows_are_those_of_rings_without_an_end(data: st.DataObject, live: bool) -> None:
    limits, cuttings = data.draw(limits_of())
    deliveries = data.draw(deliveries_of(limits))
    unlimited = Unlimited(limits.length, limits.hop, limits.wait_ns, limits.max_lead)
    expected = facts(windows_of(unlimited, cuttings, deliveries, live))
    assert facts(windows_of(limits, cuttings, deliveries, live)) == expected


def test_nothing_is_lost_where_a_component_begins_a_window_later_and_others_may_lead_by_little() -> None:
    limits, cuttings = BufferSettings(2000, 50, 0, 100), Cuttings(Cutting(2000, 50, history_of(50)))
    deliveries = []
    for first in range(0, 8000, 20):
        for letter in "ZNE":
            if letter != "N" or first >= 1940:
                channel, samples = Channel("XX", "A", "", "HH" + letter), WAVE[first : first + 20]
                segment = Segment(channel, first * GRID_NS, 100.0, samples, source="here")
                deliveries.append((first + 20, segment))
    windows = windows_of(limits, cuttings, deliveries, live=False)
    assert [(window.index, window.components) for window in windows[:2]] == [(0, "Z-E"), (41, "Z-E")]
    assert facts(windows) == facts(windows_of(Unlimited(2000, 50, 0, 100), cuttings, deliveries, live=False))
