"""Where windows are wanted, against a plain reference: every window, and what was noticed in all of its data."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.streams import OneInstrument
from xiaod.domain.types import Channel, Segment
from xiaod.waveform.awake import Awake
from xiaod.waveform.batches import Batches
from xiaod.waveform.instrument import BufferSettings
from xiaod.waveform.schedule import Cutting, WindowSchedule

LENGTH, HOP, AHEAD, HOLD = 1000, 50, 50, 300
SAMPLES = 6000


@settings(deadline=None)
@given(
    begin=st.integers(0, 700),
    noticed=st.lists(st.integers(0, SAMPLES), max_size=6),
    steps=st.lists(st.integers(20, 900), min_size=1, max_size=8),
)
def test_windows_are_cut_where_something_was_noticed_however_it_came(
    begin: int, noticed: list[int], steps: list[int]
) -> None:
    one = OneInstrument(BufferSettings(length=LENGTH, hop=HOP))
    awake = Awake(AHEAD, HOLD)
    schedule = WindowSchedule(one.channels, Cutting(LENGTH, HOP), awake=awake)
    batches = Batches(0, LENGTH, most=1000)
    looked, fed, number = begin, begin, 0
    while fed < SAMPLES:
        step = min(steps[number % len(steps)], SAMPLES - fed)
        segment = Segment(Channel("XX", "A", "", "HHZ"), fed * 10_000_000, 100.0, np.ones(step))
        one.insert(segment, 0)
        one.channels.release(0)
        fed, number = fed + step, number + 1
        now = max(looked, fed - 40)
        awake.note(now, [(at, at) for at in sorted(noticed) if looked <= at < now])
        looked = now
        if schedule.is_due(0):
            list(schedule.cut(0, 0, batches))
        one.channels.forget(schedule.needed)
    found = [window for batch in batches.take(everything=True) for window in batch.windows]

    known = looked + AHEAD
    candidates = [at for at in noticed if begin <= at < looked]
    first = -(-begin // HOP) * HOP
    awake_until, placed = -1, set()
    for at in sorted(candidates):
        if at + AHEAD > awake_until:
            # The first one ends just where it must.
            placed.add(at + AHEAD - LENGTH)
        awake_until = at + AHEAD + HOLD
    on_grid = set(range(first, SAMPLES - LENGTH + 1, HOP))
    wanted = []
    for start in sorted(on_grid | {one for one in placed if first < one <= SAMPLES - LENGTH}):
        stop = start + LENGTH
        if stop > known:
            break
        if start == first:
            if any(at + AHEAD <= stop for at in candidates):
                wanted.append(start)
        elif any(at + AHEAD <= stop <= at + AHEAD + HOLD for at in candidates):
            wanted.append(start)
    assert [window.index for window in found] == wanted
    # Only the first one is new as a whole: what lies before the others was looked at.
    assert [window.index for window in found if window.discontinuous] == [at for at in wanted if at == first]
