"""The status page in a real browser, fed by the real daemon: picks appear, traces draw, stations update, nothing is complained of."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest

from tests.end_to_end.browser import Tab, browsing, chromium
from tests.end_to_end.harness import Daemon, streaming, wait_until, write_event
from tests.unit.daemon.test_web_stream import PICK, RJOB, serving
from xiaod.domain.onsets import withdrawal
from xiaod.domain.types import Channel, GroundMotion, Latency, Window
from xiaod.pipeline.problems import Problem
from xiaod.replay import ReplayConfig

STATION = "BW.RJOB..EH"
MANY = 500
PROGRAM = chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")

PICTURE = "document.getElementById('canvas').toDataURL()"
COLOURS = """(() => {
  const canvas = document.getElementById('canvas'), style = getComputedStyle(document.documentElement);
  const scratch = () => document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const probe = scratch(), copy = scratch();
  copy.canvas.width = canvas.width;
  copy.canvas.height = canvas.height;
  copy.drawImage(canvas, 0, 0);
  const wanted = ['trace', 'p', 's'].map((name) => {
    probe.fillStyle = style.getPropertyValue('--' + name).trim();
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  });
  const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
  return wanted.map((colour) => {
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      if (data[i + 3] > 200 && colour.every((value, part) => Math.abs(value - data[i + part]) < 12)) count++;
    }
    return count;
  });
})()"""
"""Pixels of the canvas in the colours of traces, of P and of S."""
ROWS = "document.querySelectorAll('#station-rows tr').length"
PICKS = "document.querySelectorAll('#pick-rows tr').length"


@asynccontextmanager
async def page(daemon: Daemon, folder: Path, **look: Any) -> AsyncIterator[Tab]:
    assert PROGRAM is not None
    port = daemon.wait_for("web.listening")[0]["port"]
    async with browsing(PROGRAM, folder) as tab:
        await tab.open(f"http://127.0.0.1:{port}/", **look)
        yield tab


def test_picks_appear_and_traces_draw(watched: Daemon, tmp_path: Path) -> None:
    async def body() -> None:
        async with page(watched, tmp_path) as tab:
            before = await tab.until(PICKS)
            assert await tab.value(ROWS) == 1
            # The station is chosen by itself; its trace is drawn, with probabilities and picks, and goes on.
            await tab.until(f"document.getElementById('trace-title').textContent === '{STATION}'")
            await tab.until(COLOURS, lambda counts: min(counts) > 50)
            picture = await tab.value(PICTURE)
            await tab.until(PICTURE, lambda now: now != picture)
            await tab.until(PICKS, lambda now: now > before)
            # It is one of those that the sink has written, or is about to write.
            newest = "document.querySelector('#pick-rows td').title.split(';')[0]"
            await tab.until(newest, lambda time: time in {pick["time"] for pick in watched.picks()})
            await tab.until("document.getElementById('summary').textContent", lambda text: "micro-" in text)
            for scheme in (True, False):
                await tab.look(390, 844, dark=scheme)
                await tab.until(COLOURS, lambda counts: min(counts) > 50)
                # Nothing is wider than a phone.
                assert await tab.value("document.documentElement.scrollWidth") == 390
            assert tab.complaints == []

    asyncio.run(body())


def test_many_stations_are_shown_filtered_and_reached_by_keys(tmp_path: Path) -> None:
    replay = ReplayConfig(inputs=("example",), port=0, speed=1.0, loop=True, shift_to_now=True, copies=MANY)

    async def body(daemon: Daemon) -> None:
        async with page(daemon, tmp_path / "profile", width=1920, height=1080) as tab:
            await tab.until(ROWS, lambda rows: rows == MANY)
            stations = json.loads(daemon.get("/api/stations")[1])["stations"]
            names = sorted(station["id"] for station in stations)
            # Rows stay the same elements while what is in them changes.
            await tab.value("window.first = document.querySelector('#station-rows tr')")
            text = "document.querySelector('#station-rows tr').textContent"
            before = await tab.value(text)
            await tab.until(text, lambda now: now != before)
            assert await tab.value("window.first === document.querySelector('#station-rows tr')")
            await tab.value(
                "(() => { const box = document.getElementById('filter'); box.value = '"
                + names[7][:-4].lower()
                + "'; box.dispatchEvent(new Event('input')); })()"
            )
            shown = [name for name in names if names[7][:-4] in name]
            assert await tab.value(ROWS) == len(shown) < MANY
            await tab.value(
                "(() => { const box = document.getElementById('filter'); box.value = '';"
                " box.dispatchEvent(new Event('input')); document.querySelector('#station-rows button').focus(); })()"
            )
            await tab.press("ArrowDown")
            await tab.press("ArrowDown")
            focused = await tab.value("document.activeElement.textContent")
            assert focused == names[2]
            await tab.value("document.activeElement.click()")
            await tab.until("document.getElementById('trace-title').textContent", lambda now: now == names[2])
            # The head turns the order round.
            await tab.value("document.querySelector('#heads button').click()")
            assert await tab.value("document.querySelector('#station-rows button').textContent") == names[-1]
            assert tab.complaints == []

    (tmp_path / "profile").mkdir()
    with streaming(tmp_path / "daemon", replay) as (_, daemon):
        daemon.wait_for_records(3 * MANY)
        asyncio.run(body(daemon))


def test_codes_from_the_network_are_text_and_nothing_else(tmp_path: Path) -> None:
    """Damaged records can carry any code: here one that would be an element, if it were taken for markup."""
    markup = "<img src=x onerror=alert(1)>"

    async def body() -> None:
        assert PROGRAM is not None
        async with serving() as (served, _), browsing(PROGRAM, tmp_path) as tab:
            channel = Channel("XX", markup, "", "EHZ")
            served.station_table.expect("other", [channel], 0)
            await tab.open(f"http://127.0.0.1:{served.server.port}/")
            await tab.until(ROWS, lambda rows: rows == 3)
            served.monitor.picked(replace(PICK, channel=channel))
            await tab.until(PICKS)
            name = channel.instrument.text
            rows = "[...document.querySelectorAll('#station-rows tr td:first-child')].map((cell) => cell.textContent)"
            assert name in await tab.value(rows)
            await tab.value(
                f"document.querySelector('tr[data-id=' + CSS.escape({json.dumps(name)}) + ']').click()"
            )
            await tab.until("document.getElementById('trace-title').textContent", lambda text: text == name)
            assert await tab.value("document.querySelectorAll('img').length") == 0
            assert tab.complaints == []

    asyncio.run(body())


def test_an_early_pick_is_hollow_until_the_final_one_replaces_it_or_it_is_withdrawn(tmp_path: Path) -> None:
    early = replace(PICK, id="1-early", stage="early", latency=Latency(0.5, 0.0, 0.2, 0.0, 0.1))
    final = replace(
        early, id="1", stage="final", early_id=early.id, outcome="revised", moved_s=-0.5, time_ns=early.time_ns - 500_000_000,
        latency=Latency(5.0, 0.0, 0.2, 0.0, 0.1), probability=0.99, motion=GroundMotion(1.234e-6, 0.012, 0.001, 3.0),
    )  # fmt: skip
    false = replace(early, id="2-early", time_ns=early.time_ns + 3 * 10**9)
    # Nothing is probable: what is drawn in the colour of P are picks.
    begin = early.time_ns // 10_000_000 - 1000
    samples = np.tile(np.arange(2000, dtype=np.float32) % 100, (3, 1))
    window = Window(RJOB.instrument, begin, 0, samples, "ZNE", discontinuous=True)
    rows = "[...document.querySelectorAll('#pick-rows tr')].map((row) => row.className.replace(' new', ''))"
    cells = "[...document.querySelectorAll('#pick-rows tr:last-child td')].map((cell) => cell.textContent)"

    async def body() -> None:
        assert PROGRAM is not None
        async with serving() as (served, _), browsing(PROGRAM, tmp_path) as tab:
            served.monitor.followed(window, np.zeros((2, 2000), np.float32))
            await tab.open(f"http://127.0.0.1:{served.server.port}/#{STATION}", width=1920)

            async def drawn() -> int:
                """Pixels in the colour of P, once what was taken in is drawn."""
                await tab.value(
                    "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
                )
                return int((await tab.value(COLOURS))[1])

            await tab.until(COLOURS, lambda counts: counts[0] > 50)
            without = await drawn()
            served.monitor.picked(early)
            await tab.until(rows, lambda now: now == ["early"])
            hollow = await drawn()
            # The final one stands in its place, at its own time, and the latency of both is told.
            served.monitor.picked(final)
            await tab.until(rows, lambda now: now == ["final"])
            assert await tab.value(cells) == [
                "08-24 00:20:07.23", "P", "BW.RJOB..EHZ", "0.99", "0.10", "5.0", "0.8", "5.3"
            ]  # fmt: skip
            full = await drawn()
            assert without < hollow < full
            served.monitor.picked(false)
            await tab.until(rows, lambda now: now == ["early", "final"])
            assert await drawn() > full
            served.monitor.picked(withdrawal(false))
            await tab.until(rows, lambda now: now == ["withdrawn", "final"])
            assert await drawn() == full
            struck = "getComputedStyle(document.querySelector('tr.withdrawn td')).textDecorationLine"
            assert await tab.value(struck) == "line-through"
            # The station's last pick never was the early one.
            last = f"document.querySelector('tr[data-id=\"{STATION}\"]').textContent"
            assert "P 00:20:07" in await tab.value(last)
            note = await tab.value("document.getElementById('picks-note').textContent")
            assert note == "1 latest; automatic, unreviewed; median latency: early 0.8 s, final 5.3 s"
            # The pointer on the channel shows how the ground moved.
            channel = "document.querySelector('#pick-rows tr:last-child td:nth-child(3)').title"
            assert await tab.value(channel) == (
                "ground velocity 1.23 µm/s (2–20 Hz), Wood–Anderson 0.0120 mm (noise 0.00100 mm), in 3 s"
            )
            # Who comes later reads the same from what is kept.
            await tab.call("Page.reload")
            await tab.until(rows, lambda now: now == ["withdrawn", "final"])
            assert await tab.value(cells) == [
                "08-24 00:20:07.23", "P", "BW.RJOB..EHZ", "0.99", "0.10", "5.0", "0.8", "5.3"
            ]  # fmt: skip
            assert tab.complaints == []

    asyncio.run(body())


LABELS = """[...document.querySelectorAll('#labels li')].filter((one) => one.style.visibility !== 'hidden').map((one) => {
  const box = one.getBoundingClientRect();
  return [box.left, box.right, box.top, box.bottom, one.innerText];
})"""
SETTLED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def test_labels_of_picks_say_everything_and_never_overlap(tmp_path: Path) -> None:
    begin = PICK.time_ns // 10_000_000 - 1000
    samples = np.tile(np.arange(2000, dtype=np.float32) % 100, (3, 1))
    window = Window(RJOB.instrument, begin, 0, samples, "ZNE", discontinuous=True)

    async def body() -> None:
        async with serving() as (served, _), browsing(PROGRAM or "", tmp_path) as tab:
            served.monitor.followed(window, np.zeros((2, 2000), np.float32))
            await tab.open(f"http://127.0.0.1:{served.server.port}/#{STATION}", width=1440)
            await tab.until(COLOURS, lambda counts: counts[0] > 50)
            for number in range(40):
                phase, time_ns = "PS"[number % 2], PICK.time_ns + number * 10**8
                pick = replace(PICK, id=str(number), phase=phase, time_ns=time_ns)
                if number == 39:
                    pick = replace(pick, phase="P", polarity="up")
                served.monitor.picked(pick if number % 3 else replace(pick, stage="early"))
                if number == 0:
                    [first] = await tab.until(LABELS)
                    assert first[4].split("\n") == ["P 00:20:07.73", "0.90  ±0.10 s", "snr 5.0  early"]
            await tab.until(PICKS, lambda rows: rows == 40)
            await tab.until(LABELS, lambda labels: labels[-1][4].startswith("P↑"))
            for width in (1440, 390, 2560):
                await tab.look(width, 900)
                await tab.value(SETTLED)
                shown = await tab.value(LABELS)
                assert len(shown) >= 10
                for one, other in pairwise(sorted(shown)):
                    assert one[1] <= other[0]
                area = await tab.value(
                    "(({ left, right, top }) => [left, right, top])(document.getElementById('canvas').getBoundingClientRect())"
                )
                assert shown[0][0] >= area[0]
                assert shown[-1][1] <= area[1]
                assert min(one[2] for one in shown) >= area[2]
            assert tab.complaints == []

    asyncio.run(body())


def test_where_little_room_is_the_newest_picks_say_the_most(tmp_path: Path) -> None:
    begin = PICK.time_ns // 10_000_000 - 1000
    samples = np.tile(np.arange(2000, dtype=np.float32) % 100, (3, 1))
    window = Window(RJOB.instrument, begin, 0, samples, "ZNE", discontinuous=True)

    async def body() -> None:
        async with serving() as (served, _), browsing(PROGRAM or "", tmp_path) as tab:
            served.monitor.followed(window, np.zeros((2, 2000), np.float32))
            await tab.open(f"http://127.0.0.1:{served.server.port}/#{STATION}", width=390, height=844)
            await tab.until(COLOURS, lambda counts: counts[0] > 50)
            for number in range(6):
                pick = replace(
                    PICK, id=str(number), phase="PS"[number % 2], time_ns=PICK.time_ns + number * 10**9
                )
                served.monitor.picked(pick)
            lines = f"{LABELS}.map((one) => one[4].split(String.fromCharCode(10)).length)"
            await tab.until(lines, lambda found: len(found) == 6)
            await tab.value(SETTLED)
            shown = await tab.value(LABELS)
            assert shown[-1][4].split("\n")[1:] == ["0.90  ±0.10 s", "snr 5.0  final"]
            assert shown[0][4] == "P"
            # All end on one line, close to the marks: no line from a label to its mark crosses another label.
            assert len({one[3] for one in shown}) == 1
            assert tab.complaints == []

    asyncio.run(body())


def test_key_and_button_show_raw_samples_and_those_in_the_band(tmp_path: Path) -> None:
    """A tone in the band on one a hundred times larger below it: only one of them can be seen at a time."""
    begin, seconds = PICK.time_ns // 10_000_000 - 1000, np.arange(6000) / 100
    slow, fast = 10_000 * np.sin(2 * np.pi * 0.1 * seconds), 100 * np.sin(2 * np.pi * 8 * seconds)
    window = Window(
        RJOB.instrument,
        begin,
        0,
        np.tile((slow + fast).astype(np.float32), (3, 1)),
        "Z--",
        discontinuous=True,
    )
    pressed = "document.getElementById('band').getAttribute('aria-pressed')"

    async def body() -> None:
        async with serving() as (served, _), browsing(PROGRAM or "", tmp_path) as tab:
            served.monitor.followed(window, np.zeros((2, 6000), np.float32))
            await tab.open(f"http://127.0.0.1:{served.server.port}/#{STATION}")
            # A tone of 8 Hz fills its panel; one of 0.1 Hz is a line.
            [full, *_] = await tab.until(COLOURS, lambda counts: counts[0] > 50)
            assert await tab.value(pressed) == "true"
            await tab.press("f")
            await tab.until(COLOURS, lambda counts: counts[0] < full / 3)
            assert await tab.value(pressed) == "false"
            await tab.value("document.getElementById('band').click()")
            await tab.until(COLOURS, lambda counts: counts[0] > full * 0.9)
            # In a field it is a letter.
            await tab.value("document.getElementById('filter').focus()")
            await tab.press("f")
            assert await tab.value(pressed) == "true"
            assert tab.complaints == []

    asyncio.run(body())


VIEW = "document.body.dataset.view"
DARK = """(name) => {
  const canvas = document.getElementById(name), copy = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  copy.canvas.width = canvas.width;
  copy.canvas.height = canvas.height;
  copy.drawImage(canvas, 0, 0);
  const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let i = 3; i < data.length; i += 4) count += data[i] > 200;
  return count;
}"""
"""Pixels of a canvas that something is drawn on."""
TOP = "(document.getElementById('wall-canvas').getAttribute('aria-label').split(': ')[1] ?? '').split(' ')[0]"
"""The station on top of the wall."""


def test_the_wall_has_all_stations_and_those_with_new_picks_on_top(tmp_path: Path) -> None:
    replay = ReplayConfig(inputs=("example",), port=0, speed=4.0, loop=True, shift_to_now=True, copies=60)
    click = """(() => {
      const canvas = document.getElementById('wall-canvas'), box = canvas.getBoundingClientRect();
      const em = parseFloat(getComputedStyle(document.documentElement).fontSize);
      const at = { clientX: box.left + 300, clientY: box.top + 1.7 * em + 5, bubbles: true };
      canvas.dispatchEvent(new PointerEvent('pointermove', at));
      canvas.dispatchEvent(new MouseEvent('click', at));
    })()"""

    async def body(daemon: Daemon) -> None:
        async with page(daemon, tmp_path / "profile", width=1440, height=900) as tab:
            await tab.until(ROWS, lambda rows: rows == 60)
            empty = await tab.value(f"({DARK})('wall-canvas')")
            await tab.press("w")
            assert await tab.value(VIEW) == "wall"
            assert await tab.value("location.hash.split('&')[0]") == "#wall"
            await tab.until(f"({DARK})('wall-canvas')", lambda drawn: drawn > empty + 5000)
            assert "60 stations" in await tab.value("document.getElementById('wall-note').textContent")
            # Rows that have no room are reached by scrolling.
            scroll = "(({ scrollHeight, clientHeight }) => scrollHeight > clientHeight * 1.5)(document.getElementById('wall-scroll'))"
            assert await tab.value(scroll)
            await tab.until(PICKS, lambda rows: rows > 0)
            top = await tab.until(TOP)
            newest = "[...document.querySelectorAll('#pick-rows tr')].map((row) => row.textContent)"
            assert any(top.removesuffix(".EH") in row for row in (await tab.value(newest))[:60])
            # The one on top is opened by a click; Escape and keys go to and fro.
            await tab.value(click)
            assert await tab.value(VIEW) == "station"
            await tab.until(
                "document.getElementById('trace-title').textContent", lambda title: title.endswith(".EH")
            )
            await tab.until(COLOURS, lambda counts: counts[0] > 50)
            await tab.press("d")
            assert await tab.value(VIEW) == "day"
            for size in ((390, 844), (1440, 900)):
                await tab.look(*size)
                for key, view in (("w", "wall"), ("d", "day"), ("s", "station")):
                    await tab.press(key)
                    assert await tab.value(VIEW) == view
                    assert await tab.value("document.documentElement.scrollWidth") == size[0]
            assert tab.complaints == []

    (tmp_path / "profile").mkdir()
    with streaming(tmp_path / "daemon", replay) as (_, daemon):
        daemon.wait_for_records(3 * 60)
        asyncio.run(body(daemon))


def test_the_last_24_hours_and_picks_by_the_hour(tmp_path: Path) -> None:
    # Two hours ago, so that it is the past at any speed, and at any minute of the hour.
    since_s = time.time() - 7200 - obspy.read()[0].stats.starttime.timestamp
    files = [tmp_path / f"{number:02}.mseed" for number in range(12)]
    for number, path in enumerate(files):
        write_event(path, shift_s=since_s + 60 * number)
    replay = ReplayConfig(inputs=tuple(map(str, files)), port=0, speed=5.0)

    async def body(daemon: Daemon) -> None:
        async with page(daemon, tmp_path / "profile") as tab:
            hours = f"document.querySelector('tr[data-id=\"{STATION}\"] .spark-cell')?.title ?? ''"
            counted = await tab.until(hours, lambda title: title and not title.startswith("0 final"))
            await tab.until(hours, lambda title: title and int(title.split()[0]) > int(counted.split()[0]))
            bars = "document.querySelector('.spark path').getAttribute('d').split('M').length - 1"
            assert await tab.value(bars) >= 1
            await tab.press("d")
            await tab.until(
                "document.getElementById('day-title').textContent", lambda title: title == STATION
            )
            note = await tab.until(
                "document.getElementById('day-note').textContent", lambda text: " of data" in text
            )
            assert "counts" in note
            assert "Hz" in note
            assert await tab.value(f"({DARK})('day-canvas')") > 50
            assert tab.complaints == []

    with streaming(tmp_path / "daemon", replay) as (_, daemon):
        asyncio.run(body(daemon))


def test_a_day_without_data_yet_is_asked_for_again(tmp_path: Path) -> None:
    asked = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/api/day')).length"

    async def body() -> None:
        async with serving(days=1) as (served, _), browsing(PROGRAM or "", tmp_path) as tab:
            await tab.open(f"http://127.0.0.1:{served.server.port}/#day&{STATION}")
            await tab.until(asked, lambda times: times >= 2)
            await tab.value(SETTLED)
            note = await tab.value("document.getElementById('day-note').textContent")
            assert note == "no data yet: they are kept from now on"
            assert tab.complaints == []

    asyncio.run(body())


def test_a_kiosk_follows_the_newest_pick_or_stays_with_the_station_of_its_address(tmp_path: Path) -> None:
    other = replace(PICK.channel, station="OTHER")
    title = "document.getElementById('trace-title').textContent"
    controls = (
        "[...document.querySelectorAll('.control, #stations')].filter((one) => one.offsetHeight).length"
    )
    size = "parseFloat(getComputedStyle(document.documentElement).fontSize)"

    async def body() -> None:
        async with serving() as (served, _), browsing(PROGRAM or "", tmp_path) as tab:
            served.station_table.expect("source", [RJOB, other], 0)
            address = f"http://127.0.0.1:{served.server.port}/"
            await tab.open(f"{address}#kiosk", width=1920, height=1080)
            await tab.until(ROWS, lambda rows: rows >= 2)
            assert await tab.value(controls) == 0
            served.monitor.picked(replace(PICK, id="a", channel=other))
            await tab.until(title, lambda text: text == other.instrument.text)
            assert await tab.value("location.hash") == "#kiosk"
            large = await tab.value(size)
            await tab.look(3840, 2160)
            assert await tab.value(size) > 1.9 * large
            assert await tab.value("document.documentElement.scrollHeight") == 2160
            await tab.value(f"location.hash = '#kiosk&{STATION}'")
            await tab.until(title, lambda text: text == STATION)
            served.monitor.picked(replace(PICK, id="b", channel=other, time_ns=PICK.time_ns + 10**9))
            await tab.until(PICKS, lambda rows: rows == 2)
            assert await tab.value(title) == STATION
            await tab.press("Escape")
            assert await tab.value(controls) > 0
            assert await tab.value("location.hash") == f"#{STATION}"
            assert tab.complaints == []

    asyncio.run(body())


def test_each_new_pick_sounds_while_that_is_switched_on(tmp_path: Path) -> None:
    listen = """(() => {
      window.tones = [];
      const start = OscillatorNode.prototype.start;
      OscillatorNode.prototype.start = function (at) { window.tones.push(this.frequency.value); return start.call(this, at); };
    })()"""
    pressed = "document.getElementById('sound').getAttribute('aria-pressed')"

    async def body() -> None:
        async with serving() as (served, _), browsing(PROGRAM or "", tmp_path) as tab:
            await tab.open(f"http://127.0.0.1:{served.server.port}/")
            await tab.until(ROWS, lambda rows: rows == 2)
            await tab.value(listen)
            served.monitor.picked(PICK)
            await tab.until(PICKS, lambda rows: rows == 1)
            assert await tab.value("window.tones") == []
            await tab.click("#sound")
            assert await tab.value(pressed) == "true"
            served.monitor.picked(replace(PICK, id="b", phase="S", time_ns=PICK.time_ns + 10**9))
            await tab.until("window.tones", lambda tones: tones == [587])
            await tab.click("#sound")
            assert await tab.value(pressed) == "false"
            assert tab.complaints == []

    asyncio.run(body())


def test_what_is_wrong_stays_in_sight_until_it_is_right_again(tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(max_clients=2) as (served, _), browsing(PROGRAM or "", tmp_path) as tab:
            await tab.open(f"http://127.0.0.1:{served.server.port}/")
            await tab.until(ROWS, lambda rows: rows == 2)
            banner = "document.getElementById('problems')"
            assert await tab.value(f"{banner}.hidden")
            served.problems = [Problem("overloaded", "windows wait 7 s, <b>so</b> picks are late")]
            await tab.until(f"{banner}.offsetHeight", lambda height: height > 0)
            assert await tab.value(f"{banner}.textContent") == "windows wait 7 s, <b>so</b> picks are late"
            # It stays the same element while it stays the same problem, so that it is not read aloud again.
            await tab.value(f"window.told = {banner}.firstChild")
            await tab.value("new Promise((done) => setTimeout(done, 1200))")
            assert await tab.value(f"window.told === {banner}.firstChild")
            served.problems = []
            await tab.until(f"{banner}.hidden")

    asyncio.run(body())


def test_no_station_of_a_source_without_a_connection_looks_alive(tmp_path: Path) -> None:
    states = "[...document.querySelectorAll('#station-rows .state')].map((one) => one.textContent)"

    async def body() -> None:
        async with serving() as (served, _), browsing(PROGRAM or "", tmp_path) as tab:
            await tab.open(f"http://127.0.0.1:{served.server.port}/")
            await tab.until(states, lambda now: now == ["○ waiting"] * 2)
            served.station_table.failures["source"] = "no route"
            await tab.until(states, lambda now: now == ["▼ down"] * 2)
            colour = "getComputedStyle(document.querySelector('#station-rows .state')).color"
            bad = "getComputedStyle(document.getElementById('problems')).backgroundColor"
            assert await tab.value(colour) == await tab.value(bad)
            del served.station_table.failures["source"]
            await tab.until(states, lambda now: now == ["○ waiting"] * 2)
            assert tab.complaints == []

    asyncio.run(body())


def test_a_daemon_that_hangs_is_noticed_and_what_is_shown_fades(watched: Daemon, tmp_path: Path) -> None:
    link = "document.getElementById('link').textContent"
    faded = "parseFloat(getComputedStyle(document.querySelector('main')).opacity) < 1"

    async def body() -> None:
        async with page(watched, tmp_path) as tab:
            await tab.until(ROWS)
            await tab.until("document.getElementById('link').className === 'link on'")
            assert not await tab.value(faded)
            os.kill(watched.process.pid, signal.SIGSTOP)
            try:
                # It says so at first, and then begins anew, again and again.
                await tab.until(link, lambda text: text.startswith("no word for "))
                assert await tab.value(faded)
                assert (await tab.value("document.getElementById('summary').textContent")).endswith(" UTC")
                await tab.until(link, lambda text: text.startswith("connection lost"))
                assert await tab.value(faded)
            finally:
                os.kill(watched.process.pid, signal.SIGCONT)
            await tab.until("document.getElementById('link').className === 'link on'")
            assert not await tab.value(faded)

    asyncio.run(body())


def test_the_page_says_when_the_daemon_is_gone_and_comes_back(watched: Daemon, tmp_path: Path) -> None:
    port = watched.wait_for("web.listening")[0]["port"]

    async def body() -> None:
        async with page(watched, tmp_path) as tab:
            await tab.until("document.getElementById('link').className === 'link on'")
            watched.process.kill()
            await tab.until("document.getElementById('link').className === 'link off'")
            assert "next try in" in await tab.value("document.getElementById('link').textContent")
            watched.process.wait()
            watched.write_config(http={"port": port})
            # Left running for the tests that follow.
            watched.__enter__()
            await tab.until("document.getElementById('link').className === 'link on'")
            await tab.until(ROWS, lambda rows: rows == 1)

    asyncio.run(body())


OUTSIDE = """[...document.querySelectorAll('#station-rows td *')].filter((one) => {
  const box = one.getBoundingClientRect(), cell = one.closest('td').getBoundingClientRect();
  return box.width && (box.left < cell.left || box.right > cell.right + 0.5);
}).map((one) => one.textContent)"""
"""What reaches out of its column."""


def test_stations_have_names_and_a_pick_leads_to_its_waveforms(tmp_path: Path) -> None:
    stations, name = (
        tmp_path / "stations.csv",
        "<b>Jochberg</b> above the valley of the Saalach and its reservoir",
    )
    site = f"BW,RJOB,47.7372,-12.7957,860,{name}\n"
    stations.write_text(f"network,station,latitude,longitude,elevation,name\n{site}", "utf-8")
    replay = ReplayConfig(inputs=("example",), port=0, speed=20.0, loop=True, shift_to_now=True)
    snippets = {"enabled": True, "folder": str(tmp_path / "snippets"), "after_s": 5.0}

    async def body(daemon: Daemon) -> None:
        async with page(daemon, tmp_path / "browser") as tab:
            await tab.until(PICKS)
            cell = "document.querySelector('#station-rows td')"
            await tab.until(f"{cell}.textContent === '{STATION}{name}'")
            assert await tab.value(f"{cell}.title") == f"{name}, 47.7372° N 12.7957° W, 860 m"
            await tab.until(f"document.getElementById('trace-site').textContent === '{name}'")
            # However long it is, it covers no other column, and pushes none out of sight.
            for size in ((390, 844), (1366, 768), (2560, 1440)):
                await tab.look(*size)
                assert await tab.value(OUTSIDE) == []
                assert await tab.value("document.documentElement.scrollWidth") == size[0]
            for size in ((1100, 720), (1366, 768), (2560, 1440)):
                await tab.look(*size)
                for table in ("#stations", "#picks"):
                    assert await tab.value(
                        f"(({{ scrollWidth, clientWidth }}) => scrollWidth <= clientWidth)(document.querySelector('{table} .scroll'))"
                    ), (table, size)
            # What is written into the filter may be a part of a name.
            for text, rows in (("jochB", 1), ("none", 0)):
                await tab.value(
                    f"filter = document.getElementById('filter'); filter.value = '{text}'; filter.dispatchEvent(new Event('input'))"
                )
                await tab.until(f"{ROWS} === {rows}")
            # The time of a pick is a link to its picture, which the page may show too.
            [drawn, *_] = sorted(path.name for path in (tmp_path / "snippets").glob("*.png"))
            link = f"document.querySelector(`#pick-rows a[href='/api/snippets/{drawn}']`)"
            await tab.until(f"{link} !== null")
            assert await tab.value(f"{link}.target") == "_blank"
            width = await tab.value(
                "new Promise((done, failed) => { const image = new Image(); image.onerror = failed;"
                f" image.onload = () => done(image.naturalWidth); image.src = {link}.href; }})"
            )
            assert width > 500
            assert tab.complaints == []

    with streaming(tmp_path, replay, stations_file=str(stations), snippets=snippets) as (_, daemon):
        wait_until(lambda: list((tmp_path / "snippets").glob("*.png")), "a picture")
        asyncio.run(body(daemon))


NAMED = """(() => {
  const canvas = document.getElementById('map-canvas'), box = canvas.getBoundingClientRect(), found = {};
  for (let x = 4; x < box.width; x += 8) {
    for (let y = 4; y < box.height; y += 8) {
      canvas.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + x, clientY: box.top + y, bubbles: true }));
      if (canvas.title) (found[canvas.title] ??= []).push([x, y]);
    }
  }
  return Object.entries(found).map(([title, at]) => [title, ...at[at.length >> 1]]).sort((a, b) => a[1] - b[1]);
})()"""
"""What the map says where somebody points at, and the middle of where it says so, from west to east."""


def test_the_map_has_stations_where_they_are_and_their_picks(tmp_path: Path) -> None:
    """They lie on both sides of the date line; one has no coordinates."""
    names = ("RJOB", "RTBE", "NONE")
    (tmp_path / "data").mkdir()
    for name in names:
        write_event(tmp_path / "data" / f"{name}.mseed", name)
    stations = tmp_path / "stations.csv"
    stations.write_text(
        "network,station,latitude,longitude,elevation,name\nBW,RJOB,-17.2,179.7,10,<b>west</b>\nBW,RTBE,-17.4,-179.9,20,\n",
        encoding="utf-8",
    )
    replay = ReplayConfig(inputs=(tmp_path / "data",), port=0, speed=4.0, loop=True, shift_to_now=True)
    label = "document.getElementById('map-canvas').getAttribute('aria-label')"
    west = "BW.RJOB..EH: <b>west</b>, 17.2000° S 179.7000° E, 10 m; live"
    east = "BW.RTBE..EH: 17.4000° S 179.9000° W, 20 m; live"

    async def body(daemon: Daemon) -> None:
        (tmp_path / "browser").mkdir()
        async with page(daemon, tmp_path / "browser", width=1440) as tab:
            await tab.until(ROWS, lambda rows: rows == len(names))
            await tab.until("!document.querySelector('#views [data-view=map]').hidden")
            await tab.press("m")
            assert await tab.value(VIEW) == "map"
            assert (await tab.value("location.hash")).startswith("#map")
            # It is written with the next frame.
            note = "document.getElementById('map-note').textContent"
            await tab.until(
                note, lambda text: text == "2 stations; 1 without coordinates; picks of the last 2 min"
            )
            for width, height, dark in ((1440, 900, False), (390, 844, True), (2560, 1440, False)):
                await tab.look(width, height, dark)
                await tab.until(
                    NAMED, lambda now: [one[0] for one in now] == [west, east] and now[0][2] < now[1][2]
                )
                assert await tab.value("document.documentElement.scrollWidth") == width
                assert await tab.value(f"({DARK})('map-canvas')") > 500
            # A new pick is told, and drawn.
            await tab.until(label, lambda text: "BW.RTBE P " in text or "BW.RTBE S " in text)
            # At once: a banner may come or go, and move it.
            await tab.value(
                f"(() => {{ const [, x, y] = {NAMED}[1], canvas = document.getElementById('map-canvas');"
                " const { left, top } = canvas.getBoundingClientRect();"
                " canvas.dispatchEvent(new MouseEvent('click', { clientX: left + x, clientY: top + y, bubbles: true })); })()"
            )
            assert await tab.value(VIEW) == "station"
            await tab.until("document.getElementById('trace-title').textContent === 'BW.RTBE..EH'")
            # Without a button, and by address: on a screen on the wall.
            await tab.value("location.hash = 'kiosk&map'")
            await tab.until(f"{VIEW} === 'map' && document.documentElement.className === 'kiosk'")
            assert tab.complaints == []

    with streaming(tmp_path / "daemon", replay, stations_file=str(stations)) as (_, daemon):
        asyncio.run(body(daemon))
