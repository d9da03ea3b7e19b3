"""The real daemon as a subprocess, and a real replay server in a thread, for the end-to-end tests."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import obspy
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ONSET_TOLERANCE_S, ONSETS_S
from xiaod.replay import Faults, ReplayConfig, ReplayServer

LIMIT_S = 60.0
"""Longest wait for anything."""
POLL_S, LONGEST_POLL_S = 0.05, 0.1
"""Pauses between two looks at what is waited for: at first, and after a while."""
PRIORITY = re.compile(r"^<\d>")
"""What stands before a line that goes to the journal."""


def wait_until(condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """The first true value of a condition, polled; fails with ``what`` after the limit."""
    until_s = time.monotonic() + limit_s
    pause_s = POLL_S
    while time.monotonic() < until_s:
        if value := condition():
            return value
        time.sleep(pause_s)
        # To ask takes time of the processor, for which what is waited for may wait.
        pause_s = min(1.2 * pause_s, LONGEST_POLL_S)
    raise AssertionError(f"waited {limit_s:g} s in vain for {what}")


class Server:
    """A replay server with an event loop in a thread."""

    def __init__(self, config: ReplayConfig) -> None:
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: ReplayServer | None = None
        self.port = config.port

    def __enter__(self) -> Self:
        self._thread.start()

        async def start() -> ReplayServer:
            server = ReplayServer(self._config)
            await server.start()
            return server

        self._server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(LIMIT_S)
        self.port = self._server.port
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(LIMIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()

    @property
    def played(self) -> bool:
        """Whether the last packet has become available."""
        assert self._server is not None
        return self._server.played.is_set()

    @property
    def overrun_packets(self) -> int:
        """Packets that left the ring before a client had read them."""
        assert self._server is not None
        return self._server.overrun_packets

    def set_faults(self, faults: Faults) -> None:
        """Change what goes wrong on the line."""
        assert self._server is not None
        asyncio.run_coroutine_threadsafe(self._server.set_faults(faults), self._loop).result(LIMIT_S)


def run_without(package: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run ``xiaod`` in a folder, as where a package is not installed."""
    hidden = f"import sys; sys.modules[{package!r}] = None; from xiaod.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", hidden, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        cwd=folder,
    )


