"""What is wrong is said, and nothing that is right."""

import asyncio
import time
from typing import get_args

import pytest

from xiaod.acquisition.record_queue import End, Inbox
from xiaod.domain.types import BadRecord, LinkChange, LinkState
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.problems import HINDERING, Facts, problems_of
from xiaod.pipeline.queues import WindowQueue
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.waveform.instrument import BufferSettings


def codes(facts: Facts) -> list[str]:
    return [one.code for one in problems_of(facts)]


def test_each_fact_has_its_words() -> None:
    assert codes(Facts({"a": "streaming"}, queues={"a": 0.5}, waiting_s=0.5, latencies_s={"X": 3.0})) == []
    assert codes(Facts({"a": "ended"})) == ["source_down"]
    assert codes(Facts({"a": "connecting"}, {"a": "refused"})) == ["source_down"]
    assert codes(Facts({"a": "idle"})) == []
    assert codes(Facts(queues={"a": 0.95})) == codes(Facts(waiting_s=5.0)) == ["overloaded"]
    assert codes(Facts(store="disk full")) == ["store_failing"]
    assert codes(Facts(silent=1, latencies_s={"X": 1.0})) == []
    assert codes(Facts(silent=2, latencies_s={"X": 1.0})) == ["stations_silent"]
    assert codes(Facts(sinks={"mqtt": "3 picks wait: no route"})) == ["sink_failing"]
    assert codes(Facts(state="read-only")) == ["state_failing"]
    assert codes(Facts(state="disk full", store="disk full")) == ["store_failing"]
    assert codes(Facts(snippets="miniseed: disk full")) == ["snippets_failing"]
    [late] = problems_of(Facts(latencies_s={f"S{number}": 5.0 + number for number in range(10)}))
    assert late.text.startswith(
        "4 of 10 stations: data are more than 10 s old when they arrive (S9 14.0 s, S8 13.0 s, S7 12.0 s, ...)"
    )
    assert late.code not in HINDERING


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a", "source a: no connection: Connection refused: nothing listens on 127.0.0.1:1; is the server running?"),
        ("127.0.0.1:1", "no connection: Connection refused: nothing listens on 127.0.0.1:1; is the server running?"),
    ],
)  # fmt: skip
def test_an_address_is_named_once(name: str, text: str) -> None:
    why = "Connection refused: nothing listens on 127.0.0.1:1; is the server running?"
    assert [one.text for one in problems_of(Facts(failures={name: why}))] == [text]


def test_a_source_is_down_until_it_streams_again() -> None:
    table = StationTable(60 * 10**9)
    assembler = Assembler(BufferSettings(length=1000), Metrics(), table, time.time_ns)

    def told(state: LinkState, detail: str = "") -> dict[str, str]:
        assembler.take(LinkChange("a", state, 0, detail), 0)
        return dict(table.failures)

    assert told("connecting") == {}
    assert told("connect_failed", "nothing listens there") == {"a": "nothing listens there"}
    assert told("connecting") == {"a": "nothing listens there"}
    assert told("streaming") == {}
    assert told("disconnected") == {"a": "disconnected"}
    for state in get_args(LinkState):
        assert bool(told(state)) == (state in {"connecting", "disconnected", "connect_failed"})
        told("disconnected")
    table.forget("a")
    assert table.failures == {}


def test_queues_say_how_full_they_are_and_how_long_the_first_has_waited() -> None:
    async def body() -> None:
        inbox, windows = Inbox(bound=4), WindowQueue(4)
        inbox.attach()
        for _ in range(3):
            await asyncio.to_thread(inbox.put, BadRecord("a", "empty"))
        assert inbox.filled() == {"a": 0.75}
        await inbox.take()
        assert inbox.filled() == {"a": 0.0}
        assert windows.waiting_s == 0.0
        await windows.put(End())
        await asyncio.sleep(0.02)
        await windows.put(End())
        assert windows.waiting_s >= 0.02
        await windows.get()
        assert windows.waiting_s > 0
        await windows.get()
        assert windows.waiting_s == 0.0
        # What the engine has taken, and does not finish, waits too.
        with windows.in_hand():
            await asyncio.sleep(0.02)
            assert windows.waiting_s >= 0.02
        assert windows.waiting_s == 0.0

    asyncio.run(body())
