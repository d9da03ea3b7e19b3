"""Real clients, pace, resumption, several clients at once."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import obspy
import pytest
from obspy import UTCDateTime
from obspy.clients.seedlink.client.seedlinkconnection import SeedLinkConnection
from obspy.clients.seedlink.slpacket import SLPacket
from pymseed import MS3Record

from tests.unit.replay.test_wire import PACKETS, TIMEOUT_S, Client, Packet, play, whole
from xiaod.replay import Faults, ReplayConfig, ReplayError, ReplayServer, serve
from xiaod.replay.example import COUNTS_PER_UNIT

START_NS = 1_251_073_203_000_000_000


def collect(
    server: ReplayServer, streams: Sequence[tuple[str, str, str, int, Any]], count: int, **options: Any
) -> list[tuple[int, obspy.Trace]]:
    """Sequence numbers and traces of the first packets that ObsPy's own client hands out."""
    client = SeedLinkConnection(timeout=TIMEOUT_S)
    client.set_sl_address(server.address)
    client.netto, client.netdly = 20, 1
    for name, value in options.items():
        setattr(client, name, value)
    for stream in streams:
        client.add_stream(*stream)
    received: list[tuple[int, obspy.Trace]] = []
    while len(received) < count:
        packet = client.collect()
        assert isinstance(packet, SLPacket), f"the client gave up: {packet!r}"
        received.append((packet.get_sequence_number(), packet.get_trace()))
    client.disconnect()
    return received


def test_obspy_receives_the_event_sample_by_sample() -> None:
    async def body(server: ReplayServer) -> list[tuple[int, obspy.Trace]]:
        return await asyncio.to_thread(collect, server, [("BW", "RJOB", "EH?", -1, None)], PACKETS)

    received = play(body, whole())
    assert [number for number, _ in received] == list(range(1, PACKETS + 1))
    for original in obspy.read():
        joined = obspy.Stream([trace for _, trace in received if trace.id == original.id]).merge()
        assert (len(joined), joined[0].stats.starttime) == (1, original.stats.starttime)
        np.testing.assert_array_equal(joined[0].data, np.round(original.data * COUNTS_PER_UNIT))


def test_obspy_reads_the_list_of_streams() -> None:
    def ask(server: ReplayServer) -> str:
        client = SeedLinkConnection(timeout=TIMEOUT_S)
        client.set_sl_address(server.address)
        client.request_info("STREAMS")
        while client.get_info_string() == "":
            client.collect()
        client.disconnect()
        return str(client.get_info_string())

    async def body(server: ReplayServer) -> str:
        return await asyncio.to_thread(ask, server)

    text = play(body, whole(copies=5))
    assert text.count("<station ") == 5
    assert text.count('seedname="EHZ"') == 5


def test_obspy_resumes_and_takes_wildcards() -> None:
    """Its `lastpkttime` is left out: in ObsPy 1.5.1 it joins text to bytes and fails before sending."""
    middle = UTCDateTime(ns=START_NS) + 15

    async def body(server: ReplayServer) -> list[list[tuple[int, obspy.Trace]]]:
        return [
            await asyncio.to_thread(collect, server, [("BW", "RJOB", "EH?", 5, None)], 20),
            await asyncio.to_thread(collect, server, [("B?", "RJ*", "??Z", -1, None)], 5),
            await asyncio.to_thread(collect, server, [("BW", "RJOB", "EHZ", -1, None)], 3, begin_time=middle),
        ]

    by_number, wild, by_time = play(body, whole())
    assert [number for number, _ in by_number] == list(range(6, 26))
    assert {trace.id for _, trace in wild} == {"BW.RJOB..EHZ"}
    # The record that spans the instant asked for comes first.
    assert by_time[0][1].stats.starttime <= middle <= by_time[0][1].stats.endtime


async def fetched(server: ReplayServer, *requests: tuple[str, str]) -> list[Packet]:
    """All packets of a dial-up transfer: (station, command) pairs."""
    async with Client(server) as client:
        for station, command in requests:
            await client.request(f"STATION {station}", command)
        client.tell("END")
        received = await client.rest()
    assert received[-3:] == b"END"
    frames = [received[i : i + 520] for i in range(0, len(received) - 3, 520)]
    return [Packet(int(frame[2:8], 16), frame[8:]) for frame in frames]


