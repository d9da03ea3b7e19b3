"""SCML files as SeisComP's own schemas, and ObsPy, read them."""

import io
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import obspy
from lxml import etree  # type: ignore[import-untyped]

from tests.contract.test_sinks import AGENCY, NOW_NS, STAGES, early, final, pick
from xiaod.config import AgencyConfig
from xiaod.config.sinks.file import SCML_VERSION, ScmlConfig
from xiaod.domain.onsets import withdrawal
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import Channel, GroundMotion, Pick
from xiaod.sinks.file.scml import MAX_INSTRUMENTS, NAMESPACE, PrecedingP, ScmlSink, scml_bytes

P = pick(1)
MOTION = GroundMotion(
    velocity_m_s=1.2345e-6, wood_anderson_mm=0.0123, wood_anderson_noise_mm=0.001, window_s=3.0
)
S = pick(2, phase="S", time_ns=P.time_ns + 4_000_000_000, id="S-1", channel=Channel("BW", "RJOB", "", "EHN"))
LATE = pick(3, phase="S", time_ns=P.time_ns + 61_000_000_000, id="S-2")
ELSEWHERE = pick(
    4, phase="S", time_ns=P.time_ns + 4_000_000_000, id="S-3", channel=Channel("A", "B", "", "EHZ")
)
STRANGE = [
    pick(1, snr=math.inf),
    pick(1, snr=math.nan, amplitude=math.nan, time_uncertainty_s=math.nan),
    pick(1, created_ns=None, latency=None),
    pick(1, channel=Channel("A\x01", "é<", "", 'EH"')),
    pick(1, polarity="up"),
    pick(1, motion=MOTION),
]


def children(content: bytes) -> list[ElementTree.Element]:
    """Elements under EventParameters; names are without their namespace."""
    root = ElementTree.fromstring(content)  # noqa: S314  our own
    for element in root.iter():
        assert element.tag.startswith(f"{{{NAMESPACE}}}")
        element.tag = element.tag.rpartition("}")[2]
    [parameters] = root
    return list(parameters)


def comments(element: ElementTree.Element) -> dict[str | None, str | None]:
    return {comment.findtext("id"): comment.findtext("text") for comment in element.findall("comment")}


def test_seiscomp_s_schema_takes_every_document() -> None:
    schema = files("obspy.io.seiscomp") / "data" / f"sc3ml_{SCML_VERSION}.xsd"
    validator = etree.XMLSchema(etree.parse(str(schema)))
    author = AgencyConfig(agency_id="A", author="ü<&>")
    for picks in ([], [P, S], STRANGE, STAGES, [withdrawal(early(1))]):
        validator.assertValid(etree.fromstring(scml_bytes(picks, author)))
    wrong = scml_bytes([P], author).replace(b"phaseHint", b"phase")
    assert not validator.validate(etree.fromstring(wrong))


LOCATED = """<origin publicID="O"><time><value>2023-11-14T22:13:10.0Z</value></time><latitude><value>47</value></latitude>
<longitude><value>12</value></longitude>{arrivals}</origin><event publicID="E"><preferredOriginID>O</preferredOriginID>
<originReference>O</originReference></event></EventParameters>"""


def test_obspy_reads_picks_and_amplitudes_once_they_are_located() -> None:
    # ObsPy knows picks of events only; what a locator would add refers to ours.
    arrivals = "".join(
        f"<arrival><pickID>{one.id}</pickID><phase>{one.phase}</phase></arrival>" for one in (P, S)
    )
    content = scml_bytes([P, S], AGENCY).replace(
        b"</EventParameters>", LOCATED.format(arrivals=arrivals).encode()
    )
    [event] = obspy.read_events(io.BytesIO(content), format="SCML")
    assert [str(found.time) for found in event.picks] == [iso_from_ns(one.time_ns) for one in (P, S)]
    first, second = event.picks
    assert first.waveform_id.get_seed_string() == "BW.RJOB..EHZ"
    assert (first.phase_hint, second.phase_hint) == ("P", "S")
    assert first.time_errors.uncertainty == 0.05
    assert "0.870" in {comment.text for comment in first.comments}


def test_what_scautoloc_asks_for_is_there() -> None:
    first, second, *amplitudes = children(scml_bytes([P, S], AGENCY))
    assert first.get("publicID") == P.id
    assert first.findtext("time/value") == "2023-11-14T22:13:20.010123Z"
    assert first.findtext("phaseHint") == "P"
    assert first.findtext("evaluationMode") == "automatic"
    assert first.findtext("creationInfo/author") == "tester"
    waveform = first.find("waveformID")
    assert waveform is not None
    assert waveform.attrib == {
        "networkCode": "BW", "stationCode": "RJOB", "locationCode": "", "channelCode": "EHZ",
    }  # fmt: skip
    assert comments(first) == {"dlmodel": "micro-0.1.0", "confidence": "0.870", "SNR": "12.500"}
    assert comments(second)["RefPickID"] == P.id
    of_first = {one.findtext("type"): one for one in amplitudes if one.findtext("pickID") == P.id}
    assert {kind: one.get("publicID") for kind, one in of_first.items()} == {
        "snr": f"{P.id}.snr",
        "mb": f"{P.id}.mb",
    }
    assert of_first["snr"].findtext("amplitude/value") == "12.500"
    assert of_first["mb"].findtext("amplitude/value") == "4321.000"
    assert of_first["mb"].findtext("period/value") == "1"
    assert of_first["mb"].findtext("unit") == "count"
    assert {one.findtext("filterID") for one in amplitudes} == {"BW(4,2,20)"}
    assert b"agnitude" not in scml_bytes([P, S], AGENCY)
    assert "/" not in P.id


