"""Every kind of sink keeps the same promises, with what it really delivers to."""

import csv
import io
import json
import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import get_args

import jsonschema
import obspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.end_to_end.harness import wait_until
from tests.everysink import NETWORK, SUSPENDED, Suspended, delivering, ids_in
from xiaod.config import AgencyConfig
from xiaod.config.sinks import SINKS
from xiaod.config.sinks.file import AnssConfig, FolderConfig, JsonLinesConfig, QuakeMLConfig
from xiaod.config.sinks.kind import SinkModel
from xiaod.domain.document import pick_document, pick_from_document, schema
from xiaod.domain.onsets import withdrawal
from xiaod.domain.rsam import rsam_document, rsam_schema
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import (
    Channel,
    Event,
    EventPick,
    Latency,
    Pick,
    PickOrEvent,
    RsamValue,
    StationDistance,
)
from xiaod.sinks import Refused, Sink
from xiaod.sinks.file.formats import render
from xiaod.sinks.file.jsonl import JsonLinesSink
from xiaod.sinks.file.quakeml import NOTICE, QuakeMLSink, quakeml_bytes
from xiaod.sinks.file.table import DOCUMENT_COLUMNS, RSAM_COLUMNS

AGENCY = AgencyConfig(agency_id="TEST", author="tester")
DAY_NS = 86_400_000_000_000
NOW_NS = 1_700_000_000_000_000_000
VALIDATOR = jsonschema.validators.validator_for(schema())(schema())
"""``jsonschema.validate`` looks at the schema each time, which takes longer than to look at a document."""