async def played_out(server: ReplayServer) -> None:
    """Let a whole play pass."""
    async with Client(server) as client:
        client.tell("DATA")
        await asyncio.wait_for(server.played.wait(), TIMEOUT_S)


def stamp(packet: Packet) -> str:
    """Start time as SeedLink v3 writes it."""
    return str(UTCDateTime(ns=packet.start_ns).strftime("%Y,%m,%d,%H,%M,%S"))


def test_where_a_client_resumes() -> None:
    first_sequence, kept = 0xFFFFF8, 25

    async def plain(server: ReplayServer) -> list[Packet]:
        return await fetched(server, ("* *", f"FETCH {first_sequence:06X}"))

    packets = play(plain, whole(first_sequence=first_sequence))
    numbers = [packet.sequence for packet in packets]
    assert numbers == [(first_sequence + index) % 2**24 for index in range(PACKETS)]

    async def body(server: ReplayServer) -> None:
        await played_out(server)

        async def resumed(command: str) -> list[int]:
            return [packet.sequence for packet in await fetched(server, ("RJOB BW", command))]

        assert await resumed("FETCH") == []  # the next packet, and none will come
        assert await resumed("FETCH 00000A") == numbers[18:]
        assert await resumed("FETCH 0") == numbers[8:]
        assert await resumed("FETCH 0xfffff9") == numbers[-kept:]  # has left the ring: the oldest there is
        assert await resumed("FETCH 400000") == []  # never given out: the next packet, as ringserver does
        # If the last packet received, number 4, began then, the numbers still hold; else the time counts.
        assert await resumed(f"FETCH 000005 {stamp(packets[12])}") == numbers[13:]
        assert await resumed(f"FETCH 000005 {stamp(packets[0])}") == numbers[-kept:]
        late = [
            packet for packet in packets if MS3Record.parse(packet.raw).endtime >= START_NS + 28_000_000_000
        ]
        tail = [packet.sequence for packet in late]
        assert len(tail) > 3
        assert await resumed("FETCH 400000 2009,08,24,00,20,31") == tail
        assert await resumed("TIME 2009,08,24,00,20,31 2009,08,24,00,20,33") == tail
        early = [packet.sequence for packet in late if packet.start_ns <= START_NS + 29_000_000_000]
        assert await resumed("TIME 2009,08,24,00,20,31 2009,08,24,00,20,32") == early

    play(body, whole(speed=1e6, first_sequence=first_sequence, ring_packets=kept))


def test_each_station_resumes_where_it_stopped() -> None:
    async def body(server: ReplayServer) -> tuple[list[Packet], list[Packet]]:
        await played_out(server)
        asked = (("RJ000 BW", "FETCH 000033"), ("RJ001 BW", "FETCH 000005"))
        mine = await fetched(server, *asked)
        await server.set_faults(Faults(resume_at_newest=True))
        return mine, await fetched(server, *asked)

    mine, like_ringserver = play(body, whole(speed=1e6, copies=2))
    ahead = [packet for packet in mine if "RJ000" in packet.stream]
    behind = [packet for packet in mine if "RJ001" in packet.stream]
    assert min(packet.sequence for packet in ahead) >= 0x33
    assert min(packet.sequence for packet in behind) < 0x33
    assert len(behind) > len(ahead)
    assert {packet.sequence for packet in like_ringserver} == set(range(0x33, 2 * PACKETS + 1))


def test_packets_come_in_the_order_in_which_records_are_filled() -> None:
    async def body(server: ReplayServer) -> list[Packet]:
        async with Client(server) as client:
            client.tell("DATA")
            return await client.packets(PACKETS)

    for speed in ("max", 1000.0):
        packets = play(body, whole(speed=speed))
        ends = [MS3Record.parse(packet.raw).endtime for packet in packets]
        assert ends == sorted(ends)
        assert len(set(ends)) > PACKETS - 3  # components at different moments


def test_live_records_appear_once_their_last_sample_is_past() -> None:
    before_ns = time.time_ns()

    async def body(server: ReplayServer) -> list[tuple[Packet, int]]:
        async with Client(server) as client:
            await client.request("SELECT EHZ")
            client.tell("DATA")
            return [((await client.packets(1))[0], time.time_ns()) for _ in range(2)]

    received = play(body, ReplayConfig(inputs=("example",), port=0, shift_to_now=True))
    for packet, now_ns in received:
        assert MS3Record.parse(packet.raw).endtime <= now_ns
    first_ns = received[0][0].start_ns
    assert before_ns - 1_000_000_000 < first_ns <= received[0][1]
    assert (first_ns - START_NS) % 1_000_000_000 == 0


