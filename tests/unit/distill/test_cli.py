"""``xiao-distill`` from end to end on a corpus of one real event: train, export, evaluate, show."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from distill import runs
from distill.cli import main
from models.weights import weights_path

WEIGHTS = weights_path("micro").with_suffix(".safetensors")
CONFIG = """
name: tiny
version: 0.0.1
net: {widths: [4, 6, 8]}
data: {validation_fraction: 0.5}
teacher: {onnx: teacher.onnx, window_samples: 1000, hop_samples: 250}
optimiser: {steps: 3, batch: 4, checkpoint_steps: 2}
"""


def test_train_export_evaluate_show(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, runs, output = tmp_path / "tiny.yaml", tmp_path / "runs", tmp_path / "weights"
    config.write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("XIAO_SHARED", str(shared))
    monkeypatch.setattr("distill.report.evaluation.COST_RUNS", 1)
    monkeypatch.setattr("distill.cost.LEAST_S", 0.0)
    monkeypatch.setattr("distill.baselines.STA_S", (0.5, 1.0))
    monkeypatch.setattr("distill.baselines.BANDS_HZ", ((2.0, 15.0),))
    common = ["--config", str(config), "--runs", str(runs)]
    export = ["export", *common, "--output", str(output)]
    assert main(export) == 2
    assert "not finished" in capsys.readouterr().err
    assert main(["train", *common, "--no-progress"]) == 0
    assert Path(capsys.readouterr().out.strip()).parent == runs
    assert main(export) == 0
    # Nothing that takes long is silent.
    said = capsys.readouterr().err
    assert all(stage in said for stage in ("data/train", "calibration", "thresholds", "time uncertainty"))
    assert sorted(path.name for path in output.iterdir()) == [
        "tiny.onnx",
        "tiny.safetensors",
        "tiny.tail.onnx",
    ]
    capsys.readouterr()
    assert main(["evaluate", *common, "--model", str(output / "tiny.onnx")]) == 0
    results = json.loads(capsys.readouterr().out)
    assert {"tiny", "teacher", "recursive STA/LTA", "AR-AIC"} < set(results["pickers"])
    f1 = {
        one["contender"]: one
        for one in results["numbers"]
        if (one["table"], one["phase"], one["condition"], one["metric"]) == ("accuracy", "P", "0.5 s", "f1")
    }
    assert set(f1) == set(results["pickers"])
    assert {one["count"] for one in f1.values()} == {12}
    assert results["students"]["tiny"]["vertical_alone"]["records"] == 1
    assert main(["card", *common, "--output", str(output)]) == 0
    assert "tiny: calibration" in capsys.readouterr().err
    card = (output / "tiny.md").read_text(encoding="utf-8")
    assert hashlib.sha256((output / "tiny.onnx").read_bytes()).hexdigest() in card
    assert "| 4 | here | MIT | XX doi:10.0/XX |" in card
    assert "| labels | 12 | 12 | 12 | 12 |" in card
    # What the card says of the teacher is what the results say of it.
    teacher = f1["teacher"]
    assert f"{teacher['value']:.3f} ({teacher['low']:.2f} to {teacher['high']:.2f})" in card
    capsys.readouterr()
    assert main(["show", str(output / "tiny.onnx")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["net"]["widths"]) == ("tiny", [4, 6, 8])


def test_what_is_missing_is_named(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    assert main(["train", "--config", str(tmp_path / "no.yaml")]) == 2
    assert "no.yaml" in capsys.readouterr().err
    assert main(["show", str(config)]) == 2
    assert "tiny.yaml" in capsys.readouterr().err
    monkeypatch.setenv("XIAO_SHARED", str(tmp_path / "nowhere"))
    assert main(["train", "--config", str(config)]) == 2
    assert "XIAO_SHARED" in capsys.readouterr().err
    monkeypatch.setenv("XIAO_SHARED", str(shared))
    config.write_text(CONFIG.replace("0.5", "1.0"), encoding="utf-8")
    assert main(["train", "--config", str(config), "--runs", str(tmp_path / "runs")]) == 2
    assert "validation_fraction" in capsys.readouterr().err
    # What a repository's large files are where they have not been fetched.
    (tmp_path / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    config.write_text(CONFIG.replace("teacher.onnx", str(tmp_path / "pointer.onnx")), encoding="utf-8")
    assert main(["train", "--config", str(config), "--runs", str(tmp_path / "runs")]) == 2
    assert "pointer.onnx: not a model" in capsys.readouterr().err


def test_what_is_shipped_is_made_by_a_commit(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("XIAO_SHARED", str(shared))
    monkeypatch.setattr(runs, "code_version", lambda: "0123abc-dirty")
    options = ["--config", str(config), "--runs", str(tmp_path / "runs"), "--no-progress", "--output"]
    for command in ("export", "thresholds"):
        assert main([command, *options, str(weights_path("micro").parent)]) == 2
        assert "commit it, or export to another folder" in capsys.readouterr().err
    # Elsewhere it asks for a run, as always.
    assert main(["export", *options, str(tmp_path)]) == 2
    assert "the run is not finished" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["torch", "safetensors"])
def test_without_the_extra_it_is_named(package: str) -> None:
    code = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{package}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from distill.cli import main
sys.exit(main(["show", {str(WEIGHTS)!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert f"{sys.executable} -m pip install 'xiaod[distill]'" in done.stderr
    assert package in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys; from distill.cli import build_parser; build_parser().format_help(); "
        "sys.exit(bool({'torch', 'onnxruntime', 'pandas', 'obspy', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_thresholds_are_chosen_anew_and_a_scout_is_measured_by_what_it_notices(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XIAO_SHARED", str(shared))
    monkeypatch.setattr("distill.report.evaluation.COST_RUNS", 1)
    monkeypatch.setattr("distill.cost.LEAST_S", 0.0)
    config, output = tmp_path / "caller.yaml", tmp_path / "weights"
    text = CONFIG.replace("name: tiny", "name: caller").replace(
        "8]}", "8], strides: [2, 2, 2], kernels: [3, 5]}"
    )
    config.write_text(text + "sampling: {front_end: bands-1}\n", encoding="utf-8")
    common = ["--config", str(config), "--runs", str(tmp_path / "runs"), "--no-progress"]
    assert main(["train", *common]) == 0
    assert main(["export", *common, "--output", str(output)]) == 0
    assert sorted(path.name for path in output.iterdir()) == ["caller.safetensors", "caller.stateful.onnx"]
    capsys.readouterr()
    assert main(["show", str(output / "caller.stateful.onnx")]) == 0
    before = json.loads(capsys.readouterr().out)
    assert main(["thresholds", *common, "--output", str(output)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.partition(" ")[0]).name for line in lines] == [
        "caller.stateful.onnx",
        "caller.safetensors",
    ]
    assert main(["show", str(output / "caller.stateful.onnx")]) == 0
    after = json.loads(capsys.readouterr().out)
    assert set(after["provenance"].pop("thresholds")) == {"code", "chosen"}
    assert after == before
    assert main(["card", *common, "--output", str(output)]) == 0
    card = (output / "caller.md").read_text(encoding="utf-8")
    assert hashlib.sha256((output / "caller.stateful.onnx").read_bytes()).hexdigest() in card
    assert "noticed" in card
    assert "candidates an hour" in card
    assert "F1" not in card
