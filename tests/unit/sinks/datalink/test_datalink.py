"""The DataLink sink: every pick in the ring, whatever the server does meanwhile.

Against a small server of our own, and against ringserver where ``XIAOD_RINGSERVER`` names its program.
"""

import io
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import obspy
import pytest

from tests.certificates import certificate
from tests.contract.test_sinks import AGENCY, EVENT, NOW_NS, SETTLED, STAGES, pick
from tests.datalinkserver import DataLinkServer, Ringserver, Rules, Server, frame, status
from xiaod.config.loader import ConfigError, parse_config
from xiaod.config.sinks.datalink import DataLinkConfig
from xiaod.domain.document import pick_from_document
from xiaod.domain.event import event_from_document
from xiaod.domain.types import (
    Channel,
    Event,
    EventArrival,
    EventMagnitude,
    EventOrigin,
    EventPick,
    PickOrEvent,
)
from xiaod.sinks import Refused
from xiaod.sinks.datalink.connection import UNDER_WAY
from xiaod.sinks.datalink.sink import REMEMBERED, DataLinkSink

HUSH = "hush-hush"
Starter = Callable[..., Server]


def made(server: str, **keys: Any) -> DataLinkSink:
    content = {"kind": "datalink", "server": server, "timeout_s": 30.0, **keys}
    return DataLinkSink(DataLinkConfig.model_validate(content), AGENCY)


def sent(server: Server, *picks: PickOrEvent, **keys: Any) -> None:
    """Delivered by a sink of their own."""
    with closing(made(server.server, **keys)) as sink:
        sink.deliver(picks, NOW_NS)


@pytest.fixture(params=["small", "ringserver"])
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Starter]:
    """Starts a server with rules."""
    with ExitStack() as stack:

        def start(**rules: Any) -> Server:
            server = (
                DataLinkServer(Rules(**rules))
                if request.param == "small"
                else Ringserver(tmp_path / f"server{next(numbers)}", Rules(**rules))
            )
            return stack.enter_context(server)

        numbers = iter(range(100))
        yield start


@pytest.fixture
def small() -> Iterator[DataLinkServer]:
    with DataLinkServer() as running:
        yield running


def test_what_is_in_the_ring(started: Starter) -> None:
    server = started()
    assert server.packets() == []
    odd = Channel("B*", "A_\ud800 B/", "00", "X")
    with closing(made(server.server)) as sink:
        sink.deliver([], NOW_NS)
        sink.deliver([pick(1), pick(2, phase="S")], NOW_NS)
        sink.deliver([], NOW_NS)
        sink.deliver([pick(3, channel=odd)], NOW_NS)
    found = server.packets()
    assert [one.streamid for one in found] == [
        "FDSN:BW_RJOB__E_H_Z/JSON", "FDSN:BW_RJOB__E_H_Z/JSON", "FDSN:B-_A---B-_00_X__/JSON",
    ]  # fmt: skip
    assert pick_from_document(json.loads(found[0].data)) == pick(1)
    for number, one in enumerate(found, 1):
        assert one.datastart == one.dataend == pick(number).time_ns // 1000
    assert server.ids() == [pick(number).id for number in (1, 2, 3)]


def test_a_label_tells_phase_and_stage(started: Starter) -> None:
    server = started()
    sent(server, *STAGES, stream_id="{source_id}/{type}/{phase}-{stage}")
    found = [(one.streamid, json.loads(one.data)["id"]) for one in server.packets()]
    assert found == [(f"FDSN:BW_RJOB__E_H_Z/JSON/P-{one.stage}", one.id) for one in STAGES]


