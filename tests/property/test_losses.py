"""Which jumps in the numbers of packets mean that something is lost: with servers that number in any of the known ways."""

from collections.abc import Callable, Iterable
from math import log2
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xiaod.acquisition.seedlink.losses import FEW, IN_A_ROW, TRUSTED, Losses
from xiaod.domain.seedlink import SEQUENCE_MODULUS
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Segment

A, B = ("BW", "AAA"), ("BW", "BBB")
Packet = tuple[tuple[str, str], int]
"""Station and number."""


class Client:
    """Reads the packets that a server has, and comes back behind the last ones when something seems to be lost."""

    def __init__(self, ring: list[Packet], together: bool) -> None:
        self.ring = ring
        self.together = together
        """Whether the server goes on behind one packet, or behind one of each station."""
        self.losses = Losses()
        self.questions = 0

    def read(self, begin: int, stop: int, lost: Iterable[int] = ()) -> list[int]:
        """Take these packets, without those that get lost the first time; gives which have been taken."""
        lost = set(lost)
        taken: dict[object, int] = {}
        came: list[int] = []
        waiting = list(range(begin, stop))
        self.losses.begins(0.0)
        while waiting:
            for index in waiting:
                if index in lost:
                    lost.discard(index)
                    continue
                station, number = self.ring[index]
                number %= SEQUENCE_MODULUS
                if self.losses.of_connection(number) or self.losses.of_station(station, number):
                    self.questions += 1
                    self.losses.begins(0.0)
                    break
                taken[None if self.together else station] = index
                came.append(index)
            else:
                break
            waiting = [
                index
                for index in range(begin, stop)
                if index > taken.get(None if self.together else self.ring[index][0], -1)
            ]
        return came


Numbered = Callable[[int, int], list[Packet]]


def shared(count: int, begin: int) -> list[Packet]:
    """A ringserver with nothing but what was asked for."""
    return [((A, B)[index % 3 == 0], begin + index) for index in range(count)]


def own(count: int, begin: int) -> list[Packet]:
    """SeisComP: each station has numbers of its own."""
    numbers = {A: begin, B: begin + 7_000}
    ring = []
    for index in range(count):
        station = (A, B)[index % 3 == 0]
        ring.append((station, numbers[station]))
        numbers[station] += 1
    return ring


@pytest.mark.parametrize("numbered", [shared, own])
@pytest.mark.parametrize("begin", [0, SEQUENCE_MODULUS - 200])
def test_packets_that_got_lost_are_asked_for_and_come(numbered: Numbered, begin: int) -> None:
    client = Client(numbered(1000, begin), numbered is shared)
    came = client.read(0, 1000, lost=[300, 301, 302, 420, 700])
    assert sorted(came) == list(range(1000))
    assert client.questions == 3


@given(st.integers(0, SEQUENCE_MODULUS - 1), st.sampled_from([shared, own]), st.integers(1, 4))
def test_without_a_loss_nothing_is_asked_for_again(begin: int, numbered: Numbered, connections: int) -> None:
    client = Client(numbered(600, begin), numbered is shared)
    for number in range(connections):
        assert len(client.read(120 * number, 120 * number + 150)) == 150
    assert client.questions == 0


@settings(max_examples=30)
@example(seed=0, share=1 / 64, numbered=own)
@given(seed=st.integers(), share=st.floats(0.0005, 0.9), numbered=st.sampled_from([shared, own]))
def test_streams_that_were_not_asked_for_take_numbers(seed: int, share: float, numbered: Numbered) -> None:
    rng = Random(seed)
    client = Client([packet for packet in numbered(5_000, 0) if rng.random() > share], numbered is shared)
    count = len(client.ring)
    assert sorted(client.read(0, count)) == list(range(count))
    # Twice as many numbers in a row are needed each time, of a connection and of stations: 10, 20, 40 ... of so many packets.
    assert client.questions <= 2 * int(log2(count / TRUSTED + 1))


def test_numbers_that_go_back_or_stay_are_no_loss() -> None:
    losses = Losses()
    losses.begins(0.0)
    numbers = [*range(100, 300), *range(250, 400), 399, 399, *range(5), *range(5)]
    assert not any(losses.of_connection(number) for number in numbers)


