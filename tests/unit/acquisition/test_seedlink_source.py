"""The SeedLink source against servers that behave, and servers that do not, over real sockets."""

import calendar
import contextlib
import os
import resource
import socket
import ssl
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import obspy
import pytest

from tests.end_to_end.harness import Server, wait_until, write_event
from tests.ports import free_port
from tests.property.test_miniseed import real_records
from tests.scripted import Scripted
from xiaod.acquisition.seedlink import greetings
from xiaod.acquisition.seedlink.info import DiscoveryError, discover
from xiaod.acquisition.seedlink.sequence import NOTHING
from xiaod.acquisition.seedlink.source import SeedLinkSource
from xiaod.config import SeedLinkConfig
from xiaod.domain.sharding import ALONE, Shard, shard_of
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import BadRecord, LinkChange, Segment, SourceItem
from xiaod.replay import Faults, ReplayConfig
from xiaod.replay.faults import Outage
from xiaod.replay.info import info_packets
from xiaod.replay.records import load

STOP_S = 5.0
"""A stop is promised within 2 s; the machine may be busy."""


class Run:
    """A source in a thread, and what it yields."""

    def __init__(self, source: SeedLinkSource) -> None:
        self.source = source
        self.items: list[SourceItem] = []
        self._thread = threading.Thread(target=source.run, args=(self.items.append,), daemon=True)

    def __enter__(self) -> "Run":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        begun = time.monotonic()
        self.source.stop()
        self._thread.join(4 * STOP_S)
        assert not self._thread.is_alive()
        assert time.monotonic() - begun < STOP_S

    @property
    def segments(self) -> list[Segment]:
        return [item for item in self.items if isinstance(item, Segment)]

    def changes(self, state: str) -> list[LinkChange]:
        return [item for item in self.items if isinstance(item, LinkChange) and item.state == state]

    def wait_for(self, state: str, count: int = 1) -> list[LinkChange]:
        wait_until(lambda: len(self.changes(state)) >= count, f"{count} x {state}", 20)
        return self.changes(state)


def source(port: int, shard: Shard = ALONE, **keys: object) -> SeedLinkSource:
    content = {
        "name": "test", "server": f"127.0.0.1:{port}", "streams": ["BW.RJOB..EH?"], "connect_timeout_s": 3.0,
        "reconnect_min_s": 0.05, "reconnect_max_s": 0.2, **keys,
    }  # fmt: skip
    return SeedLinkSource(SeedLinkConfig.model_validate(content), shard=shard)


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    path = tmp_path_factory.mktemp("data") / "event.mseed"
    return path, write_event(path)


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    """Packets of the example."""
    records = load(["example"]).records
    return [b"SL%06X" % number + record.raw for number, record in enumerate(records, 1)]


def contents(segments: list[Segment]) -> list[tuple[str, int]]:
    return sorted((str(segment.channel), segment.start_ns) for segment in segments)


def test_everything_a_server_has_arrives_once(event: tuple[Path, int]) -> None:
    path, count = event
    with Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server, Run(source(server.port)) as run:
        wait_until(lambda: len(run.segments) >= count, "all records")
        [streaming] = run.changes("streaming")
        assert [str(channel) for channel in streaming.channels] == [
            "BW.RJOB..EHE",
            "BW.RJOB..EHN",
            "BW.RJOB..EHZ",
        ]
        assert len(set(contents(run.segments))) == count
        assert all(segment.arrived_ns for segment in run.segments)
    assert run.changes("ended")


