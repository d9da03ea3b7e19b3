"""What a sink_runner does with a sink that refuses, asks for time, is down at the end, or hangs."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests import virtual
from xiaod.acquisition.record_queue import End
from xiaod.domain.onsets import withdrawal
from xiaod.domain.types import Channel, Delivered, Pick, Stages, Wanted
from xiaod.pipeline.sink_runner import SinkRunner
from xiaod.process.logs import configure_logs
from xiaod.process.metrics import Metrics
from xiaod.sinks import Refused, RetryLater, Sink
from xiaod.storage.backlog import Backlog, StoredBacklog
from xiaod.storage.pick_store import PickStore, StoreDamagedError

NOW_NS = 1_700_000_000_000_000_000
COUNT = 300
"""More than one delivery."""


def pick(number: int) -> Pick:
    channel = Channel("BW", "RJOB", "", "EHZ")
    return Pick(
        f"{number:03d}", channel, "P", NOW_NS + number, 0.1, 0.9, 5.0, 1.0, "ZNE", "micro-1", "0" * 64
    )


class Taker:
    """A sink that keeps what it takes, and does not take everything."""

    name = "taker"
    stages: Stages = "all"
    wanted: Wanted = "picks"

    def __init__(self, refused: Iterable[int] = (), *, named: bool = False, keeps: int = 0) -> None:
        self._refused = {pick(number).id for number in refused}
        self._named = named
        self._keeps = keeps
        self.calls = 0
        self.taken: list[str] = []

    @property
    def held(self) -> int:
        return min(self._keeps, len(self.taken))

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        self.calls += 1
        ids = [entry.id for entry in picks]
        if found := self._refused.intersection(ids):
            raise Refused("HTTP 422", found if self._named else ())
        self.taken += ids

    def close(self) -> None:
        pass


class Down(Taker):
    """A sink whose every call does what it is told to."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        self.calls += 1
        if picks:
            self._happens()
        super().deliver(picks, now_ns)


def stored(store: PickStore, count: int) -> None:
    store.add([pick(number) for number in range(count)], {})


async def delivered(
    sink: Sink, metrics: Metrics, backlog: Backlog | None, *, count: int = 0, clock: int | None = NOW_NS
) -> SinkRunner:
    sink_runner = SinkRunner(sink, metrics, lambda: clock, backlog)
    sink_runner.finish_within(0.5)
    for number in range(count):
        await sink_runner.put(pick(number))
    await sink_runner.put(End())
    await sink_runner.deliver()
    return sink_runner