def test_what_comes_again_may_be_a_part_of_what_came() -> None:
    losses = Losses()
    losses.begins(0.0)
    assert not any(losses.of_connection(number) for number in range(1000))
    losses.begins(0.0)
    assert not any(losses.of_connection(number) for number in (*range(200, 900, 3), *range(990, 1010)))
    assert losses.of_connection(1012) == 2


def test_a_server_that_counts_anew_is_looked_at_anew() -> None:
    losses = Losses()
    losses.begins(0.0)
    numbers = [*range(5_000_000, 5_000_100), *range(1, 100)]
    assert not any(losses.of_connection(number) for number in numbers)
    assert losses.of_connection(101) == 1


def test_a_packet_that_tells_nothing_may_have_had_the_number_that_is_missing() -> None:
    losses = Losses()
    losses.begins(0.0)
    for number in range(TRUSTED + 10):
        assert not losses.of_station(A, number)
    losses.of_nobody()
    assert not losses.of_station(A, TRUSTED + 11)
    assert not losses.of_station(A, TRUSTED + 12)
    assert losses.of_station(A, TRUSTED + 14) == 1


def after(losses: Losses, numbers: Iterable[int]) -> bool:
    losses.begins(0.0)
    for number in numbers:
        losses.of_connection(number)
    return losses.bytes_between()


def test_bytes_at_the_same_place_are_passed_over_the_second_time() -> None:
    losses = Losses()
    assert after(losses, range(100))
    assert not after(losses, range(90, 100))
    assert after(losses, range(100, 200))


def test_bytes_before_the_first_packet_are_asked_for_once() -> None:
    losses = Losses()
    assert [after(losses, []) for _ in range(3)] == [True, False, False]


def test_bytes_behind_every_packet_are_passed_over_at_last() -> None:
    losses = Losses()
    asked = [after(losses, [number]) for number in range(10)]
    assert asked == [True] * IN_A_ROW + [False] * (10 - IN_A_ROW)
    # What is lost long after that is asked for.
    assert after(losses, range(10, 10 + FEW))


def test_where_asking_takes_long_no_more_than_half_of_the_time_goes_into_it() -> None:
    losses = Losses()
    asked = []
    for number in range(10):
        losses.begins(setup_s=3600.0)
        for further in range(1000):
            losses.of_connection(1000 * number + further)
        asked.append(losses.bytes_between())
    assert asked == [True] * IN_A_ROW + [False] * (10 - IN_A_ROW)


def test_what_is_passed_over_is_no_jump() -> None:
    losses = Losses()
    assert after(losses, range(100))
    assert not after(losses, range(90, 100))
    assert losses.of_connection(103) == 0


def test_a_gap_is_odd_only_where_numbers_are_left_out_and_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(
        "xiaod.acquisition.seedlink.losses.time", SimpleNamespace(monotonic=lambda: clock.now_s)
    )
    losses = Losses()
    losses.begins(0.0)
    number = second = 0

    def questions(step: int) -> list[tuple[int, int]]:
        """Take packets of a second each with a gap among them; where each question leads back to."""
        nonlocal number, second
        found = []
        for index in range(40):
            number, second = number + step, second + (6 if index == 20 else 1)
            channel, samples = Channel("BW", "AAA", "", "EHZ"), np.zeros(10, np.int32)
            packet = Segment(channel, second * NS_PER_S, 10.0, samples, sequence=number)
            losses.of_connection(number)
            losses.of_station(A, number)
            if (place := losses.of_channel(packet)) is not None:
                found.append(place)
        return found

    # All numbers come: whatever gap there is, it is the station's own.
    assert questions(step=1) == []
    # Others take numbers: of those that are left out one may have been this channel's.
    before = number + 20 * 3, (second + 20) * NS_PER_S
    assert questions(step=3) == [before]
    # It was not there: for twice as long nothing is asked for.
    assert questions(step=3) == []
    clock.now_s += 700.0
    assert len(questions(step=3)) == 1
    clock.now_s += 700.0
    assert questions(step=3) == []
    clock.now_s += 700.0
    assert len(questions(step=3)) == 1
