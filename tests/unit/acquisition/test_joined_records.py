"""Records that follow each other come as one segment: the same samples at the same times, and nothing that does not follow."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xiaod.acquisition import Emit
from xiaod.acquisition.joined_records import MAX_PIECE_NS, JoinedSource
from xiaod.domain.types import BadRecord, Channel, Segment, SourceItem

SAMPLE_NS = 10_000_000


class Listed:
    """A source of these items."""

    name = "listed"

    def __init__(self, items: Sequence[SourceItem]) -> None:
        self._items = items
        self.stopped = False

    def run(self, emit: Emit) -> None:
        for item in self._items:
            emit(item)

    def stop(self) -> None:
        self.stopped = True


def joined(items: Sequence[SourceItem]) -> list[SourceItem]:
    found: list[SourceItem] = []
    JoinedSource(Listed(items)).run(found.append)
    return found


def segment(letter: str, first: int, size: int, rate_hz: float = 100.0) -> Segment:
    """Samples that hold their own number."""
    samples = np.arange(first, first + size, dtype=np.int32)
    samples.flags.writeable = False
    return Segment(
        Channel("XX", "A", "", "HH" + letter), first * SAMPLE_NS, rate_hz, samples, "listed", record_bytes=512
    )


records = st.lists(
    st.tuples(
        st.sampled_from("ZNE"),
        # From where the last one of the component ended: on, after a gap, again, or an overlap.
        st.sampled_from([0, 0, 0, 0, 7, 3000, -5, -400]),
        st.integers(1, 1000),
    ),
    max_size=40,
)


@given(records)
def test_the_same_samples_come_at_the_same_times(steps: list[tuple[str, int, int]]) -> None:
    stops, items = dict.fromkeys("ZNE", 10_000), []
    for letter, apart, size in steps:
        items.append(segment(letter, stops[letter] + apart, size))
        stops[letter] += apart + size
    items.sort(key=lambda item: item.start_ns)
    found = [item for item in joined(items) if isinstance(item, Segment)]

    def of(segments: Sequence[Segment], letter: str) -> list[int]:
        return [
            value for one in segments if one.channel.component == letter for value in one.samples.tolist()
        ]

    for letter in "ZNE":
        assert of(found, letter) == of(items, letter)
    for one in found:
        assert one.start_ns == int(one.samples[0]) * SAMPLE_NS
        assert np.array_equal(np.diff(one.samples), np.ones(one.samples.size - 1))
        assert one.samples.size <= 1000
        assert not one.samples.flags.writeable
    assert sum(one.record_bytes for one in found) == 512 * len(items)


@given(st.integers(20, 900), st.integers(2, 300))
def test_what_follows_without_a_gap_is_cut_at_ten_seconds(size: int, count: int) -> None:
    found = joined([segment("Z", number * size, size) for number in range(count)])
    sizes = [one.samples.size for one in found if isinstance(one, Segment)]
    assert set(sizes[:-1]) <= {1000}
    assert sum(sizes) == size * count


def test_no_component_comes_far_ahead_of_the_others() -> None:
    items = sorted(
        [
            segment(letter, number * size, size)
            for letter, size in (("Z", 100), ("N", 330), ("E", 990))
            for number in range(9900 // size)
        ],
        key=lambda item: item.start_ns,
    )
    newest = {"Z": 0, "N": 0, "E": 0}
    for one in joined(items):
        assert isinstance(one, Segment)
        newest[one.channel.component] = one.next_ns
        assert max(newest.values()) - min(newest.values()) <= 2 * MAX_PIECE_NS


@pytest.mark.parametrize("begin", [0, -1_000_000_000], ids=["1970", "before 1970"])
def test_a_component_that_ends_is_not_held(begin: int) -> None:
    items = [segment("N", begin, 200), *[segment("Z", begin + number * 100, 100) for number in range(60)]]
    found = [one for one in joined(items) if isinstance(one, Segment)]
    assert [one.channel.component for one in found].index("N") <= 2


def test_what_is_not_alike_is_not_joined() -> None:
    first = segment("Z", 0, 100)
    other_rate = segment("Z", 100, 50, rate_hz=50.0)
    decimals = Segment(first.channel, 2 * 10**9, 50.0, np.zeros(50, np.float32), "listed")
    bad = BadRecord("listed", "decode")
    assert joined([first, other_rate, decimals, bad]) == [first, other_rate, bad, decimals]


def test_what_is_long_is_passed_on_as_it_comes() -> None:
    """Whatever comes next: how far one component is ahead of the others decides what is waited for."""
    items = [segment(letter, 0, 4400) for letter in "ZNE"]
    assert joined(items) == items


def test_it_stops_with_its_source() -> None:
    listed = Listed([])
    source = JoinedSource(listed)
    source.stop()
    assert (source.name, listed.stopped) == ("listed", True)
