"""The document of a pick: the schema has what is possible and nothing else, and what was written once can be read."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.test_pick_store import EXAMPLE
from xiaod.config import AgencyConfig
from xiaod.domain.document import pick_document, pick_from_document, schema
from xiaod.domain.onsets import is_of, pick_id, unresolved_early, withdrawal
from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.domain.types import DocumentStage, GroundMotion, Instrument, Outcome, Pick, Polarity, Stages

ROOT = Path(__file__).parents[3]
AGENCY = AgencyConfig(agency_id="TEST", author="tester")
INSTRUMENT = Instrument("BW", "RJOB", "", "EH")
VALIDATOR = jsonschema.validators.validator_for(schema())(schema())
"""``jsonschema.validate`` looks at the schema each time, which takes longer than to look at a document."""
VERSION_1 = """
{"schema_version": "1.0.0", "id": "20261124.134611.72-P-BW.RJOB..EH-micro-1.1.0", "network": "BW", "station": "RJOB",
 "location": "", "channel": "EHZ", "phase": "P", "time": "2026-11-24T13:46:11.714853Z", "time_uncertainty_s": 0.027531,
 "probability": 0.995515, "snr": null, "amplitude": 12053.489, "components": "ZNE", "model": "micro-1.1.0",
 "model_sha256": "09820b5a56bdad2abc8793fca37235804e3c1e31e23773e9a6380fce6114ac67", "agency_id": "XX", "author": "xiaod",
 "created": "2026-11-24T13:46:29.440452Z", "latency_s": 17.725598, "latency": {"lookahead_s": 15.275147, "record_fill_s": 2.44,
 "feed_s": 0.001782, "component_wait_s": 0.000487, "processing_s": 0.008182}}
