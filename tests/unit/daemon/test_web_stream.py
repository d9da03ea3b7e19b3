"""The API with a real server and real sockets: who is served, who is refused, who is dropped."""

import asyncio
import base64
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from numpy.typing import NDArray

from xiaod.config import Config
from xiaod.daemon.web.api import Identity, StatusApi
from xiaod.daemon.web.event_stream import WAITING_BYTES, Listener
from xiaod.daemon.web.web_server import WebServer
from xiaod.domain.onsets import withdrawal
from xiaod.domain.timegrid import ns_from_iso
from xiaod.domain.types import Channel, Instrument, Latency, Pick, Window
from xiaod.picking.band import band_passed
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.monitor import RECENT_PICKS, Monitor
from xiaod.pipeline.problems import Problem
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.storage.pick_store import STORE, PickStore
from xiaod.waveform.instrument import BufferSettings

LIMIT_S = 60.0
RJOB = Channel("BW", "RJOB", "", "EHZ")
HOSTILE = Channel("<b", "\"'>", "\n\x00", "EHZ")
PICK = Pick("id-0", RJOB, "P", 1_251_073_207_731_250_000, 0.1, 0.9, 5.0, 1200.0, "ZNE", "micro-0.1.0", "0" * 64)  # fmt: skip


class Served:
    """A server whose monitor the test fills."""

    def __init__(self, store: PickStore | None = None, **config: Any) -> None:
        self.metrics = Metrics()
        self.station_table = StationTable(60 * 10**9)
        assembler = Assembler(
            BufferSettings(length=1000, hop=50), self.metrics, self.station_table, lambda: 0
        )
        settings = Config.model_validate(
            {"sources": [{"server": "localhost"}], "http": {"port": 0, **config}}
        )
        http = settings.http
        self.monitor = Monitor(self.station_table, assembler, lambda _: None, http.traces, http.days)
        self.station_table.expect("source", [RJOB, HOSTILE], 0)
        identity = Identity("0", "micro", 0)
        self.problems: list[Problem] = []
        self.api = StatusApi(
            settings,
            self.monitor,
            self.metrics,
            identity,
            lambda: {"source": "streaming"},
            lambda: self.problems,
            store,
        )
        self.server = WebServer(
            settings.http.host, 0, lambda: asyncio.sleep(0, b""), lambda: (True, {}), self.api
        )

    def listeners(self) -> float:
        return self.metrics.registry.get_sample_value("xiaod_stream_clients") or 0.0

    def count(self, reason: str) -> float:
        value = self.metrics.registry.get_sample_value("xiaod_stream_refused_total", {"reason": reason})
        return value or 0.0


@asynccontextmanager
async def serving(
    store: PickStore | None = None, **config: Any
) -> AsyncIterator[tuple[Served, aiohttp.ClientSession]]:
    served = Served(store, **config)
    await served.server.start()
    try:
        async with (
            asyncio.timeout(LIMIT_S),
            aiohttp.ClientSession(f"http://127.0.0.1:{served.server.port}") as session,
        ):
            yield served, session
    finally:
        await served.server.stop()


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  counts, not events
        await asyncio.sleep(0.01)


async def next_of(stream: AsyncIterator[tuple[str, Any]], wanted: str) -> Any:
    async for name, document in stream:
        if name == wanted:
            return document
    raise AssertionError(f"the stream ended before {wanted}")


def window(index: int) -> Window:
    samples = np.tile(np.arange(index, index + 2000, dtype=np.float32), (3, 1))
    return Window(RJOB.instrument, index, 0, samples, "ZNE", discontinuous=index == 0)


def test_nobody_listens_who_asks_for_the_head_alone() -> None:
    async def body() -> None:
        async with serving() as (served, session):
            async with session.head("/api/stations") as answer:
                assert (answer.status, await answer.read()) == (200, b"")
            async with session.head("/api/stream") as answer:
                assert answer.status == 405
            assert served.listeners() == 0

    asyncio.run(body())


