"""Faults made on purpose work as described, and a client that follows the protocol loses nothing."""

import asyncio
import contextlib
from collections import Counter
from itertools import pairwise

import pytest

from tests import virtual
from tests.unit.replay.test_server import START_NS, collect, fetched
from tests.unit.replay.test_wire import PACKETS, TIMEOUT_S, Client, Packet, play, whole
from xiaod.replay import Faults, Outage, ReplayConfig, ReplayError, ReplayServer
from xiaod.replay.schedule import GARBAGE

QUIET_S = 0.3
"""How long nothing must arrive to call it silence."""


async def all_packets(server: ReplayServer) -> list[Packet]:
    return await fetched(server, ("* *", "FETCH 1"))


def cycle_of(**faults: object) -> list[Packet]:
    return play(all_packets, whole(faults=Faults(**faults)))  # type: ignore[arg-type]


PLAIN = [packet.key for packet in cycle_of()]


def test_records_are_lost() -> None:
    packets = cycle_of(drop_every=5)
    assert [packet.key for packet in packets] == [key for number, key in enumerate(PLAIN, 1) if number % 5]
    assert [packet.sequence for packet in packets] == list(
        range(1, len(packets) + 1)
    )  # lost before they were numbered


def test_records_are_doubled() -> None:
    counts = Counter(packet.key for packet in cycle_of(duplicate_every=4))
    assert counts == {key: 2 if number % 4 == 0 else 1 for number, key in enumerate(PLAIN, 1)}


def test_records_change_places_within_their_stream() -> None:
    packets = cycle_of(reorder_every=7)
    assert sorted(packet.key for packet in packets) == sorted(PLAIN)
    backwards = 0
    for stream in {packet.stream for packet in packets}:
        starts = [packet.start_ns for packet in packets if packet.stream == stream]
        backwards += sum(after < before for before, after in pairwise(starts))
    assert backwards == PACKETS // 7


def test_components_get_out_of_step() -> None:
    packets = cycle_of(delays_s={"*_EHN": 4.0, "BW_RJOB__EH?": 1.0})
    assert sorted(packet.key for packet in packets) == sorted(PLAIN)
    assert [packet.key for packet in packets] != PLAIN
    place = {packet.key: index for index, packet in enumerate(packets)}
    for stream, start_ns in PLAIN:  # records of Z that end less than 3 s later overtake those of N
        if stream.endswith("N"):
            beaten = [key for key in PLAIN if key[0].endswith("Z") and 0 < key[1] - start_ns < 500_000_000]
            assert all(place[key] < place[stream, start_ns] for key in beaten)


def test_obspy_survives_garbage() -> None:
    async def body(server: ReplayServer) -> tuple[list[Packet], int]:
        traces = await asyncio.to_thread(collect, server, [("BW", "RJOB", "EH?", -1, None)], PACKETS)
        return await all_packets(server), len(traces)

    packets, traces = play(body, whole(faults=Faults(garbage_every=3)))
    assert [packet.raw for packet in packets].count(GARBAGE) == PACKETS // 3
    assert [packet.key for packet in packets if packet.raw != GARBAGE] == PLAIN
    assert traces == PACKETS


def test_a_stream_falls_silent_and_comes_back() -> None:
    outage = Outage("BW_RJOB__EHZ", begin_s=10.0, end_s=20.0)
    keys = [packet.key for packet in cycle_of(outages=(outage,))]
    missing = [key for key in PLAIN if key not in keys]
    assert missing
    assert all(stream.endswith("Z") for stream, _ in missing)
    assert all(7e9 < start_ns - START_NS < 20e9 for _, start_ns in missing)
    assert [key for key in PLAIN if key in keys] == keys


@pytest.mark.parametrize("speed", ["max", 1e5])
def test_all_streams_silent_for_ever_is_no_end_and_no_busy_loop(speed: float | str) -> None:
    async def body(server: ReplayServer) -> None:
        async with Client(server) as client:
            client.tell("DATA")
            await client.packets(PACKETS)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), QUIET_S)
            await client.info("ID")
            root, _ = await client.info("STREAMS")
            assert len(root[0]) == 3

    play(body, whole(speed=speed, loop=True, faults=Faults(outages=(Outage("*", begin_s=30.0),))))


