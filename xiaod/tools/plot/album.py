"""Many pictures from files: the files are read once more for every few hundred, and only what lies around them is computed.

In: files, a configuration with its engine, and what to show. Out: PNGs. Memory is that of one batch of scenes.

>>> Shot(Instrument("BW", "RJOB", "", "EH"), 10_000_000_000, "a title", Path("a.png")).span_ns(2.0, 3.0)
(8000000000, 13000000000)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xiaod.acquisition.miniseed import channel_of
from xiaod.acquisition.miniseed_files import FileSource, Wanted
from xiaod.acquisition.patterns import matches
from xiaod.config import Config
from xiaod.domain.codes import safe
from xiaod.domain.resumption import warm_up_s
from xiaod.domain.timegrid import GRID_NS, iso_from_ns, ns_from_s
from xiaod.domain.types import Instrument, Pick
from xiaod.inference import Engine
from xiaod.pipeline.offline import ListSink, run_offline
from xiaod.pipeline.settings import picker_settings
from xiaod.tools.plot.figure import draw
from xiaod.tools.plot.scene import Scene
from xiaod.tools.plot.tap import Tap

if TYPE_CHECKING:
    from pymseed import MS3Record

BEFORE_S, AFTER_S = 10.0, 20.0
"""What is shown around a moment, unless somebody says otherwise."""
DOTS = 3
BATCH = 256
"""Pictures for which the files are read once."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to be made."""

    instrument: Instrument
    at_ns: int
    """The moment it is about."""
    title: str
    path: Path

    def span_ns(self, before_s: float, after_s: float) -> tuple[int, int]:
        """From and to."""
        return self.at_ns - ns_from_s(before_s), self.at_ns + ns_from_s(after_s)


def instruments_of(
    inputs: Sequence[Path], pattern: str, at_ns: int, before_s: float = BEFORE_S, after_s: float = AFTER_S
) -> list[Instrument]:
    """Instruments with data around a moment, in files, that a stream pattern matches.

    Raises:
        OSError: when a file cannot be read.
        ValueError: when the pattern is none.
    """
    if pattern.count(".") != DOTS:
        raise ValueError(
            f"STREAM: {pattern!r}: must be NET.STA.LOC.CHA with * ? [..] wildcards, for example 'AM.R0E05.00.EH?'"
        )
    start_ns, stop_ns = at_ns - ns_from_s(before_s), at_ns + ns_from_s(after_s)
    found: set[Instrument] = set()

    def look(_: Path, record: "MS3Record") -> bool:
        channel = channel_of(record.sourceid)
        near = record.starttime < stop_ns and record.endtime >= start_ns
        if near and channel is not None and matches(channel, [pattern]):
            found.add(channel.instrument)
        return False

    FileSource(inputs, wanted=look).run(lambda _: None)
    return sorted(found)


def make_pictures(
    inputs: Sequence[Path],
    config: Config,
    engine: Engine,
    shots: Sequence[Shot],
    before_s: float = BEFORE_S,
    after_s: float = AFTER_S,
    known: Sequence[Pick] | None = None,
) -> list[Shot]:
    """Draw shots; gives those for which there were data.

    Args:
        inputs: miniSEED files and folders.
        config: windows and picker.
        engine: the loaded model.
        shots: what to draw.
        before_s: seconds shown before the moment of each.
        after_s: seconds after it.
        known: picks to draw; None: those that the data around a shot give.

    Raises:
        OSError: when a file cannot be read or written.
    """
    made = []
    for first in range(0, len(shots), BATCH):
        batch = shots[first : first + BATCH]
        scenes = [Scene(shot.instrument, *shot.span_ns(before_s, after_s)) for shot in batch]
        found = _fill(inputs, config, engine, scenes)
        picks = found if known is None else known
        for shot, scene in zip(batch, scenes, strict=True):
            if scene.empty:
                continue
            shown = [
                pick
                for pick in picks
                if pick.channel.instrument == scene.instrument
                and scene.start_ns <= pick.time_ns < shot.span_ns(before_s, after_s)[1]
            ]
            settings = picker_settings(config, engine, scene.instrument)
            thresholds = (settings.threshold(0, scene.letters), settings.threshold(1, scene.letters))
            draw(scene, shown, thresholds, shot.title, shot.path)
            made.append(shot)
    return made


def plot_picks(
    inputs: Sequence[Path], config: Config, engine: Engine, picks: Sequence[Pick], folder: Path
) -> list[Shot]:
    """A PNG for each pick, named by its identifier.

    Raises:
        OSError: when a file cannot be read or written.
    """
    shots = [
        Shot(
            pick.channel.instrument,
            pick.time_ns,
            f"{pick.phase}  {pick.channel}  {iso_from_ns(pick.time_ns)}  probability {pick.probability:.2f}  "
            f"snr {pick.snr:.1f}  {pick.model}",
            folder / f"{safe(pick.id)}.png",
        )
        for pick in sorted(picks, key=lambda pick: pick.time_ns)
    ]
    return make_pictures(inputs, config, engine, shots, known=picks)


def _fill(inputs: Sequence[Path], config: Config, engine: Engine, scenes: Sequence[Scene]) -> list[Pick]:
    """Run the pipeline over the data around scenes; gives the picks found there."""
    by_instrument: dict[Instrument, list[Scene]] = {}
    for scene in scenes:
        by_instrument.setdefault(scene.instrument, []).append(scene)
    settings = picker_settings(config, engine, scenes[0].instrument)
    tap = Tap(engine, settings, lambda instrument: by_instrument.get(instrument, ()))
    sink = ListSink()
    run_offline(config, tap, FileSource(inputs, wanted=_around(by_instrument, config)), sink)
    return sink.picks


def margins_ns(config: Config) -> tuple[int, int]:
    """Data needed before and behind what is shown, so that all windows over it are whole."""
    length_s = config.windows.length_s
    return ns_from_s(warm_up_s(length_s)), ns_from_s(length_s)


def _around(by_instrument: dict[Instrument, list[Scene]], config: Config) -> Wanted:
    """Which records are needed: those around the scenes of their instrument."""
    before_ns, after_ns = margins_ns(config)
    spans = {
        instrument: [
            (scene.start_ns - before_ns, scene.start_ns + (scene.stop - scene.first) * GRID_NS + after_ns)
            for scene in scenes
        ]
        for instrument, scenes in by_instrument.items()
    }

    def wanted(_: Path, record: "MS3Record") -> bool:
        channel = channel_of(record.sourceid)
        return channel is not None and any(
            record.starttime < stop and record.endtime >= start
            for start, stop in spans.get(channel.instrument, ())
        )

    return wanted
