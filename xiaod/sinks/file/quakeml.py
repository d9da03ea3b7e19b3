"""Picks as QuakeML 1.2 files, through ObsPy.

In QuakeML a pick needs an event, so the picks of a file are in one event of type "not reported" without an origin. Each has waveformID,
time with uncertainty, phaseHint, a final P pick its polarity, methodID, evaluationMode ``automatic``, evaluationStatus, creationInfo, and
the comments that SeisComP's deep-learning pickers write: ``confidence`` (the probability), ``SNR``, ``dlmodel``. The ratio is also an
amplitude of type ``snr`` that refers to the pick; its filterID names the band. Where the response of the channel is known, the velocity of
the ground is one of type ``A`` in m/s, and the Wood-Anderson amplitude one of type ``AML`` in m, as the schema has units (QuakeML 1.2,
Amplitude), with the magnification of the seismograph in it. Identifiers are deterministic.

An early pick is ``preliminary``, a final one ``confirmed``, with the comments ``early_id``, ``outcome`` and ``moved_s`` if there was an
early one. What withdraws an early pick is that pick again, with its publicID, and ``rejected``. No file has two picks of one onset: the
later one stands.

An event is one of its own, ``earthquake``, ``suspected``, with its picks; comments have its version and what is known of it. One that has a
place has an origin with an arrival for each pick, and a magnitude with those of its stations, where amplitudes allow it. One that is
withdrawn is ``not existing``.

>>> quakeml_bytes([], AgencyConfig())[:5]
b'<?xml'
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from obspy import UTCDateTime
from obspy.core.event import (
    Amplitude,
    Arrival,
    Catalog,
    Comment,
    CreationInfo,
    Magnitude,
    Origin,
    OriginQuality,
    OriginUncertainty,
    QuantityError,
    ResourceIdentifier,
    StationMagnitude,
    TimeWindow,
    WaveformStreamID,
)
from obspy.core.event import Event as EventElement
from obspy.core.event import Pick as PickElement
from obspy.io.quakeml.core import Pickler

from xiaod import __version__
from xiaod.config import AgencyConfig
from xiaod.config.sinks.file import QuakeMLConfig
from xiaod.domain.codes import safe
from xiaod.domain.document import amplitude_number
from xiaod.domain.event import about
from xiaod.domain.onsets import BAND_HZ, WOOD_ANDERSON_HZ, standing
from xiaod.domain.types import Event, EventMagnitude, EventOrigin, EventPick, Pick, PickOrEvent
from xiaod.sinks.file.evaluation import MODE, POLARITY, STATUS, stage_comments, status_of, subject_id
from xiaod.sinks.file.folder import FolderSink

DEFAULT_AUTHORITY: str = QuakeMLConfig.model_fields["authority"].default
FILTER, WOOD_ANDERSON_FILTER = (
    f"butterworth-4-{low_hz:g}-{high_hz:g}-hz" for low_hz, high_hz in (BAND_HZ, WOOD_ANDERSON_HZ)
)
"""The bands of ratio and velocity, and of the Wood-Anderson amplitude, in identifiers."""
MM_PER_M = 1000.0
M_PER_KM = 1000.0
KM_PER_DEGREE = 111.195
NOTICE = "automatic, unreviewed, not for early warning"
MAX_AUTHOR = 128
"""Letters that the schema of QuakeML 1.2 allows an author."""


class QuakeMLSink(FolderSink):
    """Writes files into a folder; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: QuakeMLConfig, agency: AgencyConfig) -> None:
        super().__init__(config, lambda picks: quakeml_bytes(picks, agency, config.authority))


def quakeml_bytes(
    items: Sequence[PickOrEvent], agency: AgencyConfig, authority: str = DEFAULT_AUTHORITY
) -> bytes:
    """Picks and events as one QuakeML document."""
    # Not Catalog.write, which imports the writer, one of ObsPy's plug-ins, in the sink's thread.
    content: bytes = Pickler().dumps(catalog_of(items, agency, authority))
    return content


def catalog_of(
    items: Sequence[PickOrEvent], agency: AgencyConfig, authority: str = DEFAULT_AUTHORITY
) -> Catalog:
    """An ObsPy catalog: one event for all picks that are in none, and the newest version of each event."""
    prefix = f"smi:{authority}/xiaod"
    picks = standing(item for item in items if isinstance(item, Pick))
    known = {pick.id: pick for pick in picks}
    newest = {item.event_id: item for item in items if isinstance(item, Event)}
    gone = {event.early_id for event in newest.values() if event.early_id != event.event_id}
    events = [event for name, event in newest.items() if name not in gone]
    in_events = {pick.id for event in events for pick in event.picks}
    picks = [pick for pick in picks if pick.id not in in_events]
    last = safe(picks[0].id if picks else events[0].id if events else "none")
    catalog = Catalog(resource_id=ResourceIdentifier(f"{prefix}/catalog/{last}"))
    if picks:
        event = EventElement(
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
            made for pick in picks if pick.stage != "withdrawn" for made in _amplitudes(pick, prefix)
        )
        catalog.append(event)
    written: set[str] = set()
    for one in events:
        catalog.append(_associated(one, known, agency, prefix, written))
    return catalog