def pick(number: int = 0, **changes: object) -> Pick:
    made = Pick(
        id=f"20231114.221320.{number:02d}-P-BW.RJOB..EH-micro-0.1.0",
        channel=Channel("BW", "RJOB", "", "EHZ"),
        phase="P",
        time_ns=NOW_NS + number * 10_000_000 + 123_000,
        time_uncertainty_s=0.05,
        probability=0.87,
        snr=12.5,
        amplitude=4321.0,
        components="ZNE",
        model="micro-0.1.0",
        model_sha256="0" * 64,
        created_ns=NOW_NS + 3_000_000_000,
        latency=Latency(0.75, 1.25, 0.5, 0.0, 0.5),
        raw_amplitude=5432.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def early(number: int) -> Pick:
    one = pick(number)
    return replace(one, id=f"{one.id}-early", stage="early", latency=Latency(0.5, 0.25, 0.1, 0.0, 0.1))


def final(number: int, moved_s: float) -> Pick:
    """The final pick of the onset of an early one."""
    outcome = "confirmed" if abs(moved_s) <= 0.1 else "revised"
    time_ns = early(number).time_ns + round(moved_s * 1e9)
    return pick(number, time_ns=time_ns, early_id=early(number).id, outcome=outcome, moved_s=moved_s)


STAGES = [early(1), early(2), early(3), final(1, 0.03), final(2, -0.25), withdrawal(early(3)), pick(4)]
"""Early picks; one is confirmed, one revised, one withdrawn; and a final pick that no early one came before."""


every_kind = pytest.mark.parametrize("model", SINKS, ids=[model.kind_name() for model in SINKS])


@every_kind
def test_picks_are_written_once_each_and_ticks_write_nothing(model: type[SinkModel], tmp_path: Path) -> None:
    with delivering(model, tmp_path) as (sink, receiver):
        sink.deliver([], NOW_NS)
        assert receiver.arrived() == []
        sink.deliver([pick(1), pick(2)], NOW_NS)
        sink.deliver([], NOW_NS)
        sink.deliver([pick(3)], NOW_NS)
        sink.close()
        assert same(receiver.arrived(), [pick(1), pick(2), pick(3)])
        assert sink.name == model.kind_name()


@every_kind
def test_what_an_error_held_up_is_written_once_when_it_is_delivered_again(
    model: type[SinkModel], tmp_path: Path
) -> None:
    with delivering(model, tmp_path) as (sink, receiver):
        with receiver.hindered():
            for _ in range(3):
                with pytest.raises(
                    OSError, match=r"exists|directory|Broken pipe|Connection refused|cannot connect|HTTP 503"
                ):
                    sink.deliver([pick(1), pick(2)], NOW_NS)
        sink.deliver([pick(1), pick(2), pick(3)], NOW_NS)
        sink.close()
        sink.close()
        assert same(receiver.arrived(), [pick(1), pick(2), pick(3)])


@pytest.mark.parametrize("model", NETWORK, ids=[model.kind_name() for model in NETWORK])
def test_what_came_before_an_outage_and_in_it_arrives_in_order(
    model: type[SinkModel], tmp_path: Path
) -> None:
    with delivering(model, tmp_path, of="picks", timeout_s=10.0) as (sink, receiver):
        sink.deliver([pick(number) for number in range(10)], NOW_NS)
        before = receiver.arrived()
        with receiver.hindered():
            for _ in range(2):
                with pytest.raises(OSError, match=r"127\.0\.0\.1|HTTP 503"):
                    sink.deliver([pick(number) for number in range(10, 15)], NOW_NS)
        sink.deliver([pick(number) for number in range(10, 20)], NOW_NS)
        # What was taken when the connection broke may be there twice; a ring that is killed forgets what it had before.
        found = list(dict.fromkeys([*before, *receiver.arrived()]))
        assert found == [pick(number).id for number in range(20)]


@pytest.mark.parametrize("kind", SUSPENDED)
def test_a_receiver_that_hangs_is_given_up_and_gets_all_later(kind: str, tmp_path: Path) -> None:
    [model] = [model for model in SINKS if model.kind_name() == kind]
    picks = [pick(1), pick(2)]
    with delivering(model, tmp_path, timeout_s=1.0) as (sink, receiver):

        def delivers(*picks: Pick) -> bool:
            try:
                sink.deliver(picks, NOW_NS)
            except OSError:
                return False
            return True

        assert isinstance(receiver, Suspended)
        # On a machine that is busy the first connection may take longer.
        wait_until(lambda: delivers(pick(0)), "the first pick")
        with receiver.suspended():
            with pytest.raises(OSError, match=r"no acknowledgment|no answer within 1 s"):
                sink.deliver(picks, NOW_NS)
            # The next attempt finds a socket that takes it in, and nobody behind it.
            with pytest.raises(
                OSError, match=r"cannot connect: .+; check|no answer before the connection was accepted"
            ):
                sink.deliver(picks, NOW_NS)
        wait_until(lambda: delivers(*picks), "the others")
        assert list(dict.fromkeys(receiver.arrived())) == [pick(number).id for number in range(3)]


@every_kind
def test_a_sink_without_picks_leaves_no_trace(model: type[SinkModel], tmp_path: Path) -> None:
    with delivering(model, tmp_path) as (sink, receiver):
        sink.deliver([], NOW_NS)
        sink.close()
        assert receiver.arrived() == []


@every_kind
def test_early_final_and_withdrawn_picks_arrive_as_what_they_are(
    model: type[SinkModel], tmp_path: Path
) -> None:
    expected = STAGES
    if issubclass(model, AnssConfig):
        # The format cannot say that a pick is withdrawn.
        expected = [one for one in STAGES if one.stage != "withdrawn"]
    elif issubclass(model, FolderConfig):
        # A file of its own, with the early pick in it again.
        expected = [early(3) if one.stage == "withdrawn" else one for one in STAGES]
    with delivering(model, tmp_path, stage="all") as (sink, receiver):
        assert sink.stages == "all"
        for begin in range(0, len(STAGES), 2):
            sink.deliver(STAGES[begin : begin + 2], NOW_NS)
        sink.close()
        assert same(receiver.arrived(), expected)


@every_kind
def test_any_code_of_a_damaged_record_can_be_written(model: type[SinkModel], tmp_path: Path) -> None:
    damaged = Channel("B\x01", "\ud800é/+#", "<&", 'EH"')
    with delivering(model, tmp_path) as (sink, receiver):
        sink.deliver([pick(1, channel=damaged, snr=math.inf)], NOW_NS)
        sink.close()
        assert same(receiver.arrived(), [pick(1)])


@every_kind
def test_codes_and_identifiers_of_any_length_hold_up_nothing(model: type[SinkModel], tmp_path: Path) -> None:
    long = [
        pick(number, id="i" * 300 + str(number), channel=Channel("N" * 100, "S" * 200, "", "EHZ"))
        for number in (1, 2)
    ]
    with delivering(model, tmp_path) as (sink, receiver):
        # A ring takes no such name of a stream: what is refused is passed over.
        with nullcontext() if model.kind_name() != "datalink" else pytest.raises(Refused):
            sink.deliver(long, NOW_NS)
        sink.deliver([pick(3)], NOW_NS)
        sink.close()
        assert same(receiver.arrived(), [pick(3)] if model.kind_name() == "datalink" else [*long, pick(3)])


def same(arrived: list[str], picks: list[Pick]) -> bool:
    """Whether each pick has arrived once: by its identifier, or by the time in its line on standard output."""
    told = sorted(text.split()[0] for text in arrived)
    return told in (sorted(one.id for one in picks), sorted(iso_from_ns(one.time_ns) for one in picks))


def test_the_document_fits_the_schema_and_comes_back() -> None:
    made = pick()
    document = pick_document(made, AGENCY)
    jsonschema.validate(document, schema())
    assert document["latency_s"] == 3.0
    assert pick_from_document(json.loads(json.dumps(document))) == made
    offline = pick_document(pick(created_ns=None, latency=None), AGENCY)
    jsonschema.validate(offline, schema())
    assert offline.keys().isdisjoint({"created", "latency", "latency_s"})
    for broken in ({"phase": "Pn"}, {"time": "2023-11-14T22:13:20Z"}, {"more": 1}, {"probability": 1.5}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**document, **broken}, schema())