def test_a_listener_hears_of_stations_picks_and_its_trace() -> None:
    async def body() -> None:
        async with serving() as (served, session):
            served.monitor.followed(window(0), np.zeros((2, 2000), np.float32))
            async with session.get("/api/stream", params={"station": "BW.RJOB..EH"}) as answer:
                assert answer.content_type == "text/event-stream"
                stream = events(answer)
                first = await next_of(stream, "stations")
                assert first["complete"]
                assert {one["id"] for one in first["stations"]} == {"BW.RJOB..EH", HOSTILE.instrument.text}
                whole = await next_of(stream, "trace")
                assert (whole["first"], len(whole["low"][0]), len(whole["p"])) == (0, 500, 500)
                served.monitor.followed(window(50), np.full((2, 400), 0.25, np.float32))
                more = await next_of(stream, "trace")
                assert more["high"][2][-1] == 2047
                assert more["s"][-1] == 0.25
                served.monitor.picked(PICK)
                assert (await next_of(stream, "pick"))["id"] == PICK.id
                served.station_table.picked(PICK)
                changed = await next_of(stream, "stations")
                assert not changed["complete"]
                [station] = [one for one in changed["stations"] if one["id"] == "BW.RJOB..EH"]
                assert station["last_pick"]["id"] == PICK.id
                served.station_table.forget("source")
                assert set((await next_of(stream, "stations"))["gone"]) == {
                    "BW.RJOB..EH",
                    HOSTILE.instrument.text,
                }
            await until(lambda: served.listeners() == 0)

    asyncio.run(body())


def test_what_is_wrong_is_told_again_and_again_also_when_it_is_nothing() -> None:
    async def body() -> None:
        async with serving() as (served, session), session.get("/api/stream") as answer:
            stream = events(answer)
            for _ in range(3):
                assert (await next_of(stream, "problems"))["problems"] == []
            served.problems = [Problem("overloaded", "too much")]
            told: list[dict[str, str]] = []
            while not told:
                told = (await next_of(stream, "problems"))["problems"]
            assert told == [{"code": "overloaded", "text": "too much"}]

    asyncio.run(body())


def test_a_station_that_is_gone_before_the_next_review_does_not_stay_with_who_came_meanwhile() -> None:
    passing = replace(RJOB, station="PASS")

    async def body() -> None:
        async with serving() as (served, session), session.get("/api/stream") as before:
            others = events(before)
            assert (await next_of(others, "stations"))["complete"]
            served.station_table.expect("passing", [passing], 0)
            async with session.get("/api/stream") as answer:
                stream = events(answer)
                told = await next_of(stream, "stations")
                assert passing.instrument.text in {one["id"] for one in told["stations"]}
                served.station_table.forget("passing")
                assert (await next_of(stream, "stations"))["gone"] == [passing.instrument.text]
            # Who was there before hears of both.
            told = await next_of(others, "stations")
            assert [one["id"] for one in told["stations"]] == [passing.instrument.text]
            assert (await next_of(others, "stations"))["gone"] == [passing.instrument.text]

    asyncio.run(body())


def test_who_does_not_read_is_dropped_and_nobody_else() -> None:
    async def body() -> None:
        async with serving() as (served, session), session.get("/api/stream") as answer:
            stream = events(answer)
            await next_of(stream, "stations")
            deaf = socket.socket()
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", served.server.port))
            deaf.sendall(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: served.listeners() == 2)
            heard = sent = 0
            large = replace(PICK, model="m" * 20_000)
            while not served.count("slow"):
                for _ in range(20):
                    served.monitor.picked(replace(large, id=f"id-{sent}"))
                    sent += 1
                while heard < sent:
                    assert (await next_of(stream, "pick"))["id"] == f"id-{heard}"
                    heard += 1
            assert served.count("slow") == 1
            await until(lambda: served.listeners() == 1)
            deaf.close()
            served.monitor.picked(replace(PICK, id="last"))
            assert (await next_of(stream, "pick"))["id"] == "last"

    asyncio.run(body())


