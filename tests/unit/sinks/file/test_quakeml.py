"""QuakeML files as other programs read them."""

import io
import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from random import Random

import obspy
import pytest

from tests.contract.test_sinks import AGENCY, NOW_NS, STAGES, early, final, pick
from tests.unit.association.network import LAYERS, Source, kept, onsets, sites, stations_of
from tests.unit.association.network import pick as located_pick
from xiaod.association.located import Located, LocatedSettings
from xiaod.config import AgencyConfig, Config, SeedLinkConfig
from xiaod.config.sinks.file import QuakeMLConfig
from xiaod.domain.onsets import withdrawal
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import Channel, DocumentStage, Event, GroundMotion, Pick
from xiaod.pipeline.factory import open_sink
from xiaod.sinks import SinkError
from xiaod.sinks.file.quakeml import QuakeMLSink, catalog_of, quakeml_bytes

INTERVAL_NS = 60_000_000_000
SOURCE = Source(46.05, 8.1, 9.0, 30.0)


MOTION = GroundMotion(
    velocity_m_s=1.2345e-6, wood_anderson_mm=0.0123, wood_anderson_noise_mm=0.001, window_s=3.0
)


def made(folder: Path, interval_s: float = 0.0) -> QuakeMLSink:
    return QuakeMLSink(QuakeMLConfig(kind="quakeml", folder=folder, interval_s=interval_s), AGENCY)


