"""SeedLink 4 on real sockets, byte by byte, in the clear and over TLS."""

import asyncio
import json
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymseed import MS3Record

from tests.certificates import certificate
from tests.unit.replay.test_wire import PACKETS, Client, play, whole
from xiaod.replay import Faults, ReplayConfig, ReplayError, ReplayServer


@dataclass(frozen=True)
class Packet4:
    """One packet of SeedLink 4 as received."""

    kind: str
    number: int
    station: str
    payload: bytes

    @property
    def key(self) -> tuple[str, int]:
        """What identifies a packet, whatever its number."""
        record = MS3Record.parse(self.payload)
        return str(record.sourceid), int(record.starttime)


class Client4(Client):
    """A raw client of SeedLink 4."""

    async def greet(self) -> None:
        self.tell("HELLO")
        assert (await self.reader.readuntil(b"\r\n")).startswith(b"SeedLink v4.0 (xiaod replay")
        await self.reader.readuntil(b"\r\n")
        await self.request("SLPROTO 4.0", "USERAGENT test/1")

    async def packet(self) -> Packet4:
        signature, kind, length, number, width = struct.unpack("<2s2sIQB", await self.exactly(17))
        assert signature == b"SE"
        station = (await self.exactly(width)).decode()
        return Packet4(kind.decode(), number, station, await self.exactly(length))

    async def several(self, count: int) -> list[Packet4]:
        return [await self.packet() for _ in range(count)]

    async def document(self, *words: str) -> tuple[str, dict[str, Any]]:
        self.tell(" ".join(("INFO", *words)))
        answer = await self.packet()
        return answer.kind, json.loads(answer.payload)


async def fetched(server: ReplayServer, *commands: str) -> list[Packet4]:
    """What a dial-up client gets with these commands, from the beginning to END."""
    async with Client4(server) as client:
        await client.greet()
        await client.request(*commands)
        client.tell("ENDFETCH")
        rest, packets = await client.rest(), []
        while rest[:2] == b"SE":
            _, kind, length, number, width = struct.unpack("<2s2sIQB", rest[:17])
            end = 17 + width + length
            packets.append(
                Packet4(kind.decode(), number, rest[17 : 17 + width].decode(), rest[17 + width : end])
            )
            rest = rest[end:]
        assert rest == b"END"
        return packets


def test_the_whole_event_comes_in_packets_of_version_4() -> None:
    async def body(server: ReplayServer) -> list[Packet4]:
        return await fetched(server, "STATION BW_RJOB", "DATA ALL")

    packets = play(body, whole())
    assert [packet.number for packet in packets] == list(range(1, PACKETS + 1))
    assert {(packet.kind, packet.station, len(packet.payload)) for packet in packets} == {
        ("2D", "BW_RJOB", 512)
    }


def test_miniseed_3_has_the_same_samples_in_records_of_other_lengths() -> None:
    async def body(server: ReplayServer) -> list[Packet4]:
        return await fetched(server, "STATION *", "SELECT *.3", "DATA ALL")

    def samples(packets: list[Packet4]) -> dict[tuple[str, int], Any]:
        return {
            one.key: MS3Record.parse(one.payload, unpack_data=True).np_datasamples.copy() for one in packets
        }

    third = play(body, whole(miniseed_version=3))
    assert {packet.kind for packet in third} == {"3D"}
    assert len({len(packet.payload) for packet in third}) > 1

    async def second(server: ReplayServer) -> list[Packet4]:
        assert await fetched(server, "STATION *", "SELECT *.3", "DATA ALL") == []
        return await fetched(server, "STATION *", "SELECT *.2", "DATA ALL")

    expected = samples(play(second, whole()))
    found = samples(third)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key], values)


@pytest.mark.parametrize(
    ("commands", "channels"),
    [
        (["STATION BW_RJOB", "SELECT _E_H_Z"], {"E_H_Z"}),
        (["STATION B?_*", "SELECT *_E_H_? !*Z"], {"E_H_E", "E_H_N"}),
        (["STATION BW_RJOB", "SELECT *_E_H_Z.2D:native", "SELECT *_E_H_N"], {"E_H_Z", "E_H_N"}),
        (["STATION BW_RJOB", "SELECT 00_*"], set()),
        # The first request that matches a station counts.
        (["STATION BW_RJOB", "SELECT *Z", "DATA ALL", "STATION *", "SELECT *N"], {"E_H_Z"}),
    ],
)
def test_patterns_choose_streams(commands: list[str], channels: set[str]) -> None:
    async def body(server: ReplayServer) -> list[Packet4]:
        return await fetched(server, *commands, "DATA ALL")

    assert {packet.key[0].removeprefix("FDSN:BW_RJOB__") for packet in play(body, whole())} == channels


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("STATION", "ARGUMENTS"),
        ("STATION BW RJOB", "ARGUMENTS"),
        ("STATION BW_[A]", "ARGUMENTS"),
        ("SELECT", "UNEXPECTED"),
        ("DATA 1", "UNEXPECTED"),
        ("DATA", "UNEXPECTED"),
        ("TIME 2009,08,24", "UNSUPPORTED"),
        ("SLPROTO 5.0", "UNSUPPORTED"),
        ("FROB", "UNSUPPORTED"),
    ],
)
def test_errors_have_a_code_and_a_reason(command: str, code: str) -> None:
    async def body(server: ReplayServer) -> str:
        async with Client4(server) as client:
            await client.greet()
            return await client.ask(command)

    word, found, reason = play(body, whole()).split(" ", 2)
    assert (word, found, bool(reason)) == ("ERROR", code, True)


