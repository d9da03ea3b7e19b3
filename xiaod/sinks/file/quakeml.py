"""Picks as QuakeML 1.2 files, through ObsPy.

In QuakeML a pick needs an event, so the picks of a file are in one event of type "not reported" without an origin. Each has waveformID,
time with uncertainty, phaseHint, a final P pick its polarity, methodID, evaluationMode ``automatic``, evaluationStatus, creationInfo, and
the comments that SeisComP's deep-learning pickers write: ``confidence`` (the probability), ``SNR``, ``dlmodel``. The ratio is also an
amplitude of type ``snr`` that refers to the pick; its filterID names the band. Identifiers are deterministic.

An early pick is ``preliminary``, a final one ``confirmed``, with the comments ``early_id``, ``outcome`` and ``moved_s`` if there was an
early one. What withdraws an early pick is that pick again, with its publicID, and ``rejected``. No file has two picks of one onset: the
later one stands.

>>> quakeml_bytes([], AgencyConfig())[:5]
b'<?xml'
"""

import math
from collections.abc import Sequence

from obspy import UTCDateTime
from obspy.core.event import (
    Amplitude,
    Catalog,
    Comment,
    CreationInfo,
    Event,
    QuantityError,
    ResourceIdentifier,
    WaveformStreamID,
)
from obspy.core.event import Pick as EventPick
from obspy.io.quakeml.core import Pickler

from xiaod import __version__
from xiaod.config import AgencyConfig
from xiaod.config.sinks.file import QuakeMLConfig
from xiaod.domain.codes import safe
from xiaod.domain.onsets import BAND_HZ, standing
from xiaod.domain.types import Pick
from xiaod.sinks.file.evaluation import MODE, POLARITY, stage_comments, status_of, subject_id
from xiaod.sinks.file.folder import FolderSink

DEFAULT_AUTHORITY: str = QuakeMLConfig.model_fields["authority"].default
FILTER = f"butterworth-4-{BAND_HZ[0]:g}-{BAND_HZ[1]:g}-hz"
"""The band of the ratio, in an identifier."""
NOTICE = "automatic, unreviewed, not for early warning"
MAX_AUTHOR = 128
"""Letters that the schema of QuakeML 1.2 allows an author."""


class QuakeMLSink(FolderSink):
    """Writes files into a folder; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: QuakeMLConfig, agency: AgencyConfig) -> None:
        super().__init__(config, lambda picks: quakeml_bytes(picks, agency, config.authority))


def quakeml_bytes(picks: Sequence[Pick], agency: AgencyConfig, authority: str = DEFAULT_AUTHORITY) -> bytes:
    """Picks as one QuakeML document."""
    # Not Catalog.write, which imports the writer, one of ObsPy's plug-ins, in the sink's thread.
    content: bytes = Pickler().dumps(catalog_of(picks, agency, authority))
    return content


def catalog_of(picks: Sequence[Pick], agency: AgencyConfig, authority: str = DEFAULT_AUTHORITY) -> Catalog:
    """Picks as an ObsPy catalog with one event, or none when there are no picks."""
    picks = standing(picks)
    prefix = f"smi:{authority}/xiaod"
    last = safe(picks[0].id) if picks else "none"
    catalog = Catalog(resource_id=ResourceIdentifier(f"{prefix}/catalog/{last}"))
    if picks:
        event = Event(
            resource_id=ResourceIdentifier(f"{prefix}/event/{last}"),
            event_type="not reported",
            force_resource_id=False,
        )
        event.comments.append(
            Comment(
                text=NOTICE,
                resource_id=ResourceIdentifier(f"{prefix}/event/{last}/notice"),
                force_resource_id=False,
            )
        )
        event.picks.extend(_event_pick(pick, agency, prefix) for pick in picks)
        event.amplitudes.extend(
            _ratio(pick, prefix) for pick in picks if math.isfinite(pick.snr) and pick.stage != "withdrawn"
        )
        catalog.append(event)
    return catalog


def _event_pick(pick: Pick, agency: AgencyConfig, prefix: str) -> EventPick:
    public_id = _public_id(subject_id(pick), prefix)
    comments = [
        Comment(text=text, resource_id=ResourceIdentifier(f"{public_id}/{name}"), force_resource_id=False)
        for name, text in (
            ("confidence", f"{pick.probability:.6f}"),
            ("SNR", f"{pick.snr:.3f}"),
            ("dlmodel", pick.model),
            ("components", pick.components),
            ("notice", NOTICE),
            *stage_comments(pick, _public_id(pick.early_id or "", prefix)),
        )
    ]
    # XML has no number that is not finite.
    uncertainty = round(pick.time_uncertainty_s, 6) if math.isfinite(pick.time_uncertainty_s) else None
    created = None if pick.created_ns is None else _moment(pick.created_ns)
    return EventPick(
        resource_id=ResourceIdentifier(public_id),
        force_resource_id=False,
        time=_moment(pick.time_ns),
        time_errors=QuantityError(uncertainty=uncertainty),
        waveform_id=_waveform_id(pick),
        method_id=ResourceIdentifier(f"{prefix}/model/{safe(pick.model)}/{pick.model_sha256[:16]}"),
        phase_hint=pick.phase,
        polarity=POLARITY[pick.polarity],
        evaluation_mode=MODE,
        evaluation_status=status_of(pick),
        comments=comments,
        creation_info=CreationInfo(
            agency_id=agency.agency_id,
            author=agency.author[:MAX_AUTHOR],
            creation_time=created,
            version=__version__,
        ),
    )


def _ratio(pick: Pick, prefix: str) -> Amplitude:
    """The signal-to-noise ratio as an amplitude; SeisComP's locators need one of this type."""
    return Amplitude(
        resource_id=ResourceIdentifier(f"{_public_id(pick.id, prefix)}.snr"),
        force_resource_id=False,
        generic_amplitude=round(pick.snr, 3),
        type="snr",
        unit="dimensionless",
        snr=round(pick.snr, 3),
        pick_id=ResourceIdentifier(_public_id(pick.id, prefix)),
        waveform_id=_waveform_id(pick),
        filter_id=ResourceIdentifier(f"{prefix}/filter/{FILTER}"),
        evaluation_mode=MODE,
    )


def _waveform_id(pick: Pick) -> WaveformStreamID:
    # A damaged record can hold any code, but XML does not take every character.
    channel = pick.channel
    return WaveformStreamID(
        network_code=safe(channel.network),
        station_code=safe(channel.station),
        location_code=safe(channel.location),
        channel_code=safe(channel.channel),
    )


def _moment(time_ns: int) -> UTCDateTime:
    """A time in microseconds, as QuakeML keeps it, rounded half up."""
    return UTCDateTime(ns=(time_ns + 500) // 1000 * 1000)


def _public_id(pick_id: str, prefix: str) -> str:
    return f"{prefix}/pick/{safe(pick_id)}"
