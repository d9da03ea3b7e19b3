"""A first training configuration for your own data: the settings of ``micro`` with other data, teacher and name.

The data are a folder of any kind that :mod:`distill.datasets` reads: miniSEED with or without QuakeML, SeisBench's format, or a corpus.

The text is parsed again before it is returned. The windows of the student are as long as those of the daemon.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.config import ConfigError, SourceSection, TrainConfig, load_train_config
from distill.corpus import held_out_stations
from distill.datasets import Waveform, kind_of, open_dataset
from distill.datasets.miniseed import MiniSeedDataset
from distill.progress import SILENT, Progress
from distill.report.config import ReportConfig
from models.conventions import RATE_HZ
from models.weights import shipped, weights_path
from xiaod.config import loader
from xiaod.config.loader import parse_as
from xiaod.tools.init.commented_yaml import comment_lines, scalar_text

RECIPE = Path(__file__).parent / "micro-1.yaml"
"""Begins with no weights of another student."""
LEAST_STATIONS = 2
"""One is held out: thresholds and calibration come from stations that the student has not seen."""
LEAST_HELD_OUT = 0.1
STEPS = 20_000
HEAD = """\
# Written by "xiao-distill init {folder}". Every key that is not here has the default in distill/config.py.
#
#   xiao-distill train --config {name}.yaml                       goes on where it was stopped; Ctrl-C stops it
#   xiao-distill export --config {name}.yaml --output weights     chooses thresholds, calibrates, writes weights/{name}.onnx
#   xiaod pick FILES --model weights/{name}.onnx                  or engine: {{model: weights/{name}.onnx}} for the daemon

