"""The daemon under a service manager: what it says on the notify socket, and what it writes to the journal."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.harness import LIMIT_S, Daemon, Server, wait_until
from tests.end_to_end.manager import Manager
from tests.end_to_end.test_faults import source_at
from tests.ports import free_port
from xiaod.process.exit_status import ExitCode
from xiaod.process.logs import PRIORITIES
from xiaod.process.systemd import WATCHDOG_PART
from xiaod.replay import ReplayConfig

WATCHDOG_S = 3.0
PACE_S = WATCHDOG_PART * WATCHDOG_S
SPEED = 20.0
"""Data come so many times faster than in real time."""

Service = tuple[Manager, Daemon, int, Path]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A daemon under a manager, the port at which its server is to be, and the file that makes its engine hang."""
    folder = tmp_path_factory.mktemp("service")
    hang = folder / "hang"
    port = free_port()
    # The path of a socket is limited to 107 bytes.
    with tempfile.TemporaryDirectory(prefix="xiaod") as short, Manager(Path(short), WATCHDOG_S) as manager:
        environment = {**manager.environment(folder / "log.jsonl"), "HANG_FILE": str(hang)}
        with Daemon(
            folder,
            command=[sys.executable, "-m", "tests.end_to_end.stuck"],
            environment=environment,
            sources=[source_at(port, begin="now")],
            # So many windows a second wait, whatever is in the data.
            early="windows",
        ) as daemon:
            yield manager, daemon, port, hang


def test_what_is_said_from_start_to_end(service: Service) -> None:
    manager, daemon, port, hang = service

    # Ready without a server, and so without a packet; then signs of life at half the time that is allowed.
    [ready] = manager.wait_for("READY=1")
    assert daemon.get("/healthz")[0] == 200
    assert daemon.metric("xiaod_records_total") == 0
    signs = manager.wait_for("WATCHDOG=1", 4, ready.at_s)
    assert 0.9 * PACE_S <= (signs[-1].at_s - signs[0].at_s) / (len(signs) - 1) < WATCHDOG_S
    assert manager.wait_for("STATUS")[0].value("STATUS") == "0/0 stations fresh"

    with Server(ReplayConfig(inputs=("example",), port=port, speed=SPEED, loop=True)):
        manager.wait_for("STATUS=1/1 stations fresh")

        # Reread, and refused; everything is ready again afterwards.
        begun_s = time.monotonic()
        daemon.process.send_signal(signal.SIGHUP)
        [reloading] = manager.wait_for("RELOADING=1", after_s=begun_s)
        assert begun_s * 1e6 <= int(reloading.value("MONOTONIC_USEC") or 0) <= reloading.at_s * 1e6
        manager.wait_for("READY=1", after_s=reloading.at_s)
        good = daemon.config_path.read_text(encoding="utf-8")
        daemon.config_path.write_text("sources: 1\n", encoding="utf-8")
        begun_s = time.monotonic()
        daemon.process.send_signal(signal.SIGHUP)
        manager.wait_for("READY=1", after_s=begun_s)
        manager.wait_for("STATUS=1/1 stations fresh; the last reload was refused, see the log")
        daemon.config_path.write_text(good, encoding="utf-8")

        # Who has work and does not do it gives no sign, however long a timer could.
        hang.touch()
        waiting = wait_until(
            lambda: daemon.metric("xiaod_queue_depth", queue="windows"), "windows that wait for the engine"
        )
        stuck_s = time.monotonic()
        enough = waiting + 2 * PACE_S * SPEED / 0.5
        wait_until(
            lambda: daemon.metric("xiaod_queue_depth", queue="windows") >= enough, "windows of two paces"
        )
        late = [sign for sign in manager.said("WATCHDOG=1", stuck_s) if sign.at_s > stuck_s + PACE_S]
        assert late == []
        hang.unlink()
        manager.wait_for("WATCHDOG=1", 2, time.monotonic())

        assert manager.said("STOPPING=1") == []
        assert daemon.stop() == 0
        assert len(manager.said("STOPPING=1")) == 1

    # Every line of the log begins with the priority of its level.
    lines = daemon.log_path.read_text(encoding="utf-8").splitlines()
    assert lines
    for line in lines:
        match = re.fullmatch(r"<(\d)>(.*)", line)
        assert match is not None, line
        assert int(match[1]) == PRIORITIES[json.loads(match[2])["level"]]
    assert {line[:3] for line in lines} >= {"<6>", "<4>", "<3>"}


def test_why_it_does_not_start_is_an_error_in_the_journal(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("sources: 1\nsinks: 2\n", encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="xiaod") as short, Manager(Path(short), WATCHDOG_S) as manager:
        environment = {**os.environ, **manager.environment(tmp_path / "log")}
        with (tmp_path / "log").open("wb") as log:
            done = subprocess.run(
                [sys.executable, "-m", "xiaod", "--config", str(tmp_path / "config.yaml")],
                stderr=log,
                env=environment,
                check=False,
                timeout=LIMIT_S,
            )
    assert done.returncode == ExitCode.CONFIGURATION
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert [line[:3] for line in lines] == ["<3>", "<3>"]
    assert manager.notices == []
