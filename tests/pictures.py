"""The pictures of the documents, made by the program: ``python -m tests.pictures`` writes them into ``docs/pictures``.

The pages are those of the daemon with the project's own configuration, but for its stations, taken by a headless Chromium once an event
has arrived at them, one after the other; the pick is a plot of ObsPy's example event. ``python -m tests.pictures FOLDER [STATIONS ...]``
writes every view at every size, light and dark, into a folder instead, for somebody who looks at what a change of the page has done.
"""

import asyncio
import contextlib
import io
import math
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import obspy
import yaml
from PIL import Image

from tests.end_to_end.browser import Tab, browsing, chromium
from tests.end_to_end.harness import LIMIT_S, ServerProcess, wait_until, write_event

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
SIZES = {"phone": (390, 844), "tablet": (1100, 720), "laptop": (1440, 900), "screen": (2560, 1440)}
VIEWS = ("", "wall", "day", "map", "kiosk", "kiosk&wall", "kiosk&day", "kiosk&map")
COLOURS = 200
"""Of a picture: a page has few, and the file is a third as large."""
FINAL = "document.querySelectorAll('#pick-rows tr.final').length"
MOST_ROWS = 450
"""The page holds 500 picks."""
DRAWN_S = 5
SETTLED = (
    "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 400))))"
)
SPAN = "{ const span = document.getElementById('wall-span'); span.value = 120; span.dispatchEvent(new Event('change')); }"
BANNER = "!document.getElementById('problems').hidden && document.querySelector('.state.down') !== null"
EPICENTRE = (47.71, 12.79)
VELOCITY_KM_S = 6.0
KM_PER_DEGREE = 111.2
QUIET_S = 85
LONGEST_S = 300.0
XIAOD = Path(sys.executable).with_name("xiaod")


@dataclass(frozen=True)
class Shot:
    """One picture: a view, as the words of its address name it, at a size."""

    name: str
    size: str
    words: str = ""
    dark: bool = False


@dataclass(frozen=True)
class Sitting:
    """Pictures of one daemon, and those that are taken once its server has died."""

    stations: int
    shots: Sequence[Shot]
    down: Sequence[Shot] = ()


DOCUMENTS = (
    Sitting(1, [Shot("status", "tablet"), Shot("phone", "phone", dark=True)]),
    Sitting(
        20,
        [
            Shot("laptop", "laptop"),
            Shot("laptop-dark", "laptop", dark=True),
            Shot("map", "tablet", "map"),
            Shot("wall", "tablet", "wall"),
            Shot("wall-phone", "phone", "wall"),
            Shot("kiosk-dark", "screen", "kiosk", dark=True),
        ],
        [Shot("down", "tablet")],
    ),
    Sitting(
        300,
        [
            Shot("many", "screen"),
            Shot("many-wall-dark", "screen", "kiosk&wall", dark=True),
        ],
    ),
)


def everything(count: int) -> Sitting:
    """Every view at every size, light and dark."""
    shots = [
        Shot(f"{count}-{words.replace('&', '-') or 'station'}-{size}{'-dark' * dark}", size, words, dark)
        for words in VIEWS
        for size in SIZES
        for dark in (False, True)
    ]
    down = [
        Shot(f"{count}-down-{words or 'station'}-{size}{'-dark' * dark}", size, words, dark)
        for words in ("", "wall", "map")
        for size in SIZES
        for dark in (False, True)
    ]
    return Sitting(count, shots, down)


def write_network(folder: Path, count: int) -> Path:
    """Data of made-up stations at which the example event arrives one after the other, by their distance; the table of them."""
    rng = np.random.default_rng(7)
    radius_km = 12 * math.sqrt(count)
    data = folder / "data"
    data.mkdir()
    lines = ["network,station,latitude,longitude,elevation,name"]
    for number in range(count):
        # Spread evenly over a disc, as by sunflowers, and moved a little.
        away_km, angle = radius_km * math.sqrt((number + 0.5) / count), number * 2.399963 + rng.normal(0, 0.2)
        name = "RJOB" if count == 1 else f"R{number:03d}"
        latitude = EPICENTRE[0] + away_km * math.cos(angle) / KM_PER_DEGREE
        longitude = EPICENTRE[1] + away_km * math.sin(angle) / KM_PER_DEGREE / math.cos(
            math.radians(latitude)
        )
        lines.append(f"BW,{name},{latitude:.4f},{longitude:.4f},900,")
        write_event(
            data / f"{name}.mseed",
            name,
            shift_s=0.0 if count == 1 else away_km / VELOCITY_KM_S,
            quiet_s=QUIET_S if count > 1 else 22,
        )
    table = folder / "stations.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