def test_events_and_quakeml(started: Starter) -> None:
    server = started()
    late = replace(EVENT.picks[0], id="late", time_ns=EVENT.time_ns + 3_000_000_000)
    event = replace(EVENT, picks=(*EVENT.picks, late))
    sent(server, event, of="all")
    sent(server, pick(1), event, of="all", format="quakeml", event_stream_id="events/{type}/{stage}")
    first, *others = server.packets()
    assert first.streamid == "xiaod_events/JSON"
    assert event_from_document(json.loads(first.data)) == event
    assert first.dataend - first.datastart == 3_000_000
    assert [one.streamid for one in others] == ["FDSN:BW_RJOB__E_H_Z/TEXT", "events/TEXT/early"]
    picked, told = (obspy.read_events(io.BytesIO(one.data))[0] for one in others)
    assert picked.picks[0].resource_id.id.endswith(pick(1).id)
    assert told.event_type_certainty == "suspected"


def test_who_may_not_write_is_told_what_helps(started: Starter) -> None:
    server = started(writing=False)
    with closing(made(server.server)) as sink:
        for _ in range(2):
            with pytest.raises(
                OSError, match=r"does not let this machine write: its ring\.conf needs WriteIP"
            ):
                sink.deliver([pick(1)], NOW_NS)
    assert server.packets() == []


