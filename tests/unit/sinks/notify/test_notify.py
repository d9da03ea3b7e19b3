"""The notify sink with Apprise itself and a real endpoint: what people are told, when they are not, and what never leaks."""

import asyncio
import base64
import contextlib
import io
import json
import re
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_sinks import AGENCY, NOW_NS, pick
from tests.endpoint import Answer, Endpoint, RawEndpoint, Request
from tests.ports import free_port
from xiaod.acquisition.record_queue import End
from xiaod.config.loader import ConfigError, parse_config
from xiaod.config.sinks.notify import NotifyConfig
from xiaod.config.snippets import SnippetConfig
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, DocumentStage, Event, EventPick, StationDistance
from xiaod.pipeline.sink_runner import SinkRunner
from xiaod.process.logs import configure_logs
from xiaod.process.metrics import Metrics
from xiaod.sinks import Refused
from xiaod.sinks.notify.service import Service, scheme_of
from xiaod.sinks.notify.sink import NotifySink
from xiaod.storage.backlog import StoredBacklog
from xiaod.storage.pick_store import PickStore
from xiaod.tools.selftest.sinks import destination_of

HUSH = "hush-hush-hush"
HOUR_NS = 3600 * NS_PER_S
MIDNIGHT_NS = int(datetime(2023, 11, 14, tzinfo=UTC).timestamp()) * NS_PER_S
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def event(name: str, stage: DocumentStage = "early", stations: int = 4, version: int = 1) -> Event:
    """A version of an event that is announced as ``NAME-early``."""
    event_id = name if stage == "final" else f"{name}-early"
    picks = tuple(
        EventPick(
            f"{name}-P-{number}",
            Channel("BW", f"S{number:02d}", "", "EHZ"),
            "P",
            NOW_NS + number,
            0.1,
            "final" if stage == "final" else "early",
        )
        for number in range(stations)
    )
    return Event(
        f"{event_id}-v{version}",
        event_id,
        version,
        stage,
        "coincidence",
        NOW_NS,
        picks,
        (StationDistance("BW", "S01", 2.5, 20.06, 2.2),),
        early_id=None if stage == "early" else f"{name}-early",
    )


def made(url: str, snippets: SnippetConfig | None = None, **keys: Any) -> NotifySink:
    config = NotifyConfig.model_validate({"kind": "notify", "url": url, **keys})
    return NotifySink(config, AGENCY, snippets or SnippetConfig())


def address(endpoint: Endpoint, scheme: str = "json") -> str:
    return f"{scheme}://127.0.0.1:{endpoint.port}/{HUSH}"


def messages(endpoint: Endpoint) -> list[tuple[str, str]]:
    """Title and body of each message of json://."""
    contents = [json.loads(request.body) for request in endpoint.requests]
    return [(content["title"], content["message"]) for content in contents]


def titles(endpoint: Endpoint) -> list[str]:
    return [title for title, _ in messages(endpoint)]


BY_ID: dict[str, Any] = {
    "texts": {key: {"title": "{id}"} for key in ("announced", "settled", "withdrawn", "pick")}
}


def test_what_a_person_reads() -> None:
    with Endpoint() as endpoint:
        sink = made(address(endpoint), time_zone="Asia/Seoul")
        sink.deliver([event("a", stations=1)], NOW_NS)
        sink.deliver([event("a", "final", stations=13)], NOW_NS)
        sink.deliver([event("b")], NOW_NS)
        sink.deliver([event("b", "withdrawn", version=2)], NOW_NS)
        sink.deliver([pick(1)], NOW_NS)
        sink.close()
    assert endpoint.requests[0].path == f"/{HUSH}"
    notice = "Automatic, unreviewed, not located, not for early warning."
    first = "First P at 2023-11-15 07:13:20 KST, at BW.S00."
    names = ", ".join(f"BW.S{number:02d}" for number in range(10))
    follows = "What comes of it follows in a minute or so."
    assert messages(endpoint) == [
        ("Possible earthquake: 1 station; about 20 km (+-2) from BW.S01", f"{first}\n{follows}\n{notice}"),
        (
            "Likely earthquake: 13 stations; about 20 km (+-2) from BW.S01",
            f"{first}\nStations: {names} and 3 more.\n{notice}",
        ),
        ("Possible earthquake: 4 stations; about 20 km (+-2) from BW.S01", f"{first}\n{follows}\n{notice}"),
        (
            "Withdrawn: no earthquake after all",
            f"The possible earthquake with a first P at 2023-11-15 07:13:20 KST, at BW.S00, is none.\n{notice}",
        ),
        (
            "P at BW.RJOB, final",
            "2023-11-15 07:13:20 KST, probability 0.87, signal-to-noise ratio 12.5.\nAutomatic, unreviewed.",
        ),
    ]


