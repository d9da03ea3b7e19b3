"""Lines and tables as their consumers' own libraries read them."""

import csv
import io
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import obspy
import pandas as pd
import pytest

from tests.contract.test_sinks import AGENCY, NOW_NS, STAGES, early, final, pick
from tests.everysink import ids_in
from tests.unit.sinks.file.test_scml import children
from xiaod.cli.commands import options
from xiaod.config.inventory import Epoch, Site, Stations
from xiaod.config.loader import ConfigError, parse_config
from xiaod.config.sinks.file import TableConfig, TableStyle
from xiaod.domain.document import pick_document, pick_from_document
from xiaod.domain.onsets import withdrawal
from xiaod.domain.types import Channel, GroundMotion, Pick, Polarity
from xiaod.library import Picks
from xiaod.sinks.file.anss import AnssLines, anss_document
from xiaod.sinks.file.formats import DOCUMENTS, FORMATS, line_format, render
from xiaod.sinks.file.table import COLUMNS, TableSink

STATIONS = Stations([(("BW", "RJOB", None), Epoch(Site(47.7372, 12.7957, 860.0)))])
STRANGE = [
    pick(2, snr=math.inf, probability=math.nan, time_uncertainty_s=math.nan),
    pick(3, amplitude=math.nan, created_ns=None, latency=None),
    pick(4, channel=Channel("A\n", 'é"', "<", "\ud800,"), id='a,"\n\ud800é'),
]


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("ascii"))))