def refusals(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("xiaod_sink_refused_total", {"sink": "taker"})


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("refused", [[0], [299], [7, 8, 255, 256], [150]])
def test_picks_that_are_refused_are_passed_over_and_no_others(
    tmp_path: Path, refused: list[int], named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    store = PickStore(tmp_path / "picks.sqlite")
    backlog = StoredBacklog(store, "taker")
    stored(store, COUNT)
    sink, metrics = Taker(refused, named=named), Metrics()
    for number in range(COUNT):
        backlog.noted(pick(number))
    sink_runner = virtual.run(delivered(sink, metrics, backlog))
    assert sink.taken == [pick(number).id for number in range(COUNT) if number not in refused]
    assert refusals(metrics) == len(refused)
    assert sink.calls < 30 * len(refused)
    assert len(sink_runner) == store.backlog("taker") == 0
    said = capsys.readouterr()
    for number in refused:
        assert f"pick={pick(number).id}" in said.out + said.err
    store.close()


def test_what_is_held_when_a_pick_is_refused_comes_again_after_a_crash(tmp_path: Path) -> None:
    store = PickStore(tmp_path / "picks.sqlite")
    backlog = StoredBacklog(store, "taker")
    stored(store, 10)
    # Taken: 0 to 4, of which 3 and 4 are not safe; 5 is refused.
    assert len(backlog.waiting(5)) == 5
    backlog.delivered(2)
    backlog.waiting(1)
    backlog.skipped()
    assert [entry.id for entry in backlog.waiting(1)] == ["006"]
    assert [entry.id for entry in StoredBacklog(store, "taker").waiting(1)] == ["003"]
    # A tick, and all is safe: the refused one too.
    backlog.waiting(0)
    backlog.delivered(0)
    assert [entry.id for entry in StoredBacklog(store, "taker").waiting(1)] == ["006"]
    assert [entry.id for entry in backlog.waiting(1)] == ["006"]
    store.close()


def test_an_offline_run_is_told() -> None:
    with pytest.raises(Refused, match="422"):
        virtual.run(delivered(Taker([1]), Metrics(), None, count=3, clock=None))


def test_a_sink_is_left_alone_as_long_as_it_asks_for() -> None:
    tried_s: list[float] = []

    async def body() -> Taker:
        loop = asyncio.get_running_loop()

        def later() -> None:
            tried_s.append(loop.time())
            if len(tried_s) == 1:
                raise RetryLater("HTTP 429", retry_s=1.5)

        # In memory nothing outlasts the end, so the end waits.
        sink = Down(later)
        await delivered(sink, Metrics(), None, count=3)
        return sink

    sink = virtual.run(body())
    assert tried_s[1] - tried_s[0] >= 1.5
    assert sink.taken == ["000", "001", "002"]


def test_a_sink_that_works_only_now_and_then_is_left_alone_for_longer_each_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried = 0

    def every_other_time() -> None:
        nonlocal tried
        tried += 1
        if tried % 2:
            raise ConnectionResetError("expelled by another client")

    class OneByOne(Down):
        portion = 1

    configure_logs("info", "json")
    sink = OneByOne(every_other_time)
    virtual.run(delivered(sink, Metrics(), None, count=3))
    assert sink.taken == ["000", "001", "002"]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    retries = [line["retry_s"] for line in lines if line["event"] == "sink.failed"]
    assert [line["failures"] for line in lines if line["event"] == "sink.recovered"] == [1, 1, 1]
    # At least half of 1, 2 and 4 s.
    assert [retry_s >= least_s for retry_s, least_s in zip(retries, (0.5, 1, 2), strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ("final", ["001"]),
        ("early", ["000-early", "000-early-withdrawn", "001-early"]),
        ("all", ["000-early", "000-early-withdrawn", "001-early", "001"]),
    ],
)
@pytest.mark.parametrize("live", [False, True])
def test_a_sink_gets_the_picks_of_its_stages(
    tmp_path: Path, stages: Stages, expected: list[str], live: bool
) -> None:
    wrong, right = (replace(pick(number), id=f"{pick(number).id}-early", stage="early") for number in (0, 1))
    found = replace(pick(1), early_id=right.id, outcome="confirmed", moved_s=0.0)
    made = [wrong, withdrawal(wrong), right, found]
    sink, store = Taker(), PickStore(tmp_path / "picks.sqlite")
    sink.stages = stages
    backlog = StoredBacklog(store, "taker", stages) if live else None
    store.add(made, {})

    async def body() -> SinkRunner:
        sink_runner = SinkRunner(sink, Metrics(), lambda: NOW_NS if live else None, backlog)
        for one in made:
            await sink_runner.put(one)
        assert len(sink_runner) == len(expected)
        await sink_runner.put(End())
        await sink_runner.deliver()
        return sink_runner

    assert len(virtual.run(body())) == 0
    assert sink.taken == expected
    store.close()


def test_what_gathers_behind_a_pick_that_failed_is_delivered_together() -> None:
    failed: list[bool] = []

    def once() -> None:
        if not failed:
            failed.append(True)
            raise ConnectionResetError("just this one")

    sink = Down(once)

    async def body() -> None:
        sink_runner = SinkRunner(sink, Metrics(), lambda: NOW_NS)
        await sink_runner.put(pick(0))
        delivery = asyncio.create_task(sink_runner.deliver())
        while not failed:  # noqa: ASYNC110  the sink is no task
            await asyncio.sleep(0.01)
        for number in range(1, COUNT):
            await sink_runner.put(pick(number))
        await sink_runner.put(End())
        await delivery

    virtual.run(body())
    assert sink.taken == [pick(number).id for number in range(COUNT)]
    # The one that failed comes alone again, then twice as many each time.
    assert sink.calls < COUNT / 10


def test_the_end_does_not_wait_for_a_sink_that_is_down_and_the_next_run_goes_on(tmp_path: Path) -> None:
    def down() -> None:
        raise ConnectionRefusedError("refused")

    store = PickStore(tmp_path / "picks.sqlite")
    backlog = StoredBacklog(store, "taker")
    stored(store, 5)
    for number in range(5):
        backlog.noted(pick(number))
    sink = Down(down)
    sink_runner = virtual.run(delivered(sink, Metrics(), backlog))
    assert (len(sink_runner), sink.calls) == (5, 1)
    good = Taker()
    virtual.run(delivered(good, Metrics(), StoredBacklog(store, "taker")))
    assert good.taken == [pick(number).id for number in range(5)]
    store.close()


def test_the_end_does_not_wait_for_a_sink_that_hangs(tmp_path: Path) -> None:
    released = threading.Event()
    store = PickStore(tmp_path / "picks.sqlite")
    backlog = StoredBacklog(store, "taker")
    stored(store, 5)
    for number in range(5):
        backlog.noted(pick(number))

    def hang() -> None:
        released.wait()

    try:
        sink_runner = asyncio.run(delivered(Down(hang), Metrics(), backlog))
    finally:
        released.set()
    assert len(sink_runner) == 5
    store.close()


def test_a_fault_of_a_sink_is_logged_counted_and_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    faults: list[BaseException] = [ImportError("half of a module"), MemoryError(), asyncio.CancelledError()]

    def at_fault() -> None:
        if faults:
            raise faults.pop(0)

    configure_logs("info", "json")
    sink, metrics = Down(at_fault), Metrics()
    # In memory nothing outlasts the end, so the end waits.
    virtual.run(delivered(sink, metrics, None, count=3))
    assert sink.taken == ["000", "001", "002"]
    assert metrics.registry.get_sample_value("xiaod_sink_errors_total", {"sink": "taker"}) == 3
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    failed = [line for line in lines if line["event"] == "sink.failed"]
    assert [line["error"] for line in failed] == [
        "ImportError: half of a module",
        "MemoryError: ",
        "CancelledError: ",
    ]
    assert all("at_fault" in line["exception"] and line["level"] == "error" for line in failed)


@pytest.mark.parametrize("part", ["deliver", "close"])
def test_the_end_does_not_wait_for_a_sink_at_fault_and_the_next_run_goes_on(
    tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class AtFault(Taker):
        def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
            if part == "deliver" and picks:
                raise ZeroDivisionError
            super().deliver(picks, now_ns)

        def close(self) -> None:
            if part == "close":
                raise ZeroDivisionError

    configure_logs("info", "json")
    store = PickStore(tmp_path / "picks.sqlite")
    backlog = StoredBacklog(store, "taker")
    stored(store, 5)
    virtual.run(delivered(AtFault(), Metrics(), backlog))
    assert "ZeroDivisionError" in capsys.readouterr().err
    good = Taker()
    virtual.run(delivered(good, Metrics(), StoredBacklog(store, "taker")))
    assert good.taken == ([pick(number).id for number in range(5)] if part == "deliver" else [])
    store.close()


def test_an_offline_run_ends_with_the_fault_of_a_sink() -> None:
    def at_fault() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        virtual.run(delivered(Down(at_fault), Metrics(), None, count=3, clock=None))


def test_a_store_that_is_damaged_is_no_fault_of_the_sink(tmp_path: Path) -> None:
    class Damaged(StoredBacklog):
        def waiting(self, limit: int) -> list[Delivered]:
            raise StoreDamagedError("picks.sqlite")

    store = PickStore(tmp_path / "picks.sqlite")
    with pytest.raises(StoreDamagedError):
        virtual.run(delivered(Taker(), Metrics(), Damaged(store, "taker")))
    store.close()
