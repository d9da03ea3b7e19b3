"""Names and coordinates of stations in a running daemon: on the API, in ANSS picks, and anew at SIGHUP."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import obspy

from tests.end_to_end.harness import (
    LIMIT_S,
    Daemon,
    comparable,
    offline_picks,
    streaming,
    wait_until,
    write_event,
)
from tests.sensors import response, station_xml
from xiaod import Picker
from xiaod.config import AgencyConfig
from xiaod.domain.document import pick_document
from xiaod.replay import ReplayConfig

HEADER = "network,station,latitude,longitude,elevation,name,starttime,endtime\n"
MOVED = (
    "BW,RJOB,47.7372,12.7957,860,Jochberg,2001-05-15,2015-12-31\nBW,RJOB,48,13,900,elsewhere,2016-01-01,\n"
)
"""The event is of 2009."""
JOCHBERG = {"latitude_deg": 47.7372, "longitude_deg": 12.7957, "elevation_m": 860.0, "name": "Jochberg"}
RENAMED = {"latitude_deg": 47.5, "longitude_deg": 12.5, "elevation_m": 500.0, "name": "<b>Höhe"}


def sites(daemon: Daemon) -> dict[str, Any]:
    return {one["id"]: one["site"] for one in json.loads(daemon.get("/api/stations")[1])["stations"]}


def anss(path: Path) -> list[Any]:
    """Coordinates of the picks in a file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line["channel"].get("geometry", {}).get("coordinates") for line in lines]


def test_stations_have_the_names_of_their_time_and_a_reload_reads_them_again(tmp_path: Path) -> None:
    files = [tmp_path / "rjob.mseed", tmp_path / "none.mseed"]
    write_event(files[0])
    write_event(files[1], "NONE")
    stations, picks = tmp_path / "stations.csv", tmp_path / "picks.anss"
    stations.write_text(HEADER + MOVED, encoding="utf-8")
    config = ReplayConfig(inputs=files, port=0, speed=30.0, loop=True)
    sinks = [{"kind": "anss", "path": str(picks), "fsync": "always"}]
    with streaming(tmp_path, config, stations_file=str(stations), sinks=sinks) as (_, daemon):
        daemon.wait_for_records(1)
        wait_until(lambda: len(sites(daemon)) == 2, "both stations")
        assert sites(daemon) == {"BW.RJOB..EH": JOCHBERG, "BW.NONE..EH": None}
        wait_until(lambda: len(anss(picks)) >= 4, "picks of both stations")
        # A station that is not in the file is no error.
        assert {json.dumps(one) for one in anss(picks)} == {"[12.7957, 47.7372, 860.0]", "null"}
        # What is wrong changes nothing.
        stations.write_text(HEADER + "BW,RJOB,north,12.5,500,,,\n", encoding="utf-8")
        daemon.process.send_signal(signal.SIGHUP)
        [refused] = daemon.wait_for("reload.refused")
        [problem] = refused["problems"]
        place = (
            f"{daemon.config_path}:{line_of(daemon, 'stations_file')}: stations_file: {stations}:2: latitude"
        )
        assert problem == f"{place}: must be a number within +-90; got 'north'"
        assert sites(daemon)["BW.RJOB..EH"] == JOCHBERG
        # The same file with another content.
        stations.write_text(HEADER + "BW,RJOB,47.5,12.5,500,<b>Höhe,,\n", encoding="utf-8")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("reload.done")
        assert sites(daemon)["BW.RJOB..EH"] == RENAMED
        before = len(anss(picks))
        wait_until(lambda: [12.5, 47.5, 500.0] in anss(picks)[before:], "a pick with the new coordinates")
        assert daemon.metric("xiaod_reconnects_total", source="test") == 0
        assert daemon.stop() == 0
    # The commands use the same key.
    done = subprocess.run(
        [sys.executable, "-m", "xiaod", "picks", "--config", str(daemon.config_path), "--format", "anss"],
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
    )
    (tmp_path / "printed").write_bytes(done.stdout)
    assert [12.5, 47.5, 500.0] in anss(tmp_path / "printed")
    offline = offline_picks(files[0], "--config", str(daemon.config_path), "--format", "anss")
    assert {json.dumps(one["channel"]["geometry"]["coordinates"]) for one in offline} == {
        "[12.5, 47.5, 500.0]"
    }