def test_commands_offer_all_formats() -> None:
    assert sorted(options.FORMATS) == sorted(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_every_line_of_every_format_tells_its_pick(name: str) -> None:
    lines = line_format(name, AGENCY, STATIONS)
    if lines is None:
        return
    made = [lines.line(one) for one in [pick(1), *STRANGE]]
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in made)
    assert len({lines.identity(line[:-1]) for line in made}) == len(made)
    assert lines.identity(made[0][:-1]) == pick(1).id
    with pytest.raises(ValueError, match=r"row|Unterminated|Expecting|delimiter"):
        lines.identity(made[0][: len(made[0]) // 4])


def test_tables_have_the_columns_that_are_read() -> None:
    channel = Channel("BW", "RJOB", "10", "EHN")
    one = pick(1, phase="S", channel=channel)
    assert rows(render("pyocto", [one], AGENCY)) == [
        {"station": "BW.RJOB.10", "phase": "S", "time": "1700000000.010123", "probability": "0.870000", "pick_id": one.id}
    ]  # fmt: skip
    assert rows(render("gamma", [one], AGENCY)) == [
        {"id": "BW.RJOB.10.EH", "timestamp": "2023-11-14T22:13:20.010123", "type": "s", "prob": "0.870000", "pick_id": one.id,
         "amp": ""}
    ]  # fmt: skip
    assert rows(render("quakeflow", [one], AGENCY)) == [
        {"station_id": "BW.RJOB.10.EH", "phase_time": "2023-11-14T22:13:20.010123", "phase_type": "S", "phase_score": "0.870000",
         "pick_id": one.id, "phase_amplitude": ""}
    ]  # fmt: skip
    moved = replace(one, motion=GroundMotion(1.23456e-6, 0.0123, 0.001, 3.0))
    assert rows(render("gamma", [moved], AGENCY))[0]["amp"] == "1.235e-06"
    assert rows(render("quakeflow", [moved], AGENCY))[0]["phase_amplitude"] == "1.235e-06"


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_no_document_of_a_command_has_an_onset_twice(name: str) -> None:
    # As "xiaod picks" prints a store with all stages.
    assert sorted(ids_in(render(name, STAGES, AGENCY).decode())) == sorted(
        [final(1, 0.03).id, final(2, -0.25).id, early(3).id, pick(4).id]
    )


def test_a_table_of_all_columns_tells_the_stages() -> None:
    found = {row["id"]: row for row in rows(render("csv", STAGES, AGENCY))}
    columns = ("stage", "early_id", "outcome", "moved_s")
    motion = ("velocity_m_s", "wood_anderson_mm", "wood_anderson_noise_mm", "motion_window_s")
    assert COLUMNS["csv"][-10:] == (*columns, "raw_amplitude", "polarity", *motion)
    withdrawn = withdrawal(early(3))
    assert {key: tuple(row[column] for column in columns) for key, row in found.items()} == {
        **{early(number).id: ("early", "", "", "") for number in (1, 2, 3)},
        final(1, 0.03).id: ("final", early(1).id, "confirmed", "0.03"),
        final(2, -0.25).id: ("final", early(2).id, "revised", "-0.25"),
        withdrawn.id: ("withdrawn", early(3).id, "", ""),
        pick(4).id: ("final", "", "", ""),
    }


@pytest.mark.parametrize("style", ["gamma", "pyocto", "quakeflow"])
def test_an_associator_gets_each_onset_once(style: str) -> None:
    final_ones = [one for one in STAGES if one.stage == "final"]
    assert render(style, STAGES, AGENCY) == render(style, final_ones, AGENCY)
    for stage in ("early", "all"):
        with pytest.raises(ConfigError) as refused:
            parse_config(
                f"sources:\n- server: a\nsinks:\n- {{kind: table, path: a, style: {style}, stage: {stage}}}\n",
                "f",
            )
        [problem] = refused.value.problems
        assert problem.startswith(f"f:4: sinks[0].stage must be final with style: {style}, ")
        assert "; write stage: final, or style: csv" in problem


def test_a_table_that_was_begun_without_stages_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "picks.csv"
    old = [line.rsplit(b",", 4)[0] + b"\n" for line in render("csv", [pick(1)], AGENCY).splitlines()]
    path.write_bytes(b"".join(old))
    sink = TableSink(TableConfig(kind="table", path=path, stage="all"), AGENCY)
    sink.deliver([early(2), final(2, 0.01)], NOW_NS)
    sink.close()
    assert path.read_bytes() == render("csv", [early(2), final(2, 0.01)], AGENCY)
    assert (tmp_path / "picks.20231114T221320.csv").read_bytes() == b"".join(old)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (-250_000_000, "-0.250000"),
        (-1, "0.000000"),
        (-1_000_001_000, "-1.000001"),
        (1_500_000_000, "1.500000"),
    ],
)
def test_seconds_before_1970_are_negative(time_ns: int, text: str) -> None:
    [row] = rows(render("pyocto", [replace(pick(1), time_ns=time_ns)], AGENCY))
    assert row["time"] == text


@pytest.mark.parametrize("amplitude", [0.0, 3e-38, 1.2345678e-9, 0.4321, 1.0, 4321.125, 1.5e13])
def test_an_amplitude_keeps_its_digits_in_every_format(amplitude: float) -> None:
    """Of samples in m/s too."""
    one = pick(1, amplitude=amplitude)
    told = [
        json.loads(render("jsonl", [one], AGENCY))["amplitude"],
        json.loads(render("anss", [one], AGENCY))["amplitudeInfo"]["amplitude"],
        *(float(row["amplitude"]) for row in rows(render("csv", [one], AGENCY))),
        *(
            float(found.findtext("amplitude/value") or "nan")
            for found in children(render("scml", [one], AGENCY))
            if found.findtext("type") == "mb"
        ),
        pick_from_document(pick_document(one, AGENCY)).amplitude,
    ]
    assert told == pytest.approx([amplitude] * 5, rel=1e-3, abs=0.0)


