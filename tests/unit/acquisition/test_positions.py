"""Where a later run begins: nothing that is needed is lost, and nobody goes back further than has to be."""

import gc
import math
import time
from collections import defaultdict
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xiaod.acquisition.seedlink.positions import SINGLE_PACKETS, Positions
from xiaod.acquisition.seedlink.sequence import NOTHING
from xiaod.acquisition.seedlink.untimely import GROUP_S
from xiaod.domain.resumption import ABANDONED_S, GONE_S
from xiaod.domain.seedlink import HALF_RANGE
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.timeliness import TimeLimits
from xiaod.domain.types import Channel, Position, Segment, Station

PERIOD_S = 10
SAMPLES = np.zeros(PERIOD_S * 100, np.int32)
NOT_FINAL_S = 90
"""So far behind its newest data a station is picked for good, and warmed up."""
FIRST = 2 * HALF_RANGE - 40
"""Numbers wrap soon."""


def packet(station: str, sequence: int, start_s: float, arrived_ns: int | None = None) -> Segment:
    return Segment(
        Channel("XX", station, "", "HHZ"),
        round(start_s * NS_PER_S),
        100.0,
        SAMPLES,
        arrived_ns=arrived_ns,
        sequence=sequence % (2 * HALF_RANGE),
    )


def objects_in(positions: Positions) -> int:
    """Objects that are kept of what has come."""
    found: dict[int, object] = {}
    waiting: list[object] = [positions]
    while waiting:
        one = waiting.pop()
        if id(one) not in found and not isinstance(one, type):
            found[id(one)] = one
            waiting += gc.get_referents(one)
    return len(found)


def shared(resume: dict[Station, Position] | None = None) -> Positions:
    positions = Positions(resume or {})
    positions.shared = True
    return positions


class Killed:
    """A server that numbers all stations together, and runs of a daemon that are killed one after the other.

    The monotonic clock stands still: what is reached in a run can only be told by the stream.
    """

    def __init__(self, silences: dict[str, tuple[int, int]], periods: int) -> None:
        self.sent = [
            (name, period)
            for period in range(periods)
            for name, (begin, end) in silences.items()
            if not begin <= period < end
        ]
        self.stored: dict[Station, Position] = {}
        self.picked_s: dict[str, int] = defaultdict(lambda: -1)
        """Until when a station has been picked for good, less what warms it up."""
        self.handed: set[int] = set()
        self.went_back_s: list[int] = []

    def run(self, until: int, save_every: int, part: float = 1.0) -> None:
        """A run from where the last one was to a period, or killed after a part of what there is."""
        positions = shared(dict(self.stored))
        begin = self._asked(positions)
        there = sum(period < until for _, period in self.sent)
        stop = begin + math.ceil((there - begin) * part)
        if begin < there:
            self.went_back_s.append((until - self.sent[begin][1]) * PERIOD_S)
        needed = self._needed(stop if self.stored else 0)
        had = {
            name: (number - FIRST) % (2 * HALF_RANGE)
            for (_, name), (number, _) in self.stored.items()
            if number != NOTHING
        }
        here: set[int] = set()
        newest: dict[str, int] = {}
        for index in range(begin, stop):
            name, period = self.sent[index]
            one = packet(name, FIRST + index, period * PERIOD_S)
            if positions.has_come(one):
                continue
            assert index not in here
            here.add(index)
            if not positions.knows(("XX", name)):
                self.stored["XX", name] = positions.begins(one)
            positions.passed(one)
            newest[name] = (period + 1) * PERIOD_S
            if index % save_every == 0:
                for station, next_s in newest.items():
                    self.picked_s[station] = max(self.picked_s[station], next_s - NOT_FINAL_S)
                self.stored |= positions.resumable(
                    {("XX", station): self.picked_s[station] * NS_PER_S for station in newest}
                )
        # What this run needed of what had come before, and everything that it was the first to see, and no more of anybody.
        assert needed <= here
        assert not [
            index for index in here if had.get(self.sent[index][0], HALF_RANGE) in range(index, HALF_RANGE)
        ]
        self.handed |= here
        assert self.handed >= set(range(stop))

    def _asked(self, positions: Positions) -> int:
        asked, _ = positions.asked(None)
        if not asked:
            return 0
        [number] = {sequence for sequence, _ in asked.values()}
        assert number is not None
        begin = (number + 1 - FIRST) % (2 * HALF_RANGE)
        # Some station names the packet of that number by its time too: else a server would not take it.
        times = {time_ns for _, time_ns in asked.values()}
        assert begin == 0 or self.sent[begin - 1][1] * PERIOD_S * NS_PER_S in times or begin < 10
        return begin

    def _needed(self, stop: int) -> set[int]:
        """Packets that reach beyond what has been picked for good, but for those of who has long been silent."""
        furthest_s = max(self.picked_s.values(), default=0)
        return {
            index
            for index, (name, period) in enumerate(self.sent[:stop])
            if (period + 1) * PERIOD_S > self.picked_s[name]
            and (period + 1) * PERIOD_S >= furthest_s - ABANDONED_S
            and index in self.handed
        }