def test_what_waits_for_a_listener_is_bounded() -> None:
    listener, message = Listener(None), b"x" * (WAITING_BYTES // 4)
    unheld = sys.getrefcount(message)
    for _ in range(4):
        listener.put(message)
    assert not listener.slow
    assert sys.getrefcount(message) == unheld + 4
    listener.put(message)
    assert listener.slow
    assert sys.getrefcount(message) == unheld


def test_one_listener_too_many_is_refused() -> None:
    async def body() -> None:
        async with serving(max_clients=1) as (served, session), session.get("/api/stream") as first:
            await next_of(events(first), "stations")
            async with session.get("/api/stream") as second:
                assert second.status == 503
                assert int(second.headers["Retry-After"]) > 0
                assert "http.max_clients" in (await second.json())["error"]
            assert served.count("full") == 1

    asyncio.run(body())


def test_traces_are_kept_for_so_many_and_for_those_that_are_watched() -> None:
    curve = np.zeros((2, 2000), np.float32)

    async def body() -> None:
        async with serving(traces=1) as (served, session):
            other = replace(window(0), instrument=Instrument("XX", "OTHER", "", "HH"))
            served.monitor.followed(other, curve)
            served.monitor.followed(window(0), curve)
            assert served.monitor.trace_count == 1
            async with session.get("/api/stream", params={"station": "BW.RJOB..EH"}) as answer:
                stream = events(answer)
                await next_of(stream, "stations")
                served.monitor.followed(window(50), curve[:, :400])
                assert len((await next_of(stream, "trace"))["low"][0]) == 2048 // 4 - 13
                assert served.monitor.trace_count == 2
            await until(lambda: served.monitor.trace_count == 1)
            # An instrument that is not in the station table does not keep its place.
            served.monitor.tidy()
            assert served.monitor.trace_count == 0

    asyncio.run(body())


def peaks_of(part: dict[str, Any]) -> NDArray[np.float32]:
    """As docs/api.md has it."""
    halves = np.frombuffer(base64.b64decode(part["peaks"]), "<u2")
    return (halves.astype("<u4") << 16).view("<f4")


def test_the_wall_tells_what_there_is_and_then_what_is_new() -> None:
    async def body() -> None:
        async with serving() as (served, session):
            rng, total = np.random.default_rng(0), 4000
            samples = rng.normal(0, 100, (3, total)).astype(np.float32)

            def batch(index: int) -> list[Window]:
                return [
                    Window(
                        RJOB.instrument,
                        index,
                        0,
                        samples[:, index : index + 2000],
                        "ZNE",
                        discontinuous=index == 0,
                    )
                ]

            served.monitor.envelopes.take(batch(0))
            async with session.get("/api/stream") as viewer:
                # Somebody looks, if not at the wall.
                others = events(viewer)
                await next_of(others, "stations")
                served.monitor.envelopes.take(batch(0))
                async with session.get("/api/stream", params={"wall": "1"}) as answer:
                    stream = events(answer)
                    told = await next_of(stream, "wall")
                    assert told["stations"]["BW.RJOB..EH"]["first"] == 0
                    async with session.get("/api/wall") as found:
                        whole = await found.json()
                    assert whole == told
                    assert whole["bin_s"] == 0.25
                    for index in (400, 800):
                        served.monitor.envelopes.take(batch(index))
                    part: dict[str, Any] = {"peaks": ""}
                    while not part["peaks"]:
                        part = (await next_of(stream, "wall"))["stations"].get("BW.RJOB..EH", part)
                    assert part["first"] == 2000 // 25
                    peaks = np.concatenate([peaks_of(whole["stations"]["BW.RJOB..EH"]), peaks_of(part)])
                    expected = np.abs(band_passed(samples[:1, :2800])).reshape(-1, 25).max(axis=1)
                    np.testing.assert_allclose(peaks, expected, rtol=0.01)
                    # Whoever does not look at the wall hears nothing of it.
                    served.monitor.picked(PICK)
                    heard = []
                    async for name, _ in others:
                        heard.append(name)
                        if name == "pick":
                            break
                    assert "wall" not in heard

    asyncio.run(body())


def test_a_day_of_a_station_is_kept_from_the_first_time_that_it_is_asked_for() -> None:
    async def body() -> None:
        async with serving(days=1) as (served, session):
            samples = np.random.default_rng(0).normal(0, 100, (3, 4000)).astype(np.float32)
            other = replace(RJOB.instrument, station="FIRST")
            served.station_table.expect("source", [RJOB, HOSTILE, replace(RJOB, station="FIRST")], 0)
            served.monitor.envelopes.take([Window(other, 0, 0, samples, "ZNE", discontinuous=True)])

            async def asked(query: str) -> tuple[int, Any]:
                async with session.get(f"/api/day{query}") as answer:
                    return answer.status, await answer.json()

            status, told = await asked("?station=BW.FIRST..EH")
            assert (status, told["bin_s"], told["first"], len(peaks_of(told))) == (200, 2.0, 0, 20)
            newest = (await asked("?station=BW.FIRST..EH&since=18"))[1]
            assert newest["first"] == 18
            np.testing.assert_array_equal(peaks_of(newest), peaks_of(told)[18:])
            assert (await asked("?station=BW.RJOB..EH"))[1]["peaks"] == ""
            served.monitor.envelopes.take([Window(RJOB.instrument, 0, 0, samples, "ZNE", discontinuous=True)])
            assert len(peaks_of((await asked("?station=BW.RJOB..EH"))[1])) == 20
            assert await asked("?station=XX.NONE..HH") == (
                404, {"error": "station: 'XX.NONE..HH': no such station; /api/stations lists them"},
            )  # fmt: skip
            assert (await asked("?station=BW.RJOB..EH&since=-1"))[0] == 400
        async with serving(days=0) as (_, session), session.get("/api/day?station=BW.RJOB..EH") as answer:
            assert answer.status == 404
            assert "http.days" in (await answer.json())["error"]

    asyncio.run(body())


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "in memory"])
def test_final_picks_of_the_last_24_hours_are_counted_by_the_hour(stored: bool, tmp_path: Path) -> None:
    hour_ns = 3600 * 10**9

    async def body() -> None:
        store = PickStore(tmp_path / STORE) if stored else None
        now = time.time_ns() // hour_ns
        # An hour may end meanwhile: nothing is in the oldest one, nor in the newest.
        made = [
            replace(pick, id=f"{pick.id}-{ago}-{number}", early_id=None, outcome=None, moved_s=None, time_ns=(now - ago) * hour_ns + number)
            for pick in (EARLY, FINAL)
            for ago, count in ((1, 3), (5, 1), (22, 2), (24, 7))
            for number in range(count)
        ]  # fmt: skip
        if store is not None:
            store.add(made, {})
        async with serving(store) as (served, session):
            for pick in () if stored else made:
                served.monitor.picked(pick)
            async with session.get("/api/picks-per-hour") as answer:
                told = await answer.json()
        first = ns_from_iso(told["start"]) // hour_ns
        counts = told["stations"]["BW.RJOB..EH"]
        assert (len(counts), sum(counts)) == (24, 6)
        assert {first + place - now: count for place, count in enumerate(counts) if count} == {
            -1: 3,
            -5: 1,
            -22: 2,
        }
        if store is not None:
            store.close()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/picks?limit=0", 400, "limit: '0': must be a whole number from 1 to 2000"),
        ("/api/picks?limit=%C2%B2", 400, "limit"),
        ("/api/picks?since=yesterday", 400, "since: 'yesterday': must be a time such as"),
        ("/api/picks?station=RJOB", 400, "must be NET.STA.LOC.BI"),
        ("/api/stream?station=XX.NONE..HH", 404, "no such station"),
    ],
)
def test_bad_queries_are_refused_with_what_is_allowed(path: str, status: int, said: str) -> None:
    async def body() -> None:
        async with serving() as (_, session), session.get(path) as answer:
            assert answer.status == status
            assert said in (await answer.json())["error"]

    asyncio.run(body())


