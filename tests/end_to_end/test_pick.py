"""``xiaod pick`` as it is called: formats, mistakes, readers that go away."""

import csv
import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import obspy
import pytest

from tests.end_to_end.harness import comparable, offline_picks, write_event


def test_long_records_and_floats(tmp_path: Path) -> None:
    path = tmp_path / "float.mseed"
    obspy.read().write(str(path), format="MSEED", reclen=8192, encoding="FLOAT64")
    phases = [pick["phase"] for pick in offline_picks(path)]
    assert phases[:2] == ["P", "S"]


def test_records_of_a_minute_give_the_same_picks_as_short_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stream = obspy.read()
    for number, trace in enumerate(stream):
        # A quiet station: a record holds much, and those of the components begin at different times.
        quiet = float(np.std(trace.data[:400]))
        before, after = (rng.normal(0, quiet, length) for length in (20_000 + 700 * number, 8000))
        samples = np.concatenate([before, trace.data, after]) / quiet
        trace.data = np.round(2 * samples).astype(np.int32)
        trace.stats.starttime -= 7 * number
    picks = {}
    for record_bytes in (512, 4096, 8192):
        path = tmp_path / f"{record_bytes}.mseed"
        stream.write(str(path), format="MSEED", reclen=record_bytes, encoding="STEIM2")
        picks[record_bytes] = offline_picks(path)
    longest_s = max(trace.stats.endtime - trace.stats.starttime for trace in stream)
    assert longest_s / (path.stat().st_size / 3 / record_bytes) > 60
    assert [(pick["phase"], pick["components"]) for pick in picks[512][:2]] == [("P", "ZNE"), ("S", "ZNE")]
    assert comparable(picks[4096]) == comparable(picks[8192]) == comparable(picks[512])


def test_records_behind_damage_are_used(tmp_path: Path) -> None:
    path = tmp_path / "event.mseed"
    write_event(path)
    whole = path.read_bytes()
    damaged = tmp_path / "damaged.mseed"
    # Junk between records, of a length that is no record's.
    damaged.write_bytes(whole[: 512 * 7] + b"\0" * 777 + whole[512 * 7 :] + b"junk")
    assert comparable(offline_picks(damaged)) == comparable(offline_picks(path))


def test_scautoloc_takes_the_p_picks_of_a_real_event(tmp_path: Path) -> None:
    """Its rules, with its defaults: an automatic P that is not rejected, with both amplitudes, and a ratio that is not below minPickSNR."""
    path = tmp_path / "event.mseed"
    write_event(path)
    command = [sys.executable, "-m", "xiaod", "pick", str(path), "--format", "scml"]
    output = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    parameters = ElementTree.fromstring(output)[0]  # noqa: S314  our own
    amplitudes: dict[str, dict[str, float]] = {}
    for one in parameters.findall("{*}amplitude"):
        of_pick = amplitudes.setdefault(one.findtext("{*}pickID", ""), {})
        of_pick[one.findtext("{*}type", "")] = float(one.findtext("{*}amplitude/{*}value", ""))
    found = [
        pick.get("publicID", "")
        for pick in parameters.findall("{*}pick")
        if pick.findtext("{*}phaseHint") == "P"
        and pick.findtext("{*}evaluationMode") == "automatic"
        and pick.findtext("{*}evaluationStatus") != "rejected"
    ]
    picks = [pick for pick in offline_picks(path) if pick["phase"] == "P"]
    assert found == [pick["id"] for pick in picks]
    assert found
    for name in found:
        assert amplitudes[name].keys() == {"snr", "mb"}
        assert amplitudes[name]["snr"] >= 3.0


def test_every_format_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "event.mseed"
    write_event(path)
    picks = offline_picks(path)
    assert all(picks[index]["id"] for index in range(len(picks)))

    def run(*arguments: str) -> bytes:
        command = [sys.executable, "-m", "xiaod", "pick", str(path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout

    rows = list(csv.DictReader(io.StringIO(run("--format", "csv").decode())))
    assert [row["id"] for row in rows] == [pick["id"] for pick in picks]
    [event] = obspy.read_events(io.BytesIO(run("--format", "quakeml")))
    assert {str(pick.time) for pick in event.picks} == {pick["time"] for pick in picks}
    config = tmp_path / "config.yaml"
    config.write_text(
        "sources: [{server: localhost}]\npicker: {threshold_s: 0.99, early_threshold_s: 0.99}\n"
    )
    strict = csv.DictReader(io.StringIO(run("--format", "csv", "--config", str(config)).decode()))
    assert {row["phase"] for row in strict} == {"P"}
    output = tmp_path / "picks.jsonl"
    assert run("--output", str(output)) == b""
    assert len(output.read_text().splitlines()) == len(picks)
    assert comparable(offline_picks(path)) == comparable(picks)


def test_a_reader_that_has_seen_enough_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "event.mseed"
    write_event(path)
    pick = f"{sys.executable} -m xiaod pick {path}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{pick} | true"], capture_output=True, timeout=60, check=False
    )
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.mseed"], "nowhere.mseed: no such file or folder"),
        (
            ["FILE", "--model", "nobody"],
            "neither a shipped model (micro, small) nor an existing .onnx file",
        ),
        (["FILE", "--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["FILE", "--model", "broken.onnx"], "--model: broken.onnx: not a model that ONNX Runtime can load"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    path = tmp_path / "event.mseed"
    write_event(path)
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    command = [
        sys.executable,
        "-m",
        "xiaod",
        "pick",
        *[str(path) if word == "FILE" else word for word in arguments],
    ]
    done = subprocess.run(command, capture_output=True, timeout=60, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
