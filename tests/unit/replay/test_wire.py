"""The protocol on real sockets, byte by byte, with a client of a few lines."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import pytest
from pymseed import MS3Record

from xiaod.replay import Faults, ReplayConfig, ReplayServer

TIMEOUT_S = 30.0
PACKETS = 31
"""Packets of one cycle of the example."""
T = TypeVar("T")


@dataclass(frozen=True)
class Packet:
    """One SeedLink packet as received."""

    sequence: int
    raw: bytes

    @property
    def stream(self) -> str:
        return str(MS3Record.parse(self.raw).sourceid)

    @property
    def start_ns(self) -> int:
        return int(MS3Record.parse(self.raw).starttime)

    @property
    def key(self) -> tuple[str, int]:
        """What identifies a packet, whatever its number."""
        return self.stream, self.start_ns


class Client:
    """A raw SeedLink client."""

    def __init__(self, server: ReplayServer) -> None:
        self.server = server
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def exactly(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), TIMEOUT_S)

    def tell(self, *commands: str) -> None:
        for command in commands:
            self.writer.write(command.encode() + b"\r\n")

    async def ask(self, command: str) -> str:
        self.tell(command)
        return (await asyncio.wait_for(self.reader.readuntil(b"\r\n"), TIMEOUT_S)).decode().strip("\r\n")

    async def request(self, *commands: str) -> None:
        for command in commands:
            assert await self.ask(command) == "OK", command

    async def packets(self, count: int) -> list[Packet]:
        received = [await self.exactly(520) for _ in range(count)]
        assert all(item[:2] == b"SL" for item in received)
        return [Packet(int(item[2:8], 16), item[8:]) for item in received]

    async def info(self, level: str) -> tuple[ET.Element, str]:
        """The document and the channel code of its records."""
        self.tell(f"INFO {level}")
        document, more = b"", True
        channel = ""
        while more:
            packet = await self.exactly(520)
            assert packet[:6] == b"SLINFO"
            more = packet[7:8] == b"*"
            parsed = MS3Record.parse(packet[8:], unpack_data=True)
            channel = parsed.sourceid[-5:].replace("_", "")
            document += bytes(parsed.datasamples)
        return ET.fromstring(document), channel  # noqa: S314 (our own server's answer)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), TIMEOUT_S)


def play(
    body: Callable[[ReplayServer], Awaitable[T]],
    config: ReplayConfig,
    run_in: Callable[[Coroutine[Any, Any, T]], T] = asyncio.run,
) -> T:
    """Run a test body against a server of its own; ``run_in`` is the loop for both."""

    async def run() -> T:
        async with ReplayServer(config) as server:
            return await asyncio.wait_for(body(server), 2 * TIMEOUT_S)

    return run_in(run())


def whole(**changes: object) -> ReplayConfig:
    """The example, as fast as it goes."""
    return ReplayConfig(**{"inputs": ("example",), "port": 0, "speed": "max", **changes})  # type: ignore[arg-type]


def test_hello_is_two_lines_and_one_write() -> None:
    async def body(server: ReplayServer) -> None:
        async with Client(server) as client:
            client.writer.write(b"hello\r")
            first = await asyncio.wait_for(client.reader.read(1000), TIMEOUT_S)
            software, organization, end = first.decode().split("\r\n")
            assert software.startswith("SeedLink v4.0 (xiaod replay ")
            assert software.split(" :: ")[1].split()[:2] == ["SLPROTO:4.0", "SLPROTO:3.1"]
            assert (organization, end) == ("here, with a name", "")

    play(body, whole(organization="here,\r\nwith a name"))


@pytest.mark.parametrize("ending", [b"\r", b"\n", b"\r\n"])
def test_lines_may_end_and_blanks_may_run_as_they_like(ending: bytes) -> None:
    async def body(server: ReplayServer) -> list[Packet]:
        async with Client(server) as client:
            for command in (b"STATION  RJOB   BW", b"select \t EHZ.D", b"DATA  0x000001"):
                client.writer.write(command + ending)
                assert await client.exactly(4) == b"OK\r\n"
            client.writer.write(b"END" + ending)
            return await client.packets(10)

    packets = play(body, whole())
    assert {packet.stream for packet in packets} == {"FDSN:BW_RJOB__E_H_Z"}


def test_bad_commands_get_error_and_change_nothing() -> None:
    async def body(server: ReplayServer) -> None:
        async with Client(server) as client:
            for command in (
                "FROBNICATE",
                "STATION",
                "STATION A B C",
                "STATION R[J]OB BW",
                "SLPROTO 5.0",
                "STATION \xe9\xe9 BW",
            ):
                assert await client.ask(command) == "ERROR", command
            await client.request("STATION RJOB BW", "SELECT EHZ")
            for command in (
                "SELECT BHZBHZBHZBHZBHZBHZ",
                "SELECT [A]",
                "DATA XYZ",
                "DATA 1 2 3",
                "TIME",
                "TIME yesterday",
            ):
                assert await client.ask(command) == "ERROR", command
            await client.request("DATA")
            client.tell("END")
            assert {packet.stream for packet in await client.packets(10)} == {"FDSN:BW_RJOB__E_H_Z"}

    play(body, whole())


def test_reasons_after_capabilities_extreply() -> None:
    async def body(server: ReplayServer) -> str:
        async with Client(server) as client:
            await client.request("CAPABILITIES EXTREPLY")
            return await client.ask("DATA XYZ")

    assert play(body, whole()) == "ERROR\rARGUMENTS 'XYZ' is no hexadecimal sequence number"


def test_batch_needs_no_hello_and_gets_no_replies() -> None:
    async def body(server: ReplayServer) -> list[Packet]:
        async with Client(server) as client:
            await client.request("BATCH")
            client.tell("STATION RJOB BW", "NONSENSE", "SELECT EHE", "DATA", "END")
            return await client.packets(10)

    assert {packet.stream for packet in play(body, whole())} == {"FDSN:BW_RJOB__E_H_E"}


def test_uni_station_mode_starts_without_a_reply() -> None:
    async def body(server: ReplayServer) -> list[Packet]:
        async with Client(server) as client:
            await client.request("SELECT EHN")
            client.tell("DATA")
            return await client.packets(10)

    assert {packet.stream for packet in play(body, whole())} == {"FDSN:BW_RJOB__E_H_N"}


@pytest.mark.parametrize(
    ("station", "selectors", "channels"),
    [
        ("RJOB BW", (), "ENZ"),
        ("RJOB", ("EHZ",), "Z"),
        ("R?OB B*", ("EH?", "!EHZ"), "EN"),
        ("* *", ("--EHZ",), "Z"),
        ("*", ("!??EHE.D",), "NZ"),
        ("RJOB BW", ("*Z",), "Z"),
        ("RJOB BW", ("!E??", "D"), ""),
        ("RJOB BW", ("00EHZ",), ""),
        ("RJOB BW", ("L",), ""),
        ("RJOB XX", ("EH?",), ""),
    ],
)
def test_wildcards_and_negation(station: str, selectors: tuple[str, ...], channels: str) -> None:
    async def body(server: ReplayServer) -> bytes:
        async with Client(server) as client:
            await client.request(f"STATION {station}", *(f"SELECT {item}" for item in selectors))
            await client.request("FETCH")
            client.tell("END")
            return await client.rest()

    received = play(body, whole())
    assert received[-3:] == b"END"
    packets = [received[i + 8 : i + 520] for i in range(0, len(received) - 3, 520)]
    assert sorted({MS3Record.parse(raw).sourceid[-1] for raw in packets}) == sorted(channels)


def test_info_answers_before_and_during_the_transfer() -> None:
    async def body(server: ReplayServer) -> None:
        async with Client(server) as client:
            root, channel = await client.info("ID")
            assert (root.tag, root.attrib["organization"], channel) == ("seedlink", "xiaod replay", "INF")
            root, _ = await client.info("CAPABILITIES")
            assert {"multistation", "info:streams"} <= {item.attrib["name"] for item in root}
            root, _ = await client.info("STATIONS")
            assert [(item.attrib["network"], item.attrib["name"]) for item in root] == [
                ("BW", f"RJ{number:03d}") for number in range(9)
            ]
            root, _ = await client.info("STREAMS")  # several records long
            streams = [
                (item.attrib["location"], item.attrib["seedname"], item.attrib["type"]) for item in root[0]
            ]
            assert streams == [("", "EHE", "D"), ("", "EHN", "D"), ("", "EHZ", "D")]
            for level in ("GAPS", "ALL", "NONSENSE", ""):
                _, channel = await client.info(level)
                assert channel == "ERR"
            client.tell("DATA")
            await client.packets(1)
            client.tell("INFO ID")
            heads = [(await client.exactly(520))[:6] for _ in range(9 * PACKETS)]
            assert heads.count(b"SLINFO") == 1
            root, _ = await client.info("CONNECTIONS")
            assert root[0][0].attrib["txcount"] == str(9 * PACKETS)

    play(body, whole(copies=9))


def test_info_streams_tells_what_can_be_had() -> None:
    async def body(server: ReplayServer) -> tuple[str, str]:
        async with Client(server) as client:
            client.tell("DATA")
            await client.packets(PACKETS)
            root, _ = await client.info("STREAMS")
            return root[0][2].attrib["begin_time"], root[0][2].attrib["end_time"]

    assert play(body, whole()) == ("2009/08/24 00:20:03.0000", "2009/08/24 00:20:32.9900")
    assert play(body, whole(speed=1e6)) == ("2009/08/24 00:20:03.0000", "2009/08/24 00:20:32.9900")


@pytest.mark.parametrize("faults", [Faults(), Faults(drop_every=7)])
@pytest.mark.parametrize("speed", ["max", 1000.0])
def test_a_time_far_ahead_does_not_stop_the_server(speed: float | str, faults: Faults) -> None:
    async def body(server: ReplayServer) -> None:
        async with Client(server) as dreamer, Client(server) as other:
            dreamer.tell("TIME 9999,12,31,23,59,59")
            other.tell("DATA")
            await other.packets(2 * PACKETS)

    play(body, whole(speed=speed, loop=True, faults=faults))


def test_cat_and_bye() -> None:
    async def body(server: ReplayServer) -> bytes:
        async with Client(server) as client:
            client.tell("CAT", "BYE")
            return await client.rest()

    assert play(body, whole()) == b"BW RJOB  replayed\r\nEND"


@pytest.mark.parametrize(
    "rubbish", [b"\x00" * 5000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 20, b"A" * 300]
)
def test_rubbish_hurts_only_its_sender(rubbish: bytes) -> None:
    async def body(server: ReplayServer) -> list[Packet]:
        async with Client(server) as bad, Client(server) as good:
            good.tell("SELECT EHZ")
            bad.writer.write(rubbish)
            bad.writer.write(b"\r\nBYE\r\n")
            assert b"ERROR" in await bad.rest()
            assert await good.exactly(4) == b"OK\r\n"
            good.tell("DATA")
            return await good.packets(10)

    assert len(play(body, whole())) == 10


def test_too_many_clients_are_turned_away() -> None:
    async def body(server: ReplayServer) -> None:
        async with Client(server) as first:
            await first.ask("CAPABILITIES")
            async with Client(server) as second:
                second.tell("HELLO")
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await second.exactly(1)
            await first.request("BATCH")

    play(body, whole(max_clients=1))
