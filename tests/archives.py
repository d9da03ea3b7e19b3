"""A small archive of several days, made of ObsPy's example event: events across midnight, gaps, overlaps, two rates, damage."""

from pathlib import Path

import numpy as np
import obspy
from numpy.typing import NDArray

from xiaod.domain.seedlink import RECORD_BYTES

MIDNIGHT = obspy.UTCDateTime(2020, 3, 1)
ONSET_S = 4.73
"""P in the example."""
ONSETS_OF_A_DAY_S = (-0.5, 60.0, 270.0)
"""Where that P is put, seconds from each midnight: before it with S behind it, and behind a gap."""
QUIET_SAMPLES = 400


def write_archive(folder: Path, days: int = 3) -> None:
    """An SDS archive in a folder: two stations, 100 and 50 Hz, some minutes around each midnight."""
    for station, rate_hz in (("RJOB", 100.0), ("SLOW", 50.0)):
        for midnight in range(days - 1):
            begin = MIDNIGHT + midnight * 86_400
            # P before midnight, S after it; long enough that filters and windows forget how it began.
            around, later, behind_gap = (begin + onset_s for onset_s in ONSETS_OF_A_DAY_S)
            _write(folder, station, rate_hz, begin - 200, 400, [around, later])
            # Behind a gap of 40 s.
            _write(folder, station, rate_hz, begin + 240, 60, [behind_gap])
        # What is there twice, cut in records otherwise.
        _write(
            folder,
            station,
            rate_hz,
            MIDNIGHT + 10,
            25,
            [],
            only="Z",
            of=(MIDNIGHT - 200, 400, [MIDNIGHT + onset_s for onset_s in ONSETS_OF_A_DAY_S[:2]]),
        )
    damaged = sds_path(folder, "RJOB", "EHN", MIDNIGHT + 1)
    content = damaged.read_bytes()
    damaged.write_bytes(content[: 4 * RECORD_BYTES] + b"\0" * 700 + content[4 * RECORD_BYTES :])


def sds_path(folder: Path, station: str, channel: str, time: obspy.UTCDateTime) -> Path:
    """Where a day of a channel lies."""
    name = f"BW.{station}..{channel}.D.{time.year}.{time.julday:03d}"
    return folder / str(time.year) / "BW" / station / f"{channel}.D" / name


def _write(
    folder: Path,
    station: str,
    rate_hz: float,
    start: obspy.UTCDateTime,
    seconds: float,
    onsets: list[obspy.UTCDateTime],
    only: str = "ZNE",
    of: tuple[obspy.UTCDateTime, float, list[obspy.UTCDateTime]] | None = None,
) -> None:
    """Append a stretch of data, or a part of one, to the files of its days."""
    for trace in obspy.read():
        if trace.stats.component not in only:
            continue
        whole_start, whole_s, whole_onsets = of or (start, seconds, onsets)
        samples = _samples(trace, whole_start, whole_s, whole_onsets)
        whole = obspy.Trace(samples[:: round(100 / rate_hz)].astype(np.int32))
        whole.stats.update({"network": "BW", "station": station, "channel": trace.stats.channel})
        whole.stats.sampling_rate = rate_hz
        whole.stats.starttime = whole_start
        part = whole.slice(start, start + seconds - 1 / rate_hz)
        day = obspy.UTCDateTime(start.date)
        while day < start + seconds:
            piece = part.slice(day, day + 86_400 - 1 / rate_hz)
            path = sds_path(folder, station, trace.stats.channel, day)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                piece.write(file, format="MSEED", reclen=RECORD_BYTES, encoding="STEIM2")
            day += 86_400


def _samples(
    trace: obspy.Trace, start: obspy.UTCDateTime, seconds: float, onsets: list[obspy.UTCDateTime]
) -> NDArray[np.float64]:
    """The example's own quiet beginning, forwards and backwards, and the event with its P at each onset."""
    event = np.round(trace.data * 10)
    quiet = event[:QUIET_SAMPLES]
    samples = np.resize(np.concatenate([quiet, quiet[::-1]]), round(seconds * 100)).astype(np.float64)
    for onset in onsets:
        at = round((onset - start - ONSET_S) * 100)
        part = event[: max(0, len(samples) - at)]
        samples[at : at + len(part)] = part
    return samples
