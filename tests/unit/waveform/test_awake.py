"""Where windows are wanted, against a plain reference: every window, and what was noticed in all of its data."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.streams import OneInstrument
from xiaod.domain.types import Channel, Segment
from xiaod.waveform.awake import Awake
from xiaod.waveform.batches import Batches
from xiaod.waveform.instrument import BufferSettings
from xiaod.waveform.schedule import Cutting, WindowSchedule

LENGTH, HOP, AHEAD, HOLD = 1000, 50, 50, 300
SAMPLES = 6000


def wanted_of(noticed: list[int], first: int, known: int) -> list[int]:
    """Beginnings of the windows that are wanted for what was noticed, of those that end where all is known."""
    awake_until, placed = -1, set()
    for at in sorted(noticed):
        if at + AHEAD > awake_until:
            # The first one ends just where it must.
            placed.add(at + AHEAD - LENGTH)
        awake_until = at + AHEAD + HOLD
    on_grid = set(range(first, SAMPLES - LENGTH + 1, HOP))
    wanted: list[int] = []
    for start in sorted(on_grid | {one for one in placed if first < one <= SAMPLES - LENGTH}):
        stop = start + LENGTH
        if stop > known:
            break
        if wanted and start < wanted[-1] // HOP * HOP + HOP:
            # The next one on the grid comes soon enough.
            continue
        hold = LENGTH if start == first else HOLD
        if any(at + AHEAD <= stop <= at + AHEAD + hold for at in noticed):
            wanted.append(start)
    return wanted


@example(begin=0, noticed=[2_610, 2_969, 3_495], steps=[20]).via(
    "a second span just behind what was looked at as the first one ended"
)
@example(begin=0, noticed=[2_610, 2_969, 3_495], steps=[790, 130, 400])
@example(begin=0, noticed=[4_286, 4_606, 5_177], steps=[106]).via(
    "a look that ends just before what is noticed"
)
@example(begin=0, noticed=[951], steps=[20]).via("data that begin less than a hop before the first window")
@example(begin=101, noticed=[101, 1_101], steps=[20]).via(
    "a second span within a hop after the last window of the first"
)
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

    first = -(-begin // HOP) * HOP
    wanted = wanted_of([at for at in noticed if begin <= at < looked], first, looked + AHEAD)
    assert [window.index for window in found] == wanted
    # Only the first one is new as a whole: what lies before the others was looked at.
    assert [window.index for window in found if window.discontinuous] == [at for at in wanted if at == first]
