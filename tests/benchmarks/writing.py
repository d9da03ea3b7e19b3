"""What the daemon writes while nothing happens: megabytes a day onto the SD card, for so many stations without a pick.

    .venv/bin/python -m tests.benchmarks.writing --stations 1,100 --seconds 600

Bytes are those that the kernel counts for the daemon's process (``write_bytes`` in ``/proc/PID/io``: pages made dirty on their way to the
disk); what the file system adds for its own journal is not among them.
"""

import argparse
import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from xiaod.replay import ReplayConfig, ReplayServer
from xiaod.tools.bench.daemon import DaemonProcess
from xiaod.tools.soak.data import CYCLE_S, quiet_records

DAY_S = 86_400.0
BEGIN_S = 60.0
"""Not counted: a database is made and filled."""


async def written(stations: int, seconds: float, folder: Path) -> dict[str, float]:
    """Run one daemon with so many quiet stations."""
    data = folder / "quiet.mseed"
    records = quiet_records(round((BEGIN_S + seconds) / CYCLE_S) + 1)
    await asyncio.to_thread(data.write_bytes, b"".join(records))
    async with ReplayServer(
        ReplayConfig(inputs=(data,), port=0, shift_to_now=True, copies=stations)
    ) as server:
        daemon = DaemonProcess(
            folder,
            {
                "sources": [{"name": "quiet", "server": server.address, "begin": "resume"}],
                "sinks": [{"kind": "jsonl", "path": str(folder / "picks.jsonl")}],
                "state": {"folder": str(folder / "state")},
                "picker": dict.fromkeys(
                    ("threshold_p", "threshold_s", "early_threshold_p", "early_threshold_s"), 0.999
                ),
            },
        )
        try:
            await asyncio.sleep(BEGIN_S)
            before, begun = bytes_of(daemon), time.monotonic()
            await asyncio.sleep(seconds)
            spent_s = time.monotonic() - begun
            metrics = await asyncio.to_thread(daemon.metrics)
            count = bytes_of(daemon) - before
        finally:
            await asyncio.to_thread(daemon.stop)
    return {"mb_per_day": count / 1e6 * DAY_S / spent_s, "picks": metrics.get("xiaod_picks_total", 0.0)}


def bytes_of(daemon: DaemonProcess) -> int:
    lines = Path(f"/proc/{daemon.process.pid}/io").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stations", default="1,100")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument(
        "--folder", type=Path, help="on the disk that is meant (default: the temporary folder)"
    )
    options = parser.parse_args()
    for count in options.stations.split(","):
        with TemporaryDirectory(dir=options.folder) as scratch:
            found = asyncio.run(written(int(count), options.seconds, Path(scratch)))
        print(f"{count} stations: {found['mb_per_day']:.1f} MB a day, {found['picks']:.0f} picks")


if __name__ == "__main__":
    main()