def test_an_s_pick_refers_to_the_p_pick_before_it_on_its_instrument() -> None:
    made = {
        one.get("publicID"): comments(one) for one in children(scml_bytes([P, S, LATE, ELSEWHERE], AGENCY))
    }
    assert made["S-1"]["RefPickID"] == P.id
    assert "RefPickID" not in made["S-2"] | made["S-3"] | made[P.id]


def test_of_one_onset_the_later_pick_stands_and_scautoloc_sees_what_is_rejected() -> None:
    made = children(scml_bytes(STAGES, AGENCY))
    picks = {one.get("publicID"): one for one in made if one.tag == "pick"}
    assert {key: one.findtext("evaluationStatus") for key, one in picks.items()} == {
        final(1, 0.03).id: "confirmed",
        final(2, -0.25).id: "confirmed",
        early(3).id: "rejected",
        pick(4).id: "confirmed",
    }
    told = comments(picks[final(2, -0.25).id])
    assert (told["early_id"], told["outcome"], told["moved_s"]) == (early(2).id, "revised", "-0.250000")
    # Without amplitudes no locator takes it, whatever it thinks of the status.
    assert early(3).id not in {one.findtext("pickID") for one in made}
    [one] = [one for one in children(scml_bytes([early(3)], AGENCY)) if one.tag == "pick"]
    assert (one.get("publicID"), one.findtext("evaluationStatus")) == (early(3).id, "preliminary")


def test_a_final_s_pick_refers_to_a_final_p_pick_with_early_ones_or_without() -> None:
    early_p, final_p = early(1), final(1, 0.03)
    early_s = replace(S, id="S-early", stage="early")
    final_s = replace(S, early_id="S-early", outcome="confirmed", moved_s=0.0)
    noise = replace(early(2), time_ns=S.time_ns - 1_000_000_000)
    preceding = PrecedingP()
    preceding.see([early_p])
    assert preceding.of(early_s) == early_p.id
    assert preceding.of(final_s) is None
    preceding.see([noise])
    assert preceding.of(early_s) == noise.id
    preceding.see([withdrawal(noise), final_p, early_s, final_s])
    assert preceding.of(early_s) == preceding.of(final_s) == final_p.id


def test_of_many_instruments_the_p_picks_of_those_picked_last_are_kept() -> None:
    preceding = PrecedingP()
    for number in range(MAX_INSTRUMENTS):
        preceding.see([replace(P, id=f"P-{number}", channel=Channel("XX", f"S{number}", "", "HHZ"))])
    # One that is picked again stays, another gives way.
    again = Channel("XX", "S0", "", "HHZ")
    preceding.see([replace(P, id="again", channel=again, time_ns=P.time_ns + 1)])
    preceding.see([replace(P, id="new", channel=Channel("XX", "NEW", "", "HHZ"))])
    found = {
        name: preceding.of(
            replace(P, phase="S", channel=Channel("XX", name, "", "HHE"), time_ns=P.time_ns + 10)
        )
        for name in ("S0", "S1", "S2", "NEW")
    }
    assert found == {"S0": "again", "S1": None, "S2": "P-2", "NEW": "new"}


def test_the_motion_of_the_ground_has_amplitudes_with_units_and_window() -> None:
    _, *amplitudes = children(scml_bytes([replace(P, motion=MOTION)], AGENCY, mb_amplitudes=False))
    assert {
        one.findtext("type"): tuple(
            one.findtext(path) for path in ("amplitude/value", "unit", "timeWindow/end", "filterID", "pickID")
        )
        for one in amplitudes
    } == {
        "snr": ("12.500", None, "1", "BW(4,2,20)", P.id),
        "A": ("1.234e-06", "m/s", "3", "BW(4,2,20)", P.id),
        "AML": ("0.0123", "mm", "3", "BW(4,0.5,20)", P.id),
    }


def test_mb_amplitudes_can_be_left_out() -> None:
    kinds = [one.findtext("type") for one in children(scml_bytes([P], AGENCY, mb_amplitudes=False))]
    assert kinds == [None, "snr"]


def test_the_p_pick_may_stand_in_another_file_and_a_retry_writes_the_same(tmp_path: Path) -> None:
    sink = ScmlSink(ScmlConfig(kind="scml", folder=tmp_path), AGENCY)
    sink.deliver([P], NOW_NS)
    sink.deliver([S], NOW_NS)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    sink.deliver([P, S], NOW_NS)
    sink.close()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    [made] = [one for one in children(before["S-1.xml"]) if one.tag == "pick"]
    assert comments(made)["RefPickID"] == P.id


def test_picks_of_an_interval_are_held(tmp_path: Path) -> None:
    sink = ScmlSink(ScmlConfig(kind="scml", folder=tmp_path, interval_s=60.0), AGENCY)
    sink.deliver([P, S], NOW_NS)
    assert sink.held == 2
    sink.deliver([], NOW_NS + 60_000_000_000)
    assert sink.held == 0
    [file] = tmp_path.iterdir()
    assert sum(one.tag == "pick" for one in children(file.read_bytes())) == 2


def test_any_number_makes_a_document() -> None:
    made: list[Pick] = STRANGE
    kinds = [[one.findtext("type") for one in children(scml_bytes([one], AGENCY))] for one in made]
    assert kinds == [[None, "mb"], [None], *[[None, "snr", "mb"]] * 3, [None, "snr", "mb", "A", "AML"]]
