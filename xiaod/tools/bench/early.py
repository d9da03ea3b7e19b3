"""Data after an onset until its early P can be made, without the time of computing: samples come in steps of a tenth of a second.

The parts are those of the daemon; the event is ObsPy's example, at several places between the beginnings of two windows.
"""

from typing import Any

import numpy as np

from xiaod.config import Config, Early
from xiaod.domain.timegrid import GRID_NS, GRID_RATE_HZ, NS_PER_S
from xiaod.domain.types import Channel, Segment
from xiaod.inference import Engine
from xiaod.inference.scout import Scout
from xiaod.picking.picker import InstrumentPicker, compute_again
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.factory import open_engine, open_scout
from xiaod.pipeline.settings import buffer_settings, cuttings, picker_settings
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics
from xiaod.tools.bench.load import spread
from xiaod.tools.bench.station import event_counts

STEP = 10
"""Samples that come at a time."""
BEFORE_S = 30.0
"""Quiet before the event; its P comes 4.7 s later."""
PLACES = 16
MOVED = 7
"""Samples between two places: no divisor of any hop."""


def data_until_early(model: str, early: Early, places: int = PLACES) -> dict[str, Any]:
    """Seconds of data after the P until it can be picked early.

    Returns:
        ``early``; ``places``; ``data_s``, the spread of the seconds, its ``count`` that of the events that were picked.

    Raises:
        ModelError: when a model cannot be used.
    """
    config = Config.model_validate(
        {"sources": [{"server": "localhost"}], "early": early, "engine": {"model": model}}
    )
    engine, scout = open_engine(config), open_scout(config)
    found = [_needed_s(config, engine, scout, number * MOVED) for number in range(places)]
    return {
        "early": early,
        "places": places,
        "data_s": spread([needed_s for needed_s in found if needed_s is not None]),
    }


def _needed_s(config: Config, engine: Engine, scout: Scout | None, begin: int) -> float | None:
    """The same for one event, in data that begin at a grid index; None when it is not picked."""
    counts = event_counts(BEFORE_S)
    assembler = Assembler(
        buffer_settings(config),
        Metrics(),
        StationTable(NS_PER_S),
        lambda: None,
        cuttings=cuttings(config, None if scout is None else scout.spec),
    )
    channels = {letter: Channel("XX", f"E{begin}", "", f"HH{letter}") for letter in counts}
    instrument = channels["Z"].instrument
    picker = InstrumentPicker(picker_settings(config, engine, instrument, "early"))
    for start in range(0, len(counts["Z"]), STEP):
        for letter, channel in channels.items():
            samples = counts[letter][start : start + STEP].astype(np.int32)
            assembler.take(Segment(channel, (begin + start) * GRID_NS, GRID_RATE_HZ, samples), None)
        assembler.final.take(everything=True)
        if scout is not None:
            for streams in assembler.streams.take(everything=True):
                for notice in scout.look(streams):
                    assembler.noticed(notice)
        for batch in assembler.early.take(everything=True):
            for result in engine.follow(batch):
                for onset in compute_again(picker.notice(result), engine.annotate):
                    pick = picker.confirm(onset)
                    if (
                        pick is not None
                        and pick.phase == "P"
                        and pick.time_ns > (begin * GRID_NS + BEFORE_S * NS_PER_S)
                    ):
                        return ((begin + start + STEP) * GRID_NS - pick.time_ns) / NS_PER_S
    return None