@settings(max_examples=40)
@given(
    silences=st.lists(st.tuples(st.integers(0, 120), st.integers(1, 250)), min_size=1, max_size=3),
    kills=st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1)), min_size=1, max_size=12),
    save_every=st.integers(3, 20),
)
def test_runs_that_are_killed_again_and_again_lose_nothing_and_do_not_go_back_for_ever(
    silences: list[tuple[int, int]], kills: list[tuple[int, float]], save_every: int
) -> None:
    silent = {f"S{number}": (begin, begin + length) for number, (begin, length) in enumerate(silences)}
    until, length = sum(length for length, _ in kills), 20
    server = Killed({"GOES": (0, 0), **silent}, until + 7 * length)
    with patch.object(time, "monotonic", return_value=5.0):
        for number, (_, part) in enumerate(kills, 1):
            server.run(sum(length for length, _ in kills[:number]), save_every, part)
        # Then some that catch up.
        server.went_back_s.clear()
        for number in range(1, 8):
            server.run(until + number * length, save_every)
    # What is needed, what is on its way, what was not saved, and who is silent, of whom a run finds out and the next one knows.
    needed_s = NOT_FINAL_S + (2 + save_every) * PERIOD_S
    assert max(server.went_back_s[1:]) <= needed_s + ABANDONED_S + 2 * length * PERIOD_S


def test_a_station_that_fell_silent_does_not_hold_runs_of_five_minutes() -> None:
    server = Killed({"GOES": (0, 0), "SILENT": (20, 500)}, periods=480)
    with patch.object(time, "monotonic", return_value=5.0):
        for until in range(30, 481, 30):
            server.run(until, save_every=3)
    # It went back 4,700 of 4,800 s.
    assert server.went_back_s[-1] <= 300 + NOT_FINAL_S + 2 * PERIOD_S


def test_the_clock_of_the_machine_lets_go_of_who_is_silent_too() -> None:
    positions = shared()
    with patch.object(time, "monotonic") as monotonic:
        monotonic.return_value = 0.0
        positions.passed(packet("SILENT", 1, 0))
        for number in range(2, 5):
            monotonic.return_value = number * ABANDONED_S
            # A station that sends the same time again and again shows no progress by itself.
            positions.passed(packet("GOES", number, 0))
        positions.passed(packet("GOES", 5, 1))
        assert positions.resumable({("XX", "GOES"): 0})["XX", "SILENT"] == (0, 0)
        assert positions.resumable({("XX", "GOES"): PERIOD_S * NS_PER_S})["XX", "SILENT"] == (NOTHING, 0)


def test_a_station_that_sends_what_it_kept_during_an_outage_shows_no_silence_of_others() -> None:
    positions = shared()
    with patch.object(time, "monotonic", return_value=5.0):
        positions.passed(packet("LIVE", 1, 100_000))
        for number in range(2, 500):
            positions.passed(packet("REFILLS", number, number * PERIOD_S))
        kept = positions.resumable({("XX", "REFILLS"): 5000 * NS_PER_S})
        assert kept["XX", "LIVE"] == (0, 100_000 * NS_PER_S)
        # Later data show it, once they have been picked.
        for number, start_s in (
            (500, 100_000 + ABANDONED_S),
            (501, 100_010 + ABANDONED_S),
            (502, 100_020 + ABANDONED_S),
        ):
            positions.passed(packet("REFILLS", number, start_s))
        first, second = (round((100_000 + ABANDONED_S + seconds) * NS_PER_S) for seconds in (10, 20))
        assert positions.resumable({("XX", "REFILLS"): first})["XX", "LIVE"] == (0, 100_000 * NS_PER_S)
        kept = positions.resumable({("XX", "REFILLS"): second})
        assert kept["XX", "LIVE"] == (NOTHING, 100_000 * NS_PER_S)