def test_an_event_is_announced_once_and_then_told_to_its_end() -> None:
    with Endpoint() as endpoint:
        sink = made(address(endpoint), min_stations=5, **BY_ID)
        for one in (
            event("a", stations=4),  # too few
            event("a", stations=5, version=2),
            event("a", stations=8, version=3),  # told already
            event("a", "final", stations=3),  # it was announced, so this is of interest
            event("b", stations=4),
            event("b", "withdrawn", stations=4, version=2),  # nobody knows of it
            event("c", stations=6),
            event("c", "withdrawn", stations=4, version=3),
            event("d", "final", stations=4),
            event("e", "final", stations=5),
            # What an earlier run announced.
            event("f", "withdrawn", stations=6, version=2),
        ):
            sink.deliver([one], NOW_NS)
    assert titles(endpoint) == ["a-early-v2", "a-v1", "c-early-v1", "c-early-v3", "e-v1", "f-early-v2"]


def test_more_than_so_many_an_hour_come_in_one_message() -> None:
    with Endpoint() as endpoint:
        sink = made(address(endpoint), max_per_hour=3, **BY_ID)
        for number in range(40):
            sink.deliver([event(f"e{number}")], NOW_NS + number * NS_PER_S)
        # Settled, withdrawn, and one that was told.
        sink.deliver([event("e3", "final", stations=7)], NOW_NS + 50 * NS_PER_S)
        sink.deliver([event("e4", "withdrawn", version=2)], NOW_NS + 50 * NS_PER_S)
        sink.deliver([], NOW_NS + HOUR_NS - 1)
        assert titles(endpoint) == ["e0-early-v1", "e1-early-v1", "e2-early-v1"]
        # All that the store has given since the first that is held back.
        assert (sink.held, sink.left_out) == (39, 38)
        sink.deliver([], NOW_NS + HOUR_NS)
        assert sink.held == 0
        title, body = messages(endpoint)[-1]
        assert title == "36 messages were held back"
        lines = body.splitlines()
        assert lines[0].endswith("likely earthquake, 7 stations; about 20 km (+-2) from BW.S01")
        assert lines[1].endswith("possible earthquake, 4 stations; about 20 km (+-2) from BW.S01")
        assert (len(lines), lines[-1]) == (21, "and 16 more")
        # An hour counts from each message, and the summary is one.
        sink.deliver([event("later")], NOW_NS + HOUR_NS + NS_PER_S)
        sink.deliver([event("e5", "withdrawn", version=2)], NOW_NS + HOUR_NS + 2 * NS_PER_S)
        sink.deliver([event("too many")], NOW_NS + HOUR_NS + 3 * NS_PER_S)
        assert titles(endpoint)[-2:] == ["later-early-v1", "e5-early-v2"]
        # An orderly end tells what is held back.
        sink.close()
        sink.close()
    assert titles(endpoint)[-1] == "1 message was held back"


def test_a_clock_that_is_set_back_does_not_silence_it() -> None:
    with Endpoint() as endpoint:
        sink = made(address(endpoint), max_per_hour=1, **BY_ID)
        sink.deliver([event("a")], NOW_NS + 24 * HOUR_NS)
        sink.deliver([event("b")], NOW_NS)
        sink.deliver([event("c")], NOW_NS)
    assert titles(endpoint) == ["a-early-v1", "b-early-v1"]


QUIET = {"begin": "22:00", "end": "07:00", "unless_stations": 10}