@pytest.mark.parametrize("style", COLUMNS)
def test_a_table_has_one_header_and_each_pick_once(tmp_path: Path, style: TableStyle) -> None:
    path = tmp_path / "picks.csv"
    for count in (2, 4):
        sink = TableSink(TableConfig(kind="table", path=path, style=style), AGENCY)
        sink.deliver([pick(number) for number in range(count)], NOW_NS)
        sink.close()
    # A row that a power cut has left: even when only its last letters are missing, it is not taken for a whole one.
    path.write_bytes(path.read_bytes()[:-2])
    sink = TableSink(TableConfig(kind="table", path=path, style=style), AGENCY)
    sink.deliver([pick(number) for number in range(5)], NOW_NS)
    sink.close()
    assert path.read_bytes() == render(style, [pick(number) for number in range(5)], AGENCY)


def test_a_table_of_another_style_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "picks.csv"
    path.write_bytes(before := render("gamma", [pick(1)], AGENCY))
    sink = TableSink(TableConfig(kind="table", path=path, style="pyocto"), AGENCY)
    sink.deliver([pick(2)], NOW_NS)
    sink.close()
    assert path.read_bytes() == render("pyocto", [pick(2)], AGENCY)
    assert (tmp_path / "picks.20231114T221320.csv").read_bytes() == before


def test_anss_s_own_library_reads_every_line() -> None:
    from anssformats.pick import Pick as Formatted

    lines = AnssLines(AGENCY, STATIONS)
    read = [Formatted.model_validate_json(lines.line(one)) for one in (pick(1), *STRANGE[:2])]
    first = read[0]
    assert first.id == pick(1).id
    assert first.time.replace(tzinfo=UTC) == datetime(2023, 11, 14, 22, 13, 20, 10123, UTC)
    assert first.channel.geometry.coordinates == [12.7957, 47.7372, 860.0]
    assert (first.channel.properties.network, first.channel.properties.location) == ("BW", "")
    assert (first.phase, first.source.agencyID) == ("P", "TEST")
    [prediction] = first.analyticsInfo.predictions
    assert (prediction.probability, prediction.modelID, prediction.modelVersion) == (0.87, "micro", "0.1.0")
    assert first.amplitudeInfo.snr == 12.5
    assert read[1].amplitudeInfo.snr == 1e9


def test_anss_tells_the_stage_where_its_library_keeps_it_and_no_withdrawal() -> None:
    from anssformats.pick import Pick as Formatted

    lines = render("anss", STAGES, AGENCY).splitlines()
    read = {one.id: one.analyticsInfo.extensions for one in map(Formatted.model_validate_json, lines)}
    assert list(read) == [one.id for one in STAGES if one.stage != "withdrawn"]
    assert read[early(2).id]["stage"] == "early"
    told = read[final(2, -0.25).id]
    assert {key: told[key] for key in ("stage", "earlyID", "outcome", "moved")} == {
        "stage": "final", "earlyID": early(2).id, "outcome": "revised", "moved": -0.25,
    }  # fmt: skip
    assert read[pick(4).id].keys() == {"components", "modelSHA256", "stage"}


@pytest.mark.parametrize(
    ("polarity", "quakeml", "anss", "column"),
    [
        ("up", "positive", "up", "up"),
        ("down", "negative", "down", "down"),
        ("undecidable", "undecidable", "no-result", "undecidable"),
        (None, None, None, ""),
    ],
)
def test_every_format_with_a_place_for_it_has_the_first_motion(
    polarity: Polarity | None, quakeml: str | None, anss: str | None, column: str
) -> None:
    from anssformats.pick import Pick as Formatted

    one = pick(1, polarity=polarity)
    [event] = obspy.read_events(io.BytesIO(render("quakeml", [one], AGENCY)))
    assert event.picks[0].polarity == quakeml
    assert children(render("scml", [one], AGENCY))[0].findtext("polarity") == quakeml
    assert Formatted.model_validate_json(render("anss", [one], AGENCY)).polarity == anss
    assert [row["polarity"] for row in rows(render("csv", [one], AGENCY))] == [column]
    assert json.loads(render("jsonl", [one], AGENCY)).get("polarity") == polarity
    assert Picks([one]).to_dataframe()["polarity"].tolist() == [polarity]
    assert Picks([one]).to_obspy()[0].polarity == quakeml


