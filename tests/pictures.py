"""The pictures of the README, made by the program: ``python -m tests.pictures`` writes them into ``docs/pictures``.

The status page is that of the daemon with the project's own configuration, taken by a headless Chromium once P and S are drawn; the pick is
a plot of the same event.
"""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import obspy
import yaml

from tests.end_to_end.browser import browsing, chromium
from tests.end_to_end.harness import LIMIT_S

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 1100, 720
DRAWN = "document.querySelectorAll('#pick-rows tr').length >= 2"
XIAOD = Path(sys.executable).with_name("xiaod")


def status_page(folder: Path, program: str) -> bytes:
    """A picture of the page while the example event is on it, as PNG."""
    document = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        document["http"]["port"] = probe.getsockname()[1]
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    daemon = subprocess.Popen([XIAOD, "--config", config], cwd=folder, stdout=subprocess.DEVNULL)

    async def look() -> bytes:
        async with browsing(program, folder / "browser") as tab:
            await asyncio.sleep(3)
            await tab.open(f"http://127.0.0.1:{document['http']['port']}/", width=WIDTH, height=HEIGHT)
            await tab.until(DRAWN)
            # What is drawn comes with the next frames.
            await asyncio.sleep(2)
            return await tab.picture()

    try:
        return asyncio.run(look())
    finally:
        daemon.terminate()
        daemon.wait(LIMIT_S)


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
            sys.exit("docs/pictures/status.png needs chromium (apt install chromium)")
        (PICTURES / "status.png").write_bytes(status_page(folder, program))


if __name__ == "__main__":
    main()