def counts(folder: Path) -> dict[str, int]:
    return {file.name: len(obspy.read_events(str(file))[0].picks) for file in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    "given",
    [
        pick(),
        pick(created_ns=None, latency=None),
        pick(snr=math.inf),
        pick(snr=math.nan, time_uncertainty_s=math.nan),
        pick(channel=Channel("AM", "R0E05", "00", "EHZ"), phase="S"),
        pick(channel=Channel("A\x01", "é<", "", "EH&")),
        pick(polarity="down"),
        pick(motion=MOTION),
    ],
)
def test_every_pick_makes_a_valid_document_without_a_warning(given: Pick) -> None:
    from obspy.io.quakeml.core import _validate

    author = AgencyConfig(agency_id="A" * 32, author="ü<&>" * 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = quakeml_bytes([given, pick(7)], author, "org.example-1")
    assert _validate(io.BytesIO(content), verbose=True)
    assert content == quakeml_bytes([given, pick(7)], author, "org.example-1")
    [event] = obspy.read_events(io.BytesIO(content))
    assert len(event.picks) == 2
    assert {amplitude.pick_id.id for amplitude in event.amplitudes} <= {
        found.resource_id.id for found in event.picks
    }
    assert len(event.amplitudes) == 1 + math.isfinite(given.snr) + 2 * (given.motion is not None)


def test_the_motion_of_the_ground_has_amplitudes_with_units_and_window() -> None:
    [event] = obspy.read_events(io.BytesIO(quakeml_bytes([pick(motion=MOTION)], AGENCY)))
    [_, velocity, amplitude] = event.amplitudes
    assert (velocity.type, velocity.generic_amplitude, velocity.unit) == ("A", 1.234e-6, "m/s")
    assert (amplitude.type, amplitude.generic_amplitude, amplitude.unit) == ("AML", 1.23e-5, "m")
    for one in (velocity, amplitude):
        assert one.pick_id == event.picks[0].resource_id
        assert (one.time_window.begin, one.time_window.end) == (0.0, 3.0)
        assert one.time_window.reference == event.picks[0].time
    assert [one.filter_id.id.rpartition("/")[2] for one in (velocity, amplitude)] == [
        "butterworth-4-2-20-hz",
        "butterworth-4-0.5-20-hz",
    ]


def test_reading_gives_what_was_written() -> None:
    written = catalog_of([pick(1), pick(2)], AGENCY)
    assert obspy.read_events(io.BytesIO(quakeml_bytes([pick(1), pick(2)], AGENCY))) == written
    [event] = written
    first, second = event.picks
    assert (second.time - first.time) == pytest.approx(0.01)
    assert first.resource_id != second.resource_id
    assert event.amplitudes[0].type == "snr"
    assert event.amplitudes[0].generic_amplitude == 12.5
    assert event.amplitudes[0].filter_id.id.endswith("/filter/butterworth-4-2-20-hz")
    assert not catalog_of([], AGENCY)


@pytest.mark.parametrize("time_ns", [NOW_NS + 499, NOW_NS + 500, NOW_NS + 999_999_501, -1])
def test_a_time_is_rounded_as_in_every_other_format(time_ns: int) -> None:
    [event] = catalog_of([replace(pick(), time_ns=time_ns)], AGENCY)
    assert str(event.picks[0].time) == iso_from_ns(time_ns)


def statuses(content: bytes) -> dict[str, str]:
    """Last part of the publicID of each pick -> its status."""
    [event] = obspy.read_events(io.BytesIO(content))
    found = [(one.resource_id.id.rpartition("/")[2], str(one.evaluation_status)) for one in event.picks]
    assert len(dict(found)) == len(found)
    assert {one.evaluation_mode for one in event.picks} == {"automatic"}
    return dict(found)


def test_of_one_onset_the_later_pick_stands_in_a_file() -> None:
    from obspy.io.quakeml.core import _validate

    content = quakeml_bytes(STAGES, AGENCY)
    assert _validate(io.BytesIO(content), verbose=True)
    assert statuses(content) == {
        final(1, 0.03).id: "confirmed",
        final(2, -0.25).id: "confirmed",
        early(3).id: "rejected",
        pick(4).id: "confirmed",
    }
    assert statuses(quakeml_bytes(STAGES[:4], AGENCY)) == {
        early(2).id: "preliminary",
        early(3).id: "preliminary",
        final(1, 0.03).id: "confirmed",
    }


def test_a_final_pick_names_the_early_one() -> None:
    [event] = catalog_of([early(2)], AGENCY)
    [revised] = catalog_of([final(2, -0.25)], AGENCY)
    texts = {one.resource_id.id.rpartition("/")[2]: one.text for one in revised.picks[0].comments}
    assert texts["early_id"] == event.picks[0].resource_id.id
    assert (texts["outcome"], texts["moved_s"]) == ("revised", "-0.250000")
    assert {one.resource_id.id.rpartition("/")[2] for one in event.picks[0].comments} == {
        "confidence", "SNR", "dlmodel", "components", "notice",
    }  # fmt: skip


def test_what_withdraws_a_pick_changes_the_pick_that_a_reader_has(tmp_path: Path) -> None:
    sink = made(tmp_path)
    sink.deliver([early(3)], NOW_NS)
    sink.deliver([withdrawal(early(3))], NOW_NS)
    [one], [other] = (obspy.read_events(str(file))[0].picks for file in sorted(tmp_path.iterdir()))
    assert (one.resource_id, one.time) == (other.resource_id, other.time)
    assert sorted([str(one.evaluation_status), str(other.evaluation_status)]) == ["preliminary", "rejected"]


def test_an_interval_with_an_early_pick_and_its_final_one_has_one_and_loses_none(tmp_path: Path) -> None:
    sink = made(tmp_path, 60.0)
    sink.deliver([pick(4), early(1), early(3)], NOW_NS)
    sink.deliver([final(1, 0.03), withdrawal(early(3))], NOW_NS + 1)
    # As many as a crash would lose: the place in the store must not move past the first.
    assert sink.held == 5
    sink.close()
    [file] = tmp_path.iterdir()
    assert statuses(file.read_bytes()) == {
        pick(4).id: "confirmed",
        final(1, 0.03).id: "confirmed",
        early(3).id: "rejected",
    }


def test_it_converts_to_what_seiscomp_reads(tmp_path: Path) -> None:
    path = tmp_path / "picks.scml"
    catalog_of([pick(1), pick(2, phase="S")], AGENCY).write(str(path), format="SCML", validate=True)
    text = path.read_text()
    assert text.count("<pick ") == 2
    assert "<text>0.870000</text>" in text


def test_a_file_for_each_pick_and_a_retry_after_half_of_them(tmp_path: Path) -> None:
    sink = made(tmp_path / "out")
    # A folder stands where the second file must go.
    blocking = tmp_path / "out" / f"{pick(2).id}.xml"
    blocking.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            sink.deliver([pick(1), pick(2)], NOW_NS)
    blocking.rmdir()
    sink.deliver([pick(1), pick(2)], NOW_NS)
    sink.close()
    assert counts(tmp_path / "out") == {f"{pick(1).id}.xml": 1, f"{pick(2).id}.xml": 1}


def test_an_interval_ends_with_a_tick_with_the_end_or_with_a_clock_set_back(tmp_path: Path) -> None:
    sink = made(tmp_path, 60.0)
    sink.deliver([pick(1)], NOW_NS)
    sink.deliver([pick(1), pick(2)], NOW_NS + INTERVAL_NS - 1)
    assert counts(tmp_path) == {}
    sink.deliver([], NOW_NS + INTERVAL_NS)
    assert counts(tmp_path) == {f"{pick(1).id}.xml": 2}
    sink.deliver([pick(3)], NOW_NS + 5 * INTERVAL_NS)
    sink.deliver([], NOW_NS + 4 * INTERVAL_NS)
    assert counts(tmp_path)[f"{pick(3).id}.xml"] == 1
    sink.deliver([pick(4)], NOW_NS + 6 * INTERVAL_NS)
    sink.close()
    sink.close()
    assert counts(tmp_path) == {f"{pick(1).id}.xml": 2, f"{pick(3).id}.xml": 1, f"{pick(4).id}.xml": 1}


def test_what_is_held_outlives_an_end_that_fails(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    sink = made(folder, 60.0)
    sink.deliver([pick(1)], NOW_NS)
    folder.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="exists"):
        sink.close()
    folder.unlink()
    sink.close()
    assert counts(folder) == {f"{pick(1).id}.xml": 1}


def test_a_library_that_cannot_be_loaded_is_a_sink_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "xiaod.sinks.file.quakeml", raising=False)
    # As a shared library that is missing: the package is there, and its import fails.
    monkeypatch.setitem(sys.modules, "obspy.io.quakeml.core", None)
    sink = QuakeMLConfig(kind="quakeml", folder=Path("nowhere"))
    with pytest.raises(SinkError, match=r"sinks\[0\]\.kind: .*obspy\.io\.quakeml\.core"):
        open_sink(Config(sources=(SeedLinkConfig(server="localhost"),), sinks=(sink,)), sink)