def test_old_data_of_one_station_do_not_hide_the_silence_of_another() -> None:
    positions, last = shared(), 2 * round(ABANDONED_S / PERIOD_S)
    with patch.object(time, "monotonic", return_value=5.0):
        positions.passed(packet("SILENT", 1, 0))
        for number in range(2, last + 1):
            positions.passed(packet("GOES", number, number * PERIOD_S))
        positions.passed(packet("REFILLS", last + 1, -100_000))
        picked_ns = last * PERIOD_S * NS_PER_S
        kept = positions.resumable({("XX", "GOES"): picked_ns, ("XX", "REFILLS"): picked_ns})
        assert kept["XX", "SILENT"] == (NOTHING, 0)


@pytest.mark.parametrize("numbered_together", [True, False])
def test_many_small_packets_take_no_more_memory_and_hold_nobody_back(numbered_together: bool) -> None:
    positions = Positions({})
    positions.shared = numbered_together
    with patch.object(time, "monotonic") as monotonic:
        for number in range(30_000):
            # A hundred packets a second, each of ten seconds that overlap.
            monotonic.return_value = number / 100
            positions.passed(packet("A", number + 1, number / 100))
            if number == SINGLE_PACKETS - 1:
                singly = objects_in(positions)
        assert objects_in(positions) < singly * (SINGLE_PACKETS + 2 * 300) / SINGLE_PACKETS
        sequence, start_ns = positions.resumable({("XX", "A"): 200 * NS_PER_S})["XX", "A"]
    assert 189 * NS_PER_S <= start_ns <= 190 * NS_PER_S
    assert start_ns == (sequence - 1) * NS_PER_S // 100


def test_a_record_that_claims_to_last_for_centuries_is_a_packet_like_others() -> None:
    positions = shared()
    slow = packet("A", 7, 10.0)._replace(sampling_rate_hz=1e-6, samples=np.zeros(1_000_000, np.int32))
    for one in (packet("A", 6, 0.0), slow, packet("A", 8, 20.0)):
        positions.passed(one)
    assert positions.newest()["XX", "A"][0] == 8
    assert positions.resumable({("XX", "A"): 15 * NS_PER_S})["XX", "A"][0] == 6


def test_where_nobody_will_ask_nothing_is_kept() -> None:
    with Clock(-3600.0) as clock:
        positions = Positions({}, lasting=False)
        positions.shared = True
        held = []
        for number in range(1000):
            positions.passed(packet("A", number + 1, number * PERIOD_S))
            held.append(objects_in(positions))
        assert held[500] == held[-1]
        assert positions.asked(None)[0] == {("XX", "A"): (1000, 9990 * NS_PER_S)}
        # What a wrong clock refuses is held here too, but not what came long before something else was used.
        for number in range(1001, 1071):
            clock.monotonic_s += PERIOD_S
            assert not arrives(positions, clock, packet("A", number, clock.true_s - PERIOD_S))
        assert arrives(positions, clock, packet("LATE", 1071, clock.true_s - 3600))
        clock.off_s = 0
        assert positions.asks_again()
        begins, _ = positions.asked(None)[0]["XX", "A"]
        assert begins is not None
        assert ABANDONED_S <= (1071 - begins) * PERIOD_S < ABANDONED_S + GROUP_S + 2 * PERIOD_S


def test_a_server_that_counts_anew_sends_nothing_that_has_come() -> None:
    positions = shared({("XX", "A"): (1000, 5000 * NS_PER_S), ("XX", "B"): (900, 4000 * NS_PER_S)})
    assert {number for number, _ in positions.asked(None)[0].values()} == {900}
    assert positions.has_come(packet("A", 950, 4990))
    assert not positions.has_come(packet("A", 20, 5010))
    assert positions.has_come(packet("A", 21, 4990))
    # Much later data under an older number cannot be what had that number.
    assert not positions.has_come(packet("A", 22, 5001 + ABANDONED_S))
    assert not positions.has_come(packet("A", 23, 4990))
    positions = shared({("XX", "A"): (1000, 5000 * NS_PER_S), ("XX", "B"): (900, 4000 * NS_PER_S)})
    positions.asked(None)
    assert not positions.has_come(packet("A", 1001, 4990))
    assert not positions.has_come(packet("A", 950, 4990))


