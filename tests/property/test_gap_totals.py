"""Gaps of the components of an instrument, in any order, are counted as the time that any of them misses."""

from hypothesis import given
from hypothesis import strategies as st

from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel
from xiaod.pipeline.station_table import RECENT_GAPS, GapTotals
from xiaod.waveform.channel import Gap

GAPS = st.tuples(st.sampled_from("ZNE"), st.integers(0, 100), st.integers(1, 20))


@given(st.lists(GAPS, max_size=RECENT_GAPS))
def test_each_second_is_counted_once(gaps: list[tuple[str, int, int]]) -> None:
    totals, missing = GapTotals(), set[int]()
    for letter, start_s, length_s in gaps:
        before = totals.count
        totals.add(
            Gap(Channel("BW", "RJOB", "", f"EH{letter}"), start_s * NS_PER_S, (start_s + length_s) * NS_PER_S)
        )
        seconds = set(range(start_s, start_s + length_s))
        assert totals.count - before == missing.isdisjoint(seconds)
        missing |= seconds
        assert totals.total_s == len(missing)
