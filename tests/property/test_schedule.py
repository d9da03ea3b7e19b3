"""Windows that all components cover are cut without a look at each of them: they are the same as with one."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.domain.types import Channel, Segment, Window
from xiaod.waveform.batches import Batches, Streams
from xiaod.waveform.instrument import BufferSettings, Covered, InstrumentChannels
from xiaod.waveform.schedule import Cutting, WindowSchedule

RELAXED = settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
LENGTH, CHUNK = 300, 32
WAIT_NS = 2 * NS_PER_S
CUTTINGS = {
    "final": Cutting(LENGTH, 130, 50, to_end=True),
    "stream": Cutting(CHUNK, CHUNK, revised=False, most=20),
}


class LookedAt(InstrumentChannels):
    """Never says what all components cover, so that each of them is looked at for every window."""

    @property
    def covered(self) -> Covered | None:
        """None."""
        return None

    @covered.setter
    def covered(self, value: Covered | None) -> None:
        del value


class Delivered:
    """One instrument to which records come."""

    def __init__(self, kind: type[InstrumentChannels], buffers: BufferSettings, cutting: Cutting) -> None:
        self._looked_at = kind is LookedAt
        self._channels = kind(buffers, buffers.rings())
        self._schedule = WindowSchedule(self._channels, cutting)
        self._batches = Streams(1000) if cutting.most > 1 else Batches(cutting.history, cutting.length, 16)
        self.windows: list[Window] = []
        self.deadlines_ns: list[int | None] = []

    def take(self, segment: Segment | None, delivery_ns: int | None, final: bool = False) -> None:
        """Take a record, or go on without one when time has passed."""
        if segment is not None:
            self._channels.insert(segment, delivery_ns)
        self._channels.release(delivery_ns, final)
        if final or self._looked_at or self._schedule.is_due(delivery_ns):
            self.windows += self._schedule.cut(delivery_ns, delivery_ns, self._batches, final)
        self._batches.take()
        self._channels.forget(self._schedule.needed)
        self.deadlines_ns.append(self._schedule.deadline_ns)


@st.composite
def records(draw: st.DrawFn) -> list[tuple[str, int, int, int]]:
    """Component, first sample, samples, and seconds by which each comes later than the last sample of the one before."""
    letters = draw(st.sampled_from(["Z", "ZN", "ZNE", "ZN1"]))
    long_ones = st.integers(20, 250)
    found = []
    for letter in letters:
        # One may begin while another lags.
        begin = draw(st.one_of(st.integers(0, 200), st.integers(0, 2000)))
        lag = draw(st.sampled_from([0.0, 0.0, 0.5, 1.5, 4.0, 9.0]))
        while begin < 2500:
            length = draw(long_ones)
            if draw(st.integers(0, 9)) > 0:
                late = draw(st.sampled_from([0.0] * 8 + [1.0, 3.0]))
                found.append(((begin + length) / 100 + lag + late, letter, begin, length))
            begin += length
    found.sort()
    return [(letter, begin, length, round(come_s * NS_PER_S)) for come_s, letter, begin, length in found]


GIVEN_AWAY = [
    *(("N", 237, 238, 6.25), ("Z", 833, 120, 10.03), ("1", 912, 20, 12.32), ("1", 1195, 99, 12.94), ("1", 1294, 25, 13.19)),
    *(("N", 1134, 93, 13.77), ("N", 1227, 54, 14.31), ("1", 1319, 230, 15.49), ("Z", 1483, 36, 15.69), ("N", 1281, 223, 16.54)),
    *(("Z", 1519, 154, 17.23), ("Z", 1673, 250, 19.73)),
]  # fmt: skip
"""1 and N share a row: where the row is the other one's, data of a component begin no window."""


@pytest.mark.parametrize("kind", CUTTINGS)
@RELAXED
@given(records=records(), live=st.booleans(), max_lead=st.sampled_from([250, 400, 3000]))
@example(
    [(letter, begin, length, round(come_s * NS_PER_S)) for letter, begin, length, come_s in GIVEN_AWAY],
    True,
    250,
)
def test_a_quick_look_gives_the_same_windows(
    kind: str, records: list[tuple[str, int, int, int]], live: bool, max_lead: int
) -> None:
    cutting = CUTTINGS[kind]
    buffers = BufferSettings(length=LENGTH, hop=cutting.hop, wait_ns=WAIT_NS, max_lead=max_lead)
    quick, plain = (Delivered(one, buffers, cutting) for one in (InstrumentChannels, LookedAt))
    wave = np.random.default_rng(7).integers(-1000, 1000, 3000)
    last = max((come_ns // (NS_PER_S // 2) for *_, come_ns in records), default=0)
    for tick in range(last + 6):
        for one in (quick, plain):
            for letter, begin, length, come_ns in records:
                if come_ns // (NS_PER_S // 2) == tick:
                    samples = wave[begin : begin + length].astype(np.int32)
                    segment = Segment(Channel("XX", "A", "", "HH" + letter), begin * GRID_NS, 100.0, samples)
                    one.take(segment, come_ns if live else None)
            one.take(None, (tick + 1) * NS_PER_S // 2 if live else None)
    for one in (quick, plain):
        one.take(None, (last + 6) * NS_PER_S // 2 if live else None, final=True)
    assert facts(quick.windows) == facts(plain.windows)
    # A deadline too many, or too soon, costs a look; none is missing.
    for mine_ns, wanted_ns in zip(quick.deadlines_ns, plain.deadlines_ns, strict=True):
        assert wanted_ns is None or (mine_ns is not None and mine_ns <= wanted_ns)


def facts(windows: list[Window]) -> list[tuple[object, ...]]:
    return [
        (
            *(one.index, one.stop, one.components, one.revision, one.discontinuous, one.until, one.ends),
            *(one.arrival, one.samples.tobytes()),
        )
        for one in windows
    ]


@pytest.mark.parametrize("kind", CUTTINGS)
def test_a_component_that_begins_while_another_lags_holds_nothing_up_for_ever(kind: str) -> None:
    """While its first records wait, so does every window, for a time that is not known; then the one that lags is given up."""
    cutting = CUTTINGS[kind]
    buffers = BufferSettings(length=LENGTH, hop=cutting.hop, wait_ns=WAIT_NS)
    quick, plain = (Delivered(one, buffers, cutting) for one in (InstrumentChannels, LookedAt))
    for one in (quick, plain):
        for second in range(1, 40):
            # Z ends in the midst; a horizontal that has no row begins while Z is waited for, and N goes on.
            for letter, first, last in (("N", 0, 40), ("Z", 0, 16), ("1", 17, 40)):
                if first < second <= last:
                    wave = np.arange(100, dtype=np.int32)
                    segment = Segment(
                        Channel("XX", "A", "", "HH" + letter), (second - 1) * NS_PER_S, 100.0, wave
                    )
                    one.take(segment, second * NS_PER_S)
    assert facts(quick.windows) == facts(plain.windows)