def line_of(daemon: Daemon, key: str) -> int:
    lines = daemon.config_path.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(f"{key}:"))


def test_stationxml_is_read_by_a_daemon_and_the_picture_of_a_pick_names_the_station(tmp_path: Path) -> None:
    path, inventory = tmp_path / "event.mseed", tmp_path / "stations.xml"
    write_event(path)
    obspy.read_inventory().write(str(inventory), format="STATIONXML")
    snippets = {"enabled": True, "folder": str(tmp_path / "snippets")}
    with streaming(
        tmp_path,
        ReplayConfig(inputs=(path,), port=0, speed="max"),
        stations_file=str(inventory),
        snippets=snippets,
    ) as (_, daemon):
        wait_until(lambda: list((tmp_path / "snippets").glob("*.png")), "a picture")
        site = sites(daemon)["BW.RJOB..EH"]
        assert site["name"].startswith("Jochberg")
        assert daemon.stop() == 0


MOTION_KEYS = ("velocity_m_s", "wood_anderson_mm", "wood_anderson_noise_mm", "motion_window_s")


def test_final_picks_have_the_motion_of_the_ground_live_and_offline(tmp_path: Path) -> None:
    """The vertical and one horizontal have a response; that of the other cannot be used, which is told, and nothing is invented."""
    record, inventory, picks = tmp_path / "event.mseed", tmp_path / "stations.xml", tmp_path / "picks.jsonl"
    write_event(record)
    pressure = response().replace("M/S", "PA")
    epochs = {(code, "2001-01-01", ""): response() for code in ("EHZ", "EHN")}
    inventory.write_text(station_xml({**epochs, ("EHE", "2001-01-01", ""): pressure}), encoding="utf-8")
    with streaming(
        tmp_path,
        ReplayConfig(inputs=(record,), port=0, speed="max"),
        early="windows",
        stations_file=str(inventory),
        sinks=[{"kind": "jsonl", "path": str(picks), "fsync": "always", "stage": "all"}],
    ) as (_, daemon):
        wait_until(lambda: len(documents(picks, "final")) >= 2, "both picks")
        assert daemon.stop() == 0
    live = documents(picks, "final")
    assert not [one for one in documents(picks, "early") if set(one) & set(MOTION_KEYS)]
    offline = offline_picks(record, "--config", str(daemon.config_path))
    # What the end of the data decides comes offline alone.
    made = {pick["id"] for pick in live}
    assert comparable(live) == comparable([pick for pick in offline if pick["id"] in made])
    for pick in live:
        assert pick["channel"] in {"EHZ", "EHN"}
        # Counts in the band by the sensitivity of the sensor, of more than a second; the horizontal has its peak later.
        assert pick["velocity_m_s"] >= 0.9 * pick["amplitude"] / (1500 * 419430)
        assert pick["wood_anderson_mm"] > 3 * pick["wood_anderson_noise_mm"]
        assert pick["motion_window_s"] == 3.0
    # The library, with the inventory of ObsPy.
    by_library = Picker("micro", stations=obspy.read_inventory(str(inventory))).classify(
        obspy.read(str(record))
    )
    assert {pick.id: pick_document(pick, AgencyConfig()) for pick in by_library} == {
        pick["id"]: pick for pick in offline
    }
    # A channel whose response is none to motion.
    inventory.write_text(station_xml({("EHZ", "2001-01-01", ""): pressure}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "xiaod", "pick", str(record), "--stations-file", str(inventory)],
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
        text=True,
    )
    assert not set(MOTION_KEYS) & {key for line in done.stdout.splitlines() for key in json.loads(line)}
    assert "its input is in PA, not in M, M/S or M/S**2" in done.stderr


def documents(path: Path, stage: str) -> list[Any]:
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if line["stage"] == stage]