@settings(max_examples=200)
@given(
    number=st.floats(allow_nan=True, allow_infinity=True, width=64),
    time_ns=st.integers(0, 4_000_000_000_000_000_000),
)
def test_any_number_makes_valid_json(number: float, time_ns: int) -> None:
    made = pick(
        snr=abs(number),
        amplitude=abs(number),
        raw_amplitude=abs(number),
        time_ns=time_ns,
        latency=Latency(number, 1.0, 1.0, 0.0, 0.0),
        probability=min(abs(number), 1.0) if math.isfinite(number) else number,
    )
    document = json.loads(json.dumps(pick_document(made, AGENCY), allow_nan=False))
    VALIDATOR.validate(document)
    # What has been written once changes no more.
    assert pick_document(pick_from_document(document), AGENCY) == document or not math.isfinite(number)
    assert pick_from_document(document).time_ns == (made.time_ns + 500) // 1000 * 1000


def test_csv_has_the_document_s_columns() -> None:
    [row] = csv.DictReader(io.StringIO(render("csv", [pick()], AGENCY).decode()))
    document = pick_document(pick(), AGENCY)
    assert tuple(row) == DOCUMENT_COLUMNS
    assert row == {key: str(document.get(key, "")) for key in DOCUMENT_COLUMNS}