def test_only_this_machine_is_answered_while_on_loopback() -> None:
    async def body() -> None:
        async with serving() as (served, session):
            for headers, status in (
                ({"Host": f"localhost:{served.server.port}"}, 200),
                ({"Host": f"[::1]:{served.server.port}"}, 200),
                ({"Host": "evil.example"}, 403),
                ({"Host": "127.0.0.1.evil.example"}, 403),
                ({"Host": "[::1"}, 403),
                ({"Sec-Fetch-Site": "cross-site"}, 403),
                ({"Sec-Fetch-Site": "same-origin"}, 200),
            ):
                async with session.get("/api/stations", headers=headers) as answer:
                    assert answer.status == status, headers
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            async with session.get("/healthz", headers={"Host": "scraped.example"}) as answer:
                assert answer.status == 200
        async with (
            serving(host="0.0.0.0") as (_, session),  # noqa: S104  what is tested
            session.get("/api/stations", headers={"Host": "picker.example"}) as answer,
        ):
            assert answer.status == 200

    asyncio.run(body())


def test_the_page_runs_nothing_but_its_own() -> None:
    async def body() -> None:
        async with serving() as (_, session), session.get("/") as answer:
            policy, text = answer.headers["Content-Security-Policy"], await answer.text()
            assert "script-src 'sha256-" in policy
            assert "style-src 'sha256-" in policy
            assert "unsafe" not in policy
            assert "innerHTML" not in text
            assert "http://" not in text.replace("http://www.w3.org/", "")
            assert "https://" not in text

    asyncio.run(body())


