"""The walk of ``docs/training.md``: from a folder of miniSEED and QuakeML to picks with a student made from it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import obspy
import pytest
from obspy.core.event import Catalog, Event, Pick, WaveformStreamID
from seisbench.data import WaveformDataWriter

from distill.cli import main
from distill.config import TrainConfig, load_train_config
from distill.evaluate import EXAMPLE_OFFSET, EXAMPLE_ONSETS, example_waves
from xiaod.config import WindowConfig

START = obspy.UTCDateTime("2024-05-01T00:00:00")
SPACING_S = 600
EVENTS = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three times ObsPy's example event at two stations, an hour of nothing between them, with the picks of an analyst."""
    made = tmp_path / "My Network"
    made.mkdir()
    counts = (example_waves() * 10).astype(np.int32)
    events = []
    for number in range(EVENTS):
        start, event = START + number * SPACING_S, Event()
        for station in ("AAA", "BBB"):
            stream = obspy.Stream(
                [
                    obspy.Trace(
                        wave,
                        {
                            "network": "XX",
                            "station": station,
                            "channel": f"HH{letter}",
                            "sampling_rate": 100.0,
                            "starttime": start,
                        },
                    )
                    for letter, wave in zip("ZNE", counts, strict=True)
                ]
            )
            stream.write(str(made / f"{station}.{number}.mseed"), format="MSEED")
            code = WaveformStreamID(network_code="XX", station_code=station)
            event.picks += [
                Pick(time=start + (EXAMPLE_OFFSET + onset) / 100, phase_hint=phase, waveform_id=code)
                for onset, phase in zip(EXAMPLE_ONSETS, "PS", strict=True)
            ]
        events.append(event)
    Catalog(events).write(str(made / "picks.xml"), format="QUAKEML")
    return made


def shortened(text: str, **values: int) -> str:
    """The same recipe with less to do."""
    for key, value in values.items():
        text, count = re.subn(rf"^  {key}: \d+$", f"  {key}: {value}", text, flags=re.MULTILINE)
        assert count == 1, key
    return text


def test_from_a_folder_to_picks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XIAO_SHARED", raising=False)
    assert main(["init", str(folder), "--teacher", "small"]) == 0
    said = capsys.readouterr().out
    assert "6 pieces" in said
    assert "2 stations; in them 6 P and 6 S of 12 picks read" in said
    path = tmp_path / "my-network.yaml"
    config = load_train_config(path)
    assert config.service_samples == round(WindowConfig().length_s * 100)
    assert config.service_samples in config.lengths
    assert main(["init", str(folder), "--teacher", "small"]) == 2
    assert "is there already" in capsys.readouterr().err
    text = shortened(path.read_text(encoding="utf-8"), steps=120, batch=16, per_step=2, checkpoint_steps=60)
    path.write_text(text, encoding="utf-8")
    # The commands that it names, in their order.
    commands = [shlex.split(line) for line in said.splitlines() if line.startswith("  ")]
    assert [command[:2] for command in commands] == [
        ["xiao-distill", "train"],
        ["xiao-distill", "export"],
        ["xiao-distill", "compare"],
        ["xiaod", "pick"],
    ]
    for command in commands[:-1]:
        assert main(command[1:]) == 0
    compared = (tmp_path / "compared" / "comparison.md").read_text(encoding="utf-8")
    assert all(f"| {name} " in compared for name in ("my-network", "small", "teacher", "recursive STA/LTA"))
    done = subprocess.run(
        [sys.executable, "-m", *commands[-1]], capture_output=True, text=True, timeout=120, check=True
    )
    picks = [json.loads(line) for line in done.stdout.splitlines()]
    assert {pick["model"] for pick in picks} == {"my-network-0.1.0"}
    onset = START + SPACING_S + (EXAMPLE_OFFSET + EXAMPLE_ONSETS[0]) / 100
    assert any(pick["phase"] == "P" and abs(obspy.UTCDateTime(pick["time"]) - onset) < 0.3 for pick in picks)