class TestJsonLines:
    @staticmethod
    def made(path: Path, **keys: object) -> JsonLinesSink:
        return JsonLinesSink(JsonLinesConfig.model_validate({"kind": "jsonl", "path": path, **keys}), AGENCY)

    def test_a_line_cut_by_a_power_failure_does_not_spoil_the_next(self, tmp_path: Path) -> None:
        path = tmp_path / "picks.jsonl"
        path.write_text('{"id": "whole"}\n{"id": "ha')
        sink = self.made(path)
        sink.deliver([pick()], NOW_NS)
        sink.close()
        assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["whole", pick().id]
        assert (tmp_path / "picks.jsonl.partial").read_text() == '{"id": "ha\n'

    def test_a_full_disk_is_an_error_and_leaves_nothing_half(self) -> None:
        sink = self.made(Path("/dev/full"))
        with pytest.raises(OSError, match="No space"):
            sink.deliver([pick()], NOW_NS)

    @pytest.mark.parametrize("happens", [os.unlink, lambda path: path.rename(path.with_suffix(".moved"))])
    def test_a_file_taken_away_is_made_anew(self, tmp_path: Path, happens: Callable[[Path], None]) -> None:
        path = tmp_path / "picks.jsonl"
        sink = self.made(path)
        sink.deliver([pick(1)], NOW_NS)
        happens(path)
        sink.deliver([pick(2)], NOW_NS)
        sink.close()
        assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [pick(2).id]

    def test_days_are_rotated_and_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "picks.jsonl"
        sink = self.made(path, rotate="day", keep_files=2)
        for day in range(4):
            now_ns = NOW_NS + day * DAY_NS
            sink.deliver([pick(day)], now_ns)
            os.utime(path, ns=(now_ns, now_ns))
        sink.close()
        assert sorted(file.name for file in tmp_path.iterdir()) == [
            "picks.20231115.jsonl", "picks.20231116.jsonl", "picks.jsonl",
        ]  # fmt: skip

    def test_files_of_a_clock_that_was_ahead_do_not_push_out_those_that_follow(self, tmp_path: Path) -> None:
        sink = self.made(tmp_path / "picks.jsonl", rotate="size", rotate_mb=0.0005, keep_files=2)
        year_ns = 365 * DAY_NS
        for number, now_ns in enumerate(
            [NOW_NS + year_ns] * 4 + [NOW_NS, NOW_NS + DAY_NS, NOW_NS + 2 * DAY_NS]
        ):
            sink.deliver([pick(number)], now_ns)
        sink.close()
        found = [json.loads(file.read_text())["id"] for file in tmp_path.iterdir()]
        # The newest three, and of the year ahead what was kept then.
        assert {pick(number).id for number in (4, 5, 6)} <= set(found)
        assert len(found) == 5

    def test_sizes_are_rotated_and_nothing_is_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "picks.jsonl"
        sink = self.made(path, rotate="size", rotate_mb=0.0005, fsync="always")
        for number in range(5):
            sink.deliver([pick(number)], NOW_NS)
        sink.close()
        files = list(tmp_path.iterdir())
        assert len(files) == 5
        found = {json.loads(line)["id"] for file in files for line in file.read_text().splitlines()}
        assert found == {pick(number).id for number in range(5)}


class TestQuakeML:
    def test_it_is_valid_and_obspy_has_no_complaint(
        self, tmp_path: Path, recwarn: pytest.WarningsRecorder
    ) -> None:
        from obspy.io.quakeml.core import _validate

        path = tmp_path / "picks.xml"
        path.write_bytes(quakeml_bytes([pick(1), pick(2, phase="S")], AGENCY, "org.example"))
        assert _validate(str(path))
        [event] = obspy.read_events(str(path))
        first = event.picks[0]
        assert str(event.event_type) == "not reported"
        assert not event.origins
        assert str(first.time) == "2023-11-14T22:13:20.010123Z"
        assert first.time_errors.uncertainty == 0.05
        assert first.waveform_id.get_seed_string() == "BW.RJOB..EHZ"
        assert first.phase_hint == "P"
        assert first.evaluation_mode == "automatic"
        assert str(first.method_id).startswith("smi:org.example/xiaod/model/micro-0.1.0")
        assert first.creation_info.agency_id == "TEST"
        comments = {str(comment.resource_id).rsplit("/")[-1]: comment.text for comment in first.comments}
        assert comments == {
            "confidence": "0.870000",
            "SNR": "12.500",
            "dlmodel": "micro-0.1.0",
            "components": "ZNE",
            "notice": NOTICE,
        }
        assert [str(warning.message) for warning in recwarn if "QuakeML" in str(warning.message)] == []

    def test_an_interval_collects_and_a_failure_loses_nothing(self, tmp_path: Path) -> None:
        folder = tmp_path / "quakeml"
        folder.write_text("a file where the folder should be")
        sink = QuakeMLSink(QuakeMLConfig(kind="quakeml", folder=folder, interval_s=60.0), AGENCY)
        sink.deliver([pick(1)], NOW_NS)
        sink.deliver([pick(2)], NOW_NS + 1)
        for _ in range(2):
            with pytest.raises(OSError, match=r"exists|directory"):
                sink.deliver([pick(3)], NOW_NS + 61_000_000_000)
        folder.unlink()
        sink.deliver([pick(3)], NOW_NS + 62_000_000_000)
        sink.deliver([pick(4)], NOW_NS + 63_000_000_000)
        sink.close()
        counts = sorted(len(obspy.read_events(file)[0].picks) for file in folder.iterdir())
        assert counts == [1, 3]
        assert not list(folder.glob("*.partial"))

    def test_a_repeated_delivery_replaces_the_file(self, tmp_path: Path) -> None:
        sink = QuakeMLSink(QuakeMLConfig(kind="quakeml", folder=tmp_path), AGENCY)
        sink.deliver([pick(1)], NOW_NS)
        sink.deliver([pick(1)], NOW_NS)
        assert len(list(tmp_path.iterdir())) == 1