def test_logging_in(started: Starter, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(HUSH + "\n")
    server = started(writing=False, user=("good", HUSH))
    sent(server, pick(1), username="good", password_file=str(tmp_path / "password"))
    for login in ({"username": "good", "password": f"not {HUSH}"}, {"token": f"no {HUSH}"}):
        with pytest.raises(OSError, match=r"Authentication failed.*check username and password") as told:
            sent(server, pick(2), **login)
        assert HUSH not in str(told.value)
    with pytest.raises(OSError, match="does not let this machine write"):
        sent(server, pick(2))
    assert server.ids() == [pick(1).id]
    another = started(writing=False, token=HUSH)
    sent(another, pick(1), token=HUSH)
    assert another.ids() == [pick(1).id]
    with pytest.raises(OSError, match="Error performing authentication"):
        sent(started(), pick(1), token=HUSH)


@pytest.mark.parametrize("token", ["hush" * 100, "hush'\"\\hush"], ids=["long", "quoted"])
def test_a_server_that_repeats_the_token_has_no_part_of_it_passed_on(token: str) -> None:
    with DataLinkServer(Rules(token=HUSH, repeats=True)) as server:
        with pytest.raises(OSError, match=r"Not known, \*\*\*'; check") as told:
            sent(server, pick(1), token=token)
        assert "hush" not in str(told.value)


def test_a_server_whose_packets_are_too_small_for_picks_gets_none_until_they_are_not(
    started: Starter,
) -> None:
    server = started(packet_size=512)
    with pytest.raises(OSError, match=r"512 bytes at most.*write 'MaxPacketSize 2048' or more"):
        sent(server, pick(1))
    with pytest.raises(OSError, match="write 'MaxPacketSize 8192' or more"):
        sent(started(packet_size=4096), pick(1), format="quakeml")
    with pytest.raises(OSError, match="and an event as json may have 32768: write 'MaxPacketSize 32768' or"):
        sent(started(packet_size=16384), pick(1), of="all")
    with pytest.raises(OSError, match="and an event as quakeml may have 131072: write"):
        sent(started(packet_size=65536), pick(1), of="events", format="quakeml")


def located(stations: int) -> Event:
    """An event with a place, and P and S of each station, in as many letters as they may take."""
    channel = Channel("KS", "STATI", "00", "HHZ")
    picks = tuple(
        EventPick(
            f"20231114.221320.{number:02d}-{phase}-KS.STA{number:02d}.00.HH-micro-10.10.10",
            replace(channel, station=f"STA{number:02d}"),
            phase,
            NOW_NS + number,
            0.123456,
            "final",
            EventArrival(123.45, 123.4, -1.234),
            1.234567 if phase == "S" else None,
            1.23 if phase == "S" else None,
        )
        for number in range(stations)
        for phase in ("P", "S")
    )
    origin = EventOrigin(
        NOW_NS, 35.69899, 126.72712, 10.12, 0.123, 1.23, 1.23, 0.123, 123.4, 1.23, "configured"
    )
    return replace(
        SETTLED, picks=picks, distances=(), origin=origin, magnitude=EventMagnitude(4.8, 0.3, stations)
    )


@pytest.mark.parametrize(("form", "least"), [("json", 32768), ("quakeml", 131072)])
def test_the_least_packet_takes_an_event_of_forty_stations(started: Starter, form: str, least: int) -> None:
    server = started(packet_size=least)
    sent(server, located(40), of="events", format=form)
    [packet] = server.packets()
    assert least / 2 < len(packet.data) <= least


def large() -> Event:
    """An event of many stations."""
    picks = tuple(replace(EVENT.picks[0], id=f"{EVENT.picks[0].id}{number}") for number in range(200))
    return replace(EVENT, id="large", picks=picks)


def test_an_event_that_is_too_large_is_refused_and_the_others_arrive(started: Starter) -> None:
    server = started(packet_size=32768)
    with closing(made(server.server, of="all")) as sink:
        with pytest.raises(
            Refused, match=r"xiaod_events/JSON: \d+ bytes.*takes 32768 \(MaxPacketSize"
        ) as refused:
            sink.deliver([pick(1), large(), pick(2)], NOW_NS)
        assert refused.value.picks == {"large"}
        sink.deliver([pick(1)], NOW_NS)
        sink.deliver([pick(2)], NOW_NS)
    assert server.ids() == [pick(1).id, pick(2).id]


def test_a_stream_id_that_is_too_long_is_refused(started: Starter) -> None:
    server = started()
    with pytest.raises(Refused, match="takes 63 letters of a stream ID"):
        sent(server, pick(1, channel=Channel("N" * 8, "S" * 50, "", "EHZ")))


def test_a_stream_id_that_may_not_be_written_is_told(started: Starter) -> None:
    server = started(streams="^FDSN:BW_.*")
    other = pick(2, channel=Channel("AM", "R0E05", "00", "EHZ"))
    with closing(made(server.server)) as sink:
        sink.deliver([pick(1)], NOW_NS)
        with pytest.raises(
            OSError, match=r"permission denied.*FDSN:AM_R0E05_00_E_H_Z/JSON.*AllowedStreamsIP"
        ):
            sink.deliver([other, pick(3)], NOW_NS)
    assert server.ids() == [pick(1).id]


def test_tls(started: Starter, tmp_path: Path) -> None:
    pem, key = certificate(tmp_path)
    server = started(certificate=(pem, key))
    with closing(made(server.server, tls={"ca_file": str(pem)})) as sink:
        for number in range(1, 4):
            sink.deliver([], NOW_NS)
            sink.deliver([pick(number)], NOW_NS)
    assert server.ids() == [pick(number).id for number in (1, 2, 3)]
    if isinstance(server, DataLinkServer):
        # A connection, once: what TLS itself sends does not end it.
        assert sum(one.startswith("ID xiaod:") for one in server.commands) == 1
    with pytest.raises(OSError, match=r"certificate verify failed.*check server and tls"):
        sent(server, pick(4), tls={})
    with pytest.raises(OSError, match=re.escape(server.server)):
        sent(server, pick(4), timeout_s=2.0)


def test_a_server_that_was_killed_gets_again_what_it_has_forgotten(started: Starter) -> None:
    server = started()
    numbers = [*range(45)]
    with closing(made(server.server)) as sink:
        sink.deliver([pick(number) for number in numbers], NOW_NS)
        assert server.ids() == [pick(number).id for number in numbers]
        server.kill()
        with pytest.raises(OSError, match=r"Connection refused|closed|reset|lost"):
            sink.deliver([pick(50)], NOW_NS)
        server.start()
        # Without a new pick.
        sink.deliver([], NOW_NS)
        assert server.ids() == [pick(number).id for number in numbers]
        sink.deliver([pick(50)], NOW_NS)
        assert server.ids() == [pick(number).id for number in (*numbers, 50)]
        server.kill()
        server.start()
        with server.client() as other:
            # Others were faster, and their packets have the numbers of ours.
            for _ in range(60):
                other.write("FDSN:XX_OTHER__E_H_Z/MSEED", 0, 0, b"data", ack=True)
        sink.deliver([pick(51)], NOW_NS)
        ours = [json.loads(one.data)["id"] for one in server.packets() if "OTHER" not in one.streamid]
        assert ours == [pick(number).id for number in (*numbers, 50, 51)]


def test_a_server_that_is_killed_again_while_it_gets_them_again(small: DataLinkServer) -> None:
    numbers = [*range(45)]
    with closing(made(small.server)) as sink:
        sink.deliver([pick(number) for number in numbers], NOW_NS)
        small.kill()
        small.start()
        small.cut_after = 25
        with pytest.raises(OSError, match="closed"):
            sink.deliver([], NOW_NS)
        small.kill()
        small.start()
        sink.deliver([], NOW_NS)
        assert small.ids() == [pick(number).id for number in numbers]


def test_what_the_ring_has_pushed_out_is_not_sent_again(small: DataLinkServer) -> None:
    with closing(made(small.server)) as sink:
        sink.deliver([pick(number) for number in range(5)], NOW_NS)
        with small.client() as other:
            for _ in range(3):
                other.write("FDSN:XX_OTHER__E_H_Z/MSEED", 0, 0, b"data", ack=True)
        del small.ring[:-1]
        small.hang_up()
        sink.deliver([pick(6)], NOW_NS)
        assert [one.streamid[-5:] for one in small.packets()] == ["MSEED", "/JSON"]


def test_a_thousand_packets_are_remembered(small: DataLinkServer) -> None:
    with closing(made(small.server)) as sink:
        for begin in range(0, REMEMBERED + 50, 50):
            sink.deliver([pick(number) for number in range(begin, begin + 50)], NOW_NS)
        small.kill()
        small.start()
        sink.deliver([], NOW_NS)
        assert small.ids() == [pick(number).id for number in range(50, REMEMBERED + 50)]


def test_a_connection_that_breaks_costs_repetitions_and_no_pick(small: DataLinkServer) -> None:
    picks = [pick(number) for number in range(60)]
    with closing(made(small.server)) as sink:
        small.cut_after = 30
        with pytest.raises(OSError, match=r"closed the connection|connection lost"):
            sink.deliver(picks, NOW_NS)
        sink.deliver(picks, NOW_NS)
        ids = small.ids()
    assert set(ids) == {one.id for one in picks}
    assert list(dict.fromkeys(ids)) == [one.id for one in picks]
    assert len(ids) - len(picks) <= UNDER_WAY


def test_a_server_that_ends_an_idle_connection_is_no_failure(small: DataLinkServer) -> None:
    with closing(made(small.server)) as sink:
        sink.deliver([pick(1)], NOW_NS)
        small.hang_up()
        for number in (2, 3):
            sink.deliver([pick(number)], NOW_NS)
        assert small.ids() == [pick(number).id for number in (1, 2, 3)]


def test_a_server_that_does_not_acknowledge(small: DataLinkServer) -> None:
    small.mute = True
    with closing(made(small.server, timeout_s=0.2)) as sink:
        with pytest.raises(OSError, match=r"no acknowledgment within 0\.2 s"):
            sink.deliver([pick(1)], NOW_NS)
        small.mute = False
        sink.deliver([pick(1)], NOW_NS)
    assert set(small.ids()) == {pick(1).id}


def test_a_port_of_another_protocol(small: DataLinkServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        sink = made(f"127.0.0.1:{listening.getsockname()[1]}", timeout_s=0.2)
        with pytest.raises(OSError, match=r"no acknowledgment within 0\.2 s"):
            sink.deliver([pick(1)], NOW_NS)


REQUESTS = [
    frame("ID xiaod:test:0:python"),
    frame("POSITION SET LATEST"),
    frame("WRITE FDSN:BW_RJOB__E_H_Z/JSON 5 6 A 2") + b"{}",
    frame("WRITE FDSN:BW_RJOB__E_H_Z/JSON 7 7 A 3") + b"[1]",
    frame("POSITION SET EARLIEST"),
    frame("POSITION SET LATEST"),
    frame("READ 2"),
    frame("READ 77"),
    frame("AUTH JWT 3") + b"abc",
    frame("WRITE " + "x" * 64 + " 5 6 A 2") + b"{}",
]
"""One after the other, the last one ends the connection."""
SECOND = [frame("WRITE FDSN:BW_RJOB__E_H_Z/JSON 5 6 A 9000") + bytes(9000)]
THIRD = [frame("WRITE FDSN:BW_RJOB__E_H_Z/JSON 5 6 A 2") + b"{}"]


def test_what_the_servers_say_byte_for_byte(started: Starter) -> None:
    def heard(server: Server, requests: list[bytes]) -> bytes:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
            for request in requests[:-1]:
                sock.sendall(request)
            # Its refusal comes before the payload, which it leaves unread.
            sock.sendall(requests[-1][: requests[-1][2] + 3])
            said = b""
            while some := sock.recv(65536):
                said += some
        return said

    server = started(packet_size=8192)
    said = heard(server, REQUESTS)
    # The time at which the server took it.
    said = re.sub(rb"(PACKET \S+ 2) \d{16} ", rb"\1 1700000000000000 ", said)
    assert said == b"".join(
        [
            frame("ID DataLink v1.1 (RingServer/4.5.3) :: DLPROTO:1.1 PACKETSIZE:8192 WRITE"),
            status("OK", 0, "Positioned to LATEST packet"),
            frame("OK 1 0"),
            frame("OK 2 0"),
            status("OK", 1, "Positioned to packet ID 1"),
            status("OK", 2, "Positioned to packet ID 2"),
            frame("PACKET FDSN:BW_RJOB__E_H_Z/JSON 2 1700000000000000 7 7 3") + b"[1]",
            status("ERROR", 0, "Packet 77 not found in ring"),
            status("ERROR", 0, "Error performing authentication"),
            status("ERROR", 0, "Error, stream ID too long"),
        ]
    )
    most = 8192 + 120
    assert heard(server, SECOND) == status(
        "ERROR", 0, f"Packet size (9000) is too large for ring, maximum is {most} bytes"
    )
    assert heard(started(writing=False), THIRD) == status(
        "ERROR", 0, "Write permission not granted, no soup for you!"
    )
    assert heard(started(streams="^FDSN:XX"), THIRD) == status(
        "ERROR", 0, "Error, permission denied for WRITE of stream ID: FDSN:BW_RJOB__E_H_Z/JSON"
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (f"server: 'datalink://me:{HUSH}@there'", "must be HOST or HOST:PORT"),
        ("server: 'there:99999'", "must be HOST or HOST:PORT"),
        (f"username: me\n    password: {HUSH}\n    token_file: there", "token and username are both given"),
        ("stream_id: 'a b'", "must be at most 63 letters"),
        (f"stream_id: '{'a' * 64}'", "must be at most 63 letters"),
        ("stream_id: 'a.{net}'", "{net} is not known; allowed are {source_id}, {type}, {network}"),
        ("event_stream_id: '{station}'", "{station} is not known; allowed are {type}, {stage}, {shard}"),
        ("format: xml", "json"),
    ],
)  # fmt: skip
def test_complaints_about_the_file(keys: str, said: str) -> None:
    text = f"sources:\n  - server: there\nsinks:\n  - kind: datalink\n    {keys}\n"
    with pytest.raises(ConfigError) as told:
        parse_config(text, "f")
    assert said in str(told.value)
    assert HUSH not in str(told.value)
