"""The pictures of the README, made by the program: ``python -m tests.pictures`` writes them into ``docs/pictures``.

The status page is that of the daemon with the project's own configuration, taken by a headless Chromium once P and S are drawn; the wall
and the map those of a daemon with some stations at which the same event arrives one after the other; the pick is a plot of it.
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import obspy
import yaml

from tests.end_to_end.browser import browsing, chromium
from tests.end_to_end.harness import LIMIT_S, write_event

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 1100, 720
FINAL = "document.querySelectorAll('#pick-rows tr.final').length"
DRAWN_S = 6
STATIONS = ("RJOB", "RTBE", "RMOA", "RNON", "RTSH", "RTAK", "RWMO", "RNHA", "RTEA", "RTLI", "RTPA", "RTSA")
PLACES = (
    (47.737, 12.796), (47.744, 12.709), (47.761, 12.864), (47.741, 12.867), (47.696, 12.644), (47.789, 12.753),
    (47.665, 12.835), (47.715, 12.915), (47.771, 12.616), (47.705, 12.745), (47.726, 12.552), (47.648, 12.726),
)  # fmt: skip
"""Made up; latitude and longitude."""
QUIET_S = 85
LONGEST_S = 240.0
XIAOD = Path(sys.executable).with_name("xiaod")


@contextmanager
def running(folder: Path, stations: Path | None = None, **source: str) -> Iterator[str]:
    """A daemon with the project's own configuration, but for its source and stations; the address of its page."""
    document = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    document["sources"][0].update(source)
    document["stations_file"] = None if stations is None else str(stations)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        document["http"]["port"] = probe.getsockname()[1]
    folder.mkdir()
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    daemon = subprocess.Popen([XIAOD, "--config", config], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        # It listens a moment later, and the picture is worth the wait.
        time.sleep(3)
        yield f"http://127.0.0.1:{document['http']['port']}/"
    finally:
        daemon.terminate()
        daemon.wait(LIMIT_S)


async def seen(address: str, profile: Path, program: str, picks: int, prepare: str = "0") -> bytes:
    """A picture of a page with so many final picks on it, as PNG; ``prepare`` is run in it before."""
    async with browsing(program, profile) as tab:
        await tab.open(address, width=WIDTH, height=HEIGHT)
        await tab.value(prepare)
        async with asyncio.timeout(LONGEST_S):
            while await tab.value(FINAL) < picks:  # noqa: ASYNC110  in the page, which tells nobody
                await asyncio.sleep(1)
        # What is drawn comes with the next windows.
        await asyncio.sleep(DRAWN_S)
        return await tab.picture()


def status_page(folder: Path, program: str) -> bytes:
    """A picture of the page while the example event is on it, as PNG."""
    with running(folder / "status") as address:
        return asyncio.run(seen(address, folder / "browser", program, picks=2))


def wall_and_map(folder: Path, program: str) -> tuple[bytes, bytes]:
    """Pictures of the wall and the map with the example event, which arrives at one station after the other, as PNG."""
    (folder / "data").mkdir()
    for number, station in enumerate(STATIONS):
        write_event(folder / "data" / f"{station}.mseed", station, shift_s=number * 1.3, quiet_s=QUIET_S)
    rows = [f"BW,{name},{north},{east},900\n" for name, (north, east) in zip(STATIONS, PLACES, strict=True)]
    stations = folder / "stations.csv"
    stations.write_text(f"network,station,latitude,longitude,elevation\n{''.join(rows)}", encoding="utf-8")
    with running(folder / "wall", stations, server=f"replay:{folder / 'data'}") as address:
        span = "{ const span = document.getElementById('wall-span'); span.value = 120; span.dispatchEvent(new Event('change')); }"
        picks = 2 * len(STATIONS) - 4
        shown = asyncio.run(seen(f"{address}#wall", folder / "wall-browser", program, picks, span))
        return shown, asyncio.run(seen(f"{address}#map", folder / "map-browser", program, picks))


def pick(folder: Path) -> bytes:
    """A plot of the example event with its picks, as PNG."""
    data, picture = folder / "example.mseed", folder / "pick.png"
    obspy.read().write(str(data), format="MSEED")
    arguments = [
        "plot",
        "BW.RJOB..EH?",
        "2009-08-24T00:20:08Z",
        "--input",
        data,
        "--before",
        "5",
        "--after",
        "8",
    ]
    subprocess.run([XIAOD, *map(str, arguments), "--output", picture], check=True, cwd=folder)
    return picture.read_bytes()


def main() -> None:
    """Write the pictures that can be made here."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (PICTURES / "pick.png").write_bytes(pick(folder))
        if (program := chromium()) is None:
            sys.exit("the pictures of the page need chromium (apt install chromium)")
        (PICTURES / "status.png").write_bytes(status_page(folder, program))
        for name, picture in zip(("wall", "map"), wall_and_map(folder, program), strict=True):
            (PICTURES / f"{name}.png").write_bytes(picture)


if __name__ == "__main__":
    main()
