"""Events of a live run in which clocks are wrong, that of a station, or that of the machine; and events that are located in a thread."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from models.weights import weights_path
from tests.unit.association.network import Source, onsets, sites
from tests.unit.association.network import pick as located_pick
from xiaod.acquisition.record_queue import End
from xiaod.association.coincidence import Coincidence
from xiaod.config import Config
from xiaod.config.loader import with_stations
from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.domain.types import Channel, Departed, Event, Pick, Probabilities, Stage, Window
from xiaod.inference.onnx import OnnxEngine
from xiaod.pipeline.events import AssociationError, Events
from xiaod.pipeline.factory import check_events
from xiaod.pipeline.pick_stage import PickStage
from xiaod.pipeline.station_table import StationTable
from xiaod.process.logs import configure_logs
from xiaod.process.metrics import Metrics

BEGIN_S = 1_700_000_000
CONFIG = Config.model_validate({"sources": [{"server": "a"}], "events": {"enabled": True, "stations": 3}})
PLACES = sites(12, 1)
AHEAD = Channel("XX", "AHEAD", "", "HHZ").instrument


def p_pick(station: str, time_s: float) -> Pick:
    channel = Channel("XX", station, "", "HHZ")
    time_ns = round(time_s * NS_PER_S)
    return Pick(f"P-{station}", channel, "P", time_ns, 0.1, 0.9, 5.0, 1.0, "ZNE", "m", "0" * 64)


@pytest.mark.parametrize(
    ("ahead_s", "set_back_s"),
    [(0, 0), (50, 0), (3600, 0), (0, 3600)],
)
def test_clocks_that_are_wrong_make_no_station_late(ahead_s: int, set_back_s: int) -> None:
    true_ns = BEGIN_S * NS_PER_S
    host_ns = true_ns
    events = Events(CONFIG, Metrics(), lambda: host_ns, monotonic_clock=lambda: true_ns)
    made: list[Event] = []
    for second in range(100):
        true_ns = host_ns = (BEGIN_S + second) * NS_PER_S
        if second >= 10:
            host_ns -= set_back_s * NS_PER_S
        stop = (true_ns - NS_PER_S + ahead_s * NS_PER_S) // GRID_NS
        events.followed(Window(AHEAD, stop - 2000, 0, np.zeros((3, 2000), np.float32), "ZNE"))
        # Final picks come some seconds after the onset, from one station after the other.
        if second in (20, 24, 28):
            events.take([p_pick("ABC"[(second - 20) // 4], BEGIN_S + second - 6)])
        made += events.update()
    assert [(one.stage, one.stations) for one in made] == [("early", 3), ("final", 3)]


@pytest.mark.parametrize("stage", ["early", "final"])
def test_what_is_announced_does_not_wait_for_ever_for_data(stage: Stage) -> None:
    true_ns = BEGIN_S * NS_PER_S
    events = Events(CONFIG, Metrics(), lambda: true_ns, monotonic_clock=lambda: true_ns)
    picks = [replace(p_pick(name, BEGIN_S), stage=stage) for name in "ABC"]
    events.take(picks)
    assert [one.stage for one in events.update()] == ["early"]
    # From the last data on, it is 600 s.
    true_ns += 400 * NS_PER_S
    stop = (BEGIN_S + 5) * NS_PER_S // GRID_NS
    events.followed(Window(AHEAD, stop - 2000, 0, np.zeros((3, 2000), np.float32), "ZNE"))
    true_ns += 600 * NS_PER_S
    assert not events.is_overdue
    assert events.update() == []
    true_ns += 1
    assert events.is_overdue
    assert [one.stage for one in events.update()] == ["withdrawn" if stage == "early" else "final"]
    assert not events.is_overdue


def located(tmp_path: Path, **events: object) -> Config:
    path = tmp_path / "stations.csv"
    rows = [
        f"XX,{name},{site.latitude_deg},{site.longitude_deg},{site.elevation_m}"
        for name, site in PLACES.items()
    ]
    path.write_text("\n".join(["network,station,latitude,longitude,elevation", *rows]))
    return with_stations(
        Config.model_validate(
            {
                "sources": [{"server": "a"}],
                "stations_file": path,
                "events": {"enabled": True, "method": "pyocto", **events},
            }
        )
    )


def test_located_events_are_made_in_a_thread_while_picks_come(tmp_path: Path) -> None:
    source = Source(46.05, 8.1, 9.0, 30.0)
    picks = sorted(
        (located_pick(*onset) for onset in onsets(source, PLACES, Random(1))), key=lambda one: one.time_ns
    )
    metrics = Metrics()

    async def run() -> list[Event]:
        events = Events(located(tmp_path), metrics, lambda: None)
        assert events.in_thread
        events.take(picks[:10])
        association = asyncio.create_task(events.updated())
        await asyncio.sleep(0)
        events.take(picks[10:])
        made = await association
        made += await events.updated(everything=True)
        events.close()
        return made

    made = asyncio.run(run())
    assert {one.stage for one in made} == {"early", "final"}
    [event] = [one for one in made if one.stage == "final"]
    assert len(event.picks) == len(picks)
    assert metrics.registry.get_sample_value("xiaod_event_association_seconds_count") == 2


def test_located_events_do_not_wait_for_ever_for_data(tmp_path: Path) -> None:
    picks = [located_pick(*onset) for onset in onsets(Source(46.05, 8.1, 9.0, 30.0), PLACES, Random(1))]
    now_ns = BEGIN_S * NS_PER_S

    async def run() -> list[str]:
        nonlocal now_ns
        events = Events(located(tmp_path), Metrics(), lambda: now_ns, monotonic_clock=lambda: now_ns)
        events.take(picks)
        made = await events.updated()
        now_ns += 600 * NS_PER_S
        made += await events.updated()
        now_ns += 1
        made += await events.updated()
        made += await events.updated()
        events.close()
        return [one.stage for one in made]

    assert asyncio.run(run()) == ["early", "final"]


def test_associations_that_announce_leave_the_core_to_others(tmp_path: Path) -> None:
    source = Source(46.05, 8.1, 9.0, 30.0)
    picks = sorted(
        (located_pick(*onset) for onset in onsets(source, PLACES, Random(1))), key=lambda one: one.time_ns
    )
    metrics, now_ns = Metrics(), BEGIN_S * NS_PER_S

    async def run() -> None:
        events = Events(located(tmp_path), metrics, lambda: now_ns, monotonic_clock=lambda: now_ns)
        for one in picks:
            # All at one moment: the first association stands for all.
            events.take([one])
            await events.updated()
        events.close()

    asyncio.run(run())
    assert metrics.registry.get_sample_value("xiaod_event_association_seconds_count") == 1


@pytest.mark.parametrize(("reloads", "said"), [(True, "and reload"), (False, "and restart xiaod events")])
def test_a_station_without_coordinates_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reloads: bool, said: str
) -> None:
    configure_logs("warning", "json")
    events = Events(located(tmp_path), Metrics(), lambda: None, reloads=reloads)
    source = Source(46.05, 8.1, 9.0, 30.0)
    picks = [
        located_pick(*onset)
        for onset in onsets(source, {**PLACES, "NEW": next(iter(PLACES.values()))}, Random(1))
    ]
    events.take(picks)
    [announced] = events.update()
    assert announced.stations == len(PLACES)
    events.take([located_pick("NEW", "P", source.time_s + 9)])
    events.update()
    lines = [line for line in capsys.readouterr().err.splitlines() if "event.unknown_station" in line]
    assert len(lines) == 1
    assert "XX.NEW" in lines[0]
    assert said in lines[0]


def test_what_is_missing_is_named_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "crust.txt"
    wrong.write_text("0 5.8 3.4\n10 6.2\n")
    with pytest.raises(AssociationError, match=r"^events.velocity_model_file: .*crust.txt:2: 2 values"):
        check_events(located(tmp_path, velocity_model_file=wrong))
    check_events(located(tmp_path))
    monkeypatch.delitem(sys.modules, "xiaod.association.located", raising=False)
    monkeypatch.setitem(sys.modules, "pyocto", None)
    with pytest.raises(
        AssociationError,
        match=r"^events.method: method pyocto needs the package pyocto, .* install 'xiaod\[events\]'",
    ):
        check_events(located(tmp_path))


def test_a_live_run_does_not_end_before_the_association_that_goes_on(tmp_path: Path) -> None:
    source = Source(46.05, 8.1, 9.0, 30.0)
    config, now_ns = located(tmp_path), BEGIN_S * NS_PER_S
    metrics = Metrics()

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            stage = PickStage(
                config,
                OnnxEngine(weights_path("micro")),
                executor,
                Metrics(),
                StationTable(10**10),
                lambda: now_ns,
            )
            stage.events = Events(config, metrics, lambda: now_ns)
            stage.events.take([located_pick(*onset) for onset in onsets(source, PLACES, Random(1))])
            results: asyncio.Queue[list[Probabilities] | Departed | End] = asyncio.Queue()
            results.put_nowait(End())
            await stage.run(results, [])
            stage.events.close()

    asyncio.run(run())
    assert metrics.registry.get_sample_value("xiaod_events_total", {"stage": "early"}) == 1


def test_an_association_that_fails_is_counted_and_the_next_ones_make_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics, now_ns = Metrics(), BEGIN_S * NS_PER_S
    events = Events(CONFIG, metrics, lambda: now_ns, monotonic_clock=lambda: now_ns)

    def failing(*arguments: object) -> object:
        raise ValueError("math domain error")

    with monkeypatch.context() as context:
        for method in ("announce", "associate"):
            context.setattr(Coincidence, method, failing)
        events.take([p_pick(name, BEGIN_S) for name in "ABC"])
        assert events.update() == []
        assert asyncio.run(events.updated(everything=True)) == []
    assert metrics.registry.get_sample_value("xiaod_events_failed_total") == 2
    events.take([p_pick(name, BEGIN_S + 60) for name in "DEF"])
    assert [one.stations for one in events.update()] == [3]
