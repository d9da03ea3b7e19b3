"""CPU time of the whole daemon per second of data of one station, and where it goes.

Starts ``xiaod replay PATH --speed max --loop --copies N`` and ``xiaod --config``, lets them run, and reads the daemon's own metrics twice::

    python -m tests.benchmarks.throughput PATH --copies 200 --seconds 30 --core 0

A station-second is one second of three components of one instrument at 100 Hz; windows are cut everywhere, every ``final_hop_s`` and with
``--early windows`` every ``early_hop_s`` too, so their number tells how many went through.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.end_to_end.harness import Daemon, wait_until
from xiaod.config import WindowConfig

EACH_S = {"off": 1 / WindowConfig().final_hop_s}
EACH_S["windows"] = EACH_S["off"] + 1 / WindowConfig().early_hop_s
"""Windows of a station in a second, by what makes early picks."""
WARM_UP_S = 15.0


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", nargs="?", default="example", help="miniSEED of one station, or 'example'")
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--model", default="micro", help="engine.model of the configuration")
    parser.add_argument("--early", choices=tuple(EACH_S), default="off", help="what makes early picks")
    parser.add_argument(
        "--core", type=int, default=None, help="keep the daemon on this core, the server off it"
    )
    options = parser.parse_args()
    replay = subprocess.Popen(
        [sys.executable, "-m", "xiaod", "replay", options.path, "--port", "0", "--speed", "max", "--loop",
         "--copies", str(options.copies)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert replay.stdout is not None
        port = int(replay.stdout.readline().rsplit(":", 1)[1])
        with tempfile.TemporaryDirectory() as folder:
            config = {"engine": {"model": options.model}, "early": options.early}
            measure(Path(folder), port, options.seconds, options.core, replay.pid, config)
    finally:
        replay.terminate()
        replay.wait(30)


def measure(
    folder: Path, port: int, seconds: float, core: int | None, server_pid: int, config: dict[str, Any]
) -> None:
    """Run the daemon against a server and print what it cost."""
    with Daemon(folder, sources=[{"name": "load", "server": f"127.0.0.1:{port}"}], **config) as daemon:
        if core is not None:
            os.sched_setaffinity(server_pid, os.sched_getaffinity(0) - {core})
            os.sched_setaffinity(daemon.process.pid, {core})
        daemon.wait_for("web.listening")
        wait_until(lambda: daemon.metric("xiaod_windows_total") > 0, "windows")
        time.sleep(WARM_UP_S)
        before = daemon.metrics()
        time.sleep(seconds)
        after = daemon.metrics()
        daemon.process.kill()
    spent = {key: value - before.get(key, 0.0) for key, value in after.items()}
    windows = spent["xiaod_windows_total", ()]
    station_s = windows / EACH_S[config["early"]]
    picks = sum(
        value
        for (name, labels), value in spent.items()
        if name == "xiaod_picks_total" and ("stage", "final") in labels
    )
    print(
        f"{station_s:.0f} station-seconds, {windows:.0f} windows, {picks:.0f} picks ({station_s / max(picks, 1):.0f} s a pick)"
    )
    print("| part | µs per station-second |\n|---|---|")
    for (name, labels), value in sorted(spent.items()):
        if name == "xiaod_thread_cpu_seconds_total" and value > 0:
            print(f"| {dict(labels)['thread']} | {value / station_s * 1e6:.0f} |")
    print(f"| whole process | {spent['process_cpu_seconds_total', ()] / station_s * 1e6:.0f} |")
    memory = after["process_resident_memory_bytes", ()] / 1e6
    print(
        f"resident memory {memory:.0f} MB, of it sample buffers {after['xiaod_buffer_bytes', ()] / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