def test_after_a_cut_nothing_is_taken_for_what_has_come() -> None:
    positions = shared()
    positions.passed(packet("A", 1000, 100))
    # The server counts anew.
    positions.passed(packet("B", 5, 100))
    positions.asked(None)
    # Another channel, whose records lie a little otherwise.
    assert not positions.has_come(packet("A", 6, 99.5))


def test_data_of_a_station_whose_clock_is_ahead_show_no_silence_of_others() -> None:
    positions = shared()
    with Clock(0.0) as clock:
        positions.passed(packet("LIVE", 1, clock.true_s - PERIOD_S, clock.host_ns))
        for number in range(2, 200):
            ahead_s = clock.true_s + 7200 + number * PERIOD_S
            positions.passed(packet("AHEAD", number, ahead_s, clock.host_ns))
        kept = positions.resumable({("XX", "AHEAD"): round(ahead_s * NS_PER_S)})
        assert kept["XX", "LIVE"][0] == 0


def test_one_record_of_another_century_does_not_stop_the_clock_of_a_stream() -> None:
    positions = shared()
    with Clock(0.0) as clock:
        begun_s = clock.true_s
        positions.passed(packet("SILENT", 1, begun_s, clock.host_ns))
        positions.passed(packet("GOES", 2, 4_102_444_800, clock.host_ns))
        for number in range(3, 100):
            start_s = begun_s + number * PERIOD_S
            # Only what the stream tells counts.
            positions.passed(packet("GOES", number, start_s, round((start_s + PERIOD_S) * NS_PER_S)))
        # The odd one is in front of all, and holds them until they are so much further.
        for _ in range(2):
            kept = positions.resumable({("XX", "GOES"): round((begun_s + 950) * NS_PER_S)})
        assert kept["XX", "SILENT"][0] == NOTHING
        assert kept["XX", "GOES"][0] == 94


class Clock:
    """The clock of a machine, which is off by some seconds."""

    def __init__(self, off_s: float) -> None:
        self.off_s, self.monotonic_s = off_s, 1000.0

    @property
    def host_ns(self) -> int:
        return round((1_700_000_000 + self.monotonic_s + self.off_s) * NS_PER_S)

    @property
    def true_s(self) -> float:
        return 1_700_000_000 + self.monotonic_s

    def __enter__(self) -> "Clock":
        self._stack = ExitStack()
        self._stack.enter_context(patch.object(time, "monotonic", lambda: self.monotonic_s))
        self._stack.enter_context(
            patch.object(time, "monotonic_ns", lambda: round(self.monotonic_s * NS_PER_S))
        )
        self._stack.enter_context(patch.object(time, "time_ns", lambda: self.host_ns))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


LIMITS = TimeLimits.from_s(max_age_s=1000.0, max_future_s=60.0)


def arrives(positions: Positions, clock: Clock, one: Segment) -> bool:
    """Hand a packet on as the source does; whether it is used."""
    correction_ns = LIMITS.correction_ns(one.start_ns, one.next_ns, clock.host_ns, None)
    if correction_ns:
        positions.refused(one, correction_ns, clock.host_ns - round(clock.monotonic_s * NS_PER_S))
        return False
    positions.passed(one)
    return True


