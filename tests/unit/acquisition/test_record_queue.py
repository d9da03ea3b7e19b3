"""The inbox between threads and the event loop: sources take turns, a full queue makes its own source wait and no other."""

import asyncio
import threading

from xiaod.acquisition import Emit
from xiaod.acquisition.record_queue import ENOUGH, End, Inbox, SourceBridge
from xiaod.domain.types import BadRecord


def items(source: str, count: int) -> list[BadRecord]:
    return [BadRecord(source, str(number)) for number in range(count)]


def test_a_source_that_catches_up_does_not_hold_up_a_live_one() -> None:
    async def body() -> list[str]:
        inbox = Inbox(bound=4096)
        for item in items("behind", 4000):
            inbox.put(item)
        inbox.put(BadRecord("live", "now"))
        return [item.source for item in await inbox.take()]

    taken = asyncio.run(body())
    assert taken.count("live") == 1
    assert taken.count("behind") == 128


def test_order_is_kept_and_a_full_queue_makes_only_its_own_source_wait() -> None:
    class Many:
        name = "many"

        def run(self, emit: Emit) -> None:
            for item in items("many", 50):
                emit(item)

        def stop(self) -> None: ...

    async def body() -> list[BadRecord | End]:
        inbox = Inbox(bound=10)
        bridge = SourceBridge(Many(), inbox)
        bridge.start()
        await asyncio.sleep(0.1)
        assert len(inbox) == 10
        putting = threading.Thread(target=inbox.put, args=(BadRecord("other", "0"),))
        putting.start()
        putting.join(5)
        assert not putting.is_alive()
        assert not inbox.ended
        got: list[BadRecord | End] = []
        while len(got) < 52:
            got += [item for item in await inbox.take() if isinstance(item, BadRecord | End)]
        await bridge.join()
        inbox.detach()
        assert inbox.ended
        return got

    got = asyncio.run(body())
    assert [item for item in got if item.source == "many"] == [*items("many", 50), End("many")]


def test_a_closed_inbox_lets_everybody_go() -> None:
    async def body() -> None:
        inbox = Inbox(bound=1)
        inbox.put(BadRecord("a", "0"))
        waiting = threading.Thread(target=inbox.put, args=(BadRecord("a", "1"),))
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        inbox.close()
        waiting.join(5)
        assert not waiting.is_alive()
        assert len(inbox) == 1

    asyncio.run(body())


def test_no_more_items_are_waited_for_when_there_are_enough() -> None:
    async def body() -> int:
        inbox = Inbox(bound=4096, gather_s=3600.0)
        for item in items("quick", ENOUGH):
            inbox.put(item)
        return len(await asyncio.wait_for(inbox.take(), 60))

    assert asyncio.run(body()) == ENOUGH


def test_a_few_items_are_taken_after_the_time_for_which_others_are_waited_for() -> None:
    async def body() -> int:
        inbox = Inbox(bound=4096, gather_s=0.01)
        for item in items("slow", 2):
            inbox.put(item)
        return len(await asyncio.wait_for(inbox.take(), 60))

    assert asyncio.run(body()) == 2
