"""Measurements wait in memory: the oldest give way, and nothing of them holds back the store."""

from pathlib import Path

from tests.contract.test_sinks import mean, pick
from xiaod.storage.backlog import PassingBacklog
from xiaod.storage.pick_store import PickStore


def test_the_oldest_give_way_and_what_is_being_delivered_is_deleted_once() -> None:
    backlog = PassingBacklog(3, None, "rsam")
    for minute in range(3):
        backlog.noted(mean(minute))
    backlog.noted(pick(1))
    assert (len(backlog), backlog.full, backlog.lasting) == (3, False, True)
    assert backlog.waiting(2) == [mean(0), mean(1)]
    # While these two are on their way, one more comes, and the first one gives way to it.
    backlog.noted(mean(3))
    backlog.delivered(0)
    assert backlog.waiting(10) == [mean(2), mean(3)]
    # And as many as there is room for.
    for minute in range(4, 9):
        backlog.noted(mean(minute))
    backlog.delivered(0)
    assert backlog.waiting(10) == [mean(6), mean(7), mean(8)]
    backlog.delivered(2)
    assert len(backlog) == 0


def test_the_store_keeps_no_pick_for_a_sink_that_takes_none(tmp_path: Path) -> None:
    store = PickStore(tmp_path / "picks.sqlite")
    PassingBacklog(3, store, "rsam")
    store.add([pick(1), pick(2)], {})
    assert store.backlog("rsam") == 0
    assert store.waiting("rsam", 10) == []
    # One that takes picks from now on gets those that come.
    store.begin("rsam")
    store.add([pick(3)], {})
    assert [found.id for _, found in store.waiting("rsam", 10)] == [pick(3).id]
    store.close()
