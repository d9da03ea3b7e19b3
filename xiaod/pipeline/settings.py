"""From the configuration to the settings of the parts of the pipeline.

>>> config = Config.model_validate({"sources": [{"server": "localhost:18000"}]})
>>> buffer_settings(config) == BufferSettings(limits=TimeLimits.from_s(None, 60.0))
True
>>> instrument_limits(config)
{'localhost:18000': 4000}
"""

from collections.abc import Mapping

from models.calibration import Calibration
from xiaod.config import Config, StationConfig
from xiaod.domain.timegrid import ns_from_s, samples_from_s
from xiaod.domain.timeliness import TimeLimits
from xiaod.domain.types import Instrument
from xiaod.inference import Engine
from xiaod.picking.picker import LATE_NOTICE_S, PickerSettings
from xiaod.waveform.instrument import BufferSettings

INSTRUMENTS_PER_STATION = 4
"""Instruments of a source for each station that it may have."""


def buffer_settings(config: Config) -> BufferSettings:
    """Limits of the buffers from the configuration."""
    buffer = config.buffer
    return BufferSettings(
        length=samples_from_s(config.windows.length_s),
        hop=samples_from_s(config.windows.hop_s),
        wait_ns=ns_from_s(buffer.max_component_wait_s),
        max_lead=samples_from_s(buffer.max_lead_s),
        limits=TimeLimits.from_s(buffer.max_age_s, buffer.max_future_s),
    )


def picker_settings(config: Config, engine: Engine, instrument: Instrument) -> PickerSettings:
    """How picks are made at an instrument: the station's thresholds, or the configuration's, or the model's own."""
    station = config.picker.stations.get(instrument.station_text, StationConfig())
    spec = engine.spec

    def chosen(own: Mapping[str, float]) -> tuple[float, float]:
        return (
            _first_given(station.threshold_p, config.picker.threshold_p, own["P"]),
            _first_given(station.threshold_s, config.picker.threshold_s, own["S"]),
        )

    return PickerSettings(
        thresholds=chosen(spec.thresholds),
        vertical_thresholds=chosen(spec.vertical_thresholds) if spec.vertical_thresholds else None,
        hop=samples_from_s(config.windows.hop_s),
        model=spec.label,
        model_sha256=engine.sha256,
        lookahead=samples_from_s(config.picker.lookahead_s),
        settle=samples_from_s(config.picker.settle_s),
        separation=samples_from_s(config.picker.min_separation_s),
        calibration=Calibration.from_spec(spec.calibration),
        late=samples_from_s(config.buffer.max_lead_s),
    )


def read_samples(config: Config) -> int:
    """Samples at the end of a window that a picker reads, unless the window is discontinuous."""
    picker = config.picker
    spans_s = (picker.lookahead_s, config.windows.hop_s, LATE_NOTICE_S, picker.min_separation_s)
    return sum(samples_from_s(span_s) for span_s in spans_s)


def _first_given(of_station: float | None, of_all: float | None, of_model: float) -> float:
    if of_station is not None:
        return of_station
    return of_model if of_all is None else of_all


def instrument_limits(config: Config) -> dict[str, int]:
    """Instruments that each source may bring, by its name."""
    return {source.label: INSTRUMENTS_PER_STATION * source.max_stations for source in config.sources}
