"""Buffer, engine and picker in one call each, for tests that need no event loop."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from xiaod.config import Config, SeedLinkConfig
from xiaod.domain.types import Instrument, Pick, Probabilities, Segment, Stage, Window, WindowBatch
from xiaod.inference import Engine
from xiaod.picking.picker import Annotate, InstrumentPicker, PickerSettings, compute_again
from xiaod.pipeline.settings import picker_settings
from xiaod.waveform.batches import Batches
from xiaod.waveform.channel import Gap, RecordOutcome
from xiaod.waveform.instrument import ADVANCING, BufferSettings, InstrumentChannels
from xiaod.waveform.schedule import Cutting, WindowSchedule

OFFLINE, EARLY = BufferSettings(hop=400), BufferSettings(hop=50)
"""Windows of final and of early picks, as the default configuration cuts them."""


class OneInstrument:
    """Rings, channels and windows of one instrument, driven as the first stage does it."""

    def __init__(
        self, settings: BufferSettings = OFFLINE, letters: Collection[str] = (), phase: int = 0
    ) -> None:
        self.rings = settings.rings()
        self.channels = InstrumentChannels(settings, self.rings, letters)
        cutting = Cutting(settings.length, settings.hop, settings.history, to_end=settings.hop == OFFLINE.hop)
        self.schedule = WindowSchedule(self.channels, cutting, phase)
        self.batches = Batches(settings.history, settings.length, most=16)

    def insert(self, segment: Segment, delivery_ns: int | None) -> RecordOutcome:
        return self.channels.insert(segment, delivery_ns)

    def cut(self, delivery_ns: int | None) -> tuple[list[Window], list[Gap]]:
        """Windows that are ready, and gaps that became facts."""
        gaps = self.channels.release(delivery_ns)
        windows = (
            list(self.schedule.cut(delivery_ns, delivery_ns, self.batches))
            if self.schedule.is_due(delivery_ns)
            else []
        )
        self.channels.forget(self.schedule.needed)
        self.batches.take()
        return windows, gaps

    def finish(self, delivery_ns: int | None) -> list[Window]:
        """All windows that are left."""
        self.channels.release(delivery_ns, final=True)
        return list(self.schedule.cut(delivery_ns, delivery_ns, self.batches, final=True))

    @property
    def deadline_ns(self) -> int | None:
        times = (self.channels.release_ns, self.schedule.deadline_ns)
        return min((time_ns for time_ns in times if time_ns is not None), default=None)


def windows_of(
    segments: Iterable[Segment], settings: BufferSettings = OFFLINE, phase: int = 0
) -> list[Window]:
    """All windows of one instrument's records, offline."""
    one = OneInstrument(settings, phase=phase)
    windows: list[Window] = []
    for segment in segments:
        for piece in segment.pieces():
            if one.insert(piece, None) in ADVANCING:
                windows += one.cut(None)[0]
    return [*windows, *one.finish(None)]


def batch_of(windows: Sequence[Window]) -> WindowBatch:
    """Windows of one length as the engine takes them."""
    samples = np.stack([window.samples for window in windows])
    return WindowBatch(tuple(windows), samples, read=samples.shape[2])


def picks_in(picker: InstrumentPicker, result: Probabilities, annotate: Annotate) -> list[Pick]:
    """Picks of one window."""
    onsets = compute_again(picker.notice(result), annotate)
    return [pick for onset in onsets if (pick := picker.confirm(onset)) is not None]


def picks_of(segments: Iterable[Segment], engine: Engine, settings: BufferSettings = OFFLINE) -> list[Pick]:
    """All picks of one instrument's records, offline, with the model's own thresholds."""
    picker = InstrumentPicker(picker_settings_of(engine, settings))
    picks: list[Pick] = []
    for window in windows_of(segments, settings):
        [result] = engine.follow(batch_of([window]))
        picks += picks_in(picker, result, engine.annotate)
    return picks


def picker_settings_of(engine: Engine, settings: BufferSettings) -> PickerSettings:
    """The daemon's own settings by default, at any instrument, for windows of a stage."""
    config = Config(sources=(SeedLinkConfig(server="localhost"),))
    stage: Stage = "final" if settings.hop == OFFLINE.hop else "early"
    return replace(picker_settings(config, engine, Instrument("XX", "A", "", "HH"), stage), hop=settings.hop)
