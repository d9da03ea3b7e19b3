"""Files of stations: what is read, and what is said of those that cannot be."""

from pathlib import Path

import obspy
import pytest

from xiaod.records import Channel
from xiaod.stations import Coordinates, StationsError, read_stations

HEADER = "network,station,latitude,longitude,elevation\n"


def test_obspy_s_example_inventory_is_read_with_its_locations(tmp_path: Path) -> None:
    path = tmp_path / "stations.xml"
    inventory = obspy.read_inventory()
    inventory.write(str(path), format="STATIONXML")
    stations = read_stations(path)
    for network in inventory:
        for station in network:
            found = stations.find(Channel(network.code, station.code, "99", "HHZ"))
            assert found == Coordinates(station.latitude, station.longitude, station.elevation)
            for channel in station:
                assert stations.find(Channel(network.code, station.code, channel.location_code, "HHZ"))


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
    assert stations.find(Channel("BW", "RJOB", "", "EHZ")) == Coordinates(47.7, 12.8, 860.0)
    assert stations.find(Channel("BW", "OTHER", "", "EHZ")) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r":1: no column 'network'"),
        (b"network,station,latitude,longitude\n", r":1: no column 'elevation'; needed are network, "),
        (HEADER.encode(), "holds no station"),
        (HEADER.encode() + b"BW,RJOB,47.7,12.8,860\nBW,A,91,12,0\n", r":3: latitude: .* \+-90; got '91'"),
        (HEADER.encode() + b"BW,RJOB,47.7,nan,860\n", r":2: longitude: .*got 'nan'"),
        (HEADER.encode() + b"BW,RJOB\n", ":2: 2 fields, where the header has 5"),
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
