"""Buffer, engine and picker in one call each, for tests that need no event loop."""

from collections.abc import Iterable
from dataclasses import replace

from xiaod.config import Config, SeedLinkConfig
from xiaod.domain.types import Instrument, Pick, Probabilities, Segment, Window
from xiaod.inference import Engine
from xiaod.picking.picker import InstrumentPicker, PickerSettings
from xiaod.picking.stream_picker import StreamPicker
from xiaod.pipeline.settings import picker_settings
from xiaod.waveform.buffer import ADVANCING, BufferSettings, InstrumentBuffer

OFFLINE = BufferSettings()
"""Windows as the default configuration cuts them."""


def windows_of(segments: Iterable[Segment], settings: BufferSettings = OFFLINE) -> list[Window]:
    """All windows of one instrument's records, offline."""
    buffer = InstrumentBuffer(settings)
    windows: list[Window] = []
    for segment in segments:
        for piece in segment.pieces():
            if buffer.insert(piece, None) in ADVANCING:
                windows += buffer.cut(None)[0]
    return [*windows, *buffer.finish(None)]


def picks_of(segments: Iterable[Segment], engine: Engine, settings: BufferSettings = OFFLINE) -> list[Pick]:
    """All picks of one instrument's records, offline, with the model's own thresholds."""
    chosen = picker_settings_of(engine, settings)
    if engine.stateful:
        follower = StreamPicker(chosen)
        return [
            pick
            for window in windows_of(segments, settings)
            for result in engine.follow([window])
            for pick in follower.pick(result)
        ]
    picker = InstrumentPicker(chosen)
    picks: list[Pick] = []
    for window in windows_of(segments, settings):
        for candidate in picker.notice(Probabilities(window, engine.annotate(window.samples[None])[0])):
            pick = picker.confirm(candidate, engine.annotate)
            picks += [] if pick is None else [pick]
    return picks


def picker_settings_of(engine: Engine, settings: BufferSettings) -> PickerSettings:
    """The daemon's own settings by default, at any instrument."""
    config = Config(sources=(SeedLinkConfig(server="localhost"),))
    return replace(picker_settings(config, engine, Instrument("XX", "A", "", "HH")), hop=settings.hop)