def _associated(
    event: Event, known: Mapping[str, Pick], agency: AgencyConfig, prefix: str, written: set[str]
) -> EventElement:
    """An event; its picks in full where they are in the same file, and each once in a file."""
    public_id = f"{prefix}/event/{safe(event.event_id)}"
    early_id = f"{prefix}/event/{safe(event.early_id)}" if event.early_id and event.stage == "final" else ""
    texts = [
        ("notice", NOTICE),
        ("version", str(event.version)),
        ("method", event.method),
        ("about", about(event)),
        *([("early_id", early_id)] if early_id else []),
    ]
    made = EventElement(
        resource_id=ResourceIdentifier(public_id),
        event_type="not existing" if event.stage == "withdrawn" else "earthquake",
        event_type_certainty=None if event.stage == "withdrawn" else "suspected",
        comments=[
            Comment(text=text, resource_id=ResourceIdentifier(f"{public_id}/{name}"), force_resource_id=False)
            for name, text in texts
        ],
        creation_info=_creation_info(agency, event.created_ns),
        force_resource_id=False,
    )
    for pick in event.picks:
        if pick.id in written:
            continue
        written.add(pick.id)
        full = known.get(pick.id)
        if full is None:
            made.picks.append(_brief_pick(pick, agency, prefix))
        else:
            made.picks.append(_event_pick(full, agency, prefix))
            made.amplitudes.extend(_amplitudes(full, prefix))
    if event.origin is not None:
        origin = _origin(event, event.origin, agency, prefix)
        made.origins.append(origin)
        made.preferred_origin_id = origin.resource_id
        if event.magnitude is not None:
            _add_magnitude(made, event, event.magnitude, agency, prefix)
    return made


def _origin(event: Event, found: EventOrigin, agency: AgencyConfig, prefix: str) -> Origin:
    public_id = f"{prefix}/origin/{safe(event.id)}"
    arrivals = []
    for pick in event.picks:
        if (fit := pick.arrival) is None:
            continue
        arrivals.append(
            Arrival(
                resource_id=ResourceIdentifier(f"{public_id}/arrival/{safe(pick.id)}"),
                force_resource_id=False,
                pick_id=ResourceIdentifier(_public_id(pick.id, prefix)),
                phase=pick.phase,
                azimuth=round(fit.azimuth_deg, 1),
                distance=round(fit.distance_km / KM_PER_DEGREE, 5),
                time_residual=round(fit.residual_s, 3),
                earth_model_id=ResourceIdentifier(f"{prefix}/earthmodel/{safe(found.velocity_model)}"),
            )
        )
    return Origin(
        resource_id=ResourceIdentifier(public_id),
        force_resource_id=False,
        time=_moment(found.time_ns),
        time_errors=_errors(found.time_uncertainty_s, 3),
        latitude=round(found.latitude_deg, 5),
        longitude=round(found.longitude_deg, 5),
        depth=round(found.depth_km * M_PER_KM, 1),
        depth_errors=_errors(found.depth_uncertainty_km * M_PER_KM, 1),
        depth_type="from location",
        method_id=ResourceIdentifier(f"{prefix}/method/{safe(event.method)}"),
        earth_model_id=ResourceIdentifier(f"{prefix}/earthmodel/{safe(found.velocity_model)}"),
        arrivals=arrivals,
        quality=OriginQuality(
            associated_phase_count=len(arrivals),
            used_phase_count=len(arrivals),
            used_station_count=len({pick.channel.station_codes for pick in event.picks}),
            standard_error=round(found.rms_s, 3),
            azimuthal_gap=round(found.azimuthal_gap_deg, 1),
            minimum_distance=round(found.nearest_km / KM_PER_DEGREE, 5),
        ),
        origin_uncertainty=OriginUncertainty(
            horizontal_uncertainty=round(found.horizontal_uncertainty_km * M_PER_KM, 1),
            preferred_description="horizontal uncertainty",
        ),
        evaluation_mode=MODE,
        evaluation_status=STATUS[event.stage],
        creation_info=_creation_info(agency, event.created_ns),
    )