EVENT = Event(
    "e-early-v1",
    "e-early",
    1,
    "early",
    "coincidence",
    NOW_NS,
    (EventPick(early(1).id, early(1).channel, "P", NOW_NS, 0.1, "early"),),
    (StationDistance("BW", "RJOB", 2.5, 20.06, 2.2),),
)
SETTLED = replace(
    EVENT,
    id="e-v1",
    event_id="e",
    stage="final",
    early_id="e-early",
    picks=(EventPick(pick(4).id, pick(4).channel, "P", NOW_NS, 0.1, "final"),),
)
GONE = replace(EVENT, id="e-early-v2", version=2, stage="withdrawn", early_id="e-early")


def taking(what: str) -> list[type[SinkModel]]:
    """The kinds that can take something."""
    fields = [(model, model.model_fields.get("of")) for model in SINKS]
    return [model for model, field in fields if field is not None and what in get_args(field.annotation)]


TAKING_EVENTS, TAKING_RSAM = taking("events"), taking("rsam")


@pytest.mark.parametrize("model", TAKING_EVENTS, ids=[model.kind_name() for model in TAKING_EVENTS])
def test_events_arrive_once_each_beside_picks(model: type[SinkModel], tmp_path: Path) -> None:
    # As many levels as the topics that are watched.
    more = {"event_topic": "xiaod/every/event/of/{stage}"} if model.kind_name() == "mqtt" else {}
    with delivering(model, tmp_path, stage="all", of="all", **more) as (sink, receiver):
        assert sink.wanted == "all"
        items: list[PickOrEvent] = [pick(1), EVENT, pick(4), SETTLED, pick(2)]
        sink.deliver(items, NOW_NS)  # type: ignore[arg-type]
        sink.close()
        arrived = receiver.arrived()
        if issubclass(model, FolderConfig):
            # Names of files are in the order of the picks; each is read as a whole.
            texts = [path.read_text() for path in sorted(next(tmp_path.rglob("*.xml")).parent.iterdir())]
            assert sum("suspected" in text for text in texts) == 2
            assert not any("<origin" in text for text in texts)
        elif model.kind_name() == "console":
            assert [line.split()[1] for line in arrived] == ["P", "E", "P", "E", "P"]
            assert "about 20 km (+-2) from BW.RJOB" in arrived[1]
        else:
            assert sorted(arrived) == sorted(item.id for item in items)


def mean(minute: int, **changes: object) -> RsamValue:
    time_ns = NOW_NS // (600 * 10**9) * 600 * 10**9 + minute * 60 * 10**9
    made = RsamValue(Channel("BW", "RJOB", "", "EHZ"), 1, time_ns, 1.0, 20.0, 123.456789 + minute, 0.98765)
    return replace(made, **changes)  # type: ignore[arg-type]


