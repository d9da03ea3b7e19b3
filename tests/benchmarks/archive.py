"""What an archive costs: station-days a minute and CPU time with so many workers, and memory for more and more days.

Writes an SDS archive, an event every ten minutes at every station, and runs ``xiaod pick`` over it::

    python -m tests.benchmarks.archive --stations 2 --hours 6 --days 1 2 --workers 1 2

Every day holds ``--hours`` of data. CPU time is that of all processes, starting included; the memory is that of the largest one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import obspy
from numpy.typing import NDArray

from tests.archives import sds_path
from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.tools.soak.data import CYCLE_S

BEGIN = obspy.UTCDateTime(2020, 1, 1)
RATE_HZ = 100
DAY_HOURS = 24


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stations", type=int, default=2)
    parser.add_argument("--hours", type=float, default=6.0, help="data in each day")
    parser.add_argument("--days", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
    print(
        "| station-days | workers | station-days a minute | CPU s per station-day | largest process, MB | picks |"
    )
    print("|---|---|---|---|---|---|")
    for days in options.days:
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), options.stations, days, options.hours)
            station_days = options.stations * days * options.hours / DAY_HOURS
            for workers in options.workers:
                print(row(Path(name), station_days, workers), flush=True)


def write(folder: Path, stations: int, days: int, hours: float) -> None:
    """Write the archive: the same data at every station, on every day."""
    for trace in obspy.read():
        samples = _day(trace, hours)
        for station in range(stations):
            for day in range(days):
                time_of_day = BEGIN + day * 86_400
                name, channel = f"S{station:03d}", trace.stats.channel
                header = {
                    "network": "BW", "station": name, "channel": channel, "starttime": time_of_day,
                    "sampling_rate": RATE_HZ,
                }  # fmt: skip
                path = sds_path(folder, name, channel, time_of_day)
                path.parent.mkdir(parents=True, exist_ok=True)
                obspy.Trace(samples, header).write(
                    str(path), format="MSEED", reclen=RECORD_BYTES, encoding="STEIM2"
                )


def row(folder: Path, station_days: float, workers: int) -> str:
    """Run over the archive; a row of the table."""
    picks = folder / "picks.jsonl"
    begun_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "xiaod", "pick", str(folder / "2020"), "--workers", str(workers), "--output",
         str(picks), "--no-progress"]
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    spent_s = time.perf_counter() - begun_s
    assert status == 0
    count = len(picks.read_text().splitlines())
    cpu_s = used.ru_utime + used.ru_stime
    return (
        f"| {station_days:g} | {workers} | {station_days / spent_s * 60:.2f} | {cpu_s / station_days:.1f} "
        f"| {used.ru_maxrss / 1e3:.0f} | {count} |"
    )


def _day(trace: obspy.Trace, hours: float) -> NDArray[np.int32]:
    """The example event and its own quiet beginning, forwards and backwards, every ten minutes."""
    event = np.round(trace.data * 10).astype(np.int32)
    quiet = event[:400]
    rest = np.resize(np.concatenate([quiet[::-1], quiet]), CYCLE_S * RATE_HZ - event.size)
    return np.resize(np.concatenate([event, rest]), round(hours * 3600 * RATE_HZ))


if __name__ == "__main__":
    main()
