"""Sources that speak SeedLink 4 against servers that behave, and servers that do not, over real sockets."""

import json
import socket
import struct
import time
from pathlib import Path

import pytest

from tests.end_to_end.harness import Server, ServerProcess, wait_until, write_event
from tests.scripted import Scripted
from tests.unit.acquisition.test_seedlink_source import Run, contents, source
from xiaod.acquisition.seedlink.connection4 import stream_pattern
from xiaod.acquisition.seedlink.framing import EndOfDataError, ErrorReplyError, LinkError
from xiaod.acquisition.seedlink.framing4 import MAX_SEQUENCE, Framing4
from xiaod.acquisition.seedlink.info import discover
from xiaod.acquisition.seedlink.links import connector
from xiaod.acquisition.seedlink.listing import ListingError
from xiaod.acquisition.seedlink.listing4 import Listing4
from xiaod.acquisition.seedlink.source import SeedLinkSource
from xiaod.config import SeedLinkConfig
from xiaod.domain.types import BadRecord
from xiaod.process import plugins
from xiaod.process.plugins import MissingExtraError
from xiaod.replay import Faults, ReplayConfig
from xiaod.replay.packet4 import packet
from xiaod.replay.records import load

HELLO = b"SeedLink v4.0 (SomeServer/1) :: SLPROTO:4.0\r\ntest\r\n"
START_NS = 1_251_073_203 * 10**9


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    path = tmp_path_factory.mktemp("data") / "event.mseed"
    return path, write_event(path)


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    """Packets of the example."""
    return [
        packet("2D", number, "BW_RJOB", one.raw) for number, one in enumerate(load(["example"]).records, 1)
    ]


def listing_4(*stations: str) -> bytes:
    """The answer to INFO of a server with a channel of each station."""
    listed = [
        {"id": f"BW_{name}", "stream": [{"id": "_E_H_Z", "format": "2", "subformat": "D"}]}
        for name in stations
    ]
    return packet("JI", 0, "", json.dumps({"software": "x", "organization": "y", "station": listed}).encode())


@pytest.mark.parametrize("protocol", [4, "auto"])
@pytest.mark.parametrize(("version", "record_bytes"), [(2, 512), (2, 256), (2, 4096), (3, 512), (3, 2048)])
def test_everything_a_server_has_arrives_once(
    event: tuple[Path, int], protocol: object, version: int, record_bytes: int
) -> None:
    config = ReplayConfig(
        inputs=(event[0],), port=0, speed="max", miniseed_version=version, record_bytes=record_bytes
    )
    count = len(load([event[0]], record_bytes).records)
    with Server(config) as server, Run(source(server.port, protocol=protocol)) as run:
        wait_until(lambda: len(run.segments) >= count, "all records")
        [streaming] = run.changes("streaming")
        assert [str(channel) for channel in streaming.channels] == [
            "BW.RJOB..EHE",
            "BW.RJOB..EHN",
            "BW.RJOB..EHZ",
        ]
        assert len(set(contents(run.segments))) == len(run.segments) == count
    assert not [item for item in run.items if isinstance(item, BadRecord)]