@pytest.mark.parametrize("numbered_together", [True, False])
@pytest.mark.parametrize("off_s", [-3600.0, 3600.0])
def test_what_a_wrong_clock_refuses_comes_again_once_it_is_set(off_s: float, numbered_together: bool) -> None:
    with Clock(off_s) as clock:
        positions = Positions({})
        positions.shared = numbered_together
        positions.passed(packet("A", 7, clock.true_s - 20))
        begins_s = clock.true_s
        for number in range(8, 20):
            clock.monotonic_s += PERIOD_S
            assert not arrives(positions, clock, packet("A", number, clock.true_s - PERIOD_S))
            assert not positions.asks_again()
            # A run that begins now gets everything again too, however far it is said to have come.
            kept = positions.resumable({("XX", "A"): round((clock.true_s + 9999) * NS_PER_S)})
            assert kept["XX", "A"] == (7, round((begins_s - 20) * NS_PER_S))
        clock.off_s /= 2
        assert not positions.asks_again()
        clock.off_s = 0
        assert positions.asks_again()
        assert not positions.asks_again()
        assert positions.asked(None)[0] == {("XX", "A"): (7, round((begins_s - 20) * NS_PER_S))}
        for number in range(8, 20):
            one = packet("A", number, begins_s + (number - 8) * PERIOD_S)
            assert not positions.has_come(one)
            assert arrives(positions, clock, one)
        assert positions.resumable({("XX", "A"): one.next_ns})["XX", "A"] == (19, one.start_ns)


@pytest.mark.parametrize("off_s", [-3600.0, 3600.0])
def test_an_odd_record_does_not_hide_what_a_wrong_clock_refuses(off_s: float) -> None:
    with Clock(off_s) as clock:
        positions = shared()
        dates_s = [4_102_444_800.0, clock.true_s, 4_102_444_800.0] if off_s < 0 else [0.0, clock.true_s, 0.0]
        for number, date_s in enumerate(dates_s, 1):
            assert not arrives(positions, clock, packet("A", number, date_s))
        clock.off_s = 0
        assert positions.asks_again()
        assert positions.asked(None)[0]["XX", "A"][0] == 0


def test_where_is_gone_back_to_is_told_as_a_server_knows_it() -> None:
    with Clock(-3600.0) as clock:
        positions = shared()
        old = packet("OLD", 10, clock.true_s - 3600)
        positions.begins(old)
        assert arrives(positions, clock, old)
        for number in range(11, 14):
            one = packet("LIVE", number, clock.true_s - PERIOD_S)
            if number == 11:
                positions.begins(one)
            assert not arrives(positions, clock, one)
        assert arrives(positions, clock, packet("LIVE", 14, clock.true_s - 3600))
        clock.off_s = 0
        assert positions.asks_again()
        # The time of that number, though it is another station's, and though the own one is another.
        assert positions.asked(None)[0]["XX", "LIVE"] == (10, old.start_ns)
        # What has been used since comes again too: until then a later run begins before it as well.
        kept = positions.resumable({("XX", "LIVE"): round((clock.true_s + 9999) * NS_PER_S)})
        assert kept["XX", "LIVE"][0] in (NOTHING, 10)
        assert min(number for number, _ in kept.values() if number != NOTHING) <= 10


