r"""Runs ``xiaod --config`` as a process, and reads its metrics.

>>> sums('# TYPE a counter\na_total{x="1"} 2\na_total{x="2"} 3\n')
{'a_total': 5.0}
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

START_LIMIT_S = 120.0
STOP_LIMIT_S = 40.0
ANSWER_LIMIT_S = 30.0
POLL_S = 0.02
METRICS_POLL_S = 0.2
"""Between two looks at the metrics: the daemon that is measured answers, which is work, and may be just what it has no time for."""
KB_MB = 1024 / 1e6


class BenchError(RuntimeError):
    """The daemon or the server failed during the measurement."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a process has used, as the kernel counts it (proc(5))."""

    cpu_s: float
    """CPU time of all its threads, in user and kernel mode."""
    resident_mb: float
    peak_mb: float
    """Most of it since the start."""


def use_of(pid: int) -> Use:
    """What a process has used until now.

    Raises:
        OSError: when it has ended.
    """
    # The name in parentheses may hold anything.
    values = (
        Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    )
    ticks = int(values[11]) + int(values[12])
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    kb = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    resident_mb, peak_mb = (int(kb[key]) * KB_MB for key in ("VmRSS", "VmHWM"))
    return Use(ticks / os.sysconf("SC_CLK_TCK"), round(resident_mb, 1), round(peak_mb, 1))


class DaemonProcess:
    """One daemon, with its configuration and log in a folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Write the configuration and start.

        Args:
            folder: must exist; the log is appended to ``log.jsonl``.
            config: the configuration; HTTP listens on a free port and logs are JSON.
        """
        self._folder = folder
        self._log = folder / "log.jsonl"
        content = {**config, "http": {"port": 0}, "logs": {"format": "json"}}
        self.config_path = folder / "config.yaml"
        self.config_path.write_text(yaml.safe_dump(content), encoding="utf-8")
        self._log_begin = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  this very program
                [sys.executable, "-m", "xiaod", "--config", str(self.config_path)],
                stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self._port: int | None = None

    @property
    def port(self) -> int:
        """Port of its HTTP server, once it listens.

        Raises:
            BenchError: when it does not listen in time.
        """
        if self._port is None:
            self._port = self._until(self._listening, "its HTTP server", POLL_S)
        return self._port

    def text(self) -> str:
        """Its metrics as text.

        Raises:
            BenchError: when it has ended or does not answer.
        """
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/metrics", timeout=ANSWER_LIMIT_S
            ) as answer:
                text: str = answer.read().decode()
        except OSError as error:
            self.check("its metrics")
            raise BenchError(f"the daemon does not answer: {error}") from error
        return text

    def metrics(self) -> dict[str, float]:
        """Sum of all samples of each name."""
        return sums(self.text())

    def use(self) -> Use:
        """What it has used until now.

        Raises:
            BenchError: when it has ended.
        """
        self.check("what it has used")
        return use_of(self.process.pid)

    def until_metrics(self, shown: Callable[[Mapping[str, float]], bool], what: str) -> None:
        """Wait until the metrics show something.

        Raises:
            BenchError: when they do not in time, or the daemon has ended.
        """
        self._until(lambda: shown(self.metrics()), what, METRICS_POLL_S)

    def _until(self, found: Callable[[], Any], what: str, poll_s: float) -> Any:
        """The first true value of a condition that is looked at every ``poll_s``.

        Raises:
            BenchError: when there is none in time, or the daemon has ended.
        """
        until = time.monotonic() + START_LIMIT_S
        while time.monotonic() < until:
            self.check(what)
            if value := found():
                return value
            time.sleep(poll_s)
        raise BenchError(f"waited {START_LIMIT_S:g} s in vain for {what}")

    def check(self, what: str) -> None:
        """Check that it runs.

        Raises:
            BenchError: when it has ended.
        """
        if self.process.poll() is not None:
            raise BenchError(
                f"the daemon ended with status {self.process.returncode} before {what} was there"
            )

    def stop(self) -> int:
        """Send SIGTERM, then SIGKILL if it does not end; returns the exit status."""
        return stop(self.process)

    def _listening(self) -> int | None:
        with self._log.open(encoding="utf-8", errors="replace") as log:
            log.seek(self._log_begin)
            for line in log:
                if '"web.listening"' in line and line.endswith("}\n"):
                    return int(json.loads(line)["port"])
        return None


def sums(text: str) -> dict[str, float]:
    """Sum of all samples of each name in Prometheus' text format."""
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name] = values.get(sample.name, 0.0) + sample.value
    return values


def stop(process: "subprocess.Popen[Any]") -> int:
    """Send SIGTERM, then SIGKILL if it does not end; returns the exit status."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    return int(process.returncode)
