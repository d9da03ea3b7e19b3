"""``xiao-distill``: train a student, evaluate it, export it, show what a run or a weights file is.

Data and teacher lie below the folder that the environment variable ``XIAO_SHARED`` names (default
``../shared``); runs and caches go below ``--runs``.

>>> build_parser().parse_args(["train", "--config", "distill/micro.yaml"]).command
'train'
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xiaod.tables import missing

SHARED_VARIABLE = "XIAO_SHARED"
DEFAULT_SHARED = "../shared"
EVALUATION_DATA = "data/dev_eval"
EXTRA = frozenset({"torch", "seisbench", "onnx", "safetensors", "h5py", "pandas", "matplotlib"})
"""Packages of the extra ``distill``, which the daemon does without."""

if TYPE_CHECKING:
    from distill.config import SourceSection, TrainConfig
    from distill.teachers import Teacher


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="xiao-distill", description="Trains the small picker from a large one, offline."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in (
        ("card", "evaluate an exported student and write its card beside it"),
        ("label", "let the teacher label the data, to be kept, and say what it found"),
        ("train", "train a student, or go on where its run was stopped"),
        ("evaluate", "score an exported student beside its teacher on the evaluation data"),
        ("export", "write a run's student as ONNX and safetensors"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--config", type=Path, required=True, metavar="FILE", help="training configuration"
        )
        command.add_argument(
            "--runs", type=Path, default=Path("runs"), help="folder of runs and caches (default: runs)"
        )
        if name in ("train", "label"):
            command.add_argument("--no-progress", action="store_true", help="no progress bar")
        if name == "train":
            command.add_argument(
                "--stop-at", type=int, metavar="STEP", help="stop there, to go on another time"
            )
        if name in ("export", "card"):
            command.add_argument(
                "--output", type=Path, required=True, metavar="FOLDER", help="where NAME.onnx and NAME.md lie"
            )
        if name == "evaluate":
            command.add_argument(
                "--model", type=Path, metavar="FILE", help="exported student (default: the shipped one)"
            )
            command.add_argument(
                "--data", default=EVALUATION_DATA, help="dataset below the data folder (default: %(default)s)"
            )
    report = commands.add_parser("report", help="compare pickers: a folder with a page, tables and figures")
    report.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="what is compared, and on what"
    )
    report.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where report.html and the rest are written",
    )
    report.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of runs and caches (default: runs)"
    )
    report.add_argument(
        "--data",
        metavar="DATA",
        help="labelled data in place of the configured: a corpus, a folder of miniSEED with QuakeML, or 'example'",
    )
    report.add_argument("--no-progress", action="store_true", help="no progress bar")
    show = commands.add_parser("show", help="print what a run or a weights file is")
    show.add_argument("path", type=Path, help="folder of a run, or a .onnx or .safetensors file")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status: 0, or 2 when something it was given is wrong."""
    options = build_parser().parse_args(arguments)
    from distill.config import ConfigError
    from models.spec import SpecError

    try:
        if options.command == "show":
            return _show(options.path)
        if options.command == "report":
            return _report(options)
        return _work(options)
    except (ConfigError, SpecError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA:
            raise
        print(missing("xiao-distill", package, "distill"), file=sys.stderr)
    return 2


def _work(options: argparse.Namespace) -> int:
    from distill.config import load_train_config

    config = load_train_config(options.config)
    shared = Path(os.environ.get(SHARED_VARIABLE, DEFAULT_SHARED))
    for source in config.data.all_sources:
        if source.path and not (shared / source.path).exists():
            raise FileNotFoundError(
                f"{shared / source.path}: not there; {SHARED_VARIABLE} must name the folder that holds it"
            )
    if config.teacher.kind == "onnx" and not (shared / config.teacher.onnx).exists():
        raise FileNotFoundError(
            f"{shared / config.teacher.onnx}: not there; {SHARED_VARIABLE} must name the folder that holds it"
        )

    # torch takes seconds to import: what is wrong with the arguments has been said by now.
    from distill.corpus import load_corpus, summary
    from distill.evaluate import evaluate
    from distill.export import export_run
    from distill.runs import run_folder
    from distill.teachers import open_teacher
    from distill.train import train
    from models.weights import weights_path

    teacher = open_teacher(config.teacher, shared, config.threads)
    cache = options.runs / "cache"
    if options.command == "evaluate":
        model = options.model or weights_path(config.name)
        print(json.dumps(evaluate(model, config, shared, options.data, teacher, cache), indent=2))
        return 0
    if options.command == "card":
        print(_write_card(options.output / f"{config.name}.onnx", config, shared, teacher, cache))
        return 0
    corpus = load_corpus(shared, config, teacher, cache, progress=not getattr(options, "no_progress", True))
    if options.command == "label":
        print(json.dumps(summary(corpus), indent=2))
        return 0
    if options.command == "train":
        print(train(config, corpus, options.runs, not options.no_progress, options.stop_at, teacher))
    else:
        print(export_run(config, run_folder(options.runs, config), corpus, teacher, options.output))
    return 0


def _report(options: argparse.Namespace) -> int:
    from distill.report.config import load_report_config

    config = load_report_config(options.config)
    shared = Path(os.environ.get(SHARED_VARIABLE, DEFAULT_SHARED))
    if options.data:
        config = config.model_copy(update={"data": _source(options.data, shared)})
    from distill.report.evaluation import run_evaluation
    from distill.report.pages import write_report

    command = f"{SHARED_VARIABLE}=... xiao-distill report --config {options.config} --output FOLDER"
    if options.data:
        command += f" --data {options.data}"
    cache = options.runs / "cache"
    outcome = run_evaluation(config, options.config, shared, cache, command, not options.no_progress)
    print(write_report(outcome, options.output))
    return 0


def _source(data: str, shared: Path) -> "SourceSection":
    """A dataset by its path: a corpus, miniSEED with QuakeML, or ``example``."""
    from distill.config import SourceSection
    from distill.datasets.corpus import TABLE

    if data == "example":
        return SourceSection(kind="example")
    kind: Literal["corpus", "miniseed"] = (
        "corpus" if (shared / data / TABLE).is_file() or not (shared / data).is_dir() else "miniseed"
    )
    return SourceSection(kind=kind, path=data)


def _write_card(model: Path, config: "TrainConfig", shared: Path, teacher: "Teacher", cache: Path) -> Path:
    from dataclasses import asdict

    from distill.annotators import onnx_annotator
    from distill.card import card
    from distill.evaluate import evaluate

    _, spec = onnx_annotator(model)
    results = evaluate(model, config, shared, EVALUATION_DATA, teacher, cache)
    path = model.with_suffix(".md")
    path.write_text(card(results, asdict(spec), config, shared / config.data.folder), encoding="utf-8")
    return path


def _show(path: Path) -> int:
    from dataclasses import asdict

    if path.is_dir():
        from distill.runs import shown

        content = shown(path)
    elif path.suffix == ".safetensors":
        from distill.trainee import read_spec

        content = asdict(read_spec(path))
    else:
        from distill.annotators import onnx_annotator

        content = asdict(onnx_annotator(path)[1])
    print(json.dumps(content, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
