"""Source and sinks begin at once, each in its thread, with everything still to be imported."""

import sys
from pathlib import Path

from tests.contract.test_sinks import pick
from tests.end_to_end.harness import Daemon, Server, wait_until
from tests.end_to_end.test_faults import source_at
from tests.everysink import SINKS_HERE, EverySink
from xiaod.replay import ReplayConfig
from xiaod.storage.pick_store import STORE, PickStore

STARTS = 3
"""Which thread comes first is chance; what it imports is seen whether or not that does harm this time."""
WAITING = 3
"""Picks that each sink has not got yet at each start."""


def leave_backlog(store_path: Path, start: int) -> None:
    """Picks that no sink has got, as a run that was killed leaves them."""
    store = PickStore(store_path)
    for model in SINKS_HERE:
        store.begin(model.kind_name())
    store.add([pick(WAITING * start + number) for number in range(WAITING)], {})
    store.close()


def test_source_and_sinks_that_all_begin_cold_import_nothing_in_their_threads(
    tmp_path: Path,
) -> None:
    imports = tmp_path / "imports"
    with (
        EverySink(tmp_path) as every,
        Server(ReplayConfig(inputs=("example",), port=0, speed=20.0, loop=True)) as server,
    ):
        source = source_at(server.port, server=f"localhost:{server.port}", streams=["B?.*.*.EH?"])
        for start in range(STARTS):
            leave_backlog(tmp_path / "state" / STORE, start)
            with Daemon(
                tmp_path,
                command=[sys.executable, "-m", "tests.end_to_end.cold"],
                environment={"IMPORTS_FILE": str(imports)},
                sources=[source],
                sinks=every.configuration(),
            ) as daemon:
                daemon.wait_for_records(1)
                wait_until(
                    lambda: all(
                        daemon.metric("xiaod_sink_picks_total", sink=model.kind_name()) >= WAITING
                        for model in SINKS_HERE
                    ),
                    "the backlog at every sink",
                )
                assert daemon.stop() == 0
            assert imports.read_text(encoding="utf-8") == ""
            assert daemon.events("sink.failed") == []