def test_without_picks_no_command_is_named_that_cannot_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "picks.xml").unlink()
    # A table of one's own is none of a dataset.
    (folder / "metadata.csv").write_text("station,latitude,longitude\nAAA,1,2\n")
    assert main(["init", str(folder), "--output", str(tmp_path / "mine.yaml")]) == 0
    said = capsys.readouterr().out
    assert "6 pieces" in said
    assert "xiao-distill compare --" not in said
    assert "No analyst has picked at the stations held out" in said


@pytest.mark.parametrize("kind", ["corpus", "seisbench"])
def test_datasets_are_known_by_what_they_hold(
    kind: str, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared / "data" / "train"
    if kind == "seisbench":
        folder = tmp_path / "set"
        folder.mkdir()
        with WaveformDataWriter(folder / "metadata.csv", folder / "waveforms.hdf5") as writer:
            writer.data_format = {"dimension_order": "CW", "component_order": "ZNE", "sampling_rate": 100}
            for station in "ABCD":
                row = {"station_network_code": "XX", "station_code": station, "source_id": "quake"}
                picks = (
                    {} if station == "C" else {"trace_P_arrival_sample": 1673, "trace_S_arrival_sample": 1771}
                )
                writer.add_trace(row | picks, example_waves().astype(np.float32))
    output = tmp_path / "mine.yaml"
    command = ["init", str(folder), "--name", "mine", "--output", str(output)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "4 records" in said
    assert "4 stations; in them 3 P and 3 S\n" in said
    [source] = load_train_config(output).data.sources
    assert (source.kind, source.path) == (kind, str(folder))
    assert "xiaod pick" not in said  # it reads miniSEED
    assert main([*command, "--force", "--quakeml", str(folder)]) == 2
    assert "--quakeml" in capsys.readouterr().err


def test_every_part_of_what_is_written_is_explained(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.yaml"
    assert main(["init", str(folder), "--name", "mine", "--output", str(output)]) == 0
    lines = output.read_text(encoding="utf-8").splitlines()
    parts = [number for number, line in enumerate(lines) if re.match(r"\w+:", line)]
    assert {lines[number].partition(":")[0] for number in parts} <= set(TrainConfig.model_fields)
    for number in parts:
        assert lines[number - 1].startswith("#") or lines[number].startswith(("version:", "seed:")), lines[
            number
        ]
    # SeisBench's PhaseNet as it was trained, by its own cache: nothing of this machine is in it but the folder.
    teacher = load_train_config(output).teacher
    assert (teacher.kind, teacher.model, teacher.aligned, teacher.cache_root) == (
        "seisbench",
        "PhaseNet/original",
        True,
        "",
    )


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ("none", ["--teacher", "nobody"], ["--teacher nobody", "PhaseNet/original", "small"]),
        ("none", ["--teacher", "absent.onnx"], ["absent.onnx"]),
        ("none", ["--name", "Not A Name"], ["name", "[a-z0-9_-]"]),
        ("one station", [], ["at least 2 stations", "1 stations"]),
        ("empty", [], ["could be read as miniSEED"]),
        ("gone", [], ["no such folder"]),
    ],
)
def test_what_cannot_be_learnt_from_is_named(
    change: str,
    options: list[str],
    words: list[str],
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in folder.iterdir():
        if change == "gone" or change == "empty" or (change == "one station" and path.name.startswith("BBB")):
            path.unlink()
    if change == "gone":
        folder.rmdir()
    output = tmp_path / "mine.yaml"
    assert main(["init", str(folder), "--teacher", "small", "--output", str(output), *options]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not output.exists()


def test_an_interrupted_training_says_how_it_goes_on(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    assert main(["init", str(folder), "--teacher", "small", "--name", "mine", "--output", str(config)]) == 0
    # Short steps: a signal is heard between them.
    text = shortened(config.read_text(encoding="utf-8"), batch=4, per_step=1)
    config.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "distill.cli", "train"]
    command += ["--config", str(config), "--runs", str(tmp_path / "runs")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        said = b""
        # It has begun: the bar of the steps is there.
        while b"/20000" not in said and (piece := os.read(process.stderr.fileno(), 4096)):
            said += piece
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        assert process.wait(60) == 130
    assert b"Traceback" not in said
    assert b"the same command goes on from the last checkpoint" in said