@pytest.mark.parametrize(
    "command",
    ["SELECT", "SELECT *:3", "SELECT [A]", "DATA 0x10", "DATA 1 yesterday", "DATA 1 2 3 4", "DATA -1"],
)
def test_arguments_of_a_station_are_examined(command: str) -> None:
    async def body(server: ReplayServer) -> str:
        async with Client4(server) as client:
            await client.greet()
            await client.request("STATION BW_RJOB")
            return await client.ask(command)

    assert play(body, whole()).startswith("ERROR ARGUMENTS ")


def test_a_client_goes_on_after_its_last_packet() -> None:
    async def body(server: ReplayServer) -> list[list[Packet4]]:
        everything = await fetched(server, "STATION *", "DATA ALL")
        had = everything[9]
        stamp = f"2009-08-24T00:20:{had.key[1] // 10**9 % 60:02d}Z"
        return [
            everything[10:],
            await fetched(server, "STATION *", f"DATA {had.number + 1}"),
            await fetched(server, "STATION *", f"DATA {had.number + 1} {stamp}"),
            everything,
            # The time is that of another packet: the numbers were given anew.
            await fetched(server, "STATION *", f"DATA {had.number + 1} 2009-08-24T00:20:03Z"),
        ]

    expected, by_number, by_both, everything, by_time = play(body, whole(first_sequence=0xFFFFFA))
    assert by_number == by_both == expected
    assert by_time == everything
    # Numbers go on beyond the 24 bits of SeedLink 3.
    assert [packet.number for packet in everything] == list(range(0xFFFFFA, 0xFFFFFA + PACKETS))


def test_a_window_ends() -> None:
    async def body(server: ReplayServer) -> list[Packet4]:
        return await fetched(server, "STATION *", "DATA ALL 2009-08-24T00:20:10Z 2009-08-24T00:20:12.5Z")

    packets = play(body, whole())
    starts = [packet.key[1] for packet in packets]
    assert packets
    assert max(starts) <= 1_251_073_212_500_000_000


def test_info_is_one_json_document() -> None:
    async def body(server: ReplayServer) -> None:
        async with Client4(server) as client:
            await client.greet()
            kind, answer = await client.document("ID")
            assert (kind, answer["software"][:14], answer["organization"]) == (
                "JI",
                "SeedLink v4.0 ",
                "xiaod replay",
            )
            assert "SLPROTO:4.0" in (await client.document("CAPABILITIES"))[1]["capability"]
            assert set((await client.document("FORMATS"))[1]["format"]) == {"2", "3"}
            listed = (await client.document("STATIONS"))[1]["station"]
            assert [(one["id"], one["start_seq"], "stream" in one) for one in listed] == [
                ("BW_RJ000", 1, False), ("BW_RJ001", 1, False)
            ]  # fmt: skip
            (station,) = (await client.document("STREAMS", "BW_RJ001", "_E_H_?.2"))[1]["station"]
            assert [one["id"] for one in station["stream"]] == ["_E_H_E", "_E_H_N", "_E_H_Z"]
            assert station["stream"][0]["start_time"] == "2009-08-24T00:20:03.000000Z"
            assert (await client.document("CONNECTIONS"))[1]["connections"]["client_count"] == 1
            for words in (("GAPS",), ("STREAMS", "a", "b", "c"), ()):
                kind, answer = await client.document(*words)
                assert (kind, answer["error"]["code"]) == ("JE", "ARGUMENTS")

    play(body, whole(copies=2))


def test_info_is_answered_among_packets_and_may_be_denied() -> None:
    async def body(server: ReplayServer) -> None:
        async with Client4(server) as client:
            await client.greet()
            assert (await client.document("STREAMS"))[0] == "JE"
            await client.request("STATION *", "DATA ALL")
            client.tell("END", "INFO ID")
            kinds = [(await client.packet()).kind for _ in range(PACKETS + 1)]
            assert sorted(set(kinds)) == ["2D", "JI"]

    play(body, whole(faults=Faults(deny_info=True)))


def test_a_server_with_a_certificate_speaks_tls_only(tmp_path: Path) -> None:
    made, key = certificate(tmp_path)

    async def body(server: ReplayServer) -> None:
        context = ssl.create_default_context(cafile=made)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        writer.write(b"HELLO\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"SeedLink v4.0")
        writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=ssl.create_default_context())
        async with Client(server) as plain:
            plain.tell("HELLO")
            assert b"SeedLink" not in await plain.rest()

    play(body, whole(tls_certificate=made, tls_key=key))


def test_clients_over_tls_can_be_dropped_and_come_again(tmp_path: Path) -> None:
    made, key = certificate(tmp_path)

    async def body(server: ReplayServer) -> None:
        context = ssl.create_default_context(cafile=made)
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
            writer.write(b"SLPROTO 4.0\r\nSTATION *\r\nDATA ALL\r\nEND\r\n")
            assert await reader.readexactly(12) == b"OK\r\n" * 3
            assert await reader.readexactly(2) == b"SE"
            server.drop_clients()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)):
                await reader.readexactly(1 << 30)
            writer.close()

    play(body, whole(tls_certificate=made, tls_key=key, loop=True))


@pytest.mark.parametrize("changes", [{"tls_key": Path("key.pem")}, {"miniseed_version": 4}])
def test_settings_that_cannot_be_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ReplayError, match=next(iter(changes))):
        whole(**changes)


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "absent.pem"
    with pytest.raises(ReplayError, match=r"absent\.pem"):
        ReplayServer(ReplayConfig(inputs=("example",), tls_certificate=absent))
