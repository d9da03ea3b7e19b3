"""Events of recordings of networks, and those of the catalogue that are among them::

    python -m tests.benchmarks.events FOLDER... [--stations 4] [--window 15] [--located STATIONS.csv [--layers FILE]]

Each folder holds miniSEED and, where there is one, ``catalog.csv`` with a column ``time`` of origins, and perhaps ``latitude``,
``longitude``, ``depth_km`` and ``magnitude``. An event is that of an earthquake whose origin is at most :data:`BEFORE_S` before its first
P. With ``--located`` events have a place.
"""

import argparse
import csv
import logging
from datetime import datetime
from pathlib import Path

from obspy.geodetics import gps2dist_azimuth

from xiaod.acquisition.miniseed_files import FileSource
from xiaod.config import Config
from xiaod.config.loader import with_stations
from xiaod.domain.event import about
from xiaod.domain.timegrid import NS_PER_S, iso_from_ns
from xiaod.domain.types import Event, PickOrEvent, Wanted
from xiaod.pipeline.factory import open_engine
from xiaod.pipeline.offline import ListSink, run_offline
from xiaod.process.logs import configure_logs

BEFORE_S = 60.0


class AllList(ListSink):
    """Picks and events."""

    wanted: Wanted = "all"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--stations", type=int, default=4)
    parser.add_argument("--window", type=float, default=15.0)
    parser.add_argument("--located", type=Path)
    parser.add_argument("--layers", type=Path)
    given = parser.parse_args()
    configure_logs("error", "console")
    logging.disable(logging.WARNING)
    events: dict[str, object] = {"enabled": True, "stations": given.stations, "window_s": given.window}
    parts: dict[str, object] = {"sources": [{"server": "localhost"}], "events": events}
    if given.located is not None:
        events |= {"method": "pyocto", "velocity_model_file": given.layers}
        parts |= {"stations_file": given.located, "early": "off"}
    config = with_stations(Config.model_validate(parts))
    for folder in given.folders:
        sink = AllList()
        run_offline(config, open_engine(config), FileSource(sorted(folder.glob("*.mseed"))), sink)
        found: list[PickOrEvent] = list(sink.picks)
        made = [one for one in found if isinstance(one, Event)]
        final = [one for one in made if one.stage == "final"]
        announced = {one.event_id for one in made if one.stage == "early"}
        withdrawn = sum(one.stage == "withdrawn" for one in made)
        stations = {one.channel.station for one in found if not isinstance(one, Event)}
        print(f"{folder.name}: {len(stations)} stations with picks, {len(final)} events, "
              f"{len(announced)} announced in {len(made) - len(final) - withdrawn} versions, {withdrawn} withdrawn")  # fmt: skip
        for event in final:
            print(f"  first P {iso_from_ns(event.time_ns)}  {about(event)}")
        catalogue = folder / "catalog.csv"
        if catalogue.exists():
            compare(final, catalogue)


def compare(events: list[Event], catalogue: Path) -> None:
    """Say which earthquakes of a catalogue have an event."""
    left = list(events)
    for row in csv.DictReader(catalogue.open(encoding="utf-8")):
        origin_s = datetime.fromisoformat(f"{row['time']}+00:00").timestamp()
        own = [one for one in left if 0 < one.time_ns / NS_PER_S - origin_s < BEFORE_S]
        after_s = own[0].time_ns / NS_PER_S - origin_s if own else 0.0
        said = f"found, {after_s:.1f} s before its first P" if own else "missed"
        if own and (origin := own[0].origin) is not None:
            metres, *_ = gps2dist_azimuth(
                float(row["latitude"]), float(row["longitude"]), origin.latitude_deg, origin.longitude_deg
            )
            said += (
                f"; origin {origin.time_ns / NS_PER_S - origin_s:+.2f} s, {metres / 1000:.1f} km away "
                f"(+-{origin.horizontal_uncertainty_km:.1f}), depth {origin.depth_km - float(row['depth_km']):+.1f} km "
                f"(+-{origin.depth_uncertainty_km:.1f}); "
                f"rms {origin.rms_s:.2f} s, gap {origin.azimuthal_gap_deg:.0f}, {len(own[0].picks)} picks"
            )
        print(f"  catalogue {row['time']} M {row['magnitude']}: {said}")
        left = [one for one in left if one not in own[:1]]
    print(f"  not in the catalogue: {len(left)}")


if __name__ == "__main__":
    main()
