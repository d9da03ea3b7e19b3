"""The daemon gives each sink the picks of its stages, and the readers of all kinds find them."""

from pathlib import Path

import pytest

from tests.contract.test_sinks import STAGES, early
from tests.end_to_end.harness import Daemon, wait_until
from tests.everysink import SINKS_HERE, EverySink
from xiaod.domain.onsets import is_of, standing
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import Stages
from xiaod.storage.pick_store import STORE, PickStore


@pytest.mark.parametrize("stages", ["final", "early", "all"])
def test_each_sink_gets_the_stored_picks_of_its_stages(tmp_path: Path, stages: Stages) -> None:
    taken = [one for one in STAGES if is_of(one, stages)]
    # As a run that was killed leaves them.
    store = PickStore(tmp_path / "state" / STORE)
    for model in SINKS_HERE:
        store.begin(model.kind_name(), stages)
    store.add(STAGES, {})
    store.close()
    with EverySink(tmp_path) as every:
        sinks = every.configuration(stages)
        [quakeml] = [sink for sink in sinks if sink["kind"] == "quakeml"]
        quakeml["interval_s"] = 3600.0
        with Daemon(tmp_path, sources=[{"server": "127.0.0.1:9"}], sinks=sinks) as daemon:
            wait_until(
                lambda: all(
                    daemon.metric("xiaod_sink_picks_total", sink=model.kind_name()) == len(taken)
                    for model in SINKS_HERE
                ),
                "all picks at every sink",
            )
            assert all(
                daemon.metric("xiaod_sink_backlog", sink=model.kind_name()) == 0
                for model in SINKS_HERE
                if model.kind_name() != "quakeml"
            )
            assert daemon.stop() == 0
            assert daemon.process.stdout is not None
            shown = daemon.process.stdout.read().decode().splitlines()
        arrived = every.arrived()
    everything = [one.id for one in taken]
    # A file cannot say that a pick is withdrawn, or has the early pick again, or of one onset only the last.
    not_withdrawn = [one.id for one in taken if one.stage != "withdrawn"]
    elements = [early(3).id if one.stage == "withdrawn" else one.id for one in taken]
    last = [early(3).id if one.stage == "withdrawn" else one.id for one in standing(taken)]
    expected = {
        **dict.fromkeys(arrived, everything),
        "anss": not_withdrawn,
        "scml": elements,
        "quakeml": last,
    }
    assert arrived == {kind: sorted(ids) for kind, ids in expected.items()}
    assert [line.split()[0] for line in shown] == [iso_from_ns(one.time_ns) for one in taken]
