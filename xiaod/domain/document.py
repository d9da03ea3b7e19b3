"""A pick as a JSON document: the canonical form, from which every other format is made.

The document has the version of its schema, ``pick.schema.json`` beside this file. Numbers that are not finite are null. Documents of
version 1, which had no stage, can be read: they are final picks. Their amplitude is of the samples as they are, and so is their ratio.

>>> from types import SimpleNamespace
>>> from xiaod.domain.types import Channel, Pick
>>> pick = Pick("20090824.002007.73-P-BW.RJOB..EH-micro-0.1.0", Channel("BW", "RJOB", "", "EHZ"), "P",
...     1_251_073_207_731_250_000, 0.1, 0.9, 5.0, 1200.0, "ZNE", "micro-0.1.0", "0" * 64)
>>> document = pick_document(pick, SimpleNamespace(agency_id="XX", author="xiaod"))
>>> document["time"], document["schema_version"], "latency_s" in document
('2009-08-24T00:20:07.731250Z', '2.0.0', False)
>>> pick_from_document(document) == pick
True
>>> del document["stage"]
>>> del document["raw_amplitude"]
>>> old = pick_from_document({**document, "schema_version": "1.0.0"})
>>> old.stage, old.amplitude, old.raw_amplitude
('final', nan, 1200.0)
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from json import dumps, loads
from typing import Any, Protocol, get_args

from xiaod.domain.timegrid import iso_from_ns, ns_from_iso
from xiaod.domain.types import Channel, DocumentStage, GroundMotion, Latency, Outcome, Pick, Polarity

SCHEMA_VERSION = "2.0.0"
READABLE = ("1", "2")
"""Major versions that can be read."""
DIGITS = 6
"""Decimals of seconds and probabilities."""


class Agency(Protocol):
    """Who signs a pick."""

    @property
    def agency_id(self) -> str:
        """Of the institution."""

    @property
    def author(self) -> str:
        """Of the program, or of the person who runs it."""


def pick_document(pick: Pick, agency: Agency) -> dict[str, Any]:
    """The canonical document of a pick: ``created`` and latencies for a live one only, what became of an early one where it applies."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "id": pick.id,
        "network": pick.channel.network,
        "station": pick.channel.station,
        "location": pick.channel.location,
        "channel": pick.channel.channel,
        "phase": pick.phase,
        "stage": pick.stage,
        "time": iso_from_ns(pick.time_ns),
        "time_uncertainty_s": finite(pick.time_uncertainty_s),
        "probability": finite(pick.probability),
        "snr": finite(pick.snr, 3),
        "amplitude": amplitude_number(pick.amplitude),
        "raw_amplitude": amplitude_number(pick.raw_amplitude),
        **_motion_document(pick.motion),
        **({} if pick.polarity is None else {"polarity": pick.polarity}),
        "components": pick.components,
        "model": pick.model,
        "model_sha256": pick.model_sha256,
        "agency_id": agency.agency_id,
        "author": agency.author,
    }
    if pick.early_id is not None:
        document["early_id"] = pick.early_id
    if pick.outcome is not None:
        document["outcome"] = pick.outcome
    if pick.moved_s is not None:
        document["moved_s"] = finite(pick.moved_s)
    if pick.snippet is not None:
        document["snippet"] = pick.snippet
    if pick.created_ns is not None:
        document["created"] = iso_from_ns(pick.created_ns)
    if pick.latency is not None:
        document["latency_s"] = finite(pick.latency.total_s)
        document["latency"] = {key: finite(value) for key, value in asdict(pick.latency).items()}
    return document


def pick_json(pick: Pick, agency: Agency) -> str:
    """The document as one line of JSON, without a line end."""
    return dumps(pick_document(pick, agency), separators=(",", ":"), allow_nan=False)


def pick_from_document(document: Mapping[str, Any]) -> Pick:
    """The pick of a document, with the digits that the document has.

    Raises:
        KeyError, ValueError: when it is not a document of a version that can be read.
    """
    version = document["schema_version"].split(".")[0]
    if version not in READABLE:
        raise ValueError(
            f"schema_version {document['schema_version']}; versions {' and '.join(READABLE)} can be read"
        )
    stage: Any = "final" if version == "1" else document["stage"]
    outcome = document.get("outcome")
    if stage not in get_args(DocumentStage) or outcome not in (None, *get_args(Outcome)):
        raise ValueError(f"no pick has stage {stage!r} and outcome {outcome!r}")
    polarity = document.get("polarity")
    if polarity not in (None, *get_args(Polarity)):
        raise ValueError(f"no pick has polarity {polarity!r}; {', '.join(get_args(Polarity))} can be read")
    in_band = "raw_amplitude" in document
    return Pick(
        id=document["id"],
        channel=Channel(document["network"], document["station"], document["location"], document["channel"]),
        phase=document["phase"],
        time_ns=ns_from_iso(document["time"]),
        time_uncertainty_s=value_of(document["time_uncertainty_s"]),
        probability=value_of(document["probability"]),
        # Without noise the ratio is infinite; elsewhere null means not a number.
        snr=value_of(document["snr"], math.inf),
        amplitude=value_of(document["amplitude"] if in_band else None),
        components=document["components"],
        model=document["model"],
        model_sha256=document["model_sha256"],
        created_ns=ns_from_iso(document["created"]) if "created" in document else None,
        latency=Latency(**{key: value_of(value) for key, value in document["latency"].items()})
        if "latency" in document
        else None,
        stage=stage,
        early_id=document.get("early_id"),
        outcome=outcome,
        moved_s=value_of(document["moved_s"]) if "moved_s" in document else None,
        raw_amplitude=value_of(document["raw_amplitude" if in_band else "amplitude"]),
        polarity=polarity,
        motion=_motion(document),
        snippet=document.get("snippet"),
    )


def _motion_document(motion: GroundMotion | None) -> dict[str, float | None]:
    if motion is None:
        return {}
    return {
        "velocity_m_s": amplitude_number(motion.velocity_m_s),
        "wood_anderson_mm": amplitude_number(motion.wood_anderson_mm),
        "wood_anderson_noise_mm": amplitude_number(motion.wood_anderson_noise_mm),
        "motion_window_s": finite(motion.window_s, 2),
    }


def _motion(document: Mapping[str, Any]) -> GroundMotion | None:
    if "velocity_m_s" not in document:
        return None
    return GroundMotion(
        value_of(document["velocity_m_s"]),
        value_of(document["wood_anderson_mm"]),
        value_of(document["wood_anderson_noise_mm"]),
        value_of(document["motion_window_s"]),
    )


def amplitude_number(value: float) -> float | None:
    """An amplitude as formats write it: three decimals; below 1, as for samples in m/s, four significant digits; None when not finite.

    >>> amplitude_number(1207.47512), amplitude_number(1.207475e-9), amplitude_number(0.0)
    (1207.475, 1.207e-09, 0.0)
    """
    return float(f"{value:.4g}") if 0 < abs(value) < 1 else finite(value, 3)


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    content: dict[str, Any] = loads(
        files("xiaod.domain").joinpath("pick.schema.json").read_text(encoding="utf-8")
    )
    return content


def finite(value: float, digits: int = DIGITS) -> float | None:
    """A number as documents have it; None when it is not finite."""
    return round(value, digits) if math.isfinite(value) else None


def value_of(number: float | None, null: float = math.nan) -> float:
    """The number that a document has."""
    return null if number is None else float(number)