def test_in_quiet_hours_small_events_wait_for_the_morning() -> None:
    # 22:00 to 07:00 in Korea are 13:00 to 22:00 UTC.
    with Endpoint() as endpoint:
        sink = made(address(endpoint), quiet_hours=QUIET, time_zone="Asia/Seoul", **BY_ID)
        for hour, one in (
            (12.99, event("evening")),
            (13, event("evening", "final")),
            (14, event("a")),
            (15, event("a", "withdrawn", version=2)),
            (16, event("b")),
            (16, event("b", stations=12, version=2)),  # by now it is large
            (16, event("b", "final", stations=4)),
            (17, event("c")),
            (18, event("c", "final", stations=6)),
            (21.99, event("large", "final", stations=10)),
        ):
            sink.deliver([one], MIDNIGHT_NS + int(hour * HOUR_NS))
        assert titles(endpoint) == ["evening-early-v1", "b-early-v2", "large-v1"]
        assert sink.held == 9
        with pytest.raises(OSError, match="3 messages wait for the end of the quiet hours"):
            sink.close()
        sink.deliver([], MIDNIGHT_NS + 22 * HOUR_NS)
        sink.close()
        assert sink.held == 0
    title, body = messages(endpoint)[-1]
    assert title == "3 messages were held back"
    assert [line.partition(" KST: ")[2].partition(";")[0] for line in body.splitlines()] == [
        "likely earthquake, 4 stations",
        "likely earthquake, 4 stations",
        "likely earthquake, 6 stations",
    ]


def test_what_is_dropped_in_quiet_hours_is_counted_alone() -> None:
    quiet = {"begin": 0, "end": 6 * 60, "then": "drop"}  # as YAML reads 00:00 and 06:00 without quotes
    with Endpoint() as endpoint:
        sink = made(address(endpoint), quiet_hours=quiet, **BY_ID)
        sink.deliver([event("a")], MIDNIGHT_NS)
        sink.deliver([event("a", "withdrawn", version=2)], MIDNIGHT_NS + 6 * HOUR_NS)
        sink.deliver([event("b")], MIDNIGHT_NS + 5 * HOUR_NS)
        sink.deliver([event("b", "final")], MIDNIGHT_NS + 6 * HOUR_NS)
        sink.close()
    assert titles(endpoint) == ["b-v1"]
    assert (sink.held, sink.left_out) == (0, 2)


def test_what_is_held_back_outlives_a_crash(tmp_path: Path) -> None:
    store = PickStore(tmp_path / "picks.sqlite")
    store.begin("notify", "all", "events")
    store.add_events([event("a"), event("b")])

    metrics = Metrics()

    async def until(sink: NotifySink, now_ns: int) -> None:
        runner = SinkRunner(sink, metrics, lambda: now_ns, StoredBacklog(store, "notify", "all", "events"))
        runner.finish_within(0.5)
        await runner.put(End())
        await runner.deliver()

    with Endpoint() as endpoint:
        quiet = made(address(endpoint), quiet_hours={"begin": "22:00", "end": "07:00"}, **BY_ID)
        asyncio.run(until(quiet, MIDNIGHT_NS))
        assert endpoint.requests == []
        labels = {"sink": "notify"}
        assert metrics.registry.get_sample_value("xiaod_sink_left_out_total", labels) == 2
        # The next run, in the morning.
        morning = made(address(endpoint), quiet_hours={"begin": "22:00", "end": "07:00"}, **BY_ID)
        asyncio.run(until(morning, MIDNIGHT_NS + 8 * HOUR_NS))
        assert titles(endpoint) == ["a-early-v1", "b-early-v1"]
        assert store.backlog("notify") == 0
    store.close()


def with_picture(folder: Path, one: Event) -> SnippetConfig:
    (folder / f"{one.picks[0].id}.png").write_bytes(PNG)
    return SnippetConfig(enabled=True, folder=folder)


@pytest.mark.parametrize("scheme", ["json", "form"])
def test_a_settled_event_comes_with_its_picture(tmp_path: Path, scheme: str) -> None:
    settled = event("a", "final")
    with Endpoint() as endpoint:
        sink = made(address(endpoint, scheme), with_picture(tmp_path, settled), attach=["picture"])
        sink.deliver([event("a")], NOW_NS)
        sink.deliver([settled], NOW_NS)
        # Its file was deleted long ago.
        sink.deliver([replace(event("b", "final"), created_ns=NOW_NS)], NOW_NS)
    announced, with_it, without = endpoint.requests
    if scheme == "json":
        [attached] = json.loads(with_it.body)["attachments"]
        assert base64.b64decode(attached["base64"]) == PNG
        assert (attached["filename"], attached["mimetype"]) == ("a-P-0.png", "image/png")
        assert [json.loads(other.body)["attachments"] for other in (announced, without)] == [[], []]
    else:
        assert PNG in with_it.parts.values()
        assert b'filename="a-P-0.png"' in with_it.body
        assert PNG not in announced.body + without.body