def test_others_are_not_gone_back_with_when_the_clock_is_set() -> None:
    with Clock(-3600.0) as clock:
        positions = shared()
        # One is an hour late, and can be used all the time; it comes between.
        for number in range(1, 21, 2):
            clock.monotonic_s += PERIOD_S
            assert not arrives(positions, clock, packet("LIVE", number, clock.true_s - PERIOD_S))
            assert arrives(positions, clock, packet("LATE", number + 1, clock.true_s - 3600))
        clock.off_s = 0
        assert positions.asks_again()
        asked, _ = positions.asked(None)
        begins_s = clock.true_s - 100
        # Of the packet before the first that was refused nothing is known but the number.
        assert asked["XX", "LIVE"] == (0, round(begins_s * NS_PER_S))
        assert asked["XX", "LATE"][0] == 0
        for number in range(1, 21, 2):
            again = packet("LIVE", number, begins_s + (number - 1) // 2 * PERIOD_S)
            assert not positions.has_come(again)
            positions.passed(again)
            assert positions.has_come(
                packet("LATE", number + 1, begins_s - 3590 + (number - 1) // 2 * PERIOD_S)
            )
        assert not positions.has_come(packet("LATE", 22, begins_s - 3590 + 100))


@pytest.mark.parametrize("numbered_together", [True, False])
def test_a_station_that_dates_its_data_2100_holds_nobody_back_for_long(numbered_together: bool) -> None:
    year_2100_s = 4_102_444_800
    with Clock(0.0) as clock:
        positions = Positions({})
        positions.shared = numbered_together
        begun_s = clock.true_s
        for number in range(1, 200, 2):
            clock.monotonic_s += PERIOD_S
            assert not arrives(positions, clock, packet("BROKEN", number, year_2100_s + number))
            assert arrives(positions, clock, packet("GOOD", number + 1, clock.true_s - PERIOD_S))
            kept = positions.resumable({("XX", "GOOD"): round((clock.true_s - NOT_FINAL_S) * NS_PER_S)})
            oldest_s = kept["XX", "GOOD"][1] / NS_PER_S
            if numbered_together:
                oldest_s = min(oldest_s, begun_s + kept["XX", "BROKEN"][0] // 2 * PERIOD_S)
            assert clock.true_s - oldest_s <= ABANDONED_S + GROUP_S + NOT_FINAL_S + 4 * PERIOD_S
        # And a record among good ones of its own station, neither.
        positions.refused(packet("GOOD", 300, year_2100_s), 1, 0)
        for number in range(301, 301 + 90):
            clock.monotonic_s += PERIOD_S
            assert arrives(positions, clock, packet("GOOD", number, clock.true_s - PERIOD_S))
            # Twice: what is let go of at one look has been passed at the next.
            for _ in range(2):
                kept = positions.resumable({("XX", "GOOD"): round((clock.true_s - NOT_FINAL_S) * NS_PER_S)})
        assert clock.true_s - kept["XX", "GOOD"][1] / NS_PER_S <= NOT_FINAL_S + 3 * PERIOD_S
        # The clock is right: being set by a little brings nothing again.
        clock.off_s = 30.0
        assert not positions.asks_again()


def test_what_a_clock_that_is_ahead_takes_for_too_old_to_catch_up_is_asked_for_once_it_is_set() -> None:
    with Clock(86_400.0) as clock:
        stood = 7, round((clock.true_s - 600) * NS_PER_S)
        positions = Positions({("XX", "A"): stood})
        limit_ns = clock.host_ns - 3600 * NS_PER_S
        assert positions.asked(limit_ns) == ({("XX", "A"): (None, limit_ns)}, ["XX.A"])
        positions.passed(packet("A", 80, clock.true_s - PERIOD_S))
        assert positions.resumable({("XX", "A"): round(clock.true_s * NS_PER_S)})["XX", "A"] == stood
        clock.off_s = 0.0
        assert positions.asks_again()
        assert positions.asked(clock.host_ns - 3600 * NS_PER_S) == ({("XX", "A"): stood}, [])


def test_a_station_that_is_neither_listed_nor_heard_of_is_forgotten_after_a_day() -> None:
    with Clock(0.0) as clock:

        def before(seconds: float) -> int:
            return round((clock.true_s - seconds) * NS_PER_S)

        resume = {
            ("XX", "GONE"): (3, before(GONE_S + 2000)),
            ("XX", "RESTS"): (NOTHING, before(GONE_S + 2000)),
            ("XX", "LISTED"): (4, before(GONE_S + 2000)),
            ("XX", "SENDS"): (5, before(GONE_S + 2000)),
            ("XX", "PAUSES"): (6, before(GONE_S - 2000)),
            ("XX", "GOES"): (9, before(60)),
        }
        positions = shared(resume)

        def kept_at(number: int) -> list[str]:
            clock.monotonic_s += ABANDONED_S / 2 + 1
            positions.passed(packet("GOES", number, clock.true_s - PERIOD_S))
            return sorted(station for _, station in positions.resumable({}))

        listed = {("XX", "LISTED"), ("XX", "GOES")}
        everybody = sorted(station for _, station in resume)
        positions.passed(packet("SENDS", 20, 10.0))
        # The server does not tell what it has.
        assert [kept_at(number) for number in (21, 22, 23)] == [everybody] * 3
        assert positions.gone() == set()
        positions.listed(listed)
        assert kept_at(24) == ["GOES", "LISTED", "PAUSES", "SENDS"]
        assert positions.gone() == {("XX", "GONE"), ("XX", "RESTS")}
        assert positions.gone() == set()
        assert set(positions.newest()) == {("XX", name) for name in kept_at(25)}
        # Not in the first minutes of a run, in which anybody may still send.
        early = shared(resume)
        early.listed(listed)
        early.passed(packet("SENDS", 20, 10.0))
        early.passed(packet("GOES", 21, clock.true_s - PERIOD_S))
        assert len(early.resumable({})) == len(resume)
        # One that comes back begins like one that is new.
        assert not positions.knows(("XX", "GONE"))
