"""CPU time of each part of the daemon, for one second of data of a three-component station at 100 Hz.

The data are those of :mod:`xiaod.tools.bench.station`.

>>> rows = time_stages(engine_of("micro"), length=2000, hop=50, batches=(2,), least_s=0.01)
>>> [row["stage"] for row in rows]
['decode', 'buffer and windows', 'network, batch 2', 'notice and confirm', 'JSON line of a pick']
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.calibration import Calibration
from models.weights import resolve
from xiaod.acquisition.miniseed import decode
from xiaod.config import AgencyConfig, EngineConfig
from xiaod.domain.timegrid import GRID_RATE_HZ, NS_PER_S
from xiaod.domain.types import Pick, Probabilities, Segment, Window
from xiaod.inference import Engine
from xiaod.picking.picker import InstrumentPicker, PickerSettings, compute_again
from xiaod.sinks.file.jsonl import json_line
from xiaod.tools.bench.station import station_records
from xiaod.tools.bench.timer import LEAST_S, median_us
from xiaod.waveform.batches import Batches
from xiaod.waveform.instrument import BufferSettings, InstrumentChannels
from xiaod.waveform.schedule import Cutting, WindowSchedule

PERIODS = 2
MAX_BATCH = EngineConfig().max_batch


def engine_of(model: str, threads: int = 1) -> Engine:
    """Load a shipped model or a file for overlapping windows."""
    from xiaod.inference.onnx import OnnxEngine

    return OnnxEngine(resolve(model), threads)


def time_stages(
    engine: Engine, length: int, hop: int, batches: Sequence[int], least_s: float = LEAST_S
) -> list[dict[str, Any]]:
    """Time the stages.

    Args:
        engine: for overlapping windows.
        length: samples of a window.
        hop: samples between windows.
        batches: windows in one call of the network.
        least_s: least CPU time of each measurement.

    Returns:
        Rows with ``stage`` and ``us_per_station_s``; those of the network also with ``us_per_window``.
    """
    records = station_records(PERIODS)
    segments = _decode(records)
    span_s = (segments[-1].next_ns - segments[0].start_ns) / NS_PER_S
    settings = BufferSettings(length=length, hop=hop)
    windows = _windows(segments, settings)
    rows = [
        {"stage": "decode", "us_per_station_s": _per_s(lambda: _decode(records), span_s, least_s)},
        {
            "stage": "buffer and windows",
            "us_per_station_s": _per_s(lambda: _windows(segments, settings), span_s, least_s),
        },
    ]
    for batch in batches:
        waves = np.stack([windows[number % len(windows)].samples for number in range(batch)])

        def infer(waves: Any = waves) -> None:
            engine.annotate(waves)

        each = median_us(infer, least_s)[0] / batch
        rows.append(
            {
                "stage": f"network, batch {batch}",
                "us_per_window": round(each, 1),
                "us_per_station_s": round(each * GRID_RATE_HZ / hop, 1),
            }
        )
    looked = [Probabilities(window, engine.annotate(window.samples[None])[0]) for window in windows]
    chosen = _picker_settings(engine, hop)
    spent = [0.0]

    def annotate(waves: Any) -> Any:
        begun = time.process_time()
        values = engine.annotate(waves)
        spent[0] += time.process_time() - begun
        return values

    picks: list[Pick] = []

    def pick() -> None:
        picks.clear()
        picker = InstrumentPicker(chosen)
        for one in looked:
            for onset in compute_again(picker.notice(one), annotate):
                made = picker.confirm(onset)
                picks.extend([] if made is None else [made])

    whole_us, calls = median_us(pick, least_s)
    network_us = spent[0] * 1e6 / calls
    seconds = len(windows) * hop / GRID_RATE_HZ
    rows.append(
        {
            "stage": "notice and confirm",
            "us_per_station_s": round(max(whole_us - network_us, 0.0) / seconds, 1),
            "network_us_per_station_s": round(network_us / seconds, 1),
            "seconds_per_pick": round(seconds / max(len(picks), 1), 1),
        }
    )
    if picks:
        agency = AgencyConfig()
        each = median_us(lambda: json_line(picks[0], agency), least_s)[0]
        rows.append(
            {
                "stage": "JSON line of a pick",
                "us_per_pick": round(each, 1),
                "us_per_station_s": round(each * len(picks) / seconds, 1),
            }
        )
    return rows


def _decode(records: Sequence[bytes]) -> list[Segment]:
    return [found for record in records if isinstance(found := decode(record, "bench"), Segment)]


def _windows(segments: Sequence[Segment], settings: BufferSettings) -> list[Window]:
    channels = InstrumentChannels(settings, settings.rings())
    schedule = WindowSchedule(channels, Cutting(settings.length, settings.hop, settings.history))
    batches = Batches(settings.history, settings.length, MAX_BATCH)
    windows: list[Window] = []
    for segment in segments:
        for piece in segment.pieces():
            channels.insert(piece, None)
            channels.release(None)
            if schedule.is_due(None):
                windows += schedule.cut(None, None, batches)
                channels.forget(schedule.needed)
                batches.take()
    channels.release(None, final=True)
    return [*windows, *schedule.cut(None, None, batches, final=True)]


def _picker_settings(engine: Engine, hop: int) -> PickerSettings:
    spec = engine.spec
    return PickerSettings(
        (spec.thresholds["P"], spec.thresholds["S"]),
        hop,
        spec.label,
        engine.sha256,
        calibration=Calibration.from_spec(spec.calibration),
    )


def _per_s(work: Callable[[], Any], span_s: float, least_s: float) -> float:
    return round(median_us(work, least_s)[0] / span_s, 1)
