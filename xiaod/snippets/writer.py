"""Writes snippets in threads of its own: nothing waits for a disk or a picture, and what fails costs snippets alone.

One thread writes miniSEED and deletes what is old. Another lets a process of low priority draw pictures, several at a time: drawing takes
half a second of a processor, which would slow down the threads that pick. Their queues are bounded; what finds one full is counted as lost.
Both are daemon threads: one that hangs in a system call does not keep the process alive.

A failure is logged once until something is written again.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from xiaod.config.inventory import Stations
from xiaod.config.snippets import SnippetConfig
from xiaod.domain.timegrid import iso_from_ns
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics
from xiaod.snippets.folder import MINISEED, PICTURE, SnippetFolder, file_name
from xiaod.snippets.gather import Snippet
from xiaod.snippets.miniseed import packed

Work = TypeVar("Work")

MOST_SNIPPETS = 1000
"""That wait to be written."""
MOST_PICTURES = 10_000
"""That wait to be drawn."""
TOGETHER = 16
"""Pictures that one process draws."""
PICTURE_LIMIT_S = 30.0
"""Longest time for one picture; the first one also loads the libraries."""
POLL_S = 0.05
TICK_S = 60.0
"""How often old files are looked for when nothing is written."""
DRAWER = "xiaod.tools.plot.snippet"
"""Module that draws; a text, because it stands above this one and runs in a process of its own."""
ROOT = Path(__file__).parents[2]
"""The folder of the package."""
CACHE, FONTS = "MPLCONFIGDIR", ".matplotlib"
"""Variable and folder of what matplotlib finds out about fonts."""


class _Queue(Generic[Work]):
    """A bounded queue and the thread that empties it, some items at a time; none at first, and after :data:`TICK_S` without one."""

    def __init__(self, name: str, most: int, together: int, work: Callable[[list[Work]], None]) -> None:
        self._waiting: queue.Queue[Work] = queue.Queue(most)
        self._together = together
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Work) -> bool:
        """Append an item; whether there was room."""
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            return False
        return True

    @property
    def idle(self) -> bool:
        """Whether all items have been worked on."""
        return not self._waiting.unfinished_tasks

    def _run(self) -> None:
        self._work([])
        while True:
            items: list[Work] = []
            with contextlib.suppress(queue.Empty):
                items.append(self._waiting.get(timeout=TICK_S))
                while len(items) < self._together:
                    items.append(self._waiting.get_nowait())
            self._work(items)
            for _ in items:
                self._waiting.task_done()


class SnippetWriter:
    """The folder of a daemon, and the threads that fill it."""

    def __init__(self, config: SnippetConfig, stations: Stations, metrics: Metrics) -> None:
        """Start the threads."""
        self.stations = stations
        """Names and coordinates for pictures."""
        self._folder = SnippetFolder(config.folder, config.keep_days, config.max_mb * 1e6)
        self._pictures = config.pictures
        self._metrics = metrics
        self._opened = False
        self._failing: dict[str, str] = {}
        """What fails, and why, for the log."""
        self._drawer: subprocess.Popen[str] | None = None
        self._closed = False
        self._log = get_logger("snippets")
        self._drawing: _Queue[dict[str, Any]] = _Queue("snippet.picture", MOST_PICTURES, TOGETHER, self._draw)
        self._writing: _Queue[Snippet] = _Queue("snippet.miniseed", MOST_SNIPPETS, 1, self._write)

    def put(self, snippet: Snippet) -> None:
        """Let a snippet be written."""
        if not self._writing.put(snippet):
            self._lost("queue_full")

    @property
    def complaint(self) -> str:
        """What fails, and why; empty: nothing does."""
        return "; ".join(f"{what}: {why}" for what, why in self._failing.copy().items())

    @property
    def idle(self) -> bool:
        """Whether everything has been written and drawn, or has failed."""
        return self._writing.idle and self._drawing.idle

    def join(self, limit_s: float) -> None:
        """Wait until nothing is left to write, at most so long; then draw nothing more."""
        until_s = time.monotonic() + limit_s
        while not self.idle and time.monotonic() < until_s:
            time.sleep(POLL_S)
        self.close()

    def close(self) -> None:
        """Draw nothing more."""
        self._closed = True
        if (drawer := self._drawer) is not None:
            drawer.kill()

    def _write(self, snippets: list[Snippet]) -> None:
        """Write at most one snippet, and delete what is old."""
        # It may be another folder since the last time: a disk that was missing, say.
        if not self._opened and not self._tried("folder", self._open):
            for _ in snippets:
                self._lost("disk")
            return
        for snippet in snippets:
            self._write_one(snippet)
        if not snippets and "miniseed" in self._failing:
            # The next pick may be hours away, and somebody has made room.
            self._tried("miniseed", self._folder.try_out)
        self._tidy()

    def _open(self) -> None:
        self._folder.open()
        self._opened = True

    def _tidy(self) -> None:
        """Delete what is old or too much."""
        self._tried("deleting", self._prune)
        self._metrics.snippet_bytes.set(self._folder.held_bytes)

    def _prune(self) -> None:
        self._metrics.snippets_deleted.inc(self._folder.prune())

    def _write_one(self, snippet: Snippet) -> None:
        name = file_name(snippet.pick.id, MINISEED)

        def write() -> None:
            if self._folder.has(name):
                return
            content = packed(snippet.segments, snippet.start_ns, snippet.stop_ns)
            if not content:
                self._lost("no_data")
            elif self._folder.write(name, content):
                self._metrics.snippets_written.labels("mseed").inc()

        if not self._tried("miniseed", write):
            self._lost("disk")
        elif self._pictures and not self._drawing.put(_request(snippet, self.stations)):
            self._lost("queue_full")

    def _draw(self, requests: list[dict[str, Any]]) -> None:
        """Draw pictures that are not there yet, in a process of its own."""
        folder = self._folder
        wanted = {
            file_name(request["id"], PICTURE): request
            for request in requests
            if folder.has(file_name(request["id"], MINISEED))
            and not folder.has(file_name(request["id"], PICTURE))
        }
        if not wanted or self._closed:
            return
        for name, request in wanted.items():
            request["miniseed"] = str(folder.path / file_name(request["id"], MINISEED))
            request["picture"] = str(folder.partial(name))
        try:
            said = self._drawn(list(wanted.values()))
        except OSError as error:
            said = str(error)
        if self._closed:
            return
        for name in wanted:
            if not self._tried("picture", partial(self._adopt, name, said)):
                self._lost("picture")
        self._tidy()

    def _adopt(self, name: str, said: str) -> None:
        """Keep a picture that a process was to draw, and which said something."""
        path = self._folder.partial(name)
        if not path.exists():
            raise OSError(f"not drawn: {said or 'no reason given'}")
        try:
            if self._folder.adopt(name):
                self._metrics.snippets_written.labels("png").inc()
        finally:
            path.unlink(missing_ok=True)

    def _drawn(self, requests: list[dict[str, Any]]) -> str:
        """Let a process draw pictures; what it says of its failures."""
        # A service has no home, and to look for fonts takes longer than a picture.
        environment = {CACHE: str(self._folder.path.absolute() / FONTS), **os.environ}
        # This program, wherever it is, and no module that lies in the working directory.
        environment["PYTHONPATH"] = os.pathsep.join(
            [*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)]
        )
        environment["PYTHONSAFEPATH"] = "1"
        self._drawer = subprocess.Popen(  # noqa: S603  this program
            [sys.executable, "-m", DRAWER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            # Ctrl-C on the terminal is for the daemon.
            start_new_session=True,
        )
        lines = "".join(f"{json.dumps(request)}\n" for request in requests)
        try:
            _, said = self._drawer.communicate(lines, timeout=PICTURE_LIMIT_S * (len(requests) + 1))
        except subprocess.TimeoutExpired:
            self._drawer.kill()
            self._drawer.communicate()
            return "it took too long"
        finally:
            self._drawer = None
        return said.strip().rpartition("\n")[2]

    def _tried(self, what: str, work: Callable[[], None]) -> bool:
        """Do something that may fail; whether it did not. A failure is logged if the last attempt did not fail."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  whatever it is, it costs a snippet and nothing else
            if what not in self._failing:
                self._log.error(
                    "snippets.failed",
                    what=what,
                    error=f"{type(error).__name__}: {error}",
                    folder=str(self._folder.path),
                    consequence="snippets are lost until it works again; picks are not",
                )
            self._failing[what] = str(error)
            return False
        if self._failing.pop(what, None) is not None:
            self._log.info("snippets.recovered", what=what)
        return True

    def _lost(self, reason: str) -> None:
        self._metrics.snippets_lost.labels(reason).inc()


def _request(snippet: Snippet, stations: Stations) -> dict[str, Any]:
    """What the picture of a snippet shows, besides its samples."""
    pick = snippet.pick
    site = stations.find(pick.channel, pick.time_ns)
    return {
        "id": pick.id,
        "title": f"{pick.phase}  {pick.channel}  {iso_from_ns(pick.time_ns)}  {pick.model}"
        + ("" if site is None else f"\n{site.text}"),
        "band": pick.channel.instrument.band,
        "picks": [
            [one.phase, one.time_ns, one.time_uncertainty_s, one.probability, one.snr]
            for one in snippet.picks
        ],
    }