def _add_magnitude(
    made: EventElement, event: Event, found: EventMagnitude, agency: AgencyConfig, prefix: str
) -> None:
    """The magnitude of an event with an origin, and those of its stations."""
    public_id = f"{prefix}/magnitude/{safe(event.id)}"
    method_id = ResourceIdentifier(f"{prefix}/method/{found.kind}-iaspei")
    written = {amplitude.resource_id.id for amplitude in made.amplitudes}
    for pick in event.picks:
        if pick.magnitude is None:
            continue
        amplitude_id = f"{_public_id(pick.id, prefix)}.wood-anderson"
        made.station_magnitudes.append(
            StationMagnitude(
                resource_id=ResourceIdentifier(f"{public_id}/station/{safe(pick.id)}"),
                force_resource_id=False,
                origin_id=made.preferred_origin_id,
                mag=round(pick.magnitude, 2),
                station_magnitude_type=found.kind,
                amplitude_id=ResourceIdentifier(amplitude_id) if amplitude_id in written else None,
                method_id=method_id,
                waveform_id=_waveform_id(pick),
            )
        )
    magnitude = Magnitude(
        resource_id=ResourceIdentifier(public_id),
        force_resource_id=False,
        mag=round(found.value, 2),
        mag_errors=_errors(found.uncertainty, 2),
        magnitude_type=found.kind,
        origin_id=made.preferred_origin_id,
        method_id=method_id,
        station_count=found.stations,
        evaluation_mode=MODE,
        evaluation_status=STATUS[event.stage],
        creation_info=_creation_info(agency, event.created_ns),
    )
    made.magnitudes.append(magnitude)
    made.preferred_magnitude_id = magnitude.resource_id


def _errors(value: float, digits: int) -> QuantityError:
    """An uncertainty; XML has no number that is not finite."""
    return QuantityError(uncertainty=round(value, digits) if math.isfinite(value) else None)


def _brief_pick(pick: EventPick, agency: AgencyConfig, prefix: str) -> PickElement:
    uncertainty = round(pick.time_uncertainty_s, 6) if math.isfinite(pick.time_uncertainty_s) else None
    return PickElement(
        resource_id=ResourceIdentifier(_public_id(pick.id, prefix)),
        force_resource_id=False,
        time=_moment(pick.time_ns),
        time_errors=QuantityError(uncertainty=uncertainty),
        waveform_id=_waveform_id(pick),
        phase_hint=pick.phase,
        evaluation_mode=MODE,
        evaluation_status=STATUS[pick.stage],
        creation_info=_creation_info(agency, None),
    )


def _creation_info(agency: AgencyConfig, created_ns: int | None) -> CreationInfo:
    return CreationInfo(
        agency_id=agency.agency_id,
        author=agency.author[:MAX_AUTHOR],
        creation_time=None if created_ns is None else _moment(created_ns),
        version=__version__,
    )


def _event_pick(pick: Pick, agency: AgencyConfig, prefix: str) -> PickElement:
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
    return PickElement(
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
        creation_info=_creation_info(agency, pick.created_ns),
    )


def _amplitudes(pick: Pick, prefix: str) -> Iterator[Amplitude]:
    """The signal-to-noise ratio, because SeisComP's locators need an amplitude of this type; and the motion of the ground."""
    if math.isfinite(pick.snr):
        ratio = round(pick.snr, 3)
        yield _amplitude(
            pick, prefix, "snr", FILTER, type="snr", generic_amplitude=ratio, unit="dimensionless", snr=ratio
        )
    if (motion := pick.motion) is not None:
        during = TimeWindow(begin=0.0, end=motion.window_s, reference=_moment(pick.time_ns))
        velocity = amplitude_number(motion.velocity_m_s)
        yield _amplitude(
            pick,
            prefix,
            "velocity",
            FILTER,
            type="A",
            generic_amplitude=velocity,
            unit="m/s",
            time_window=during,
        )
        amplitude_m = amplitude_number(motion.wood_anderson_mm / MM_PER_M)
        yield _amplitude(
            pick,
            prefix,
            "wood-anderson",
            WOOD_ANDERSON_FILTER,
            type="AML",
            generic_amplitude=amplitude_m,
            unit="m",
            time_window=during,
            method_id=ResourceIdentifier(f"{prefix}/method/wood-anderson-2080"),
        )


def _amplitude(pick: Pick, prefix: str, name: str, of_filter: str, **values: Any) -> Amplitude:
    return Amplitude(
        resource_id=ResourceIdentifier(f"{_public_id(pick.id, prefix)}.{name}"),
        force_resource_id=False,
        pick_id=ResourceIdentifier(_public_id(pick.id, prefix)),
        waveform_id=_waveform_id(pick),
        filter_id=ResourceIdentifier(f"{prefix}/filter/{of_filter}"),
        evaluation_mode=MODE,
        **values,
    )


def _waveform_id(pick: Pick | EventPick) -> WaveformStreamID:
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
