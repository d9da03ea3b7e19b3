"""The units of systemd: systemd's own verdict on them, and the facts that the program relies on."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from xiaod.config import Config
from xiaod.process.exit_status import ExitCode

SYSTEMD = Path(__file__).parents[3] / "systemd"
UNITS = ["xiaod.service", "xiaod@.service", "xiaod-events.service"]
EXPOSURE = 2.0
"""Highest exposure level, of 10, that ``systemd-analyze security`` may find."""
PROGRAM = "/opt/xiaod/bin/xiaod"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def settings(unit: str) -> dict[str, list[str]]:
    """Values of every key of a unit; keys do not repeat between its sections."""
    found: dict[str, list[str]] = {}
    for line in (SYSTEMD / unit).read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong(tmp_path: Path, unit: str) -> None:
    text = (SYSTEMD / unit).read_text(encoding="utf-8")
    # The program is not installed where the tests run.
    copy = tmp_path / unit
    copy.write_text(text.replace(PROGRAM, "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_the_exposure_is_low(unit: str) -> None:
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=yes",
            f"--threshold={round(EXPOSURE * 10)}",
            str(SYSTEMD / unit),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Overall exposure level" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_template_differs_only_by_its_instance() -> None:
    plain, template, _ = (settings(unit) for unit in UNITS)
    different = {key for key in plain | template if plain.get(key) != template.get(key)}
    assert different == {"Description", "Environment", "EnvironmentFile", "LogExtraFields"}
    added = [value for value in template["Environment"] if value not in plain["Environment"]]
    assert added == ["XIAOD_SHARD=%I"]


def test_the_unit_of_events_differs_only_by_what_it_runs() -> None:
    plain, _, events = (settings(unit) for unit in UNITS)
    different = {key for key in plain | events if plain.get(key) != events.get(key)}
    assert different == {
        "Description", "EnvironmentFile", "ExecStart", "ExecReload", "MemoryHigh", "MemoryMax",
    }  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_what_the_program_relies_on(unit: str) -> None:
    found = settings(unit)
    assert found["Type"] == ["notify"]
    assert found["Restart"] == ["on-failure"]
    assert found["RestartPreventExitStatus"] == [str(int(ExitCode.CONFIGURATION))]
    reload = [] if unit == "xiaod-events.service" else ["/bin/kill -HUP $MAINPID"]
    command = "events " if unit == "xiaod-events.service" else ""
    assert found.get("ExecReload", []) == reload
    assert found["ExecStart"] == [f"{PROGRAM} {command}--config ${{XIAOD_CONFIG}}"]
    assert found["StateDirectory"] == ["xiaod"]
    assert found["WorkingDirectory"] == ["/var/lib/xiaod"]
    config = Config.model_validate({"sources": [{"server": "localhost"}]})
    assert float(found["TimeoutStopSec"][0]) > config.grace_s
    assert 10 <= float(found["WatchdogSec"][0]) <= 120
    # ONNX Runtime chooses its code by /proc/cpuinfo.
    assert "ProcSubset" not in found
    assert {"MemoryHigh", "MemoryMax", "TasksMax", "LimitNOFILE"} <= found.keys()


@needs("systemd-sysusers")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to other users")
def test_user_and_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for program, part in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
        options = ["--create"] if program == "systemd-tmpfiles" else []
        done = subprocess.run(
            [program, f"--root={tmp_path}", *options, str(SYSTEMD / part / "xiaod.conf")],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    fields = (tmp_path / "etc" / "passwd").read_text(encoding="utf-8").strip().split(":")
    assert (fields[0], fields[5], fields[6]) == ("xiaod", "/var/lib/xiaod", "/usr/sbin/nologin")
    state, configuration = (tmp_path / "var/lib/xiaod").stat(), (tmp_path / "etc/xiaod").stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o777) == (int(fields[2]), int(fields[3]), 0o750)
    assert (configuration.st_uid, configuration.st_gid, configuration.st_mode & 0o777) == (
        0, int(fields[3]), 0o750,
    )  # fmt: skip