def test_anss_documents_say_only_what_is_known() -> None:
    known = json.loads(render("anss", [pick(1)], AGENCY, STATIONS))
    assert known["channel"]["geometry"]["coordinates"] == [12.7957, 47.7372, 860.0]
    bare = anss_document(pick(1, probability=math.nan, amplitude=math.nan), AGENCY, Stations())
    assert "geometry" not in bare["channel"]
    assert "polarity" not in bare
    assert "probability" not in bare["analyticsInfo"]["predictions"][0]
    assert "amplitude" not in bare["amplitudeInfo"]


class TestAssociation:
    """Ten stations around an event at 8 km depth, in a half-space of 6 and 3.5 km/s."""

    ORIGIN_S = 1_700_000_000.0
    EVENT_KM = (12.0, -7.0, 8.0)
    VP_KM_S, VS_KM_S = 6.0, 3.5
    XY_KM = tuple((20 * math.cos(angle) + angle, 25 * math.sin(angle)) for angle in range(10))

    def made_picks(self) -> list[Pick]:
        picks = []
        for number, (x, y) in enumerate(self.XY_KM):
            distance = math.dist((x, y, 0.0), self.EVENT_KM)
            for phase, channel, speed in (("P", "HHZ", self.VP_KM_S), ("S", "HHN", self.VS_KM_S)):
                time_ns = round((self.ORIGIN_S + distance / speed) * 1e9)
                picks.append(
                    pick(
                        id=f"{number}-{phase}",
                        channel=Channel("XX", f"S{number}", "", channel),
                        phase=phase,
                        time_ns=time_ns,
                    )
                )
        return sorted(picks, key=lambda one: one.time_ns)

    def stations(self, name: str) -> pd.DataFrame:
        return pd.DataFrame(
            [{"id": name.format(n), "x": x, "y": y, "z": 0.0} for n, (x, y) in enumerate(self.XY_KM)]
        )

    def associator(self) -> "object":
        import pyocto

        return pyocto.OctoAssociator(
            xlim=(-60.0, 60.0),
            ylim=(-60.0, 60.0),
            zlim=(0.0, 30.0),
            time_before=60.0,
            velocity_model=pyocto.VelocityModel0D(
                p_velocity=self.VP_KM_S, s_velocity=self.VS_KM_S, tolerance=0.5
            ),
            n_picks=10,
            n_p_picks=4,
            n_s_picks=4,
            n_p_and_s_picks=3,
            n_threads=1,
        )

    def check(self, events: pd.DataFrame, assignments: pd.DataFrame) -> None:
        assert len(events) == 1
        found = events.iloc[0]
        assert math.dist((found.x, found.y, found.z), self.EVENT_KM) < 3.0
        assert abs(float(found.time) - self.ORIGIN_S) < 0.5
        assert set(assignments.pick_id) == {one.id for one in self.made_picks()}

    def test_pyocto_associates_its_table_into_the_event(self, tmp_path: Path) -> None:
        path = tmp_path / "picks.csv"
        sink = TableSink(TableConfig(kind="table", path=path, style="pyocto"), AGENCY)
        sink.deliver(self.made_picks(), NOW_NS)
        sink.close()
        events, assignments = self.associator().associate(pd.read_csv(path), self.stations("XX.S{}."))  # type: ignore[attr-defined]
        self.check(events, assignments)

    def test_the_table_for_gamma_holds_the_same_event(self) -> None:
        content = io.BytesIO(render("gamma", self.made_picks(), AGENCY))
        picks = pd.read_csv(content, parse_dates=["timestamp"])
        stations = self.stations("XX.S{}..HH").rename(columns={axis: f"{axis}(km)" for axis in "xyz"})
        events, assignments = self.associator().associate_gamma(picks, stations)  # type: ignore[attr-defined]
        self.check(events, assignments)
