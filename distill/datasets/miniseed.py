"""A folder of miniSEED files, continuous or of events, in any tree; with labels from QuakeML, if there is any.

Gapless pieces of at most :data:`PIECE_S` of each instrument become waveforms. A pick labels the piece of its network and station
that holds its time, the earliest of each phase; the teacher labels pieces without a pick.

>>> phase_of("Pn"), phase_of("s"), phase_of("AML")
('P', 'S', None)
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.config import ConfigError
from distill.datasets.waveform import POLARITIES, Waveform
from distill.progress import SILENT, Progress
from models.conventions import RATE_HZ
from xiaod.process.file_tree import files_below

PIECE_S = 120.0
LEAST_S = 30.0
"""Shorter pieces are left out."""
ROWS = {"Z": 0, "3": 0, "N": 1, "1": 1, "E": 2, "2": 2}
"""Component letter -> row."""
QUAKEML_SUFFIXES = (".xml", ".quakeml", ".qml")

Pick = tuple[float, str, str, str]
"""Seconds since 1970, phase, event, polarity in QuakeML's terms."""


def phase_of(hint: str) -> str | None:
    """``P`` or ``S`` of a phase hint such as ``Pg``; None for others."""
    letter = hint[:1].upper()
    return letter if letter in ("P", "S") and not hint.upper().startswith("SN/") else None


class MiniSeedDataset:
    """Waveforms of a folder."""

    def __init__(self, folder: Path, quakeml: Path | None, progress: Progress = SILENT) -> None:
        """List files and read picks.

        Args:
            folder: of miniSEED files, in any tree; other files in it are ignored.
            quakeml: file or folder with picks; None: QuakeML files in the folder itself.
            progress: shows the stage.

        Raises:
            ConfigError: when the folder does not exist, or the QuakeML cannot be read.
        """
        if not folder.is_dir():
            raise ConfigError(f"data.sources: {folder}: no such folder")
        files = list(files_below(folder))
        self._files = [path for path in files if path.suffix.lower() not in QUAKEML_SUFFIXES]
        if quakeml is None:
            papers = [path for path in files if path.suffix.lower() in QUAKEML_SUFFIXES]
        elif quakeml.is_dir():
            papers = [path for path in files_below(quakeml) if path.suffix.lower() in QUAKEML_SUFFIXES]
        else:
            papers = [quakeml]
        self._progress, self._said = progress, str(folder)
        self._picks = read_picks(progress.over(papers, f"{folder}: QuakeML", len(papers)))
        digest = hashlib.sha256()
        contents = (*self._files, *papers)
        for path in progress.over(contents, f"{folder}: hash of files", len(contents)):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ConfigError(f"data.sources: {path}: cannot be read: {error.strerror}") from error
            digest.update(str(path.name).encode() + hashlib.sha256(content).digest())
        self.fingerprint = digest.hexdigest()
        self._waveforms: list[Waveform] | None = None

    @property
    def pick_count(self) -> int:
        """Number of P and S picks read, with and without a waveform."""
        return sum(map(len, self._picks.values()))

    def __len__(self) -> int:
        return len(self._read())

    def __iter__(self) -> Iterator[Waveform]:
        yield from self._read()

    def _read(self) -> list[Waveform]:
        if self._waveforms is None:
            files = self._progress.over(self._files, f"{self._said}: files", len(self._files))
            stream = read_miniseed(files)
            if not stream:
                raise ConfigError(f"data.sources: none of {len(self._files)} files could be read as miniSEED")
            self._waveforms = list(self._pieces(stream))
        return self._waveforms

    def _pieces(self, stream: Any) -> Iterator[Waveform]:
        instruments: dict[tuple[Any, ...], list[Any]] = {}
        for trace in stream:
            stats = trace.stats
            if stats.channel[-1:] in ROWS and stats.npts > 1:
                key = (stats.network, stats.station, stats.location, stats.channel[:-1])
                instruments.setdefault(key, []).append(trace)
        said = f"{self._said}: instruments"
        for key, traces in self._progress.over(sorted(instruments.items()), said, len(instruments)):
            yield from self._instrument(".".join(key), f"{key[0]}.{key[1]}", traces)

    def _instrument(self, code: str, station: str, traces: Sequence[Any]) -> Iterator[Waveform]:
        import obspy

        joined = obspy.Stream([trace.copy() for trace in traces]).merge(-1)
        for trace in joined:
            trace.data = trace.data.astype(np.float32)
            if not np.isfinite(trace.data).all():
                # What is no number is missing, as it is for the daemon; it would make every label none.
                trace.data = np.ma.masked_invalid(trace.data)
        joined = joined.split()
        for trace in joined:
            if trace.stats.sampling_rate != RATE_HZ:
                trace.resample(RATE_HZ)
        verticals = [trace for trace in joined if ROWS[trace.stats.channel[-1]] == 0] or list(joined)
        for trace in verticals:
            count = trace.stats.npts
            piece = round(PIECE_S * RATE_HZ)
            for begin in range(0, count, piece):
                length = min(piece, count - begin)
                if length < LEAST_S * RATE_HZ:
                    continue
                start = trace.stats.starttime + begin / RATE_HZ
                waves = _rows(joined, start, length)
                picks, event, polarity = self._labels(station, start.timestamp, length / RATE_HZ)
                kind = "event" if any(pick is not None for pick in picks) else "continuous"
                yield Waveform(
                    f"{code} {start}", station, kind, waves, picks, event, polarity=POLARITIES.get(polarity)
                )

    def _labels(
        self, station: str, start_s: float, length_s: float
    ) -> tuple[tuple[float | None, float | None], str, str]:
        first: dict[str, float | None] = {"P": None, "S": None}
        event, polarity = "", ""
        for time_s, phase, of, motion in sorted(self._picks.get(station, ())):
            if 0 <= time_s - start_s < length_s and first[phase] is None:
                first[phase] = (time_s - start_s) * RATE_HZ
                event = event or of
                polarity = motion if phase == "P" else polarity
        return (first["P"], first["S"]), event, polarity