def located(stage: DocumentStage = "final") -> Event:
    rng = Random(2)
    places = sites(8, 1)
    made = [kept(located_pick(*one, wood_anderson_mm=0.5)) for one in onsets(SOURCE, places, rng)]
    method = Located(LocatedSettings(LAYERS, "test", max_distance_km=120.0), stations_of(places))
    [cluster] = method.announce(made, [])
    first = cluster.picks[0]
    return Event(
        "e-v1",
        "e",
        1,
        stage,
        "pyocto",
        first.time_ns,
        cluster.picks,
        origin=cluster.origin,
        magnitude=cluster.magnitude,
    )


@pytest.mark.parametrize("stage", ["early", "final", "withdrawn"])
def test_a_located_event_has_origin_arrivals_and_magnitude(stage: DocumentStage) -> None:
    from obspy.io.quakeml.core import _validate

    event = located(stage)
    content = quakeml_bytes([event], AGENCY)
    assert _validate(io.BytesIO(content), verbose=True)
    [read] = obspy.read_events(io.BytesIO(content))
    origin, magnitude = read.preferred_origin(), read.preferred_magnitude()
    assert event.origin is not None
    assert event.magnitude is not None
    assert str(origin.time) == iso_from_ns(event.origin.time_ns)
    assert SOURCE.away_km(origin.latitude, origin.longitude) < 2
    assert origin.depth == pytest.approx(1000 * event.origin.depth_km, abs=0.1)
    assert origin.depth_errors.uncertainty == pytest.approx(1000 * event.origin.depth_uncertainty_km, abs=0.1)
    assert origin.quality.used_phase_count == len(event.picks) == 16
    assert origin.quality.used_station_count == 8
    picks = {one.resource_id.id: one for one in read.picks}
    for arrival, one in zip(origin.arrivals, event.picks, strict=True):
        found = picks[arrival.pick_id.id]
        assert one.arrival is not None
        assert (arrival.phase, found.waveform_id.station_code) == (one.phase, one.channel.station)
        assert arrival.time_residual == pytest.approx(one.arrival.residual_s, abs=1e-3)
        assert arrival.distance * 111.195 == pytest.approx(one.arrival.distance_km, abs=1e-2)
        assert arrival.azimuth == pytest.approx(one.arrival.azimuth_deg, abs=0.1)
    assert (magnitude.mag, magnitude.magnitude_type) == (round(event.magnitude.value, 2), "ML")
    assert magnitude.station_count == len(read.station_magnitudes) == 8
    assert magnitude.origin_id == origin.resource_id
    assert (
        origin.evaluation_status
        == {"early": "preliminary", "final": "confirmed", "withdrawn": "rejected"}[stage]
    )


def test_without_a_depth_or_a_magnitude_none_is_written() -> None:
    event = located()
    assert event.origin is not None
    event = replace(event, magnitude=None, origin=replace(event.origin, depth_uncertainty_km=math.nan))
    [read] = obspy.read_events(io.BytesIO(quakeml_bytes([event], AGENCY)))
    assert read.magnitudes == []
    assert read.origins[0].depth_errors.uncertainty is None
