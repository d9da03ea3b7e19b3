"""Files of stations: what is read, and what is said of those that cannot be."""

from datetime import datetime
from pathlib import Path

import obspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xiaod.cli.main import main
from xiaod.config import Config
from xiaod.config.diff import Changes, plan_reload
from xiaod.config.inventory import Site, StationsError, read_stations
from xiaod.config.loader import with_stations
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
            assert found == Site(station.latitude, station.longitude, station.elevation, station.site.name)
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
    found = stations.find(Channel("BW", "RJOB", "", "EHZ"), NOW_NS)
    assert found is not None
    assert (found.latitude_deg, found.longitude_deg, found.elevation_m) == (47.7, 12.8, 860.0)
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
        (b"<html></html>", "station service gives with format=xml or format=text, or write CSV"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "stations.csv"
    path.write_bytes(content)
    with pytest.raises(StationsError, match=said) as caught:
        read_stations(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "text",
    [
        HEADER.strip() + ',name\nBW,RJOB,47.7,12.8,860,"Jochberg, hill"\n',
        HEADER.strip() + ',SiteName\nBW,RJOB,47.7,12.8,860,"Jochberg, hill"\n',
        "#Network | Station | Latitude | Longitude | Elevation | SiteName\nBW|RJOB|47.7|12.8|860.0|Jochberg, hill\n",
    ],
)
def test_names_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stations.csv"
    path.write_text(text, encoding="utf-8")
    found = read_stations(path).find(Channel("BW", "RJOB", "", "EHZ").instrument, NOW_NS)
    assert found == Site(47.7, 12.8, 860.0, "Jochberg, hill")


codes = st.text(st.sampled_from("ABCXYZ0123456789"), min_size=1, max_size=5)
names = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters='|#"'), max_size=20
).filter(lambda name: name.lower() not in {"nan", "null"})
moments = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda time: time.isoformat())
rows = st.tuples(
    codes, codes, st.floats(-90, 90), st.floats(-180, 180), st.floats(-11_000, 9000), names, moments, moments
)


@given(st.lists(rows, min_size=1, max_size=8))
def test_text_of_fdsn_services_is_read_as_obspy_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    given_: list[tuple[str, str, float, float, float, str, str, str]],
) -> None:
    path = tmp_path_factory.mktemp("inventory") / "stations.txt"
    head = "#Network | Station | Latitude | Longitude | Elevation | SiteName | StartTime | EndTime"
    path.write_text("\n".join([head, *("|".join(map(str, row)) for row in given_)]) + "\n", encoding="utf-8")
    stations = read_stations(path)
    known: dict[tuple[str, str], list[tuple[int, int, Site]]] = {}
    for network in obspy.read_inventory(str(path), format="STATIONTXT"):
        for station in network:
            site = Site(station.latitude, station.longitude, station.elevation, station.site.name or "")
            epochs = known.setdefault((network.code, station.code), [])
            epochs.append((station.start_date.ns, station.end_date.ns, site))
    for (network, station), epochs in known.items():
        for start_ns, end_ns, _ in epochs:
            for time_ns in (start_ns, end_ns):
                valid = [one for one in epochs if one[0] <= time_ns <= one[1]]
                found = stations.find(Channel(network, station, "", "HHZ"), time_ns)
                newest_ns = max((one[0] for one in valid), default=None)
                assert (found is None) == (newest_ns is None)
                assert found is None or found in [one[2] for one in valid if one[0] == newest_ns]


@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(str.encode)
    | st.text(max_size=200).map(lambda text: (HEADER + text).encode())
)
def test_whatever_a_file_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("inventory") / "stations"
    path.write_bytes(content)
    try:
        said = f"{path}:" if len(read_stations(path)) else "nothing"
    except StationsError as error:
        said = str(error)
    assert said.startswith(f"{path}:")


def test_a_line_that_is_no_csv_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stations.csv"
    path.write_text(HEADER + "BW,A,47,12,0\nBW," + "A" * 200_000 + ",47,12,0\n", encoding="utf-8")
    with pytest.raises(
        StationsError, match=rf"\A{path}:3: field larger than field limit .*correct this line"
    ):
        read_stations(path)


def test_the_configuration_names_its_line_and_that_of_the_stations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, config = tmp_path / "stations.csv", tmp_path / "config.yaml"
    path.write_text(HEADER + "BW,RJOB,477,12.8,860\n", encoding="utf-8")
    config.write_text(f"config_version: 2\nsources:\n  - server: a\nstations_file: {path}\n")
    place = f"{config}:4: stations_file: {path}"
    assert main(["check", "--config", str(config)]) == 2
    assert f"{place}:2: latitude: must be a number within +-90; got '477'\n" in capsys.readouterr().err
    assert main(["--config", str(config)]) == 2
    assert f"{place}:2: latitude" in capsys.readouterr().err
    path.unlink()
    assert main(["check", "--config", str(config)]) == 2
    assert f"{place}: cannot be read: No such file or directory; name a file of" in capsys.readouterr().err
    path.write_text(HEADER + "BW,RJOB,47.7,12.8,860\n", encoding="utf-8")
    assert main(["check", "--config", str(config)]) == 0


def test_a_reload_knows_whether_the_content_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "stations.csv"
    given_ = Config.model_validate(
        {
            "sources": [{"server": "a"}],
            "stations_file": path,
            "sinks": [
                {"kind": "anss", "path": tmp_path / "a"},
                {"kind": "jsonl", "path": tmp_path / "b"},
            ],
        }
    )
    path.write_text(HEADER + "BW,RJOB,47.7,12.8,860\n", encoding="utf-8")
    before = with_stations(given_)
    same = plan_reload(before, with_stations(given_))
    assert (same.sinks, same.needs_restart) == (Changes(), ())
    path.write_text(HEADER + "BW,RJOB,47.8,12.8,860\n", encoding="utf-8")
    moved = plan_reload(before, with_stations(given_))
    assert (moved.sinks.changed, moved.needs_restart) == (("anss",), ())
    found = moved.config.stations.find(Channel("BW", "RJOB", "", "EHZ"), NOW_NS)
    assert found is not None
    assert found.latitude_deg == 47.8