@pytest.mark.parametrize("deny_info", [False, True])
@pytest.mark.parametrize(
    ("streams", "expected"),
    [(["*.*.*.*"], 3), (["B?.R*.--.EH[ZN]"], 2), (["BW.RJOB.*.??Z"], 1), (["XX.NONE..EHZ", "BW.*.*.EHZ"], 1)],
)
def test_wildcards_select(
    event: tuple[Path, int], streams: list[str], expected: int, deny_info: bool
) -> None:
    path, count = event
    config = ReplayConfig(inputs=(path,), port=0, speed="max", faults=Faults(deny_info=deny_info))
    with Server(config) as server, Run(source(server.port, streams=streams, protocol=4)) as run:
        wait_until(lambda: len(run.segments) >= count * expected // 3 - 3, "records")
        wait_until(lambda: len({segment.channel for segment in run.segments}) >= expected, "channels")
        assert len({segment.channel for segment in run.segments}) == expected
        assert ("streams not listed" in run.changes("streaming")[0].detail) is deny_info


@pytest.mark.parametrize("at_newest", [False, True])
@pytest.mark.parametrize("first", [1, 0xFFFFF0])
def test_cuts_in_the_middle_of_a_record_lose_nothing(
    event: tuple[Path, int], at_newest: bool, first: int
) -> None:
    path, count = event
    faults = Faults(cut_after_packets=9, cut_connections=5, resume_at_newest=at_newest)
    config = ReplayConfig(inputs=(path,), port=0, speed=40.0, faults=faults, first_sequence=first, copies=2)
    streams = ["BW.*.*.EH?"]
    with Server(config) as server, Run(source(server.port, protocol=4, streams=streams)) as run:
        wait_until(lambda: len(set(contents(run.segments))) >= 2 * count, "all records")
        assert len(run.changes("disconnected")) == 5
        assert max(segment.sequence or 0 for segment in run.segments) == first + 2 * count - 1


def test_numbers_that_are_given_anew_lose_nothing(event: tuple[Path, int]) -> None:
    path, count = event
    with (
        Server(ReplayConfig(inputs=(path,), port=0, speed=10.0, first_sequence=1000)) as server,
        Run(source(server.port, protocol=4)) as run,
    ):
        wait_until(lambda: len(run.segments) >= count // 4, "some records")
        # As after a crash of a ringserver: numbers that were used come again, for other packets.
        server.set_faults(Faults(reset_sequence_to=995, refuse_connections=True))
        wait_until(lambda: server.played, "the end")
        server.set_faults(Faults())
        wait_until(lambda: len(set(contents(run.segments))) >= count, "all records")


@pytest.mark.parametrize(("before", "after"), [(4, 4), (3, 4), (4, 3)])
def test_a_later_run_goes_on_after_an_earlier_one(event: tuple[Path, int], before: int, after: int) -> None:
    """The server is killed and started again meanwhile; the numbers of its packets begin anew, and mean others."""
    path, count = event
    arguments = (path, "--speed", "8", "--shift-to-now")
    with ServerProcess(*arguments) as server:
        port = server.port
        first = source(port, protocol=before)
        with Run(first) as run:
            wait_until(lambda: len(run.segments) >= count // 3, "some records")
        needed = {("BW", "RJOB"): min(segment.next_ns for segment in run.segments[-3:])}
        positions = first.resumable(needed)
        server.process.kill()
    assert positions[("BW", "RJOB")][0] >= 0
    with Server(ReplayConfig(inputs=(path,), port=0, speed="max", first_sequence=1)) as again:
        keys = {"server": f"127.0.0.1:{again.port}", "streams": ["BW.RJOB..EH?"], "protocol": after}
        shifted = {("BW", "RJOB"): (positions[("BW", "RJOB")][0], START_NS)}
        with Run(SeedLinkSource(SeedLinkConfig.model_validate(keys), resume=shifted)) as resumed:
            wait_until(lambda: len(resumed.segments) >= count, "all from the time on")


def test_bytes_that_are_lost_on_the_way_come_again(event: tuple[Path, int]) -> None:
    path, count = event
    faults = Faults(lose_every=7, lose_from=200, lose_bytes=60, lose_times=3)
    config = ReplayConfig(inputs=(path,), port=0, speed=40.0, faults=faults)
    with Server(config) as server, Run(source(server.port, protocol=4)) as run:
        wait_until(lambda: len(set(contents(run.segments))) >= count, "all records")
        assert run.changes("disconnected")


def test_a_refused_station_is_named_and_others_go_on(event: tuple[Path, int]) -> None:
    config = ReplayConfig(
        inputs=(event[0],), port=0, speed="max", copies=2, faults=Faults(refuse_stations=("BW_RJ001",))
    )
    streams = ["BW.RJ000..EHZ", "BW.RJ001..EHZ"]
    with Server(config) as server, Run(source(server.port, protocol=4, streams=streams)) as run:
        wait_until(lambda: run.segments, "records")
        assert "refused: BW.RJ001" in run.changes("streaming")[0].detail
        server.set_faults(Faults(refuse_stations=("BW_RJ*",)))
    with Server(config) as server:
        server.set_faults(Faults(refuse_stations=("BW_*",)))
        with Run(source(server.port, protocol=4, streams=streams)) as run:
            detail = run.wait_for("connect_failed")[0].detail
            assert "no stations accepted (ERROR UNAUTHORIZED not for you)" in detail


def test_a_server_of_version_3_alone(packets: list[bytes], event: tuple[Path, int]) -> None:
    frames = [b"SL%06X" % number + one.raw for number, one in enumerate(load(["example"]).records, 1)]
    with Scripted(lambda sock: sock.sendall(b"".join(frames))) as server:
        with Run(source(server.port, protocol="auto")) as run:
            wait_until(lambda: len(run.segments) >= len(frames), "records")
        with Run(source(server.port, protocol=4)) as run:
            detail = run.wait_for("connect_failed")[0].detail
        assert "does not speak SeedLink 4: write 'protocol: 3' or 'protocol: auto'" in detail
    assert not [line for line in server.commands if line.startswith(b"SLPROTO")]


def test_a_server_that_refuses_the_version_says_why() -> None:
    answers = {b"HELLO": HELLO, b"SLPROTO": b"ERROR UNSUPPORTED closed today\r\n"}
    with Scripted(lambda sock: None, answers) as server, Run(source(server.port, protocol=4)) as run:
        assert "ERROR UNSUPPORTED closed today" in run.wait_for("connect_failed")[0].detail


@pytest.mark.parametrize(
    ("hello", "asked"),
    [
        # A time after the number would be the begin of a window.
        (HELLO, b"DATA 4294967302"),
        (
            b"SeedLink v4.0 (RingServer/4.5.3) :: SLPROTO:4.0 SLPROTO:3.1\r\nx\r\n",
            b"DATA 4294967302 2009-08-24T00:20:03Z",
        ),
    ],
)
def test_what_a_resumed_station_is_asked_with(hello: bytes, asked: bytes, packets: list[bytes]) -> None:
    answers = {b"HELLO": hello, b"INFO": listing_4("RJOB")}
    with Scripted(lambda sock: sock.sendall(packets[0]), answers) as server:
        keys = {"server": f"127.0.0.1:{server.port}", "streams": ["BW.RJOB.00.EH?"], "protocol": 4}
        made = SeedLinkSource(
            SeedLinkConfig.model_validate(keys), resume={("BW", "RJOB"): (4294967301, START_NS)}
        )
        with Run(made) as run:
            run.wait_for("streaming")
    sent = server.commands[server.commands.index(b"STATION BW_RJOB") :]
    assert sent[:4] == [b"STATION BW_RJOB", b"SELECT 00_E_H_?.?D", asked, b"END"]


@pytest.mark.parametrize(
    ("refused", "asked", "lost"),
    [
        ([b"DATA 6"], [b"DATA ALL 2009-08-24T00:20:03Z"], False),
        ([b"DATA 6", b"DATA ALL 2009-08-24T00:20:03Z"], [b"DATA -1 2009-08-24T00:20:03Z"], False),
        ([b"DATA 6", b"DATA ALL 2009-08-24T00:20:03Z", b"DATA -1 2009-08-24T00:20:03Z"], [b"DATA"], True),
    ],
)
def test_a_position_is_given_up_only_when_no_form_of_it_is_taken(
    packets: list[bytes], refused: list[bytes], asked: list[bytes], lost: bool
) -> None:
    answers = {b"HELLO": HELLO, b"INFO": listing_4("RJOB")} | dict.fromkeys(
        refused, b"ERROR ARGUMENTS no\r\n"
    )
    with Scripted(lambda sock: sock.sendall(packets[0]), answers) as server:
        keys = {"server": f"127.0.0.1:{server.port}", "streams": ["BW.RJOB..EH?"], "protocol": 4}
        made = SeedLinkSource(SeedLinkConfig.model_validate(keys), resume={("BW", "RJOB"): (5, START_NS)})
        with Run(made) as run:
            [streaming] = run.wait_for("streaming")
    assert ("not resumed, live from now: BW.RJOB" in streaming.detail) is lost
    assert [line for line in server.commands if line.startswith(b"DATA")] == [*refused, *asked]


def test_named_stations_are_asked_for_before_wildcards(packets: list[bytes]) -> None:
    answers = {b"HELLO": HELLO, b"INFO": packet("JE", 0, "", b'{"error": {"code": "X", "message": "no"}}')}
    with Scripted(lambda sock: sock.sendall(packets[0]), answers) as server:
        streams = ["BW.*.*.EHZ", "BW.RJOB..EH?"]
        with Run(source(server.port, protocol=4, streams=streams)) as run:
            run.wait_for("streaming")
    stations = [line for line in server.commands if line.startswith(b"STATION")]
    assert stations == [b"STATION BW_RJOB", b"STATION BW_*"]


def test_what_a_ringserver_holds_of_new_stations_is_fetched_first(packets: list[bytes]) -> None:
    records = load(["example"]).records
    other = [
        packet("2D", number, "BW_ROTZ", one.raw.replace(b"RJOB ", b"ROTZ ", 1))
        for number, one in enumerate(records, 1)
    ]
    hello = b"SeedLink v4.0 (RingServer/4) :: SLPROTO:4.0\r\ntest\r\n"
    with (
        Scripted(
            lambda sock: sock.sendall(packets[4]), {b"HELLO": hello, b"INFO": listing_4("RJOB")}
        ) as server,
        Run(source(server.port, streams=["BW.*.*.EH?"], discover_s=0.2, protocol=4)) as run,
    ):
        wait_until(lambda: run.segments, "a packet")
        server.held = b"".join([*other[:4], other[6]])
        server.answers[b"INFO"] = listing_4("RJOB", "ROTZ")
        run.wait_for("streaming", 2)
        found = [one for one in run.segments if one.channel.station == "ROTZ"]
    assert [segment.sequence for segment in found] == [1, 2, 3, 4]


def test_quiet_links_carry_keep_alives(packets: list[bytes]) -> None:
    answers = {b"HELLO": HELLO, b"INFO": listing_4("RJOB")}
    with (
        Scripted(lambda sock: sock.sendall(packets[0]), answers) as server,
        Run(source(server.port, keepalive_s=0.3, network_timeout_s=30.0, protocol=4)) as run,
    ):
        wait_until(lambda: server.commands.count(b"INFO ID") >= 2, "keep-alives", 20)
        assert not run.changes("disconnected")


def test_replies_may_come_in_pieces(packets: list[bytes]) -> None:
    answers = {b"HELLO": HELLO, b"INFO": listing_4("RJOB")}
    with (
        Scripted(lambda sock: sock.sendall(b"".join(packets)), answers, piecewise=True) as server,
        Run(source(server.port, protocol=4)) as run,
    ):
        wait_until(lambda: len(run.segments) == len(packets), "records")


@pytest.mark.parametrize("silent", [b"HELLO", b"SLPROTO", b"STATION", b"SELECT", b"DATA"])
def test_a_stop_is_heard_whatever_the_server_does_not_say(silent: bytes) -> None:
    answers = {b"HELLO": HELLO, b"INFO": listing_4("RJOB"), silent: b""}
    with (
        Scripted(lambda sock: None, answers) as server,
        Run(source(server.port, connect_timeout_s=60.0, protocol=4)),
    ):
        wait_until(lambda: any(one.startswith(silent) for one in server.commands), silent.decode(), 20)


def test_the_daemon_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError("No module named 'seedlink_client'", name="seedlink_client.protocol")

    monkeypatch.setattr(plugins, "import_module", absent)
    with pytest.raises(
        MissingExtraError, match=r"protocol: 4 needs the package seedlink_client.*xiaod\[seedlink4\]"
    ):
        SeedLinkSource(SeedLinkConfig.model_validate({"server": "localhost", "protocol": 4}))
    assert SeedLinkSource(SeedLinkConfig(server="localhost"))


def test_the_list_of_a_server(event: tuple[Path, int]) -> None:
    with Server(ReplayConfig(inputs=(event[0],), port=0, speed="max", copies=3)) as server:
        config = SeedLinkConfig.model_validate({"server": f"127.0.0.1:{server.port}", "protocol": "auto"})
        found = discover(config.server, 10.0, connect=connector(config))
        old = discover(config.server, 10.0)
    assert found.software.startswith("SeedLink v4.0 (xiaod replay")
    assert [one.channel for one in found.streams] == [one.channel for one in old.streams]
    assert len(found.streams) == 9


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ("[" * 100_000, "no JSON"),
        ('{"error": {"code": "LIMIT", "message": "too much"}}', "too much"),
    ],
)
def test_answers_that_are_no_list(text: str, complaint: str) -> None:
    listing = Listing4()
    listing.feed(text.encode())
    with pytest.raises(ListingError, match=complaint):
        listing.close()


def test_odd_entries_of_a_list_cost_themselves() -> None:
    stations = [
        {"id": "BW_RJOB", "stream": [{"id": "_E_H_Z"}, {"id": "odd"}, 7, {"id": "_E_H_N", "subformat": "L"}]},
        {"id": "BW_BARE"}, {"id": "BW_EMPTY", "stream": []}, {"id": "nothing"}, {"id": "_X"}, {}, 5, {"id": ["a"]},
        {"id": "BW_RJOB", "stream": [{"id": "_E_H_Z", "format": "3"}]},
    ]  # fmt: skip
    listing = Listing4()
    text = json.dumps({"station": stations}).encode()
    for begin in range(0, len(text), 7):
        listing.feed(text[begin : begin + 7])
    info = listing.close()
    assert [str(one.channel) for one in info.streams] == ["BW.RJOB..EHZ"]
    assert info.stations == (("BW", "BARE"), ("BW", "EMPTY"))
    assert info.remarks == ("stations and streams of the list that cannot be read: 7",)


@pytest.mark.parametrize("piece", [1, 5, 17, 1000, 1 << 20])
def test_packets_are_cut_whatever_the_reads(packets: list[bytes], piece: int) -> None:
    stream = b"".join(
        [packets[0], packet("JI", 0, "", b"{}"), packet("3D", 1 << 40, "BW_RJOB", b"x" * 70_000), packets[1]]
    )
    received = bytearray()
    framing, found = Framing4(received), []
    for begin in range(0, len(stream), piece):
        received += stream[begin : begin + piece]
        found += list(framing.cut())
    assert not received
    assert [(one.is_info, one.sequence, len(one.record)) for one in found] == [
        (False, 1, 512), (True, 0, 2), (False, 1 << 40, 70_000), (False, 2, 512)
    ]  # fmt: skip
    received += b"ERROR LIMIT eno"
    assert list(framing.cut()) == []
    received += b"ugh\r\n"
    with pytest.raises(ErrorReplyError, match="LIMIT enough"):
        list(framing.cut())


@pytest.mark.parametrize(
    "stream",
    [
        b"SL000001" + bytes(512),
        b"\x00\x01\x02",
        b"SE2D" + struct.pack("<IQB", 1 << 30, 1, 7) + b"BW_RJOB",
        b"SE2D" + struct.pack("<IQB", 512, 1, 200) + b"BW_RJOB",
        b"SE\xff\xff" + struct.pack("<IQB", 2, 1, 0) + b"ab",
        b"SE2D" + struct.pack("<IQB", 2, MAX_SEQUENCE + 1, 0) + b"ab",
        b"SE2D" + struct.pack("<IQB", 2, 1, 0) + b"abc",
        b"ERROR " + b"x" * 1000,
    ],
)
def test_what_is_no_packet_ends_the_connection(stream: bytes) -> None:
    with pytest.raises(LinkError) as caught:
        list(Framing4(bytearray(stream)).cut())
    assert not isinstance(caught.value, EndOfDataError)


def test_selectors_become_patterns() -> None:
    assert [stream_pattern(one) for one in ("???.D", "10BH?.D", "0?HHZ.D")] == [
        "*_?_?_?.?D",
        "10_B_H_?.?D",
        "0?_H_H_Z.?D",
    ]


def test_garbage_after_the_subscription_is_not_the_end(packets: list[bytes]) -> None:
    def odd(sock: socket.socket) -> None:
        sock.sendall(packets[0] + b"\x00garbage")
        time.sleep(0.1)

    answers = {b"HELLO": HELLO, b"INFO": listing_4("RJOB")}
    with Scripted(odd, answers) as server, Run(source(server.port, protocol=4)) as run:
        assert "bytes were lost" in run.wait_for("disconnected", 2)[0].detail