def test_a_picture_that_is_written_later_is_waited_for(tmp_path: Path) -> None:
    settled = replace(event("a", "final"), created_ns=time.time_ns())
    snippets = SnippetConfig(enabled=True, folder=tmp_path)
    with Endpoint() as endpoint:
        sink = made(address(endpoint), snippets, attach=["picture"])
        waiting = threading.Thread(target=sink.deliver, args=([settled], NOW_NS))
        waiting.start()
        with_picture(tmp_path, settled)
        waiting.join()
    [request] = endpoint.requests
    assert len(json.loads(request.body)["attachments"]) == 1


def attachments_in(request: Request) -> int:
    return len(json.loads(request.body)["attachments"])


def test_a_picture_that_is_not_taken_does_not_keep_the_message(tmp_path: Path) -> None:
    settled = event("a", "final")
    with Endpoint() as endpoint:
        sink = made(address(endpoint), with_picture(tmp_path, settled), attach=["picture"])
        endpoint.decide = lambda request: Answer(413 if attachments_in(request) else 200)
        sink.deliver([settled], NOW_NS)
        assert [attachments_in(request) for request in endpoint.requests] == [1, 0]
        # Some servers only say that something is wrong.
        endpoint.decide = lambda request: Answer(500 if attachments_in(request) else 200)
        other = event("b", "final")
        with_picture(tmp_path, other)
        for _ in range(3):
            with pytest.raises(OSError, match="HTTP 500"):
                sink.deliver([other], NOW_NS)
        sink.deliver([other], NOW_NS)
    assert [attachments_in(request) for request in endpoint.requests[2:]] == [1, 1, 1, 0]


def failure(sink: NotifySink) -> OSError | None:
    try:
        sink.deliver([event("a")], NOW_NS)
    except OSError as error:
        return error
    return None


def test_what_each_answer_means() -> None:
    with Endpoint() as endpoint:
        sink = made(address(endpoint))
        for status in (301, 401, 403, 404, 408, 429, 500, 503):
            endpoint.answers = [Answer(status)]
            error = failure(sink)
            assert error is not None
            assert not isinstance(error, Refused), status
            assert str(error).startswith(f"json: HTTP {status}: ")
        for status in (400, 413, 422):
            endpoint.answers = [Answer(status)]
            assert isinstance(failure(sink), Refused), status
        endpoint.answers = [Answer(200)]
        assert failure(sink) is None
    assert len(endpoint.requests) == 12


def test_an_endpoint_that_is_down_gets_it_later_and_no_part_of_the_address_is_said() -> None:
    shown = io.StringIO()
    port = free_port()
    with contextlib.redirect_stderr(shown):
        configure_logs("debug", "json")
        url = f"json://me:{HUSH}-1@127.0.0.1:{port}/{HUSH}/%68ush2?+X-Token={HUSH}-3"
        sink = made(url, **BY_ID)
        error = failure(sink)
        with Endpoint([Answer(401), Answer(500), Answer(200)], port=port) as endpoint:
            errors = [error, failure(sink), failure(sink)]
            assert failure(sink) is None
    configure_logs("info", "json")
    assert all(errors)
    said = [*map(str, errors), shown.getvalue()]
    assert "Connection error" in said[0]
    assert all("hush" not in text and str(port) not in text for text in said), said
    assert endpoint.requests[0].path == f"/{HUSH}/hush2"
    assert endpoint.requests[0].headers["X-Token"] == f"{HUSH}-3"