def test_rounds_are_apart_by_the_gap_and_the_numbers_go_on() -> None:
    async def body(server: ReplayServer) -> list[Packet]:
        async with Client(server) as client:
            client.tell("DATA")
            return await client.packets(3 * PACKETS)

    for speed in ("max", 1e5):
        packets = play(body, whole(speed=speed, loop=True, loop_gap_s=2.5))
        assert [packet.sequence for packet in packets] == list(range(1, 3 * PACKETS + 1))
        first, second, third = (packets[i * PACKETS : (i + 1) * PACKETS] for i in range(3))
        # 29.99 s of data: 30 s, and 2.5 s rounded up to 3.
        assert [packet.start_ns + 33_000_000_000 for packet in first] == [
            packet.start_ns for packet in second
        ]
        assert [packet.start_ns + 66_000_000_000 for packet in first] == [packet.start_ns for packet in third]
        assert {packet.raw[64:] for packet in first} == {packet.raw[64:] for packet in third}


def test_a_client_that_does_not_read_holds_up_nobody_and_loses_nothing() -> None:
    async def body(server: ReplayServer) -> tuple[list[Packet], list[Packet]]:
        async with Client(server) as slow, Client(server) as quick:
            slow.tell("DATA")
            quick.tell("DATA")
            fast = await quick.packets(30_000)
            return fast, await slow.packets(2000)

    fast, late = play(body, whole(loop=True))
    assert [packet.sequence for packet in fast] == list(range(1, 30_001))
    assert late == fast[:2000]


def test_a_live_client_too_slow_for_the_ring_goes_on_at_its_end() -> None:
    async def body(server: ReplayServer) -> list[Packet]:
        async with Client(server) as client:
            client.tell("DATA")
            received = await client.packets(1)
            await asyncio.wait_for(server.playback.wait_beyond(30_000), TIMEOUT_S)
            while received[-1].sequence - received[0].sequence < len(received):
                received += await client.packets(500)
            return received

    packets = play(body, whole(speed=2e4, loop=True, ring_packets=100))
    steps = np.diff([packet.sequence for packet in packets])
    assert steps.min() == 1  # never back
    assert (steps > 1).sum() >= 1


def test_one_loop_serves_and_stops_when_told() -> None:
    async def run() -> list[tuple[str, int]]:
        announced: list[tuple[str, int]] = []
        stop, listening = asyncio.Event(), asyncio.Event()

        def announce(host: str, port: int) -> None:
            announced.append((host, port))
            listening.set()

        task = asyncio.create_task(serve(whole(), announce, stop))
        await asyncio.wait_for(listening.wait(), TIMEOUT_S)
        reader, writer = await asyncio.open_connection(*announced[0])
        writer.write(b"DATA\r\n")
        await reader.readexactly(520)
        stop.set()
        await asyncio.wait_for(task, TIMEOUT_S)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*announced[0])
        writer.close()
        return announced

    assert asyncio.run(run())[0][0] == "127.0.0.1"


def test_a_taken_port_is_named() -> None:
    async def body(server: ReplayServer) -> None:
        with pytest.raises(
            ReplayError, match=rf"cannot listen on 127\.0\.0\.1:{server.port}: .*choose another"
        ):
            await ReplayServer(whole(port=server.port)).start()

    play(body, whole())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": ()}, "inputs must be"),
        ({"inputs": "example"}, "inputs must be"),
        ({"speed": -1}, "speed must be"),
        ({"speed": float("nan")}, "speed must be"),
        ({"speed": "fast"}, "speed must be"),
        ({"port": 70_000}, "port must lie between 0 and 65535; got 70000"),
        ({"copies": 0}, "copies must lie"),
        ({"loop_gap_s": -1}, "loop_gap_s must lie"),
        ({"first_sequence": 2**24}, "first_sequence must lie"),
    ],
)
def test_nonsense_is_refused_at_birth(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ReplayError, match=message):
        whole(**change)
