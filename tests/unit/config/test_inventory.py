"""Files of stations: what is read, and what is said of those that cannot be."""

from pathlib import Path

import obspy
import pytest

from xiaod.config.inventory import Coordinates, StationsError, read_stations
from xiaod.domain.timegrid import ns_from_iso
from xiaod.domain.types import Channel

NOW_NS = ns_from_iso("2026-01-31T12:00:00Z")
HEADER = "network,station,latitude,longitude,elevation\n"


def test_obspy_s_example_inventory_is_read_with_its_locations(tmp_path: Path) -> None:
    path = tmp_path / "stations.xml"
    inventory = obspy.read_inventory()
    inventory.write(str(path), format="STATIONXML")
    stations = read_stations(path)
    for network in inventory:
        for station in network:
            time_ns = station.start_date.ns
            found = stations.find(Channel(network.code, station.code, "99", "HHZ"), time_ns)
            assert found == Coordinates(station.latitude, station.longitude, station.elevation)
            for channel in station:
                place = Channel(network.code, station.code, channel.location_code, "HHZ")
                assert stations.find(place, channel.start_date.ns)


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "BW,RJOB,47.7,12.8,860\n\n",
        "\ufeffStation,Network,Elevation,Longitude,Latitude,more\nRJOB,BW,860.0,12.8,47.7,x\n",
        "#Network | Station | Latitude | Longitude | Elevation | SiteName | StartTime\nBW|RJOB|47.7|12.8|860.0|Jochberg, hill|2001\n",
        HEADER.strip() + ",location\nBW,RJOB,47.7,12.8,860,--\n",
    ],
)
def test_tables_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stations.csv"
    path.write_text(text, encoding="utf-8")
    stations = read_stations(path)
    assert stations.find(Channel("BW", "RJOB", "", "EHZ"), NOW_NS) == Coordinates(47.7, 12.8, 860.0)
    assert stations.find(Channel("BW", "OTHER", "", "EHZ"), NOW_NS) is None


EPOCHS_XML = (Path(__file__).parents[2] / "cases" / "epochs.xml").read_text(encoding="utf-8")
EPOCHS_TEXT = (
    "#Network | Station | Latitude | Longitude | Elevation | SiteName | StartTime | EndTime\n"
    "BW|RJOB|47.9|12.9|900.0|moved|2015-01-01T00:00:00|2599-12-31T23:59:59\n"
    "BW|RJOB|47.7|12.7|860.0|old|2001-01-01T00:00:00.0000|2014-12-31T00:00:00\n"
)
EPOCHS_CSV = (
    "network,station,location,latitude,longitude,elevation,starttime,endtime\n"
    "BW,RJOB,,47.9,12.9,900,2015-01-01,\nBW,RJOB,,47.7,12.7,860,2001,2014-12-31T00:00:00Z\n"
)


@pytest.mark.parametrize("content", [EPOCHS_XML, EPOCHS_TEXT, EPOCHS_CSV])
@pytest.mark.parametrize(
    ("time", "latitude"),
    [
        ("2000-12-31T23:59:59Z", None),
        ("2001-01-01T00:00:00Z", 47.7),
        ("2009-08-24T00:20:07Z", 47.7),
        ("2014-12-31T12:00:00Z", None),
        ("2015-01-01T00:00:00Z", 47.9),
        ("2040-01-01T00:00:00Z", 47.9),
    ],
)
def test_coordinates_are_those_of_the_time(
    tmp_path: Path, content: str, time: str, latitude: float | None
) -> None:
    """The file names the newest epoch first."""
    path = tmp_path / "stations"
    path.write_text(content, encoding="utf-8")
    found = read_stations(path).find(Channel("BW", "RJOB", "", "EHZ"), ns_from_iso(time))
    assert (None if found is None else found.latitude_deg) == latitude


def test_where_a_location_has_no_epoch_its_station_counts(tmp_path: Path) -> None:
    path = tmp_path / "stations.csv"
    path.write_text(
        EPOCHS_CSV + "BW,RJOB,10,47.5,12.5,800,2001,2002\nBW,RJOB,10,47.6,12.6,800,1990,\n",
        encoding="utf-8",
    )
    stations = read_stations(path)
    latitudes = [
        None
        if (found := stations.find(Channel("BW", "RJOB", location, "EHZ"), ns_from_iso(time))) is None
        else found.latitude_deg
        for location, time in (
            ("10", "2001-06-01"),
            ("10", "2009-01-01"),
            ("10", "1980-01-01"),
            ("", "2009-01-01"),
        )
    ]
    # Of two that are valid at once the newer one counts.
    assert latitudes == [47.5, 47.6, None, 47.7]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r":1: no column 'network'"),
        (b"network,station,latitude,longitude\n", r":1: no column 'elevation'; needed are network, "),
        (HEADER.encode(), "holds no station"),
        (HEADER.encode() + b"BW,RJOB,47.7,12.8,860\nBW,A,91,12,0\n", r":3: latitude: .* \+-90; got '91'"),
        (HEADER.encode() + b"BW,RJOB,47.7,nan,860\n", r":2: longitude: .*got 'nan'"),
        (HEADER.encode() + b"BW,RJOB\n", ":2: 2 fields, where the header has 5"),
        (
            HEADER.strip().encode() + b",endtime\nBW,A,47,12,0,soon\n",
            r":2: endtime: must be a time .*got 'soon'",
        ),
        (b"\xff\xfe\x00", "neither StationXML nor UTF-8"),
        (b"<html></html>", "not StationXML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "stations.csv"
    path.write_bytes(content)
    with pytest.raises(StationsError, match=said) as caught:
        read_stations(path)
    assert str(caught.value).startswith(str(path))
