"""The specification: a round trip, and a clear word about every damage."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.spec import METADATA_KEY, ModelSpec, SpecError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FULL = ModelSpec(
    name="example",
    version="1.2.3",
    receptive_field_samples=697,
    thresholds={"P": 0.4, "S": 0.35},
    vertical_thresholds={"P": 0.5, "S": 0.45},
    early_thresholds={"P": 0.6, "S": 0.55},
    early_vertical_thresholds={"P": 0.7, "S": 0.65},
    net={"widths": [12, 24, 32], "kernels": [9, 7, 5]},
    provenance={"teacher": "a teacher", "created": "2026-01-01T00:00:00Z"},
)


def test_round_trip() -> None:
    metadata = FULL.to_metadata()
    assert all(isinstance(value, str) for value in metadata.values())
    again = ModelSpec.from_metadata(metadata)
    assert again == FULL
    assert again.phases == ("N", "P", "S")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"spec_version": 99}, "99"),
        ({"front_end": "whitening-1"}, "whitening-1"),
        ({"components": "ENZ"}, "ENZ"),
        ({"sampling_rate_hz": 50.0}, "50 Hz"),
        ({"phases": ["P", "S"]}, "phases"),
        ({"front_end": "bands-1"}, "needed are N and onset"),
        ({"front_end": "bands-1", "phases": ["N", "onset"]}, "numbers between 0 and 1 for onset"),
        ({"window_samples": 0}, "window_samples"),
        ({"thresholds": {"P": 0.3}}, "thresholds"),
        ({"thresholds": {"P": 0.3, "S": 1.5}}, "thresholds"),
        ({"vertical_thresholds": {"P": 0.3}}, "vertical_thresholds"),
        ({"early_thresholds": {"S": 0.3}}, "early_thresholds"),
        ({"early_vertical_thresholds": {"P": 0.3, "S": 0}}, "early_vertical_thresholds"),
        ({"colour": "green"}, "colour"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_served_is_refused_by_name(change: dict[str, object], word: str) -> None:
    content = json.loads(FULL.to_metadata()[METADATA_KEY]) | change
    with pytest.raises(SpecError, match=word):
        ModelSpec.from_metadata({METADATA_KEY: json.dumps(content)})


def test_each_stage_has_thresholds_of_its_own() -> None:
    assert FULL.thresholds_of("final") == {"P": 0.4, "S": 0.35}
    assert FULL.thresholds_of("final", vertical_alone=True) == {"P": 0.5, "S": 0.45}
    assert FULL.thresholds_of("early") == {"P": 0.6, "S": 0.55}
    assert FULL.thresholds_of("early", vertical_alone=True) == {"P": 0.7, "S": 0.65}
    no_vertical = replace(FULL, vertical_thresholds={}, early_vertical_thresholds={})
    assert no_vertical.thresholds_of("final", vertical_alone=True) == FULL.thresholds
    assert no_vertical.thresholds_of("early", vertical_alone=True) == FULL.early_thresholds


def test_a_file_without_early_thresholds_has_those_of_final_picks() -> None:
    content = json.loads(FULL.to_metadata()[METADATA_KEY])
    assert content["spec_version"] == 4
    for key in ("early_thresholds", "early_vertical_thresholds"):
        del content[key]
    spec = ModelSpec.from_metadata({METADATA_KEY: json.dumps(content | {"spec_version": 3})})
    for vertical_alone in (False, True):
        assert spec.thresholds_of("early", vertical_alone) == FULL.thresholds_of("final", vertical_alone)


@settings(max_examples=300)
@given(key=st.sampled_from([*json.loads(FULL.to_metadata()[METADATA_KEY]), "other"]), value=JSON)
def test_any_damaged_value_is_a_spec_error_or_a_spec(key: str, value: object) -> None:
    content = json.loads(FULL.to_metadata()[METADATA_KEY])
    content[key] = value
    try:
        spec = ModelSpec.from_metadata({METADATA_KEY: json.dumps(content)})
    except SpecError:
        return
    assert ModelSpec.from_metadata(spec.to_metadata()) == spec


@settings(max_examples=200)
@given(text=st.text(max_size=30) | JSON.map(json.dumps))
def test_any_text_is_a_spec_error(text: str) -> None:
    with pytest.raises(SpecError):
        ModelSpec.from_metadata({METADATA_KEY: text})