def test_an_answer_that_comes_too_late_counts_and_the_message_is_sent_once() -> None:
    with Endpoint([Answer(200, wait_s=1.0)]) as endpoint:
        sink = made(address(endpoint), timeout_s=0.2)
        tries = 0
        while (error := failure(sink)) is not None:
            tries += 1
            assert str(error) == "json: no answer within 0.2 s"
            assert tries < 100
    assert tries
    assert len(endpoint.requests) == 1


def test_a_service_that_hangs_holds_one_thread_that_ends_with_the_program() -> None:
    def hang(sock: socket.socket) -> None:
        # A byte of the header now and then: Apprise's own limits are for each of them.
        while True:
            sock.sendall(b"a")
            time.sleep(0.05)

    with RawEndpoint(hang) as endpoint:
        sink = made(endpoint.url.replace("http", "json"), timeout_s=0.3, **BY_ID)
        for number, said in enumerate(["no answer", "no answer", "the message before still hangs"]):
            with pytest.raises(OSError, match=said):
                sink.deliver([event("a" if number < 2 else "b")], NOW_NS)
        [hanging] = [thread for thread in threading.enumerate() if thread.name == "notify.notify"]
        assert hanging.daemon
    hanging.join(60.0)
    assert not hanging.is_alive()


def test_an_answer_to_an_old_address_holds_no_part_of_it() -> None:
    release = threading.Event()

    def hang_up(_: socket.socket) -> None:
        release.wait(60.0)

    with RawEndpoint(hang_up) as endpoint:
        service = Service("notify", endpoint.url.replace("http", "json"), 0.2)
        with pytest.raises(OSError, match="no answer"):
            service.send("title", "body")
        service.use("json://another.example")
        release.set()
        while "no answer" in (said := told(service)):
            pass
    assert "JSON" in said
    assert "127" not in said


def told(service: Service) -> str:
    with pytest.raises(OSError, match="json") as error:
        service.send("title", "body")
    return str(error.value)


def test_an_address_in_a_file_is_read_at_each_message(tmp_path: Path) -> None:
    path = tmp_path / "address"
    with Endpoint() as endpoint:
        path.write_text(f"{address(endpoint)}\n")
        config = NotifyConfig(kind="notify", url_file=path)
        sink = NotifySink(config, AGENCY)
        sink.deliver([event("a")], NOW_NS)
        path.write_text(f"{address(endpoint)}-2\n")
        sink.deliver([event("b")], NOW_NS)
        path.write_text("")
        with pytest.raises(OSError, match=r"url_file: .*the first line is empty"):
            sink.deliver([event("c")], NOW_NS)
        path.write_text("nothing://hush\n")
        with pytest.raises(OSError, match="url_file: Apprise does not take this nothing:// address"):
            sink.deliver([event("c")], NOW_NS)
    assert [request.path for request in endpoint.requests] == [f"/{HUSH}", f"/{HUSH}-2"]


@pytest.mark.parametrize(
    ("keys", "more", "said"),
    [
        ("url: 'json://a', texts: {settled: {title: '{where}'}}", "",
            r"sinks\[0\]\.texts\.settled\.title: .*\{where\} is not known; allowed are \{time\}, \{stations\}"),
        ("url: 'json://a', texts: {pick: {body: '{snrs}'}}", "", r"\{snrs\} is not known"),
        ("url: 'json://a', texts: {pick: {body: '{snr:.1f}'}}", "", r"\{snr\} must stand alone in its braces"),
        ("url: 'json://a', texts: {pick: {body: '{snr'}}", "", "expected '}'"),
        ("url: 'json://a', time_zone: Europe/Nowhere", "", "no time zone 'Europe/Nowhere' on this machine"),
        ("url: 'json://a', quiet_hours: {begin: '7:00'}", "", r"quiet_hours\.begin"),
        ("url: 'json://a', quiet_hours: {begin: 07:00}", "", "begin and end are both 07:00"),
        ("url: 'json://a', url_file: b", "", "url_file and url are both given; give one"),
        ("min_stations: 1", "", "url_file and url: give one of them"),
        ("url: 'ntfy.sh/topic'", "", "must be an address of Apprise"),
        ("url: 'json://a', attach: [picture]", "", r"attach: .*write snippets: \{enabled: true\}"),
        ("url: 'json://a', attach: [picture]", "snippets: {enabled: true, pictures: false}",
            "there is no picture with snippets.pictures: false"),
        ("url: 'json://a', attach: [miniseed]", "snippets: {enabled: true}", r"attach\[0\]"),
    ],
)  # fmt: skip
def test_mistakes_in_the_configuration_are_named(keys: str, more: str, said: str) -> None:
    text = (
        f"config_version: 2\nsources: [{{server: a}}]\nevents: {{enabled: true}}\n{more}\n"
        f"sinks:\n  - {{kind: notify, {keys}}}\n"
    )
    with pytest.raises(ConfigError, match=said):
        parse_config(text, "f")