"""
"""As the program wrote it before picks had a stage."""


def early_at(sample: int) -> Pick:
    name = pick_id(sample * GRID_NS, "P", INSTRUMENT, EXAMPLE.model, "early")
    return replace(EXAMPLE, id=name, time_ns=sample * GRID_NS, stage="early")


def final_at(sample: int, early: Pick | None = None) -> Pick:
    """The final pick of an onset, which says how the early one turned out."""
    name = pick_id(sample * GRID_NS, "P", INSTRUMENT, EXAMPLE.model)
    final = replace(EXAMPLE, id=name, time_ns=sample * GRID_NS)
    if early is None:
        return final
    moved_s = (final.time_ns - early.time_ns) / NS_PER_S
    outcome: Outcome = "confirmed" if abs(moved_s) <= 0.1 else "revised"
    return replace(final, early_id=early.id, outcome=outcome, moved_s=moved_s)


@settings(max_examples=100)
@given(st.integers(0, 10**11), st.integers(-300, 300))
def test_each_kind_of_pick_fits_the_schema_and_comes_back(sample: int, moved: int) -> None:
    early = early_at(sample)
    motions = [replace(final_at(sample), polarity=polarity) for polarity in get_args(Polarity)]
    for pick in (early, final_at(sample), *motions, final_at(sample + moved, early), withdrawal(early)):
        document = json.loads(json.dumps(pick_document(pick, AGENCY), allow_nan=False))
        VALIDATOR.validate(document)
        assert pick_from_document(document) == pick
        assert document["schema_version"] == "2.0.0"


@pytest.mark.parametrize("polarity", get_args(Polarity))
def test_final_p_picks_alone_have_a_first_motion(polarity: Polarity) -> None:
    early, final = early_at(5), final_at(5, early_at(5))
    fits = {
        (pick.stage, pick.phase): VALIDATOR.is_valid(pick_document(replace(pick, polarity=polarity), AGENCY))
        for pick in (early, final, withdrawal(early), replace(final, phase="S"))
    }
    assert fits == {
        ("early", "P"): False,
        ("final", "P"): True,
        ("withdrawn", "P"): False,
        ("final", "S"): False,
    }
    # One that was made before it was measured says nothing.
    assert "polarity" not in pick_document(final, AGENCY)
    assert not VALIDATOR.is_valid({**pick_document(final, AGENCY), "polarity": None})


def test_final_picks_alone_have_the_motion_of_the_ground_and_all_of_it() -> None:
    motion = GroundMotion(1.234e-6, 0.1234, 0.001, 2.5)
    early, final = early_at(5), final_at(5, early_at(5))
    found = [
        VALIDATOR.is_valid(pick_document(replace(pick, motion=motion), AGENCY))
        for pick in (final, replace(final, phase="S"), early, withdrawal(early))
    ]
    assert found == [True, True, False, False]
    document = pick_document(replace(final, motion=motion), AGENCY)
    assert pick_from_document(json.loads(json.dumps(document))).motion == motion
    keys = ("velocity_m_s", "wood_anderson_mm", "wood_anderson_noise_mm", "motion_window_s")
    assert [document[key] for key in keys] == [1.234e-6, 0.1234, 0.001, 2.5]
    for key in keys:
        assert not VALIDATOR.is_valid({name: value for name, value in document.items() if name != key})
    # Without a response nothing is invented.
    assert not set(keys) & set(pick_document(final, AGENCY))


def test_no_other_combination_fits_the_schema() -> None:
    possible = {
        ("final", None, None, None),
        ("final", "id", "confirmed", 0.05),
        ("final", "id", "revised", 0.5),
        ("early", None, None, None),
        ("withdrawn", "id", None, None),
    }
    for stage, early_id, outcome, moved_s in product(
        get_args(DocumentStage), (None, "id"), (None, *get_args(Outcome)), (None, 0.05, 0.5)
    ):
        pick = replace(EXAMPLE, stage=stage, early_id=early_id, outcome=outcome, moved_s=moved_s)
        fits = (stage, early_id, outcome, moved_s) in possible
        assert VALIDATOR.is_valid(pick_document(pick, AGENCY)) == fits, pick
    document = pick_document(final_at(5), AGENCY)
    del document["stage"]
    assert not VALIDATOR.is_valid(document)


def test_the_example_of_the_manual_is_a_document() -> None:
    text = (ROOT / "docs" / "sinks.md").read_text(encoding="utf-8")
    document = json.loads(text.split("```json\n")[1].split("```")[0])
    VALIDATOR.validate(document)
    made = pick_document(
        pick_from_document(document), AgencyConfig(agency_id=document["agency_id"], author=document["author"])
    )
    assert list(made.items()) == list(document.items())


def test_a_document_of_the_first_version_is_a_final_pick() -> None:
    pick = pick_from_document(json.loads(VERSION_1))
    assert (pick.stage, pick.early_id, pick.outcome, pick.moved_s) == ("final", None, None, None)
    document = json.loads(json.dumps(pick_document(pick, AgencyConfig())))
    VALIDATOR.validate(document)
    # Its amplitude was that of the raw samples.
    assert document == {
        **json.loads(VERSION_1),
        "schema_version": "2.0.0",
        "stage": "final",
        "amplitude": None,
        "raw_amplitude": 12053.489,
    }
    assert pick_from_document(document) == pick


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": "3.0.0"}, "schema_version 3.0.0; versions 1 and 2 can be read"),
        ({"stage": "middle"}, "no pick has stage 'middle' and outcome None"),
        ({"outcome": "lost"}, "no pick has stage 'final' and outcome 'lost'"),
        ({"polarity": "positive"}, "no pick has polarity 'positive'; up, down, undecidable can be read"),
        ({"stage": "early", "outcome": "withdrawn"}, "no pick has stage 'early' and outcome 'withdrawn'"),
    ],
)
def test_a_document_that_no_pick_has_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pick_from_document({**pick_document(final_at(5), AGENCY), **changes})


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["early", "final", "alone", "withdrawn"]))))
def test_early_picks_are_unresolved_until_something_names_them(steps: list[tuple[int, str]]) -> None:
    picks: list[Pick] = []
    left: dict[str, Pick] = {}
    named: set[str] = set()
    for sample, step in steps:
        early = early_at(sample)
        match step:
            case "early":
                picks.append(early)
                if early.id not in named:
                    left[early.id] = early
            case "alone":
                picks.append(final_at(sample))
            case _:
                picks.append(final_at(sample + 3, early) if step == "final" else withdrawal(early))
                named.add(early.id)
                left.pop(early.id, None)
    assert dict.fromkeys(pick.id for pick in unresolved_early(picks)) == dict.fromkeys(left)


@pytest.mark.parametrize("stages", get_args(Stages))
def test_a_withdrawal_comes_with_early_picks(stages: Stages) -> None:
    early = early_at(5)
    picks = [early, final_at(5, early), withdrawal(early)]
    kept = {"early": [picks[0], picks[2]], "final": [picks[1]], "all": picks}
    assert [pick for pick in picks if is_of(pick, stages)] == kept[stages]
    # Who looks at the stage alone takes no withdrawal for a pick.
    assert [pick.stage for pick in picks] == ["early", "final", "withdrawn"]