EARLY = replace(PICK, id="id-0-early", stage="early", latency=Latency(0.5, 0.0, 0.2, 0.0, 0.1))
FINAL = replace(PICK, latency=Latency(5.0, 0.0, 0.2, 0.0, 0.1), early_id=EARLY.id, outcome="confirmed", moved_s=0.0)  # fmt: skip
FALSE = replace(EARLY, id="id-1-early", time_ns=PICK.time_ns + 10**9)
MADE = (EARLY, FINAL, FALSE, withdrawal(FALSE))


def test_a_listener_hears_of_early_final_and_withdrawn_picks() -> None:
    async def body() -> None:
        async with serving() as (served, session), session.get("/api/stream") as answer:
            stream = events(answer)
            await next_of(stream, "stations")
            for pick in MADE:
                served.monitor.picked(pick)
                served.station_table.picked(pick)
            heard = [await next_of(stream, "pick") for _ in MADE]
            assert [(one["id"], one["stage"], one.get("outcome"), one.get("early_id")) for one in heard] == [
                (pick.id, pick.stage, pick.outcome, pick.early_id) for pick in MADE
            ]
            [station] = (await next_of(stream, "stations"))["stations"]
            assert (station["picks"], station["early_picks"], station["withdrawn_picks"]) == (1, 2, 1)
            assert station["last_pick"]["id"] == FINAL.id
            assert station["pick_latency_s"] == {"early": 0.8, "final": 5.3}

    asyncio.run(body())


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "in memory"])
def test_picks_are_the_final_ones_unless_others_are_asked_for(stored: bool, tmp_path: Path) -> None:
    async def body() -> None:
        store = PickStore(tmp_path / STORE) if stored else None
        if store is not None:
            store.add(MADE, {})
        async with serving(store) as (served, session):
            for pick in () if stored else MADE:
                served.monitor.picked(pick)

            async def told(query: str) -> list[str]:
                async with session.get(f"/api/picks{query}") as answer:
                    return [pick["id"] for pick in (await answer.json())["picks"]]

            assert await told("") == await told("?stage=final") == [FINAL.id]
            assert await told("?stage=early") == [EARLY.id, FALSE.id]
            assert set(await told("?stage=all")) == {pick.id for pick in MADE}
            # What is left out does not count for the limit.
            assert await told("?limit=1") == [FINAL.id]
            async with session.get("/api/picks?stage=late") as answer:
                assert answer.status == 400
                assert (await answer.json())["error"] == "stage: 'late': must be early, final or all"
        if store is not None:
            store.close()

    asyncio.run(body())


def test_without_a_store_the_last_picks_are_told_from_memory() -> None:
    async def body() -> None:
        async with serving() as (served, session):
            for number in range(RECENT_PICKS + 10):
                served.monitor.picked(replace(PICK, id=f"id-{number}", time_ns=PICK.time_ns + number * 10**9))
            async with session.get("/api/picks?limit=3&since=2009-08-24T00:20:07Z") as answer:
                found = await answer.json()
            assert [pick["id"] for pick in found["picks"]] == [f"id-{RECENT_PICKS + n}" for n in (7, 8, 9)]
            assert found["truncated"]
            async with session.get("/api/picks?until=2009-08-24T00:20:07Z") as answer:
                assert await answer.json() == {"picks": [], "truncated": False}

    asyncio.run(body())