def test_events_that_nobody_makes_are_not_waited_for() -> None:
    with pytest.raises(ConfigError, match=r"sinks: notify: of: there are no events; write events"):
        parse_config(
            "config_version: 2\nsources: [{server: a}]\nsinks: [{kind: notify, url: 'json://a'}]\n", "f"
        )


def test_any_number_of_picks_is_held_back_in_bounded_memory() -> None:
    with Endpoint() as endpoint:
        sink = made(address(endpoint), of="picks", max_per_hour=1, **BY_ID)
        for number in range(3000):
            sink.deliver([pick(number % 100, id=f"{number}")], NOW_NS)
        assert sink.held == 1000
        sink.deliver([], NOW_NS + HOUR_NS)
    title, body = messages(endpoint)[-1]
    assert title == "2999 messages were held back"
    assert body.endswith("\nand 2979 more")


def test_a_summary_that_is_refused_keeps_nothing_else() -> None:
    with Endpoint() as endpoint:
        sink = made(address(endpoint), max_per_hour=1, **BY_ID)
        sink.deliver([event("a")], NOW_NS)
        sink.deliver([event("b")], NOW_NS)
        endpoint.decide = lambda request: Answer(400 if b"held back" in request.body else 200)
        sink.deliver([event("c")], NOW_NS + HOUR_NS)
    assert titles(endpoint) == ["a-early-v1", "1 message was held back", "c-early-v1"]


def test_a_trial_is_told_at_any_hour_and_says_that_it_is_one(tmp_path: Path) -> None:
    with Endpoint() as endpoint:
        path = tmp_path / "address"
        path.write_text(address(endpoint))
        every_minute = {"begin": "00:00", "end": "23:59"}
        config = NotifyConfig.model_validate(
            {"kind": "notify", "url_file": path, "quiet_hours": every_minute, "min_stations": 4}
        )
        assert destination_of(config) == f"url_file {path}"
        sink = NotifySink(config.for_trial(), AGENCY)
        assert sink.wanted == "events"
        stages: tuple[DocumentStage, ...] = ("early", "final", "withdrawn")
        sink.deliver([event(stage, stage, stations=1) for stage in stages] + [pick(1)], MIDNIGHT_NS)
        sink.close()
    found = messages(endpoint)
    assert [title.partition(":")[0] for title, _ in found] == ["Test"] * 4
    assert found[-1][0] == "Test: P at BW.RJOB, final"
    assert all(body.startswith("This is a test of xiaod") for _, body in found)
    shown = destination_of(NotifyConfig.model_validate({"kind": "notify", "url": f"tgram://{HUSH}/1"}))
    assert shown == "url tgram://********"


def test_the_addresses_in_the_manual_are_those_of_services_that_take_pictures() -> None:
    text = (Path(__file__).parents[4] / "docs" / "sinks.md").read_text(encoding="utf-8")
    [table] = re.findall(r"\| service \| address .*?\n\n", text, re.DOTALL)
    addresses = re.findall(r"`([a-z]+://\S+)`", table)
    assert len(addresses) >= 5
    taking = {scheme_of(one): Service("notify", one, 1.0).takes_files for one in addresses}
    # It has pictures of its own.
    assert taking.pop("hassio") is False
    assert all(taking.values()), taking


def test_phones_fetch_nothing_but_the_message() -> None:
    with Endpoint() as endpoint:
        made(f"ntfy://127.0.0.1:{endpoint.port}/topic").deliver([event("a")], NOW_NS)
    [request] = endpoint.requests
    assert json.loads(request.body)["topic"] == "topic"
    assert request.headers["User-Agent"] == "xiaod"
    assert "http" not in str(request.headers) + request.body.decode()