def test_one_connection_is_cut_within_a_record() -> None:
    async def body(server: ReplayServer) -> tuple[bytes, list[Packet]]:
        async with Client(server) as client:
            await client.request("STATION RJOB BW", "DATA")
            client.tell("END")
            received = await client.rest()
        return received, await fetched(server, ("RJOB BW", "FETCH 000008"))

    received, rest = play(body, whole(faults=Faults(cut_after_packets=7)))
    assert len(received) == 7 * 520 + 260
    before = [Packet(0, received[i + 8 : i + 520]).key for i in range(0, 7 * 520, 520)]
    assert before + [packet.key for packet in rest] == PLAIN


def test_obspy_reconnects_after_a_cut_and_resumes() -> None:
    async def body(server: ReplayServer) -> list[int]:
        stream = [("BW", "RJOB", "EH?", -1, None)]
        received = await asyncio.to_thread(collect, server, stream, PACKETS, netto=1, netdly=1)
        return [number for number, _ in received]

    assert play(body, whole(faults=Faults(cut_after_packets=7))) == list(range(1, PACKETS + 1))


def test_a_frozen_server_keeps_the_connection_and_says_nothing() -> None:
    async def body(server: ReplayServer) -> list[Packet]:
        async with Client(server) as client:
            client.tell("DATA")
            packets = await client.packets(5)
            client.tell("INFO ID")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), QUIET_S)
            await server.set_faults(Faults())
            frames = [await client.exactly(520) for _ in range(PACKETS - 5 + 1)]
            assert sum(frame[:6] == b"SLINFO" for frame in frames) == 1
            return packets + [Packet(0, frame[8:]) for frame in frames if frame[:6] != b"SLINFO"]

    packets = play(body, whole(faults=Faults(freeze_after_packets=5)), virtual.run)
    assert [packet.key for packet in packets] == PLAIN


def test_frozen_from_the_start_and_for_a_while() -> None:
    async def body(server: ReplayServer) -> str:
        async with Client(server) as client:
            client.tell("HELLO")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), QUIET_S)
            await server.set_faults(Faults(freeze_after_packets=0, freeze_s=0.01))
            return (await asyncio.wait_for(client.reader.readline(), TIMEOUT_S)).decode()

    assert play(body, whole(faults=Faults(freeze_after_packets=0)), virtual.run).startswith("SeedLink")


def test_a_server_that_refuses_comes_back_on_its_port() -> None:
    async def body(server: ReplayServer) -> None:
        port = server.port
        async with Client(server) as client:
            client.tell("DATA")
            first = await client.packets(3)
            await server.set_faults(Faults(refuse_connections=True))
            with contextlib.suppress(ConnectionError):  # an orderly end is as good
                await client.rest()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
        await server.set_faults(Faults())
        assert server.port == port
        async with Client(server) as client:
            client.tell("DATA 000004")
            assert [packet.key for packet in first + await client.packets(PACKETS - 3)] == PLAIN

    play(body, whole())


def test_numbers_start_afresh_and_time_saves_the_client() -> None:
    """After a server has lost its ring the same numbers mean other packets: losses show by content only."""

    async def body(server: ReplayServer) -> tuple[list[Packet], list[Packet], list[Packet]]:
        async with Client(server) as client:
            client.tell("DATA")
            before = await client.packets(PACKETS)
        last = before[9]  # what came after this one was received but not processed
        await server.set_faults(Faults(reset_sequence_to=1))
        async with Client(server) as client:
            client.tell("DATA")
            renumbered = await client.packets(1)
        stamp = "2009,08,24,00,20,10"
        assert (last.start_ns - START_NS) // 10**9 == 7
        by_both = await fetched(server, ("RJOB BW", f"FETCH {last.sequence + 1:06X} {stamp}"))
        return before, renumbered, by_both

    config = ReplayConfig(inputs=("example",), port=0, speed=100.0, loop=True, loop_gap_s=20.0)
    before, renumbered, by_both = play(body, config)
    assert renumbered[0].sequence == 1
    missed = [packet.key for packet in before[10:]]
    assert set(missed) <= {packet.key for packet in by_both}


def test_faults_of_the_schedule_cannot_change_while_running() -> None:
    async def body(server: ReplayServer) -> None:
        with pytest.raises(ReplayError, match="only link faults"):
            await server.set_faults(Faults(drop_every=2))

    play(body, whole())
