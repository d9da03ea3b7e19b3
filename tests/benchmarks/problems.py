"""How long it takes until what is wrong is shown: on the page in a browser, by ``xiaod status`` and by ``/readyz``::

    python -m tests.benchmarks.problems [--rounds N] [--stations N]

The program, its server and the browser are real; each is asked again and again, as somebody who waits for it would. ``xiaod status`` is
started anew for each question, and its time includes that.

- ``server killed``: from SIGKILL to the replay server.
- ``engine stopped``: from the moment from which no window is computed any more, as if the machine were far too slow.
- ``data late``: from the first record that arrives, 15 s old.
- ``daemon stopped``: from SIGSTOP to the daemon, which then answers nobody; how long until the page says that it hears nothing.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.end_to_end.browser import Tab, browsing, chromium
from tests.end_to_end.harness import Daemon, Server, ServerProcess, wait_until, write_event
from xiaod.replay import Faults, ReplayConfig

POLL_S = 0.02
LATE_S = 15.0
QUIET_S = 120
WORDS = {
    "source_down": "no connection",
    "overloaded": "so picks are late",
    "data_late": "s old when they arrive",
}
"""What ``xiaod status`` says of a problem."""
SHOWN = """new Promise((done) => {
  const look = () => (%s ? done(Date.now() / 1000) : setTimeout(look, 10));
  look();
})"""
BANNER = "document.querySelector('#problems:not([hidden]) .%s')?.offsetHeight"
LOST = "document.querySelector('#link.off')"


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def codes(daemon: Daemon) -> set[str]:
    """What ``/readyz`` says is wrong."""
    return {one["code"] for one in json.loads(daemon.get("/readyz")[1])["problems"]}


def asked_until(daemon: Daemon, code: str) -> float:
    """When ``/readyz`` tells of a problem."""
    while code not in codes(daemon):
        time.sleep(POLL_S)
    return time.time()


async def status_until(daemon: Daemon, code: str) -> float:
    """When ``xiaod status`` has told of a problem."""
    port = daemon.wait_for("web.listening")[0]["port"]
    command = [sys.executable, "-m", "xiaod", "status", "--url", f"http://127.0.0.1:{port}"]
    while True:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        if any(line.startswith("PROBLEM: ") and WORDS[code] in line for line in out.decode().splitlines()):
            return time.time()


async def shown_after(
    tab: Tab, daemon: Daemon, code: str, act: Callable[[], float | None]
) -> dict[str, float]:
    """Seconds from an act until each shows the problem; the act may say when it began."""
    page = asyncio.create_task(tab.value(SHOWN % (BANNER % code)))
    ready = asyncio.create_task(asyncio.to_thread(asked_until, daemon, code))
    await asyncio.sleep(0.5)
    status = asyncio.create_task(status_until(daemon, code))
    begun = time.time()
    said = await asyncio.to_thread(act)
    begun = begun if said is None else said
    return {
        "page": await page - begun,
        "status": await status - begun,
        "/readyz": await ready - begun,
    }


@asynccontextmanager
async def looked_at(daemon: Daemon, profile: Path) -> AsyncIterator[Tab]:
    """A browser with the page of a daemon."""
    program = chromium()
    assert program is not None, "chromium is not installed"
    port = daemon.wait_for("web.listening")[0]["port"]
    async with browsing(program, profile) as tab:
        await tab.open(f"http://127.0.0.1:{port}/", width=1440, height=900)
        await tab.until("document.querySelectorAll('#station-rows tr').length")
        yield tab


def written(folder: Path, stations: int) -> Path:
    """Minutes of data of some stations, whose records begin and end at different times as those of any network do."""
    data = folder / "data"
    data.mkdir()
    for number in range(stations):
        write_event(data / f"R{number:03d}.mseed", f"R{number:03d}", shift_s=0.37 * number, quiet_s=QUIET_S)
    return data


def healthy(daemon: Daemon) -> None:
    """Wait until nothing is wrong, and all stations are picked."""

    def states() -> set[str]:
        return {one["state"] for one in json.loads(daemon.get("/api/stations")[1])["stations"]}

    wait_until(lambda: states() == {"live"} and not codes(daemon), "a daemon without problems")


async def killed_and_stopped(folder: Path, stations: int) -> None:
    """Kill the server, stop the engine, stop the daemon."""
    hang, port = folder / "hang", free_port()
    arguments = (written(folder, stations), "--shift-to-now")
    with (
        Daemon(
            folder / "daemon",
            command=[sys.executable, "-m", "tests.end_to_end.stuck"],
            environment={"HANG_FILE": str(hang)},
            sources=[
                {
                    "name": "test",
                    "server": f"127.0.0.1:{port}",
                    "reconnect_min_s": 0.1,
                    "reconnect_max_s": 0.5,
                }
            ],
        ) as daemon,
    ):
        with ServerProcess(*arguments, port=port) as server:
            daemon.wait_for_records(10 * stations)
            healthy(daemon)
            async with looked_at(daemon, folder / "browser") as tab:
                told("engine stopped", await shown_after(tab, daemon, "overloaded", hang.touch))
                hang.unlink()
                healthy(daemon)
                told("server killed", await shown_after(tab, daemon, "source_down", server.process.kill))
        with ServerProcess(*arguments, port=port):
            healthy(daemon)
            async with looked_at(daemon, folder / "browser, again") as tab:
                await tab.until("document.querySelector('#link.on') !== null")
                begun = time.time()
                os.kill(daemon.process.pid, signal.SIGSTOP)
                told("daemon stopped", {"page": await tab.value(SHOWN % LOST) - begun})
                os.kill(daemon.process.pid, signal.SIGCONT)


async def late(folder: Path, stations: int) -> None:
    """Let data come late."""
    server = Server(
        ReplayConfig(
            inputs=(written(folder, stations),),
            port=free_port(),
            shift_to_now=True,
            faults=Faults(delays_s={"*": LATE_S}),
        )
    )
    source = {
        "name": "test",
        "server": f"127.0.0.1:{server.port}",
        "reconnect_min_s": 0.1,
        "reconnect_max_s": 0.2,
    }
    with Daemon(folder / "daemon", sources=[source]) as daemon:

        def act() -> float:
            wait_until(lambda: daemon.metric("xiaod_records_total"), "a record")
            return time.time()

        with server:
            daemon.wait_for("source.streaming")
            async with looked_at(daemon, folder / "browser") as tab:
                told("data late", await shown_after(tab, daemon, "data_late", act))


def told(what: str, seconds: dict[str, float]) -> None:
    """Print one measurement."""
    load = os.getloadavg()[0]
    shown = ", ".join(f"{where} {after_s:.2f} s" for where, after_s in seconds.items())
    print(f"{what:15} {shown}; load {load:.1f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stations", type=int, default=20)
    options = parser.parse_args()
    measures: tuple[Callable[[Path, int], Coroutine[None, None, None]], ...] = (killed_and_stopped, late)
    for _ in range(options.rounds):
        for measure in measures:
            with TemporaryDirectory() as name:
                asyncio.run(measure(Path(name), options.stations))


if __name__ == "__main__":
    main()
