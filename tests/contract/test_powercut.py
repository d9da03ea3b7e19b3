"""The power is cut at any system call: what has been promised is there, and nothing is there by halves."""

import json
import sqlite3
import xml.etree.ElementTree as ElementTree
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.contract.test_sinks import AGENCY, pick
from tests.powercut import Event, Removed, Resized, Synced, Written, power_cuts, put, traced
from xiaod.config.sinks import SINKS
from xiaod.config.sinks.file import AppendedConfig, FolderConfig
from xiaod.domain.document import pick_document
from xiaod.domain.types import Instrument
from xiaod.storage.pick_store import STORE, PickStore

PICKS = 4
DELIVERIES = """
import json, os, sys
from xiaod.config import Config
from xiaod.domain.document import pick_from_document
from xiaod.pipeline.factory import open_sinks

config, documents = json.loads(sys.argv[2]), json.loads(sys.argv[3])
[sink] = open_sinks(Config.model_validate({"sources": [{"server": "a"}], "sinks": [config]}))
picks = [pick_from_document(document) for document in documents]
taken = []
for number, pick in enumerate(picks):
    # The one before once more, as after a delivery of which the end is not known.
    batch = picks[max(0, number - 1) : number + 1]
    sink.deliver(batch, number)
    taken = picks[: number + 1]
    for safe in taken[: len(taken) - sink.held]:
        os.write(1, safe.id.encode())
sink.close()
for safe in picks:
    os.write(1, safe.id.encode())
"""


@pytest.mark.parametrize(
    "kind", [model.kind_name() for model in SINKS if issubclass(model, AppendedConfig | FolderConfig)]
)
def test_a_pick_that_counts_as_delivered_outlives_a_power_cut(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    [model] = [model for model in SINKS if model.kind_name() == kind]
    appended = issubclass(model, AppendedConfig)
    documents = [pick_document(pick(number), AGENCY) for number in range(PICKS)]
    config = {"kind": kind, **model.EXAMPLE, model.DESTINATION: str(folder / "new" / "picks")}
    if appended:
        config["fsync"] = "always"
    events = traced(folder, DELIVERIES, str(folder), json.dumps(config), json.dumps(documents))
    cuts = 0
    for said, left in power_cuts(events, Random(1)):
        cuts += 1
        whole = {path: content for path, content in left.items() if not path.endswith(".partial")}
        text = b"\n".join(whole.values()).decode(errors="replace")
        for identifier in said:
            assert identifier in text, (identifier, list(left))
        if not appended:
            for content in whole.values():
                # One that is cut, or has holes, is no XML.
                ElementTree.fromstring(content)  # noqa: S314  our own
    assert {document["id"] for document in documents} == set(said)
    assert cuts > 20 * PICKS


STEPS = 130
"""Enough writes for SQLite to carry its log into the file (1,000 pages) in the midst of them."""
STORING = """
import os, sys
from pathlib import Path
from xiaod.domain.types import Channel, Instrument, Pick
from xiaod.storage.pick_store import PickStore

store = PickStore(Path(sys.argv[1]))
store.begin("sink")
for number in range(1, int(sys.argv[2]) + 1):
    channel = Channel("BW", "RJOB", "", "EHZ")
    # Long texts, so that fewer writes fill the log.
    pick = Pick(f"{number:06d}", channel, "P", number, 0.1, 0.9, 5.0, 1.0, "Z" * 6000, "micro-1", "0" * 64)
    store.add([pick], {channel.instrument: number})
    store.save({}, {"server": {("BW", "RJOB"): (number, number)}})
    store.delivered("sink", store.waiting("sink", 1)[0][0])
    os.write(1, str(number).encode())
store.close()
"""


def test_a_store_outlives_a_power_cut_at_any_moment(tmp_path: Path) -> None:
    folder, left_in = tmp_path / "state", tmp_path / "left"
    folder.mkdir()
    events = traced(folder, STORING, str(folder / STORE), str(STEPS))
    rng = Random(2)

    def counts(event: Event) -> bool:
        # All that orders writes; of those into the file itself some, of the log's many a few.
        if isinstance(event, Written):
            return rng.random() < (0.06 if event.path.endswith(STORE) else 0.005)
        return isinstance(event, Synced | Resized | Removed)

    moments = set()
    for _, left in power_cuts(events, rng, counts):
        put(left, folder, left_in)
        store = PickStore(left_in / STORE)
        picks = len(store.between(None, None))
        [number, _] = store.positions("server").get(("BW", "RJOB"), (0, 0))
        # All of one moment: nothing is further on than the picks that are there.
        assert (store.picked_until(Instrument("BW", "RJOB", "", "EH")) or 0) == picks
        assert picks - 1 <= number <= picks
        assert 0 <= store.backlog("sink") <= 1
        store.close()
        assert not list(left_in.glob("*.bad*"))
        with closing(sqlite3.connect(left_in / STORE)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        moments.add(picks)
    assert len(moments) > 5
    assert max(moments) == STEPS