@pytest.mark.parametrize(
    ("streams", "expected"),
    [(["*.*.*.*"], 3), (["B?.R*.--.EH[ZN]"], 2), (["BW.RJOB.*.??Z"], 1), (["XX.NONE..EHZ", "BW.*.*.EHZ"], 1)],
)
def test_wildcards_select(event: tuple[Path, int], streams: list[str], expected: int) -> None:
    path, count = event
    with (
        Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server,
        Run(source(server.port, streams=streams)) as run,
    ):
        wait_until(lambda: len({segment.channel for segment in run.segments}) >= expected, "channels")
        wait_until(lambda: len(run.segments) >= count * expected // 3 - 3, "records")
        assert len({segment.channel for segment in run.segments}) == expected


def test_nothing_that_matches_is_refused_and_asked_again(event: tuple[Path, int]) -> None:
    with (
        Server(ReplayConfig(inputs=(event[0],), port=0)) as server,
        Run(source(server.port, streams=["XX.*.*.*"])) as run,
    ):
        assert "no stream that matches XX" in run.wait_for("connect_failed", 2)[0].detail


@pytest.mark.parametrize("at_newest", [False, True])
def test_cuts_in_the_middle_of_a_record_lose_nothing(event: tuple[Path, int], at_newest: bool) -> None:
    path, count = event
    faults = Faults(cut_after_packets=9, cut_connections=5, resume_at_newest=at_newest)
    with (
        Server(ReplayConfig(inputs=(path,), port=0, speed=40.0, faults=faults)) as server,
        Run(source(server.port)) as run,
    ):
        wait_until(lambda: len(set(contents(run.segments))) >= count, "all records")
        assert len(run.changes("disconnected")) == 5


def test_numbers_that_wrap_and_start_again(event: tuple[Path, int]) -> None:
    path, count = event
    faults = Faults(cut_after_packets=9, cut_connections=3)
    config = ReplayConfig(inputs=(path,), port=0, speed=40.0, first_sequence=0xFFFFF0, faults=faults)
    with Server(config) as server, Run(source(server.port)) as run:
        wait_until(lambda: len(set(contents(run.segments))) >= count, "all records")
        assert max(segment.sequence or 0 for segment in run.segments) <= 0xFFFFFF


def test_a_server_that_closes_is_noticed_at_once(frames: list[bytes]) -> None:
    def close(sock: socket.socket) -> None:
        sock.sendall(frames[0])
        sock.close()

    with Scripted(close) as server, Run(source(server.port, network_timeout_s=600.0, keepalive_s=0.0)) as run:
        changes = run.wait_for("disconnected", 3)
        assert changes[0].detail == "the server closed the connection"
        assert len(run.segments) >= 3
        # Behind the packet that came, by number and time.
        assert any(command == b"DATA 000002 2009,08,24,00,20,03" for command in server.commands)


def test_refusals_do_not_end_it_and_delays_grow() -> None:
    port = free_port()
    with Run(source(port, reconnect_max_s=1.0)) as run:
        changes = run.wait_for("connect_failed", 5)
        assert all("refused" in change.detail for change in changes)
        delays = [change.retry_s or 0 for change in changes]
        assert all(0 < delay <= 1.0 for delay in delays)
        assert max(delays[3:]) > delays[0] or max(delays) > 0.1


def test_silence_is_given_up_after_the_time_limit() -> None:
    with (
        Scripted(lambda sock: None) as server,
        Run(source(server.port, network_timeout_s=1.0, keepalive_s=0.0)) as run,
    ):
        assert "nothing received" in run.wait_for("disconnected")[0].detail


def test_a_stage_that_makes_the_source_wait_is_not_taken_for_a_silent_server(event: tuple[Path, int]) -> None:
    items: list[SourceItem] = []
    go_on = threading.Event()

    def emit(item: SourceItem) -> None:
        items.append(item)
        if isinstance(item, Segment):
            go_on.wait()

    with Server(ReplayConfig(inputs=(event[0],), port=0, speed="max")) as server:
        made = source(server.port, network_timeout_s=2.0, keepalive_s=0.3)
        reading = threading.Thread(target=made.run, args=(emit,), daemon=True)
        reading.start()
        wait_until(lambda: any(isinstance(item, Segment) for item in items), "the first record")
        go_on.wait(3.0)
        go_on.set()
        wait_until(lambda: sum(isinstance(item, Segment) for item in items) >= event[1], "all records")
        made.stop()
        reading.join()
    assert not [item for item in items if isinstance(item, LinkChange) and item.state == "disconnected"]


def test_quiet_links_carry_keep_alives(frames: list[bytes]) -> None:
    with Scripted(lambda sock: sock.sendall(frames[0])) as server, Run(source(server.port, keepalive_s=0.3)):
        wait_until(lambda: server.commands.count(b"INFO ID") >= 2, "keep-alives", 20)


@pytest.mark.parametrize("silent", [b"HELLO", b"STATION", b"SELECT", b"DATA"])
def test_a_stop_is_heard_whatever_the_server_does_not_say(silent: bytes) -> None:
    with (
        Scripted(lambda sock: None, {silent: b""}) as server,
        Run(source(server.port, connect_timeout_s=60.0)),
    ):
        wait_until(
            lambda: any(command.startswith(silent) for command in server.commands), silent.decode(), 20
        )


def test_a_stop_is_heard_in_a_long_pause() -> None:
    port = free_port()
    with Run(source(port, reconnect_min_s=500.0, reconnect_max_s=600.0)) as run:
        run.wait_for("connect_failed")


def test_a_station_that_is_not_accepted_is_named_and_others_go_on(event: tuple[Path, int]) -> None:
    with (
        Server(ReplayConfig(inputs=(event[0],), port=0, speed="max")) as server,
        Run(source(server.port, streams=["BW.RJOB..EHZ", "XX.NOPE..EHZ"])) as run,
    ):
        wait_until(lambda: run.segments, "records")
    with (
        Scripted(lambda sock: None, {b"STATION": b"ERROR\r\n"}) as scripted,
        Run(source(scripted.port)) as run,
    ):
        assert "no stations accepted" in run.wait_for("connect_failed", 2)[0].detail


class LateOnce(dict[bytes, bytes]):
    """Answers of a server whose reply to the first SELECT comes when nobody waits for it any more."""

    def __init__(self) -> None:
        super().__init__()
        self._late = b""
        self._done = False

    def get(self, word: bytes, default: bytes) -> bytes:  # type: ignore[override]
        if word == b"SELECT" and not self._done:
            self._done, self._late = True, default
            return b""
        late, self._late = self._late, b""
        return late + super().get(word, default)


def test_a_reply_that_comes_too_late_costs_no_station(frames: list[bytes]) -> None:
    with Scripted(lambda sock: sock.sendall(frames[0])) as server:
        late = LateOnce()
        late.update(server.answers)
        server.answers = late
        streams = ["BW.RJOB..EHZ", "BW.ROTZ..EHZ"]
        with Run(source(server.port, streams=streams, connect_timeout_s=0.5)) as run:
            [streaming] = run.wait_for("streaming")
            assert "refused" not in streaming.detail
            assert "no answer to 'SELECT EHZ.D'" in run.changes("connect_failed")[0].detail


def test_a_server_that_has_just_started_is_asked_for_more_than_it_lists(frames: list[bytes]) -> None:
    with Scripted(lambda sock: sock.sendall(frames[0]), {b"INFO": listing("RJOB")}) as server:
        config = SeedLinkConfig(server=f"127.0.0.1:{server.port}", streams=("BW.*.*.EH?",))
        made = SeedLinkSource(
            config, resume={("BW", "ROTZ"): (5, 1_251_073_203 * 10**9), ("XX", "A"): (6, 7)}
        )
        with Run(made) as run:
            wait_until(lambda: run.segments, "a packet", 20)
    asked = server.commands[server.commands.index(b"STATION  RJOB BW") :]
    assert [line for line in asked if line.split()[0] in (b"STATION", b"SELECT", b"DATA")] == [
        b"STATION  RJOB BW", b"SELECT EH?.D", b"DATA",
        b"STATION  ROTZ BW", b"SELECT EH?.D", b"DATA 000006 2009,08,24,00,20,03",
    ]  # fmt: skip


def listing(*stations: str) -> bytes:
    """The answer to INFO of a server with a channel of each station."""
    root = ElementTree.Element("seedlink", software="growing")
    for name in stations:
        station = ElementTree.SubElement(root, "station", network="BW", name=name)
        ElementTree.SubElement(station, "stream", location="", seedname="EHZ", type="D")
    return info_packets(root, failed=False)


def test_a_server_that_does_not_list_its_streams_is_asked_for_what_is_known(frames: list[bytes]) -> None:
    with Scripted(lambda sock: sock.sendall(frames[0]), {b"STATION  * BW": b"ERROR\r\n"}) as server:
        keys = {"server": f"127.0.0.1:{server.port}", "streams": ["BW.*.*.EH?"], "discover_s": 0.1}
        config = SeedLinkConfig.model_validate(keys)
        with Run(SeedLinkSource(config)) as run:
            detail = run.wait_for("connect_failed")[0].detail
            assert detail.startswith("subscription failed: no stations accepted; streams not listed: ")
            assert "INFO STREAMS is denied" in detail
        with Run(SeedLinkSource(config, resume={("BW", "RJOB"): (5, 6)})) as run:
            assert "streams not listed" in run.wait_for("streaming")[0].detail
            wait_until(lambda: server.commands.count(b"INFO STREAMS") >= 4, "further questions", 20)
            assert not run.changes("disconnected")


def bare(*stations: str, failed: bool = False) -> bytes:
    """An answer to INFO with stations and no streams."""
    root = ElementTree.Element("seedlink", software="shy")
    for name in stations:
        ElementTree.SubElement(root, "station", network="BW", name=name)
    return info_packets(root, failed=failed)


@pytest.mark.parametrize(
    "answers",
    [
        {b"INFO STREAMS": bare("RJOB", "ROTZ")},
        {b"INFO STREAMS": b"ERROR\r\n", b"INFO STATIONS": bare("RJOB", "ROTZ")},
        {b"INFO STREAMS": bare(failed=True), b"INFO STATIONS": bare("RJOB", "ROTZ")},
    ],
)
def test_stations_that_are_listed_without_streams_are_asked_for(
    frames: list[bytes], answers: dict[bytes, bytes]
) -> None:
    with (
        Scripted(lambda sock: sock.sendall(frames[0]), answers) as server,
        Run(source(server.port, streams=["BW.R*.*.EH?", "BW.X*.*.EH?"])) as run,
    ):
        wait_until(lambda: run.segments, "a packet", 20)
    asked = [line for line in server.commands if line.split()[0] in (b"STATION", b"SELECT")]
    assert asked == [b"STATION  RJOB BW", b"SELECT EH?.D", b"STATION  ROTZ BW", b"SELECT EH?.D"]


def test_a_server_that_tells_nothing_is_asked_by_wildcards(event: tuple[Path, int]) -> None:
    path, count = event
    faults = Faults(deny_info=True, cut_after_packets=9, cut_connections=3)
    config = ReplayConfig(inputs=(path,), port=0, speed=40.0, copies=2, faults=faults)
    with Server(config) as server, Run(source(server.port, streams=["BW.RJ*.*.EH[ZN]"], begin="now")) as run:
        wait_until(lambda: len(set(contents(run.segments))) >= 2 * count * 2 // 3, "all records")
    assert {segment.channel.component for segment in run.segments} == {"Z", "N"}
    assert run.changes("streaming")[0].detail.startswith("streams not listed: ")


def test_wildcards_that_are_not_taken_cost_no_station_that_is_named(frames: list[bytes]) -> None:
    answers = {b"STATION  R* BW": b"ERROR\r\n"}
    with (
        Scripted(lambda sock: sock.sendall(frames[0]), answers) as server,
        Run(source(server.port, streams=["BW.R*.*.EH?", "BW.RJOB.*.EH?"])) as run,
    ):
        wait_until(lambda: run.segments, "a packet", 20)
        assert run.changes("streaming")[0].detail.endswith("refused: BW.R*")


def test_every_shard_asks_a_server_that_tells_nothing(event: tuple[Path, int]) -> None:
    path, count = event
    config = ReplayConfig(inputs=(path,), port=0, speed="max", copies=6, faults=Faults(deny_info=True))
    with Server(config) as server, ExitStack() as stack:
        runs = [
            stack.enter_context(Run(source(server.port, Shard(index, 2), streams=["BW.*.*.*"])))
            for index in range(2)
        ]
        wait_until(lambda: sum(len(run.segments) for run in runs) >= 6 * count, "records of all stations")
    found = [{segment.channel.station for segment in run.segments} for run in runs]
    assert not found[0] & found[1]


def test_one_odd_character_in_a_list_costs_nothing(frames: list[bytes]) -> None:
    listed = listing("RJOB", "ROTZ").replace(b'name="ROTZ"', b'name="RO\x00Z"')
    with (
        Scripted(lambda sock: sock.sendall(frames[0]), {b"INFO": listed}) as server,
        Run(source(server.port, streams=["BW.*.*.EH?"])) as run,
    ):
        wait_until(lambda: run.segments, "a packet", 20)
    assert [line for line in server.commands if line.startswith(b"STATION")] == [b"STATION  RJOB BW"]


def test_a_list_is_not_asked_for_again_at_every_connection() -> None:
    with (
        Scripted(lambda sock: sock.close(), {b"INFO": listing("RJOB")}) as server,
        Run(source(server.port, streams=["BW.*.*.EH?"])) as run,
    ):
        run.wait_for("disconnected", 4)
        assert server.commands.count(b"INFO STREAMS") == 1


def test_a_stop_is_heard_while_very_many_stations_are_asked_for() -> None:
    listed = listing(*(f"{number:05}" for number in range(30_000)))
    with (
        Scripted(lambda sock: None, {b"INFO": listed, b"SELECT": b""}) as server,
        Run(source(server.port, streams=["BW.*.*.EH?"], connect_timeout_s=60.0)),
    ):
        wait_until(lambda: b"INFO STREAMS" in server.commands, "the question")
    # Where nobody waits for an answer, the first station is soon reached. The stop comes between two answers, from the server itself.
    made: list[SeedLinkSource] = []

    def stop_soon(server: Scripted) -> None:
        if len(server.commands) > 100 and made:
            made[0].stop()

    with Scripted(lambda sock: None, {b"INFO": listed}, heard=stop_soon) as server:
        made.append(source(server.port, streams=["BW.*.*.EH?"], connect_timeout_s=60.0))
        with Run(made[0]):
            wait_until(lambda: len(server.commands) > 100, "some stations")
        assert b"END" not in server.commands


def test_what_is_listed_later_is_expected_later_without_a_new_connection(frames: list[bytes]) -> None:
    with Scripted(lambda sock: sock.sendall(frames[0]), {b"INFO": listing("RJOB")}) as server:
        keys = {"server": f"127.0.0.1:{server.port}", "streams": ["BW.*.*.EH?"], "discover_s": 0.2}
        made = SeedLinkSource(SeedLinkConfig.model_validate(keys), resume={("BW", "ROTZ"): (5, 6)})
        with Run(made) as run:
            run.wait_for("streaming")
            server.answers[b"INFO"] = listing("RJOB", "ROTZ")
            again = run.wait_for("streaming", 2)[1]
            assert [channel.station for channel in again.channels] == ["RJOB", "ROTZ"]
            assert not run.changes("disconnected")
            # One that was not asked for takes a connection of its own.
            server.answers[b"INFO"] = listing("RJOB", "ROTZ", "WETR")
            assert "new streams: BW.WETR" in run.wait_for("disconnected")[0].detail


def test_patterns_that_bring_nothing_are_named_after_a_while(
    frames: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xiaod.acquisition.seedlink.source.UNSERVED_S", 0.5)
    streams = ["BW.RJOB..EHE", "BW.RJOB..?HZ", "BW.R*.*.BH?"]
    with (
        Scripted(lambda sock: sock.sendall(frames[0]), {b"INFO": listing("RJOB")}) as server,
        Run(source(server.port, streams=streams)) as run,
    ):
        said = run.wait_for("streaming", 2)[1]
        wait_until(lambda: server.commands, "nothing more")
    assert [str(channel) for channel in said.channels] == ["BW.RJOB..EHZ"]
    first, second = said.detail.split("; from ")
    assert first.startswith(
        "no data for 0 s from BW.RJOB..?HZ (requested as ?HZ.D), though the server lists BW.RJOB..EHZ: "
    )
    assert second == "BW.R*.*.BH? (requested as BH?.D), and the server does not list it: see xiaod stations"
    assert len(run.changes("streaming")) == 2


def test_a_shard_says_nothing_of_patterns_of_others(
    event: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xiaod.acquisition.seedlink.source.UNSERVED_S", 0.0)
    names = [f"RJ00{number}" for number in range(6)]
    elsewhere = [name for name in names if shard_of("BW", name, 2) == 1]
    config = ReplayConfig(inputs=(event[0],), port=0, speed="max", copies=6)
    with Server(config) as server:
        streams = [f"BW.{name}.*.EH?" for name in names]
        with Run(source(server.port, Shard(0, 2), streams=streams)) as run:
            wait_until(lambda: len(run.segments) >= (6 - len(elsewhere)) * event[1], "all records")
        assert elsewhere
        assert not any(name in change.detail for change in run.changes("streaming") for name in elsewhere)


def asked_from_s(server: Scripted, station: bytes) -> list[float]:
    """Times from which a station was asked for."""
    at = [index for index, line in enumerate(server.commands) if line == b"STATION  %s BW" % station]
    begun = [server.commands[index + 2] for index in at]
    return [
        calendar.timegm(time.strptime(line.decode(), "TIME %Y,%m,%d,%H,%M,%S"))
        for line in begun
        if line.startswith(b"TIME")
    ]


def test_new_stations_are_asked_for_since_the_last_look(frames: list[bytes]) -> None:
    begun_s = time.time()
    with (
        Scripted(lambda sock: sock.sendall(frames[0]), {b"INFO": listing("RJOB")}) as server,
        Run(source(server.port, streams=["BW.*.*.EH?"], discover_s=0.2)) as run,
    ):
        wait_until(lambda: server.commands.count(b"INFO STREAMS") >= 2, "a look")
        last_look_s = time.time()
        server.answers[b"INFO"] = listing("RJOB", "ROTZ")
        assert "new streams: BW.ROTZ" in run.wait_for("disconnected")[0].detail
        run.wait_for("streaming", 2)
    [asked_s] = asked_from_s(server, b"ROTZ")
    # A list is a minute behind what is in it.
    assert begun_s - 61 <= asked_s <= last_look_s + 1 - 60


def test_who_has_sent_nothing_is_asked_for_since_the_first_time(frames: list[bytes]) -> None:
    begun_s = time.time()
    with (
        Scripted(lambda sock: sock.close()) as server,
        Run(source(server.port, streams=["BW.RJOB..EH?", "BW.ROTZ..EH?"])) as run,
    ):
        run.wait_for("disconnected")
        first_s = time.time()
        run.wait_for("streaming", 4)
    assert server.commands[server.commands.index(b"STATION  ROTZ BW") + 2] == b"DATA"
    times_s = asked_from_s(server, b"ROTZ")
    assert len(set(times_s)) == 1
    assert begun_s - 1 <= times_s[0] <= first_s


def test_nothing_is_fetched_of_who_was_asked_for_on_the_last_connection(frames: list[bytes]) -> None:
    def one_packet(sock: socket.socket) -> None:
        sock.sendall(frames[0])
        sock.close()

    hello = b"SeedLink v3.1 (RingServer) :: SLPROTO:3.1\r\ntest\r\n"
    with (
        Scripted(one_packet, {b"HELLO": hello}) as server,
        Run(source(server.port, streams=["BW.RJOB..EH?", "BW.ROTZ..EH?"])) as run,
    ):
        run.wait_for("disconnected", 3)
    assert b"ENDFETCH" not in server.commands
    # A time would lead all of them back, should the server not know the number.
    assert not asked_from_s(server, b"ROTZ")


def test_what_a_ringserver_holds_of_new_stations_is_fetched_first(frames: list[bytes]) -> None:
    other = [frame.replace(b"RJOB ", b"ROTZ ", 1) for frame in frames]
    hello = b"SeedLink v3.1 (RingServer) :: SLPROTO:3.1\r\ntest\r\n"
    answers = {b"HELLO": hello, b"INFO": listing("RJOB")}
    with (
        Scripted(lambda sock: sock.sendall(frames[4]), answers) as server,
        Run(source(server.port, streams=["BW.*.*.EH?"], discover_s=0.2)) as run,
    ):
        wait_until(lambda: run.segments, "a packet")
        # The last of these has a number beyond that of the last packet: it comes with the others.
        server.held = b"".join([*other[:4], other[6]])
        server.answers[b"INFO"] = listing("RJOB", "ROTZ")
        run.wait_for("streaming", 2)
        found = [one for one in run.segments if one.channel.station == "ROTZ"]
    assert [segment.sequence for segment in found] == [1, 2, 3, 4]
    fetch = server.commands.index(b"ENDFETCH")
    assert [line.split()[0] for line in server.commands[fetch - 4 : fetch]] == [
        b"HELLO",
        b"STATION",
        b"SELECT",
        b"TIME",
    ]
    # All go on after the last packet of the connection, not of what has been fetched.
    begun = [line for line in server.commands[fetch:] if line.startswith(b"DATA")][:2]
    assert [line.split()[1] for line in begun] == [b"000006", b"000006"]


def test_a_station_that_is_refused_is_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "event.mseed"
    begin_s = time.time() - obspy.read()[0].stats.starttime.timestamp
    write_event(path, shift_s=round(begin_s) - 15)
    config = ReplayConfig(
        inputs=(path,), port=0, speed=10.0, copies=2, faults=Faults(refuse_stations=("BW_RJ001",))
    )
    streams = ["BW.RJ000..EH?", "BW.RJ001..EH?"]
    with Server(config) as server, Run(source(server.port, streams=streams, discover_s=0.2)) as run:
        [streaming] = run.wait_for("streaming")
        refused_ns = time.time_ns()
        assert "refused: BW.RJ001" in streaming.detail
        wait_until(lambda: any(one.next_ns > refused_ns + 10**10 for one in run.segments), "packets")
        assert {one.channel.station for one in run.segments} == {"RJ000"}
        server.set_faults(Faults())
        assert "accepted now: BW.RJ001" in run.wait_for("disconnected")[0].detail
        wait_until(lambda: server.played, "the end")

        def starts(station: str) -> set[tuple[str, int]]:
            found = [one for one in run.segments if one.channel.station == station]
            return {(one.channel.channel, one.start_ns) for one in found if one.next_ns > refused_ns}

        wait_until(lambda: starts("RJ001") == starts("RJ000"), "all since it was refused")


@pytest.mark.parametrize(
    ("refused", "asked", "lost"),
    [
        ([], [b"DATA 000006 2009,08,24,00,20,03"], False),
        ([b"DATA 000006 2009,08,24,00,20,03"], [b"DATA 000006"], False),
        ([b"DATA 000006 2009,08,24,00,20,03", b"DATA 000006"], [b"TIME 2009,08,24,00,20,03"], False),
        ([b"DATA 000006 2009,08,24,00,20,03", b"DATA 000006", b"TIME"], [b"DATA"], True),
    ],
)
def test_a_position_is_given_up_only_when_the_server_takes_no_form_of_it(
    frames: list[bytes], refused: list[bytes], asked: list[bytes], lost: bool
) -> None:
    answers = dict.fromkeys(refused, b"ERROR\r\n")
    with Scripted(lambda sock: sock.sendall(frames[0]), answers) as server:
        config = SeedLinkConfig(server=f"127.0.0.1:{server.port}", streams=("BW.RJOB..EH?",))
        made = SeedLinkSource(config, resume={("BW", "RJOB"): (5, 1_251_073_203_000_000_000)})
        with Run(made) as run:
            [streaming] = run.wait_for("streaming")
    assert ("not resumed, live from now: BW.RJOB" in streaming.detail) is lost
    begun = [line for line in server.commands if line.startswith((b"DATA", b"TIME"))]
    assert begun[-1:] == asked
    assert len(begun) == len(refused) + 1


def test_an_odd_reply_costs_one_station(frames: list[bytes]) -> None:
    answers = {b"STATION  ODD BW": b"ERROR UNAUTHORIZED no access\r\n", b"STATION  SHY BW": b"\x00?\n"}
    with Scripted(lambda sock: sock.sendall(frames[0]), answers) as server:
        streams = ["BW.ODD..EHZ", "BW.RJOB..EH?", "BW.SHY..EHZ"]
        with Run(source(server.port, streams=streams)) as run:
            wait_until(lambda: run.segments, "a packet", 20)
            assert run.changes("streaming")[0].detail.endswith("refused: BW.ODD BW.SHY")


def test_of_many_refused_stations_a_line_names_some() -> None:
    names = [f"S{number:03}" for number in range(300)]
    answers = {b"STATION  %b BW" % name.encode(): b"ERROR\r\n" for name in names[1:]}
    streams = [f"BW.{name}..EHZ" for name in names]
    with Scripted(lambda sock: None, answers) as server, Run(source(server.port, streams=streams)) as run:
        detail = run.wait_for("streaming")[0].detail
    assert detail.endswith("refused: " + " ".join(f"BW.{name}" for name in names[1:11]) + " and 289 more")


def test_replies_in_pieces_and_packets_behind_them(frames: list[bytes]) -> None:
    with (
        Scripted(lambda sock: sock.sendall(b"".join(frames)), piecewise=True) as server,
        Run(source(server.port)) as run,
    ):
        wait_until(lambda: len(run.segments) >= len(frames), "all packets", 20)


def test_garbage_between_packets_is_asked_away_once_and_then_skipped(frames: list[bytes]) -> None:
    junk = b"\0\xffSLOOP" * 31 + b"SL12345"
    sent = frames[0] + junk + frames[1] + b"SL000009" + b"\xaa" * 512 + frames[2]
    with Scripted(lambda sock: sock.sendall(sent)) as server, Run(source(server.port)) as run:
        wait_until(lambda: len(run.segments) >= 4, "three packets, and the first once more", 20)
        assert [segment.sequence for segment in run.segments] == [1, 1, 2, 3]
        bad = [item for item in run.items if isinstance(item, BadRecord)]
        assert [item.reason for item in bad] == ["framing", "framing", "decode"]
        [lost] = run.changes("disconnected")
        assert lost.detail == f"{len(junk)} bytes between packets: missing packets are requested again"


@pytest.mark.parametrize(
    ("faults", "times"),
    [
        # Within a packet, over several, at the beginning of one, and whole ones, which the numbers alone show.
        (Faults(lose_every=20, lose_from=300, lose_bytes=100, lose_times=4), 4),
        (Faults(lose_every=20, lose_from=300, lose_bytes=1_500, lose_times=4), 4),
        (Faults(lose_every=20, lose_from=0, lose_bytes=30, lose_times=4), 4),
        (Faults(lose_every=60, lose_from=0, lose_bytes=3 * 520, lose_times=2), 2),
    ],
)
def test_bytes_that_get_lost_on_the_way_are_asked_for_again(
    event: tuple[Path, int], faults: Faults, times: int
) -> None:
    path, count = event
    config = ReplayConfig(inputs=(path,), port=0, speed=40.0, copies=3, faults=faults)
    with Server(config) as server, Run(source(server.port, streams=["BW.*.*.*"])) as run:
        wait_until(lambda: len(set(contents(run.segments))) >= 3 * count, "all records")
        assert len(run.changes("disconnected")) == times
        assert all("requested again" in change.detail for change in run.changes("disconnected"))


def test_whole_packets_that_get_lost_among_those_of_others_are_asked_for_again(
    event: tuple[Path, int],
) -> None:
    path, count = event
    faults = Faults(lose_every=50, lose_bytes=520)
    config = ReplayConfig(inputs=(path,), port=0, speed=40.0, copies=5, faults=faults)
    with Server(config) as server, Run(source(server.port, streams=["BW.RJ00[024].*.??Z"])) as run:
        wait_until(lambda: len(set(contents(run.segments))) >= count, "all records")
        [change] = run.changes("disconnected")
        assert "whose packets may be missing" in change.detail


def test_a_gap_of_the_station_itself_costs_one_connection(tmp_path: Path) -> None:
    path = tmp_path / "event.mseed"
    count = write_event(path)
    outages = [Outage("BW_*", 40.0, 55.0)]
    config = ReplayConfig(inputs=(path,), port=0, speed=40.0, copies=5, faults=Faults(outages=outages))
    with Server(config) as server, Run(source(server.port, streams=["BW.RJ00[024].*.??Z"])) as run:
        wait_until(lambda: server.played, "the end")
        wait_until(
            lambda: run.segments and run.segments[-1].next_ns > 1_251_073_260 * NS_PER_S, "the last packets"
        )
        assert len(run.changes("disconnected")) <= 1
    assert len(set(contents(run.segments))) < count


def test_streams_that_were_not_asked_for_may_take_numbers(event: tuple[Path, int]) -> None:
    path, count = event
    config = ReplayConfig(inputs=(path,), port=0, speed="max", copies=8)
    with Server(config) as server, Run(source(server.port, streams=["BW.RJ00[135].*.??Z"])) as run:
        wait_until(lambda: len(run.segments) >= count - 3, "records")
        assert not run.changes("disconnected")


def test_packets_of_another_size_than_they_say_end_the_connection(frames: list[bytes]) -> None:
    short = b"".join(frame[:264] for frame in frames) * 10
    with Scripted(lambda sock: sock.sendall(short)) as server, Run(source(server.port)) as run:
        assert "another length than their headers say" in run.wait_for("disconnected", 2)[0].detail
        assert not run.segments
        assert not run.changes("ended")


@pytest.mark.parametrize("length", [256, 1024, 4096])
def test_records_of_any_length_come_whole(event: tuple[Path, int], tmp_path: Path, length: int) -> None:
    path = tmp_path / "event.mseed"
    stream = obspy.read(event[0])
    stream.write(str(path), format="MSEED", reclen=length, encoding="STEIM2")
    config = ReplayConfig(inputs=(path,), port=0, speed="max", record_bytes=length)
    with Server(config) as server, Run(source(server.port)) as run:
        samples = sum(trace.stats.npts for trace in stream)
        wait_until(
            lambda: sum(segment.samples.size for segment in run.segments) >= samples, "all samples", 20
        )
    assert {segment.record_bytes for segment in run.segments} == {length}
    assert not [item for item in run.items if isinstance(item, BadRecord)]


def test_records_of_several_lengths_at_one_server(frames: list[bytes]) -> None:
    """As a ringserver sends them: what lies in its ring, of whatever length, with an answer to INFO in between."""
    mixed = [frames[0], *(b"SL%06X" % (9 + number) + record for number, record in enumerate(real_records()))]
    sent = b"".join([*mixed, *info_of(20), frames[1]])
    with (
        Scripted(lambda sock: sock.sendall(sent)) as server,
        Run(source(server.port, streams=["*.*.*.*"], begin="now")) as run,
    ):
        server.answers[b"INFO"] = listing("RJOB")
        wait_until(lambda: any(one.sequence == 2 for one in run.segments), "the last packet", 20)
    assert not [item for item in run.items if isinstance(item, BadRecord) and item.reason == "framing"]
    assert [item.record_bytes for item in run.items if not isinstance(item, LinkChange)] == [
        len(packet) - 8 for packet in [*mixed, frames[1]]
    ]


def test_a_server_that_sends_anything_but_seedlink_is_left() -> None:
    with Scripted(lambda sock: sock.sendall(b"x" * 100_000)) as server, Run(source(server.port)) as run:
        assert "without a packet" in run.wait_for("disconnected")[0].detail


def refusal_of(**keys: object) -> str:
    with Run(source(0, ALONE, **keys)) as run:
        return run.wait_for("connect_failed")[0].detail


class TestNoSeedLinkThree:
    """Each message says what is there, and what to change."""

    def test_a_web_server_of_the_standard_library(self) -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
            serving = threading.Thread(target=server.serve_forever, daemon=True)
            serving.start()
            detail = refusal_of(server=f"127.0.0.1:{server.server_port}", connect_timeout_s=0.5)
            server.shutdown()
        assert detail.endswith("an HTTP server answers; SeedLink has a port of its own, 18000 by custom")

    def test_a_web_server_that_answers_at_once(self) -> None:
        with Scripted(lambda sock: None, {b"HELLO": b"HTTP/1.1 400 Bad Request\r\n\r\n"}) as server:
            detail = refusal_of(server=f"127.0.0.1:{server.port}")
        assert "no SeedLink server: an HTTP server answers" in detail

    def test_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def accept(listening: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listening.accept()
                    with sock, contextlib.suppress(OSError):
                        context.wrap_socket(sock, server_side=True)

        with socket.create_server(("127.0.0.1", 0)) as listening:
            threading.Thread(target=accept, args=(listening,), daemon=True).start()
            detail = refusal_of(server=f"127.0.0.1:{listening.getsockname()[1]}")
            listening.shutdown(socket.SHUT_RDWR)
        assert "speaks TLS, and SeedLink is spoken in the clear here" in detail
        assert "write 'tls: {}' for this source" in detail

    @pytest.mark.parametrize("answer", [b"", b"HELLO? Who is there"])
    def test_what_does_not_know_hello(self, answer: bytes) -> None:
        with Scripted(lambda sock: None, {b"HELLO": answer}) as server:
            detail = refusal_of(server=f"127.0.0.1:{server.port}", connect_timeout_s=0.3)
        assert "no answer to 'HELLO' within 0.3 s: whatever listens at 127" in detail
        assert "18000 by custom" in detail

    def test_seedlink_4_alone(self) -> None:
        hello = b"SeedLink v4.0 (scripted/1) :: SLPROTO:4.0 TIME\r\ntest\r\n"
        with Scripted(lambda sock: None, {b"HELLO": hello}) as server:
            detail = refusal_of(server=f"127.0.0.1:{server.port}")
            assert "speaks SeedLink 4 only" in detail
            assert "write 'protocol: 4'" in detail
            with pytest.raises(DiscoveryError, match="speaks SeedLink 4 only"):
                discover(f"127.0.0.1:{server.port}", 3.0)

    @pytest.mark.parametrize(
        "hello",
        [
            "SeedLink v4.0 (RingServer/4.5.3) :: SLPROTO:4.0 SLPROTO:3.1 CAP WS:13", "SeedLink v3.1 (2020.122)",
            "SeedLink v3.3 (2021) :: SLPROTO:3.1 CAP EXTREPLY NSWILDCARD BATCH WS:13", "SeedLink v2.5 (old)", "SeedLink vX",
        ],
    )  # fmt: skip
    def test_servers_that_speak_3_are_taken(self, hello: str) -> None:
        assert greetings.newer(hello) == ""

    def test_a_name_of_multicast_dns(self) -> None:
        detail = refusal_of(server="no-such-shake.local:18000")
        assert "the name no-such-shake.local has no address here" in detail
        assert "avahi-daemon" in detail
        assert "IP address" in detail

    def test_another_name(self) -> None:
        assert "look at its spelling" in refusal_of(server="no-such-host.invalid:18000")


def test_file_descriptors_beyond_select(event: tuple[Path, int]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip(f"only {hard} file descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        with (
            Server(ReplayConfig(inputs=(event[0],), port=0, speed="max")) as server,
            Run(source(server.port)) as run,
        ):
            wait_until(lambda: len(run.segments) >= event[1], "all records")
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_version_six_addresses(event: tuple[Path, int]) -> None:
    try:
        server = Server(ReplayConfig(inputs=(event[0],), host="::1", port=0, speed="max"))
        server.__enter__()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    try:
        with Run(source(0, server=f"[::1]:{server.port}")) as run:
            wait_until(lambda: len(run.segments) >= event[1], "all records")
    finally:
        server.__exit__()


def test_a_begin_time_is_asked_for(event: tuple[Path, int]) -> None:
    path, count = event
    config = ReplayConfig(inputs=(path,), port=0, speed="max")
    with Server(config) as server, Run(source(server.port, begin="2009-08-24T00:20:30Z")) as run:
        wait_until(lambda: run.segments, "records")
        time.sleep(0.5)
        first_ns = min(segment.next_ns for segment in run.segments)
        assert first_ns > 1_251_073_230_000_000_000 - 8_000_000_000
        assert len(run.segments) < count


class Dribbling(Scripted):
    """A server that answers INFO packet by packet, with pauses."""

    def __init__(self, pieces: list[bytes], pause_s: float) -> None:
        super().__init__(lambda sock: None)
        self._pieces, self._pause_s = pieces, pause_s

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while line := sock.recv(4096):
                hello = line.startswith(b"HELLO")
                for piece in [self.answers[b"HELLO"]] if hello else self._pieces:
                    sock.sendall(piece)
                    threading.Event().wait(0 if hello else self._pause_s)


def info_of(stations: int) -> list[bytes]:
    """Packets of the answer of a server with so many stations."""
    root = ElementTree.Element("seedlink", software="large")
    for number in range(stations):
        station = ElementTree.SubElement(root, "station", network="XX", name=f"A{number:03}")
        ElementTree.SubElement(station, "stream", location="00", seedname="HHZ", type="D")
    packets = info_packets(root, failed=False)
    return [packets[begin : begin + 520] for begin in range(0, len(packets), 520)]


class TestDiscovery:
    def test_a_long_list_on_a_slow_link_is_waited_for_as_long_as_it_comes(self) -> None:
        pieces = info_of(80)
        assert len(pieces) > 15
        with Dribbling(pieces, pause_s=0.1) as server:
            assert len(discover(f"127.0.0.1:{server.port}", 1.0).streams) == 80

    def test_an_answer_without_end_is_given_up(self) -> None:
        endless = [info_of(80)[0]] * 1000
        with Dribbling(endless, pause_s=0.05) as server, pytest.raises(DiscoveryError, match="no whole"):
            discover(f"127.0.0.1:{server.port}", 0.1)

    def test_a_server_tells_what_it_has(self, event: tuple[Path, int]) -> None:
        with Server(ReplayConfig(inputs=(event[0],), port=0)) as server:
            info = discover(f"127.0.0.1:{server.port}", 10.0)
        assert [str(item.channel) for item in info.streams] == [
            "BW.RJOB..EHE",
            "BW.RJOB..EHN",
            "BW.RJOB..EHZ",
        ]
        assert "xiaod" in info.software

    @pytest.mark.parametrize(
        ("answers", "complaint"),
        [
            ({}, "ERROR"),
            ({b"INFO": b""}, "no whole answer"),
            ({b"HELLO": b"hello\r\nthere\r\n"}, "no SeedLink server"),
        ],
    )
    def test_a_server_that_does_not_is_named(self, answers: dict[bytes, bytes], complaint: str) -> None:
        with Scripted(lambda sock: None, answers) as server, pytest.raises(DiscoveryError, match=complaint):
            discover(f"127.0.0.1:{server.port}", 1.0)


@pytest.mark.parametrize(
    "odd",
    [{"network": "\u00c4"}, {"name": "R\u00d6B"}, {"name": "R\rBYE"}, {"seedname": "EH"}, {"location": "_"}],
)
def test_codes_that_no_record_can_have_are_not_asked_for(frames: list[bytes], odd: dict[str, str]) -> None:
    root = ElementTree.Element("seedlink", software="odd")
    for changes in ({}, odd):
        codes = {"network": "BW", "name": "RJOB", "location": "", "seedname": "EHZ"} | changes
        station = ElementTree.SubElement(root, "station", codes)
        ElementTree.SubElement(station, "stream", codes, type="D")
    listed = info_packets(root, failed=False)
    with (
        Scripted(lambda sock: sock.sendall(b"".join(frames)), {b"INFO": listed}) as server,
        Run(source(server.port, streams=["*.*.*.*"])) as run,
    ):
        wait_until(lambda: len(run.segments) >= len(frames), "all packets", 20)
        assert [str(channel) for channel in run.changes("streaming")[0].channels] == ["BW.RJOB..EHZ"]
    assert [word for word in server.commands if word.startswith(b"STATION")] == [b"STATION  RJOB BW"]


def test_a_source_can_be_stopped_before_it_runs() -> None:
    made = source(1)
    made.stop()
    with Run(made) as run:
        wait_until(lambda: run.changes("ended"), "end", 10)


def silent_then_data(frames: list[bytes]) -> Callable[[socket.socket], None]:
    return lambda sock: sock.sendall(b"".join(frames))


def test_what_is_older_than_the_longest_catch_up_is_not_asked_for(frames: list[bytes]) -> None:
    old_ns = time.time_ns() - 7200 * 10**9
    config = SeedLinkConfig.model_validate(
        {"name": "test", "server": "127.0.0.1:1", "streams": ["BW.RJOB..EH?"], "max_catch_up_s": 60.0}
    )
    with Scripted(silent_then_data(frames)) as server:
        late = config.model_copy(update={"server": f"127.0.0.1:{server.port}"})
        with Run(SeedLinkSource(late, resume={("BW", "RJOB"): (41, old_ns)})) as run:
            [change] = run.wait_for("streaming")
            assert "skipped, older than max_catch_up_s: BW.RJOB" in change.detail
        [asked] = [line for line in server.commands if line.startswith((b"TIME", b"DATA"))]
        asked_s = calendar.timegm(time.strptime(asked.decode(), "TIME %Y,%m,%d,%H,%M,%S"))
        assert abs(time.time() - 60 - asked_s) < 30
        server.commands.clear()
        recent = time.time_ns() - 10 * 10**9
        with Run(SeedLinkSource(late, resume={("BW", "RJOB"): (41, recent)})) as run:
            [change] = run.wait_for("streaming")
            assert "skipped" not in change.detail
        assert any(line.startswith(b"DATA 00002A ") for line in server.commands)


def test_a_lost_position_is_made_up_for_by_a_time(frames: list[bytes]) -> None:
    lost_ns = 1_251_073_203 * 10**9
    with Scripted(silent_then_data(frames)) as server:
        config = SeedLinkConfig.model_validate(
            {"server": f"127.0.0.1:{server.port}", "streams": ["BW.RJOB..EH?"], "begin": "resume"}
        )
        with Run(SeedLinkSource(config, resume={}, lost_ns=lost_ns)) as run:
            run.wait_for("streaming")
        assert b"TIME 2009,08,24,00,20,03" in server.commands


def test_one_number_for_all_stations_of_a_server_that_numbers_them_together(event: tuple[Path, int]) -> None:
    path, _ = event
    resume = {("BW", "RJOB"): (0xFFFFFE, 5), ("BW", "OTHER"): (3, 9)}
    found = SeedLinkSource(SeedLinkConfig(server="localhost"), resume=resume)
    found.positions.shared = True
    # The older one, though its number is larger: numbers wrap. Each with its own time, by which the server knows whose it is.
    assert found.positions.asked(None) == (
        {("BW", "RJOB"): (0xFFFFFE, 5), ("BW", "OTHER"): (0xFFFFFE, 9)},
        [],
    )
    with Server(ReplayConfig(inputs=(path,), port=0, speed="max")) as server:
        with Run(source(server.port)) as run:
            wait_until(lambda: len(run.segments) >= 10, "packets")
        last = run.segments[-1]
        # In the same run everything up to the last packet of all has come.
        assert run.source.positions.asked(None)[0] == {("BW", "RJOB"): (last.sequence, last.start_ns)}


def test_a_station_that_is_silent_holds_nobody_back(event: tuple[Path, int]) -> None:
    # It has been silent since an earlier run, and its number is so old that it seems to lie ahead.
    resume = {("BW", "DEAD"): (0xFFFF00, 5)}
    with Server(ReplayConfig(inputs=(event[0],), port=0, speed="max")) as server:
        config = SeedLinkConfig(server=f"127.0.0.1:{server.port}")
        with Run(SeedLinkSource(config, resume=resume)) as run:
            wait_until(lambda: len(run.segments) >= event[1], "packets")
    found, fourth = run.source, run.segments[3]
    assert found.resumable({})["BW", "DEAD"] == (NOTHING, 5)
    kept = found.resumable({("BW", "RJOB"): fourth.next_ns})
    assert kept == {("BW", "RJOB"): (fourth.sequence, fourth.start_ns), ("BW", "DEAD"): (NOTHING, 5)}
    # A server that does not know the number any more goes by the oldest of the times.
    last = run.segments[-1]
    assert found.positions.asked(None)[0] == {
        ("BW", "RJOB"): (last.sequence, last.start_ns),
        ("BW", "DEAD"): (last.sequence, fourth.start_ns),
    }
    # And so it is in a later run.
    later = SeedLinkSource(config, resume=kept)
    later.positions.shared = True
    assert later.positions.asked(None)[0] == dict.fromkeys(kept, (fourth.sequence, fourth.start_ns))


def test_a_station_that_cannot_be_picked_holds_nobody_back(
    event: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    picked, useless = ("BW", "RJ000"), ("BW", "RJ001")
    with Server(ReplayConfig(inputs=(event[0],), port=0, speed="max", copies=2)) as server:
        config = SeedLinkConfig(server=f"127.0.0.1:{server.port}")
        with Run(SeedLinkSource(config)) as run:
            wait_until(lambda: len(run.segments) >= 2 * event[1], "packets")
    found = run.source
    needed = {picked: run.segments[event[1]].next_ns}
    places = found.resumable(needed)
    assert places[picked][0] > places[useless][0] + 10
    monkeypatch.setattr("xiaod.acquisition.seedlink.moments.ABANDONED_S", 0.0)
    assert found.resumable(needed)[useless][0] in (NOTHING, *range(places[picked][0] - 2, 2**24))


def test_a_station_that_is_further_on_is_not_gone_back_with_for_the_sake_of_another(
    event: tuple[Path, int],
) -> None:
    ahead, behind = ("BW", "RJ000"), ("BW", "RJ001")
    # As a ringserver does, which begins for all stations with one number.
    faults = Faults(resume_at_newest=True)
    with Server(ReplayConfig(inputs=(event[0],), port=0, speed="max", copies=2, faults=faults)) as server:
        config = SeedLinkConfig(server=f"127.0.0.1:{server.port}")
        with Run(SeedLinkSource(config)) as run:
            wait_until(lambda: len(run.segments) >= 2 * event[1], "packets")
        of_ahead = [one for one in run.segments if one.channel.station == ahead[1]]
        of_behind = [one for one in run.segments if one.channel.station == behind[1]]
        newest, oldest = of_ahead[-5], of_behind[5]
        resume = {
            ahead: (newest.sequence or 0, newest.start_ns),
            behind: (oldest.sequence or 0, oldest.start_ns),
        }
        again = SeedLinkSource(config, resume=resume)
        came: list[Segment] = []
        left: list[int] = []

        def emit(item: SourceItem) -> None:
            if isinstance(item, Segment):
                came.append(item)
                places = again.resumable({ahead: newest.start_ns, behind: oldest.start_ns})
                # A run that begins there now gets this packet once more: it has not been handed on yet.
                left.append(
                    (item.sequence or 0) - min(number for number, _ in places.values() if number != NOTHING)
                )

        reading = threading.Thread(target=again.run, args=(emit,), daemon=True)
        reading.start()
        wanted = {one.sequence for one in of_behind if (one.sequence or 0) > (oldest.sequence or 0)}
        wanted |= {one.sequence for one in of_ahead if (one.sequence or 0) > (newest.sequence or 0)}
        wait_until(lambda: wanted <= {one.sequence for one in came}, "what had not come")
        again.stop()
        reading.join()
    assert min(left) > 0
    # Of the other packets of the one that is ahead, those that reach beyond where it was may come once more.
    assert all(one.sequence in wanted or one.start_ns > newest.start_ns for one in came)
    assert again.counts()["received"] == len(came) + again.counts()["repeated"]
    assert again.counts()["repeated"] > event[1] // 2


def test_another_source_goes_on_where_one_has_ended(event: tuple[Path, int]) -> None:
    path, records = event
    with Server(ReplayConfig(inputs=(path,), port=0, speed=40.0)) as server:
        with Run(source(server.port)) as first:
            wait_until(lambda: len(first.segments) >= 10, "packets")
        later = source(server.port)
        later.continue_from(first.source)
        with Run(later) as second:
            wait_until(lambda: len(first.segments) + len(second.segments) >= records, "the rest")
    assert len(set(contents(first.segments + second.segments))) == records
    assert len(first.segments) + len(second.segments) == records
    assert second.source.counts() == {"received": len(second.segments), "unselected": 0, "repeated": 0}


def test_a_source_without_a_station_on_its_shard_is_idle_and_stops_at_once(event: tuple[Path, int]) -> None:
    with Server(ReplayConfig(inputs=(event[0],), port=0, speed="max")) as server:
        config = SeedLinkConfig.model_validate({"name": "test", "server": f"127.0.0.1:{server.port}"})
        with Run(SeedLinkSource(config, shard=Shard(1, 2))) as run:
            [change] = run.wait_for("idle")
            assert change.detail == "none of 1 stations is on shard 1/2"
        assert not run.segments
        with Run(SeedLinkSource(config, shard=Shard(0, 2))) as run:
            wait_until(lambda: len(run.segments) == event[1], "all records")


def test_where_a_station_of_another_shard_stood_is_not_gone_back_to() -> None:
    elsewhere, here = ("BW", "WETR"), ("BW", "RJOB")
    positions = {elsewhere: (3, 4), here: (8, 9)}
    one = SeedLinkSource(SeedLinkConfig(server="localhost"), resume=positions, shard=Shard(0, 2))
    assert one.newest_positions() == {here: (8, 9)}
    assert one.resumable({}) == {here: (8, 9)}


def test_stations_that_appear_later_find_their_shard(event: tuple[Path, int]) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(Server(ReplayConfig(inputs=(event[0],), port=0, speed="max"))).port
        keys = {"streams": ["BW.*.*.*"], "discover_s": 0.2}
        both = [source(port, shard=Shard(index, 2), **keys) for index in range(2)]
        with Run(both[0]) as first, Run(both[1]) as second:
            first.wait_for("streaming")
            second.wait_for("idle")
            stack.close()
            with Server(ReplayConfig(inputs=(event[0],), port=port, speed="max", copies=6)):
                wait_until(
                    lambda: (
                        sum(one.channel.station != "RJOB" for run in (first, second) for one in run.segments)
                        >= 6 * event[1]
                    ),
                    "records of all stations",
                )
    stations = [{segment.channel.station for segment in run.segments} - {"RJOB"} for run in (first, second)]
    assert stations == [
        {f"RJ00{number}" for number in range(6) if shard_of("BW", f"RJ00{number}", 2) == index}
        for index in range(2)
    ]