MEANS = [mean(1), mean(2), mean(0, minutes=10, share=1.0), mean(3, counts=math.nan, share=0.0)]
every_rsam = pytest.mark.parametrize("model", TAKING_RSAM, ids=[model.kind_name() for model in TAKING_RSAM])


@every_rsam
def test_means_of_the_amplitude_arrive_once_each(model: type[SinkModel], tmp_path: Path) -> None:
    with delivering(model, tmp_path, of="rsam") as (sink, receiver):
        assert sink.wanted == "rsam"
        sink.deliver(MEANS[:2], NOW_NS)  # type: ignore[arg-type]
        sink.deliver([], NOW_NS)
        sink.deliver(MEANS[2:], NOW_NS)  # type: ignore[arg-type]
        sink.close()
        assert sorted(receiver.arrived()) == sorted(one.id for one in MEANS)


def test_kinds_that_take_means_of_the_amplitude() -> None:
    assert {model.kind_name() for model in TAKING_RSAM} == {"jsonl", "table", "mqtt"}


def test_the_document_of_a_mean_fits_its_schema() -> None:
    for one in MEANS:
        document = json.loads(json.dumps(rsam_document(one, AGENCY), allow_nan=False))
        jsonschema.validate(document, rsam_schema())
        for broken in ({"minutes": 5}, {"time": "2023-11-14T22:13:20.000000Z"}, {"share": 1.5}, {"more": 1}):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({**document, **broken}, rsam_schema())


@pytest.mark.parametrize("kind", ["jsonl", "table"])
def test_a_file_of_means_has_each_once_and_no_damaged_line_after_a_crash(kind: str, tmp_path: Path) -> None:
    [model] = [model for model in SINKS if model.kind_name() == kind]
    path = tmp_path / "rsam"

    def delivered(*means: RsamValue) -> None:
        made = model.model_validate({"kind": kind, "path": path, "of": "rsam"})
        module, _, name = model.CODE.partition(":")
        sink: Sink = getattr(import_module(module), name)(made, AGENCY)
        sink.deliver(means, NOW_NS)  # type: ignore[arg-type]
        sink.close()

    delivered(mean(1), mean(2))
    whole = path.read_bytes()
    # A process that ended in the middle of a line.
    path.write_bytes(whole[:-20])
    # The next run makes them again, the first one of fewer samples.
    delivered(mean(1, counts=7.0, share=0.6), mean(2), mean(3))
    text = path.read_text()
    assert ids_in(text) == [mean(number).id for number in (1, 2, 3)]
    assert path.read_bytes().startswith(whole)
    if kind == "table":
        first, *_ = csv.DictReader(io.StringIO(text))
        assert list(first) == list(RSAM_COLUMNS)
        assert (first["value"], first["unit"], first["share"]) == ("124.457", "counts", "0.9877")


def test_kinds_that_cannot_say_events_take_none() -> None:
    assert {model.kind_name() for model in SINKS} - {model.kind_name() for model in TAKING_EVENTS} == {
        "scml", "anss", "table",
    }  # fmt: skip


def test_a_quakeml_file_has_each_event_and_each_pick_once() -> None:
    from obspy.io.quakeml.core import _validate

    content = quakeml_bytes([early(1), EVENT, GONE, pick(4), pick(2)], AGENCY)
    assert _validate(io.BytesIO(content), verbose=True)
    others, gone = obspy.read_events(io.BytesIO(content))
    assert len(others.picks) == 2
    assert gone.event_type == "not existing"
    assert [one.evaluation_status for one in gone.picks] == ["preliminary"]
    content = quakeml_bytes([EVENT, SETTLED, pick(4)], AGENCY)
    assert _validate(io.BytesIO(content), verbose=True)
    [event] = obspy.read_events(io.BytesIO(content))
    assert (event.event_type, event.event_type_certainty) == ("earthquake", "suspected")
    assert event.origins == []
    assert event.resource_id.id.endswith("/xiaod/event/e")
    assert any(comment.text.endswith("/xiaod/event/e-early") for comment in event.comments)
    assert event.picks[0].comments[0].text == "0.870000"
