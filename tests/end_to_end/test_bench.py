"""``xiaod bench``: the real daemon against the real replay server, and the table that comes out."""

import json
import signal
from functools import partial
from pathlib import Path

import pytest

from xiaod.cli.main import main
from xiaod.tools.bench.daemon import BenchError, DaemonProcess
from xiaod.tools.bench.hardware import condition
from xiaod.tools.bench.load import LoadSettings, run_load
from xiaod.tools.bench.run import run_bench

VCGENCMD = """#!/bin/sh
case "$1" in
  measure_temp) echo "temp=61.5'C" ;;
  get_throttled) echo "throttled=0x20000" ;;
  measure_clock) echo "frequency(0)=2400033792" ;;
  pmic_read_adc) printf '   VDD_CORE_A current(7)=2.00000000A\\n   VDD_CORE_V volt(15)=0.90000000V\\n   EXT5V_V volt(24)=5.1V\\n' ;;
esac
"""


def test_a_load_is_measured_and_kept_up_with() -> None:
    settings = LoadSettings(window_s=16.0, seconds=10.0, warm_up_s=2.0, stopped_s=2.0)
    found = run_load(3, settings)
    assert found["stations"] == 3
    assert found["kept_up"]
    assert found["windows"] > 3
    assert 20 < found["resident_mb"] <= found["peak_mb"]
    assert found["catching_up_peak_mb"] > 20
    assert set(found["threads_us_per_station_s"]) >= {"MainThread", "engine", "source.load"}
    assert found["us_per_station_s"] > 10
    assert 0 < found["ready_s"] < found["first_window_s"]


def test_a_daemon_that_does_not_start_is_said() -> None:
    with pytest.raises(BenchError, match="ended with status 2"):
        run_load(1, LoadSettings(model="no-such-model"))


def test_a_daemon_that_ends_meanwhile_is_said(tmp_path: Path) -> None:
    daemon = DaemonProcess(
        tmp_path, {"sources": [{"server": "127.0.0.1:1"}], "state": {"folder": str(tmp_path)}}
    )
    try:
        assert daemon.metrics()
        daemon.process.kill()
        daemon.process.wait()
        with pytest.raises(BenchError, match="ended with status -9 before its metrics"):
            daemon.metrics()
    finally:
        daemon.stop()


def test_the_table_and_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As briefly as can be: the figures themselves are another test's.
    monkeypatch.setattr("xiaod.tools.bench.run.run_bench", partial(run_bench, least_s=0.02, places=3))
    output = tmp_path / "bench.json"
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["bench", "--stations", "0", "--hours", "0", "--output", str(output)]) == 0
    finally:
        signal.signal(signal.SIGTERM, handler)
    shown = capsys.readouterr().out
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["hardware"]["cores"] >= 1
    assert {row["stage"].split(",")[0] for row in found["stages"]} > {
        "decode",
        "network",
        "notice and confirm",
    }
    assert found["load"] == []
    assert found["offline"] == []
    assert f"(scout; {found['early'][0]['places']} places of an event)" in shown
    for row in [*found["stages"], *found["others"]]:
        assert f"| {row['us_per_station_s']} |" in shown
    assert found["hardware"]["model"] in shown


def test_what_a_raspberry_pi_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text(VCGENCMD)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert condition() == {
        "temperature_c": 61.5,
        "throttled": ["frequency capped since boot"],
        "clock_mhz": 2400,
        "power_w": 1.8,
    }