"""
COMMENTS: Mapping[str, str] = {
    "name": "Letters, digits, - and _; it stands in every pick as NAME-VERSION. Raise the version when you train anew.",
    "threads": "Threads of torch. The student is small: more than one hardly helps.",
    "net": "Width of each level and length of its filters, those of micro. Wider learns more and costs more.",
    "data": "The training data. Picks of analysts count where there are any; the teacher labels everything else. "
    "validation_fraction: part of the stations that is held out. More sources can be listed: kind miniseed, seisbench or corpus.",
    "teacher": "Who labels. kind seisbench: SeisBench downloads the weights when they are first used; kind onnx: a file.",
    "labels": "Width of the label at an analyst's pick, and its weight beside what the teacher says there.",
    "scenes": "The teacher labels pieces of 30 s after they have been augmented, so that the student sees what it saw.",
    "sampling": "Windows that the student sees, in samples of 100 Hz: 10 to 30 s, often ending soon after an onset.",
    "augment": "Probability of each change of a scene or a window; 0 switches one off.",
    "optimiser": "20,000 steps are a beginning; micro had 60,000. Look at curves.png in the folder of the run.",
    "loss": "hard_weight: part of labels that are Gaussians at onsets, the rest is the teacher's curve.",
    "export": "Windows in service: 2000 samples are windows.length_s: 20.0 of the daemon.",
}


@dataclass(frozen=True)
class Draft:
    """A configuration, its text, and a summary of the data."""

    config: TrainConfig
    text: str
    said: str
    comparable: bool
    """Whether an analyst has picked at the stations that are held out, so that pickers can be compared there."""


def draft(
    folder: Path, quakeml: Path | None, teacher: str, name: str | None, progress: Progress = SILENT
) -> Draft:
    """Read a folder and draft a configuration for it.

    Args:
        folder: of miniSEED files, in any tree; or a dataset in SeisBench's format, or a corpus.
        quakeml: file or folder of picks; None: QuakeML files in the folder.
        teacher: ``MODEL/WEIGHTS`` of SeisBench, a shipped student by its name, or a path that ends in ``.onnx``.
        name: of the student; None: the folder's name, without letters that are not allowed.
        progress: shows the stage.

    Raises:
        ConfigError: when the folder does not exist, has no data or too few stations, or when the name is not valid.
        FileNotFoundError: when the file of the teacher does not exist.
    """
    source = _source(folder, quakeml)
    progress.say(f"reading {folder}")
    dataset = open_dataset(source, Path(), progress)
    waveforms = list(progress.over(dataset, str(folder), len(dataset)))
    stations = {waveform.station for waveform in waveforms}
    said = _said(source, waveforms, len(stations))
    if isinstance(dataset, MiniSeedDataset):
        said += f" of {dataset.pick_count} picks read"
    if len(stations) < LEAST_STATIONS:
        raise ConfigError(
            f"{folder}: {said}: at least {LEAST_STATIONS} stations are needed, one of which is held out of training"
            + ("; pieces shorter than 30 s are left out" if source.kind == "miniseed" else "")
        )
    fraction = max(LEAST_HELD_OUT, math.ceil(100 / len(stations)) / 100)
    recipe = load_train_config(RECIPE)
    values: dict[str, Any] = recipe.model_dump(mode="json", exclude_unset=True)
    called = name or re.sub("[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-")[:32] or "student"
    values |= {
        "name": called,
        "version": "0.1.0",
        "data": {
            "sources": [source.model_dump(exclude_unset=True)],
            "validation_fraction": fraction,
            "label_boost": values["data"]["label_boost"],
        },
        "teacher": _teacher(teacher),
        "optimiser": values["optimiser"] | {"steps": STEPS},
    }
    text = HEAD.format(folder=folder, name=called) + "\n".join(
        _section(key, value) for key, value in values.items()
    )
    try:
        config = parse_as(text, f"{called}.yaml", TrainConfig)
    except loader.ConfigError as error:
        raise ConfigError(str(error)) from error
    held = held_out_stations(stations, config)
    comparable = any(
        one.station in held
        and one.analyst[0] is not None
        and one.waves.shape[1] > ReportConfig().window_samples
        for one in waveforms
    )
    return Draft(config, text, said, comparable)


def _source(folder: Path, quakeml: Path | None) -> SourceSection:
    """The source of a folder, by what it holds."""
    kind, path = kind_of(folder), str(folder.resolve())
    if quakeml is None:
        return SourceSection(kind=kind, path=path)
    if kind != "miniseed":
        raise ConfigError(f"--quakeml {quakeml}: only with miniSEED; the table in {folder} has the picks")
    return SourceSection(kind=kind, path=path, quakeml=str(quakeml.resolve()))


def _said(source: SourceSection, waveforms: Sequence[Waveform], stations: int) -> str:
    """A summary of the data."""
    what = "pieces of 30 to 120 s without a gap" if source.kind == "miniseed" else "records"
    hours = sum(waveform.waves.shape[1] for waveform in waveforms) / RATE_HZ / 3600
    counts = [sum(waveform.analyst[row] is not None for waveform in waveforms) for row in range(2)]
    return f"{len(waveforms)} {what}, {hours:.2f} h, {stations} stations; in them {counts[0]} P and {counts[1]} S"


def _teacher(named: str) -> dict[str, Any]:
    if named in shipped():
        return {"kind": "onnx", "onnx": str(weights_path(named))}
    if named.endswith(".onnx"):
        path = Path(named).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"--teacher {named}: no such file")
        return {"kind": "onnx", "onnx": str(path)}
    kind, slash, weights = named.partition("/")
    if not slash or not kind or not weights:
        raise ConfigError(
            f"--teacher {named}: must be MODEL/WEIGHTS of SeisBench such as PhaseNet/original, a shipped student "
            f"({', '.join(shipped())}), or a file that ends in .onnx"
        )
    # PhaseNet has a form that is padded as in its training: SeisBench's own is 30 ms late.
    return {"kind": "seisbench", "model": named, "cache_root": "", "aligned": kind == "PhaseNet"}


def _section(key: str, value: Any) -> str:
    lines = comment_lines("", COMMENTS.get(key, ""))
    if isinstance(value, dict):
        lines += [f"{key}:", *(f"  {name}: {scalar_text(entry)}" for name, entry in value.items())]
    else:
        lines.append(f"{key}: {scalar_text(value)}")
    return "".join(f"{line}\n" for line in lines)
