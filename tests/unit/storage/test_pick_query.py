"""Who only looks at a store changes nothing, whatever the file is."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.storage.test_pick_store import INSTRUMENT, pick_of
from xiaod.cli.main import main
from xiaod.domain.timegrid import NS_PER_S
from xiaod.process.exit_status import ExitCode
from xiaod.storage.pick_query import picks_per_hour, stored_picks
from xiaod.storage.pick_store import PickStore


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_span_an_instrument_and_the_latest(path: Path) -> None:
    store = PickStore(path)
    picks = [pick_of(3), pick_of(1), pick_of(2, "OTHER"), pick_of(4)]
    store.add(picks, {})
    assert stored_picks(path) == sorted(picks, key=lambda pick: pick.time_ns)
    assert stored_picks(path, 2 * NS_PER_S, 4 * NS_PER_S) == [pick_of(2, "OTHER"), pick_of(3)]
    assert stored_picks(path, instrument=INSTRUMENT, limit=2) == [pick_of(3), pick_of(4)]
    assert stored_picks(path, instrument=replace(INSTRUMENT, band="HH")) == []
    store.close()


def test_final_picks_are_counted_by_the_hour(path: Path) -> None:
    store = PickStore(path)
    hour = 3600
    final = [
        pick_of(3 * hour),
        pick_of(3 * hour + 5),
        pick_of(4 * hour - 1, "OTHER"),
        pick_of(4 * hour),
        pick_of(1),
    ]
    early = replace(pick_of(3 * hour + 9), id="early", stage="early")
    store.add([*final, early], {})
    other = replace(INSTRUMENT, station="OTHER").text
    assert picks_per_hour(path, 2 * hour * NS_PER_S) == {INSTRUMENT.text: {3: 2, 4: 1}, other: {3: 1}}
    store.close()


def of_later_version(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))


@pytest.mark.parametrize(
    ("harm", "said"), [(of_later_version, "store version 99; this program knows 4"), (damaged, "malformed")]
)
def test_a_store_that_cannot_be_read_is_left_to_its_daemon(
    path: Path, harm: object, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = PickStore(path)
    store.add([pick_of(1)], {})
    store.close()
    assert callable(harm)
    harm(path)
    before = contents(path.parent)
    config = path.parent.with_name("config.yaml")
    config.write_text(f"sources: [{{server: localhost}}]\nstate: {{folder: {path.parent}}}\n")
    assert main(["picks", "--config", str(config)]) == ExitCode.CONFIGURATION
    assert said in capsys.readouterr().err
    # SQLite may leave its empty helpers beside it.
    assert before.items() <= contents(path.parent).items()
    assert not list(path.parent.glob("*.bad*"))
