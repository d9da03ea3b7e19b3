"""What housekeeping logs of stations."""

import json

import pytest

from xiaod.config import Config, SeedLinkConfig
from xiaod.daemon.housekeeping import CHANGES, Housekeeping
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel
from xiaod.pipeline.station_table import StationTable
from xiaod.process.logs import configure_logs
from xiaod.process.metrics import Metrics
from xiaod.process.systemd import Notifier, Watchdog


async def nothing() -> None:
    """Nothing is saved."""


class Looking:
    """Housekeeping of so many stations that have never sent anything."""

    def __init__(self, stations: int) -> None:
        config = Config(sources=(SeedLinkConfig(server="localhost"),))
        configure_logs("info", "json")
        self.housekeeping = Housekeeping(config, Notifier({}), Watchdog(10.0), Metrics(), nothing)
        self.station_table = StationTable(60 * NS_PER_S)
        self.channels = [Channel("XX", f"S{number:03}", "", "HHZ") for number in range(stations)]
        self.station_table.expect("server", self.channels, now_ns=0)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_server_that_falls_silent_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    looking = Looking(300)
    looking.housekeeping.log_changes(looking.station_table.review(61 * NS_PER_S))
    looking.housekeeping.flush_log(everything=True)
    [line] = lines(capsys)
    assert (line["event"], line["level"], line["silent_s"]) == ("station.stale", "warning", 61.0)
    assert (line["together"], line["stations"]) == (300, 300)


def test_a_station_that_comes_and_goes_does_not_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    looking = Looking(1)
    [entry] = looking.station_table
    for minute in range(4 * CHANGES):
        if minute % 2:
            entry.arrived_ns = 61 * minute * NS_PER_S
        looking.housekeeping.log_changes(looking.station_table.review(61 * minute * NS_PER_S))
        looking.housekeeping.flush_log(everything=True)
    said = [line["event"] for line in lines(capsys)]
    assert {event: said.count(event) for event in said} == {
        "station.stale": CHANGES,
        "station.fresh": CHANGES,
    }