@contextmanager
def running(folder: Path, count: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """A daemon with the project's own configuration, but for its stations; the address of its page, and what kills its server."""
    table = write_network(folder, count)
    with ServerProcess(folder / "data", "--shift-to-now") as server, socket.socket() as probe:
        document = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
        document["sources"][0].update(server=f"127.0.0.1:{server.port}", reconnect_min_s=30.0)
        document["stations_file"] = str(table)
        document["events"]["enabled"] = count > 1
        probe.bind(("127.0.0.1", 0))
        document["http"]["port"] = port = probe.getsockname()[1]
        probe.close()
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(document), encoding="utf-8")
        daemon = subprocess.Popen([XIAOD, "--config", config], cwd=folder, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: _listens(port), "the daemon")
            yield f"http://127.0.0.1:{port}/", server.process.kill
        finally:
            daemon.terminate()
            daemon.wait(LIMIT_S)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


async def taken(tab: Tab, address: str, shots: Sequence[Shot], folder: Path) -> None:
    """Take pictures of what the page shows now."""
    for shot in shots:
        await tab.look(*SIZES[shot.size], dark=shot.dark)
        await tab.value(f"location.hash = {shot.words!r}")
        await tab.value(SETTLED)
        (folder / f"{shot.name}.png").write_bytes(with_few_colours(await tab.picture()))


def with_few_colours(picture: bytes) -> bytes:
    """A PNG with a palette of its most frequent colours, which stay as they are: areas, and what stands on them."""
    image, small = Image.open(io.BytesIO(picture)).convert("RGB"), io.BytesIO()
    found = sorted(image.getcolors(image.width * image.height) or (), reverse=True)[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette(
        [part for _, colour in found for part in (colour if isinstance(colour, tuple) else (colour,))]
    )
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


async def sit(sitting: Sitting, program: str, work: Path, folder: Path) -> None:
    """Wait until the event has arrived at all stations, and take the pictures."""
    with running(work, sitting.stations) as (address, kill):
        async with browsing(program, work / "browser") as tab:
            width, height = SIZES["tablet"]
            await tab.open(address, width=width, height=height)
            await tab.value(SPAN)
            wanted = min(round(1.7 * sitting.stations), MOST_ROWS)
            async with asyncio.timeout(LONGEST_S):
                while await tab.value(FINAL) < wanted:  # noqa: ASYNC110  in the page, which tells nobody
                    await asyncio.sleep(1)
            # What is drawn comes with the next windows.
            await asyncio.sleep(DRAWN_S)
            await taken(tab, address, sitting.shots, folder)
            if sitting.down:
                kill()
                await tab.until(BANNER)
                await taken(tab, address, sitting.down, folder)
            assert not tab.complaints


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
    return with_few_colours(picture.read_bytes())


def main(arguments: Sequence[str]) -> None:
    """Write the pictures that can be made here."""
    to_look_at = bool(arguments)
    folder = Path(arguments[0]) if to_look_at else PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    counts = [int(count) for count in arguments[1:]] or [1, 20, 300]
    sittings = [everything(count) for count in counts] if to_look_at else DOCUMENTS
    with TemporaryDirectory() as name:
        work = Path(name)
        if not to_look_at:
            (folder / "pick.png").write_bytes(pick(work))
        if (program := chromium()) is None:
            sys.exit("the pictures of the page need chromium (apt install chromium)")
        for sitting in sittings:
            own = work / str(sitting.stations)
            own.mkdir()
            asyncio.run(sit(sitting, program, own, folder))


if __name__ == "__main__":
    main(sys.argv[1:])
