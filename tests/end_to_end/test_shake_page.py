"""The way of deploy/RASPBERRY_SHAKE.md, with a server that has the streams of a Raspberry Shake."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from pymseed import nslc2sourceid

from tests.end_to_end.harness import Daemon, ServerProcess, wait_until
from xiaod.cli.main import main
from xiaod.config.loader import load_config
from xiaod.replay.example import COUNTS_PER_UNIT, QUALITY
from xiaod.replay.repack import TraceSegment, repack

STATION = "R1A2B"
MODELS = {"RS1D": "EHZ", "RS3D": "EHZ EHN EHE", "RS4D": "EHZ ENZ ENN ENE"}


def shake(folder: Path, model: str) -> Path:
    """ObsPy's example event as the records of a Shake."""
    traces = {trace.stats.channel[-1]: trace for trace in obspy.read()}
    records = b""
    for code in MODELS[model].split():
        trace = traces[code[-1]]
        counts = np.round(trace.data * COUNTS_PER_UNIT).astype(np.int32)
        source = nslc2sourceid("AM", STATION, "00", code)
        start_ns = int(trace.stats.starttime.ns)
        records += b"".join(repack(TraceSegment(source, start_ns, 100.0, QUALITY, "i", (counts,), 0)))
    path = folder / f"{model}.mseed"
    path.write_bytes(records)
    return path


@dataclass(frozen=True)
class Called:
    """What a command gave."""

    status: int
    out: str


Xiaod = Callable[..., Called]


@pytest.fixture
def xiaod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Xiaod:
    """Commands in the folder of the test."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Called:
        status = main(arguments)
        return Called(status, capsys.readouterr().out)

    return call


@pytest.mark.parametrize("model", ["RS1D", "RS4D"])
def test_init_chooses_the_geophone(tmp_path: Path, xiaod: Xiaod, model: str) -> None:
    with ServerProcess(shake(tmp_path, model)) as server:
        assert xiaod("init", f"127.0.0.1:{server.port}").status == 0
        [source] = load_config(tmp_path / "config.yaml").sources
        assert source.streams == (f"AM.{STATION}.00.EH?",)
        assert "# Z\n" in (tmp_path / "config.yaml").read_text(encoding="utf-8")
        accelerometer = xiaod("init", source.server, "--force", "--streams", "AM.*.*.EN?")
        assert accelerometer.status == (0 if model == "RS4D" else 1)


def test_from_init_to_picks(tmp_path: Path, xiaod: Xiaod) -> None:
    config = tmp_path / "config.yaml"
    # Faster than time goes by, so that the first window is soon full.
    with ServerProcess(shake(tmp_path, "RS3D"), "--speed", "5", "--shift-to-now", "--loop") as server:
        done = xiaod("init", f"127.0.0.1:{server.port}", "--output", str(config))
        assert done.out.startswith(f"{config}: 1 station(s) of 127.0.0.1:{server.port} (SeedLink v4.0 ")
        assert xiaod("check").out.startswith("config.yaml: valid; 1 source(s), 2 sink(s), model micro-")
        assert "3 of 3 streams selected" in xiaod("stations").out
        tested = xiaod("selftest", "--timeout", "100")
        assert (tested.status, tested.out.splitlines()[-1]) == (0, "passed: P and S arrived at every sink")
        text = config.read_text(encoding="utf-8")
        # What the file says to do to change a key; and what is asked for here runs ahead of the clock.
        text = re.sub(r"^#(http|buffer):", r"\1:", text, flags=re.MULTILINE)
        text = text.replace("#port: 9808", "port: 0   ").replace("#max_future_s: 60.0", "max_future_s: null ")
        daemon = Daemon(tmp_path, command=["env", "-C", str(tmp_path), sys.executable, "-m", "xiaod"])
        daemon.config_path.write_text(text, encoding="utf-8")
        with daemon:
            picks = wait_until(
                lambda: live_picks(tmp_path / "var" / "config" / "picks.jsonl"), "P and S of the Shake"
            )
            assert {pick["components"] for pick in picks} == {"ZNE"}
            assert json.loads(daemon.get("/readyz")[1])["stations_fresh"] == 1
            assert b"<html" in daemon.get("/")[1].lower()
            [station] = json.loads(daemon.get("/api/stations")[1])["stations"]
            assert station["id"] == f"AM.{STATION}.00.EH"
            port = daemon.wait_for("web.listening")[0]["port"]
            assert f"AM.{STATION}.00.EH" in xiaod("status", "--url", f"http://127.0.0.1:{port}").out
            stored = xiaod("picks", "--format", "csv")
            assert STATION in stored.out
            assert "RJOB" not in stored.out


def live_picks(path: Path) -> list[dict[str, Any]]:
    """Picks that are none of the self-test, once there are both phases."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    live = [pick for pick in found if pick["station"] == STATION]
    return live if {pick["phase"] for pick in live} == {"P", "S"} else []
