"""From the configuration to the settings of the parts of the pipeline.

>>> config = Config.model_validate({"sources": [{"server": "localhost:18000"}]})
>>> buffer_settings(config) == BufferSettings(limits=TimeLimits.from_s(None, 60.0))
True
>>> instrument_limits(config)
{'localhost:18000': 4000}
"""

from collections.abc import Mapping

from models.calibration import Calibration
from models.spec import ModelSpec
from xiaod.config import Config, PickerConfig, StationConfig
from xiaod.domain.timegrid import ns_from_s, samples_from_s
from xiaod.domain.timeliness import TimeLimits
from xiaod.domain.types import Instrument, Stage
from xiaod.inference import Engine
from xiaod.picking.picker import LATE_NOTICE_S, PickerSettings
from xiaod.waveform.instrument import BufferSettings, history_of
from xiaod.waveform.schedule import Cutting, Cuttings

STREAM_S = 20.0
"""Most new samples of a stream that a net gets at a time."""
NOTICED_BEFORE_S = 0.3
"""So long before an onset, hardly ever longer, the scout begins to notice it: one window is to show enough after it."""
INSTRUMENTS_PER_STATION = 4
"""Instruments of a source for each station that it may have."""


def hop_s(config: Config, stage: Stage) -> float:
    """Seconds between the windows of a stage."""
    return config.windows.early_hop_s if stage == "early" else config.windows.final_hop_s


def lookahead_s(config: Config, stage: Stage) -> float:
    """Seconds of data after an onset before it is picked in a stage."""
    return config.picker.early_lookahead_s if stage == "early" else config.picker.final_lookahead_s


def buffer_settings(config: Config) -> BufferSettings:
    """Limits of the buffers from the configuration."""
    buffer = config.buffer
    return BufferSettings(
        length=samples_from_s(config.windows.length_s),
        hop=samples_from_s(max(config.windows.final_hop_s, config.windows.early_hop_s)),
        wait_ns=ns_from_s(buffer.max_component_wait_s),
        max_lead=samples_from_s(buffer.max_lead_s),
        limits=TimeLimits.from_s(buffer.max_age_s, buffer.max_future_s),
    )


def cuttings(config: Config, scout: ModelSpec | None) -> Cuttings:
    """How windows of the stages are cut; ``scout`` is the net that notices onsets in streams, if there is one."""
    early, stream = None, None
    if config.early != "off":
        early = _cutting(config, "early")
    if config.early == "scout" and scout is not None:
        chunk = scout.chunk_samples
        stream = Cutting(chunk, chunk, revised=False, most=max(1, samples_from_s(STREAM_S) // chunk))
    return Cuttings(
        _cutting(config, "final"),
        early,
        stream,
        ahead_samples(config),
        config.engine.max_batch,
    )


def ahead_samples(config: Config) -> int:
    """Samples by which the first early window ends after what a net that follows the stream has noticed."""
    return samples_from_s(config.picker.early_lookahead_s + NOTICED_BEFORE_S)


def _cutting(config: Config, stage: Stage) -> Cutting:
    hop = samples_from_s(hop_s(config, stage))
    return Cutting(
        length=samples_from_s(config.windows.length_s),
        hop=hop,
        history=history_of(hop),
        # What comes late is not early.
        revised=stage == "final",
        to_end=stage == "final",
        stage=stage,
        read=read_samples(config, stage),
    )


def picker_settings(config: Config, engine: Engine, instrument: Instrument, stage: Stage) -> PickerSettings:
    """How picks of a stage are made at an instrument: the station's thresholds, or the configuration's, or the model's own."""
    station = config.picker.stations.get(instrument.station_text, StationConfig())
    spec = engine.spec

    of_station, of_all = _thresholds(station, stage), _thresholds(config.picker, stage)

    def chosen(own: Mapping[str, float]) -> tuple[float, float]:
        return (
            _first_given(of_station[0], of_all[0], own["P"]),
            _first_given(of_station[1], of_all[1], own["S"]),
        )

    return PickerSettings(
        thresholds=chosen(spec.thresholds_of(stage)),
        vertical_thresholds=chosen(spec.thresholds_of(stage, vertical_alone=True)),
        hop=samples_from_s(hop_s(config, stage)),
        model=spec.label,
        model_sha256=engine.sha256,
        lookahead=samples_from_s(lookahead_s(config, stage)),
        settle=samples_from_s(config.picker.settle_s),
        separation=separation_samples(config),
        calibration=Calibration.from_spec(spec.calibration),
        late=samples_from_s(config.buffer.max_lead_s),
        stage=stage,
    )


def read_samples(config: Config, stage: Stage) -> int:
    """Samples at the end of a window of a stage that its picker reads, unless the window is discontinuous."""
    spans_s = (
        lookahead_s(config, stage),
        hop_s(config, stage),
        LATE_NOTICE_S,
        config.picker.min_separation_s,
    )
    return sum(samples_from_s(span_s) for span_s in spans_s)


def separation_samples(config: Config) -> int:
    """Samples between two picks of one phase at an instrument, at least."""
    return samples_from_s(config.picker.min_separation_s)


def _thresholds(part: PickerConfig | StationConfig, stage: Stage) -> tuple[float | None, float | None]:
    """Thresholds of a stage for P and S, as far as they are given."""
    if stage == "early":
        return part.early_threshold_p, part.early_threshold_s
    return part.threshold_p, part.threshold_s


def _first_given(of_station: float | None, of_all: float | None, of_model: float) -> float:
    if of_station is not None:
        return of_station
    return of_model if of_all is None else of_all


def begun_anew(config: Config) -> frozenset[str]:
    """Names of the sources with which the next run begins at new data."""
    return frozenset(source.label for source in config.sources if source.begin == "now")


def instrument_limits(config: Config) -> dict[str, int]:
    """Instruments that each source may bring, by its name."""
    return {source.label: INSTRUMENTS_PER_STATION * source.max_stations for source in config.sources}
