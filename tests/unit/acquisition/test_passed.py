"""The queue of packets that wait to be picked: the same as a deque of objects, in bounded memory."""

import tracemalloc
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from xiaod.acquisition.seedlink.moments import Moment
from xiaod.acquisition.seedlink.passed import Passed, PassedPackets
from xiaod.domain.timegrid import LATEST_NS

MOST = 5
numbers = st.integers(-LATEST_NS, LATEST_NS)
entries = st.builds(
    Passed,
    st.tuples(st.integers(0, (1 << 24) - 1), numbers),
    numbers,
    st.builds(Moment, st.floats(allow_nan=False), st.floats(allow_nan=False), numbers),
)


@given(st.lists(entries | st.sampled_from(["popleft", "pop"]), max_size=60))
def test_it_is_a_deque_of_limited_length(steps: list[Passed | str]) -> None:
    passed, plain = PassedPackets(MOST), deque[Passed](maxlen=MOST)
    for step in steps:
        if isinstance(step, Passed):
            passed.append(*step)
            plain.append(step)
        elif plain:
            assert (passed.popleft() if step == "popleft" else passed.pop()) == getattr(plain, step)()
        assert list(passed) == list(plain)
        assert len(passed) == len(plain)
        if plain:
            assert (passed[0], passed[-1]) == (plain[0], plain[-1])


def test_a_time_that_no_clock_reaches_is_kept_as_the_latest() -> None:
    passed = PassedPackets(MOST)
    passed.append((1, 0), 1 << 80, Moment(0.0, 0.0, 1 << 80))
    assert passed[0] == Passed((1, 0), LATEST_NS, Moment(0.0, 0.0, LATEST_NS))


def test_what_has_left_takes_no_memory() -> None:
    passed = PassedPackets(2000)
    moment = Moment(0.0, 0.0, 0)

    def move(count: int) -> None:
        for number in range(count):
            passed.append((number, number), number, moment)
            passed.popleft()

    for number in range(100):
        passed.append((number, number), number, moment)
    move(1000)
    tracemalloc.start()
    try:
        move(20_000)
        assert tracemalloc.get_traced_memory()[0] < 20_000
    finally:
        tracemalloc.stop()
    assert len(passed) == 100