class ServerProcess:
    """``xiaod replay`` as a subprocess, which a test can kill and stop."""

    def __init__(self, *arguments: object, port: int = 0) -> None:
        self._arguments = [str(argument) for argument in arguments]
        self.port = port
        self.process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "xiaod", "replay", *self._arguments, "--port", str(self.port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Daemon:
    """``xiaod --config`` in a folder of its own.

    ``command`` replaces ``python -m xiaod``, for example to run it under a wrapper; ``environment`` is added to that of the tests.
    """

    def __init__(
        self,
        folder: Path,
        *,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        **config: Any,
    ) -> None:
        self.folder = folder
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        self._command = [*command] or [sys.executable, "-m", "xiaod"]
        folder.mkdir(parents=True, exist_ok=True)
        self.picks_path = folder / "picks.jsonl"
        content = {
            "buffer": {"max_future_s": None},
            "http": {"port": 0},
            "state": {"folder": str(folder / "state"), "save_interval_s": 1.0},
            "logs": {"format": "json"},
            "sinks": [{"kind": "jsonl", "path": str(self.picks_path)}],
            **config,
        }
        self.content = content
        self.config_path = folder / "config.yaml"
        self.write_config()
        self.log_path = folder / "log.jsonl"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._command, "--config", str(self.config_path)],
                stderr=log,
                stdout=subprocess.PIPE,
                env=self._environment,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def write_config(self, **changes: Any) -> None:
        """Write the configuration, with changes."""
        self.content = {**self.content, **changes}
        self.config_path.write_text(yaml.safe_dump(self.content), encoding="utf-8")

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Log lines so far, of one event or all."""
        lines = self.log_path.read_text(encoding="utf-8").splitlines()
        if name is not None:
            # Others need not be read, which takes time wherever somebody waits.
            lines = [line for line in lines if f'"{name}"' in line]
        lines = [PRIORITY.sub("", line) for line in lines]
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in events if name is None or event["event"] == name]

    def wait_for(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for ``count`` events of a name, and give all of them."""

        def enough() -> list[dict[str, Any]] | None:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the daemon ended with {self.process.returncode}: {self.log_path.read_text()}"
                )
            events = self.events(name)
            return events if len(events) >= count else None

        try:
            found: list[dict[str, Any]] = wait_until(enough, f"{count} x {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_path.read_text()}") from error
        return found

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of an HTTP request."""
        port = self.wait_for("web.listening")[0]["port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LIMIT_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def metrics(self, name: str = "") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Samples of /metrics, all or those whose names begin so, read by prometheus_client's own parser."""
        status, body = self.get("/metrics")
        assert status == 200
        text = body.decode()
        if name:
            text = "\n".join(line for line in text.splitlines() if line.startswith(name))
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples that carry the labels."""
        return sum(
            value
            for (sample, given), value in self.metrics(name).items()
            if sample == name and labels.items() <= dict(given).items()
        )

    def wait_for_records(self, count: int, source: str | None = None) -> None:
        """Wait until ``count`` records have been received."""
        labels = {} if source is None else {"source": source}
        wait_until(lambda: self.metric("xiaod_records_total", **labels) >= count, f"{count} records")

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT_S)

    def stored(self) -> list[dict[str, Any]]:
        """Picks of the store, as ``xiaod picks`` prints them."""
        done = subprocess.run(
            [sys.executable, "-m", "xiaod", "picks", "--config", str(self.config_path)],
            capture_output=True,
            check=True,
            timeout=LIMIT_S,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    def finish(self, records: int) -> None:
        """Wait until ``records`` different records have been used, and stop with status 0."""
        used = ("good", "overlapping", "clock_step")
        wait_until(
            lambda: sum(self.metric("xiaod_records_total", verdict=verdict) for verdict in used) >= records,
            f"{records} records",
        )
        assert self.stop() == 0

    def picks(self) -> list[dict[str, Any]]:
        """What the JSON Lines sink has written."""
        if not self.picks_path.exists():
            return []
        return [json.loads(line) for line in self.picks_path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def streaming(folder: Path, config: ReplayConfig, **sections: Any) -> Iterator[tuple[Server, Daemon]]:
    """A replay server, and a daemon that streams from it."""
    with Server(config) as server, streaming_from(server.port, folder, **sections) as daemon:
        yield server, daemon


@contextmanager
def streaming_from(port: int, folder: Path, **sections: Any) -> Iterator[Daemon]:
    """A daemon that streams from a server on this machine."""
    source = {
        "name": "test",
        "server": f"127.0.0.1:{port}",
        "reconnect_min_s": 0.1,
        "reconnect_max_s": 0.5,
    }
    source.update(sections.pop("source", {}))
    with Daemon(folder, sources=[source], **sections) as daemon:
        yield daemon


def write_event(path: Path, station: str = "RJOB", shift_s: float = 0.0, quiet_s: int = 15) -> int:
    """Write a real event between two quiet times as 512-byte Steim2 records; the number of records."""
    stream = obspy.read()
    for trace in stream:
        data = np.asarray(trace.data) * 10
        rng = np.random.default_rng(sum(map(ord, trace.id + station)))
        quiet = [rng.normal(data[:400].mean(), data[:400].std(), 100 * quiet_s) for _ in range(2)]
        trace.data = np.concatenate([quiet[0], data, quiet[1]]).astype(np.int32)
        trace.stats.station = station
        trace.stats.starttime += shift_s
    stream.write(str(path), format="MSEED", reclen=512, encoding="STEIM2")
    return path.stat().st_size // 512


def assert_event_picked(picks: Sequence[Mapping[str, Any]], quiet_s: float = 15) -> None:
    """Check that each station has one P and one S where the event of :func:`write_event` has them."""
    begin = datetime(2009, 8, 24, 0, 20, 3, tzinfo=UTC) + timedelta(seconds=quiet_s)
    stations = {pick["station"] for pick in picks}
    assert stations
    for station in stations:
        for phase, onset_s in ONSETS_S.items():
            late_s = [
                (datetime.fromisoformat(pick["time"]) - begin).total_seconds() - onset_s
                for pick in picks
                if (pick["station"], pick["phase"]) == (station, phase)
            ]
            # The seam between the event and the quiet time after it gives others.
            near_s = [one for one in late_s if abs(one) < 5]
            assert len(near_s) == 1, (station, phase, late_s)
            assert abs(near_s[0]) < ONSET_TOLERANCE_S, (station, phase, near_s)


def offline_picks(path: Path, *arguments: str) -> list[dict[str, Any]]:
    """``xiaod pick`` over files, as JSON documents."""
    done = subprocess.run(
        [sys.executable, "-m", "xiaod", "pick", str(path), *arguments],
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def comparable(picks: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What live and offline picks have in common, in order."""
    keys = (
        "id",
        "time",
        "channel",
        "phase",
        "components",
        "probability",
        "snr",
        "amplitude",
        "raw_amplitude",
        "time_uncertainty_s",
    )
    given = ("polarity", "velocity_m_s", "wood_anderson_mm", "wood_anderson_noise_mm", "motion_window_s")
    return sorted((*(pick[key] for key in keys), *(pick.get(key, "") for key in given)) for pick in picks)