def read_miniseed(paths: Iterable[Path]) -> Any:
    """ObsPy's stream of all miniSEED files; other files are ignored."""
    import obspy

    stream = obspy.Stream()
    for path in paths:
        try:
            stream += obspy.read(path, format="MSEED")
        except Exception:  # noqa: BLE001, S112  ObsPy raises anything for what is no miniSEED
            continue
    return stream


def read_picks(papers: Iterable[Path]) -> dict[str, list[Pick]]:
    """Read P and S picks of QuakeML files, by ``NET.STA``.

    Raises:
        ConfigError: when a file does not exist or is not QuakeML.
    """
    import obspy

    picks: dict[str, list[Pick]] = {}
    for path in papers:
        try:
            events = obspy.read_events(path)
        except Exception as error:
            raise ConfigError(f"data.sources: {path}: cannot be read as QuakeML: {error}") from error
        for event in events:
            for pick in event.picks:
                phase = phase_of(pick.phase_hint or "")
                if phase is None or pick.waveform_id is None:
                    continue
                code = f"{pick.waveform_id.network_code or ''}.{pick.waveform_id.station_code or ''}"
                picks.setdefault(code, []).append(
                    (pick.time.timestamp, phase, str(event.resource_id), pick.polarity or "")
                )
    return picks


def _rows(traces: Any, start: Any, length: int) -> NDArray[np.float32]:
    """Three components from a time on; a component that does not cover all of it is zeros."""
    waves = np.zeros((3, length), np.float32)
    for trace in traces:
        offset = round((start - trace.stats.starttime) * RATE_HZ)
        if offset >= 0 and offset + length <= trace.stats.npts:
            waves[ROWS[trace.stats.channel[-1]]] = trace.data[offset : offset + length]
    return waves
