"""``xiao-distill``: train a student, evaluate it, export it, and show a run or a weights file.

Relative paths of data and teacher are below the folder of ``--shared`` or of the environment variable ``XIAO_SHARED``, by default
below the working directory; runs and caches are below ``--runs``.
"""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xiaod.process.plugins import missing

SHARED_VARIABLE = "XIAO_SHARED"
EVALUATION_DATA = "data/dev_eval"
DEFAULT_DATA = {
    "compare": "the training data that analysts picked, at the stations held out",
    "report": "the configured ones",
}
"""Of commands that have no other: what they take, in words."""
EXTRA = frozenset({"torch", "seisbench", "onnx", "safetensors", "h5py", "pandas", "matplotlib"})
"""Packages of the extra ``distill``, which the daemon does not need."""
FAILED, WRONG, INTERRUPTED = 1, 2, 130
"""Exit statuses, those of ``xiaod``."""

if TYPE_CHECKING:
    from distill.config import SourceSection, TrainConfig
    from distill.measurements import Measurements
    from distill.progress import Progress


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="xiao-distill",
        description="Trains the small picker from a large one, offline. docs/training.md goes through it.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    init = commands.add_parser(
        "init", help="write a training configuration for a folder of miniSEED and QuakeML, or for a dataset"
    )
    init.add_argument(
        "folder",
        type=Path,
        help="of miniSEED files, in any tree, with QuakeML files in it; or a dataset in SeisBench's format (metadata.csv, waveforms.hdf5)",
    )
    init.add_argument(
        "--quakeml", type=Path, metavar="PATH", help="file or folder of picks, if it is elsewhere"
    )
    init.add_argument(
        "--teacher",
        default="PhaseNet/original",
        metavar="TEACHER",
        help="MODEL/WEIGHTS of SeisBench, a shipped student, or an .onnx file (default: %(default)s)",
    )
    init.add_argument("--name", metavar="NAME", help="of the student (default: the folder's)")
    init.add_argument("--output", type=Path, metavar="FILE", help="default: NAME.yaml here")
    init.add_argument("--force", action="store_true", help="replace the file if it is there")
    init.add_argument("--no-progress", action="store_true", help="say nothing while working")
    for name, text in (
        ("label", "let the teacher label the data, to be kept, and say what it found"),
        ("train", "train a student, or go on where its run was stopped"),
        ("export", "write a run's student as ONNX and safetensors"),
        ("thresholds", "choose the thresholds of an exported student anew, and write them into its files"),
        ("evaluate", "score an exported student beside its teacher, as JSON"),
        ("card", "evaluate an exported student and write its card beside it"),
        ("compare", "your student beside a shipped one, the teacher and STA/LTA: one table and one picture"),
        ("report", "compare pickers: a folder with a page, tables and figures"),
    ):
        command = commands.add_parser(name, help=text)
        what = "what is compared, and on what" if name == "report" else "training configuration"
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help=what)
        command.add_argument(
            "--runs", type=Path, default=Path("runs"), help="folder of runs and caches (default: runs)"
        )
        command.add_argument(
            "--shared",
            type=Path,
            metavar="FOLDER",
            help=f"relative paths of data and teacher are below it (default: {SHARED_VARIABLE}, or here)",
        )
        command.add_argument("--no-progress", action="store_true", help="say nothing while working")
        if name == "train":
            command.add_argument(
                "--stop-at", type=int, metavar="STEP", help="stop there, to go on another time"
            )
        if name == "thresholds":
            command.add_argument(
                "--stage", choices=("final", "early"), help="of picks of this stage alone (default: of both)"
            )
        if name in ("export", "thresholds", "card", "compare", "report"):
            lies = {
                "compare": "where comparison.md and comparison.png are written",
                "report": "where report.html and the rest are written",
            }.get(name, "where the student's files lie")
            command.add_argument("--output", type=Path, required=True, metavar="FOLDER", help=lies)
        if name == "evaluate":
            command.add_argument(
                "--model", type=Path, metavar="FILE", help="exported student (default: the shipped one)"
            )
        if name == "compare":
            command.add_argument(
                "--model",
                type=Path,
                required=True,
                metavar="FILE",
                help="your exported student, an .onnx file",
            )
            command.add_argument(
                "--beside",
                nargs="+",
                default=["small"],
                metavar="MODEL",
                help="shipped students or .onnx files (default: small)",
            )
        if name in ("evaluate", "card", "compare", "report"):
            default = DEFAULT_DATA.get(name, EVALUATION_DATA)
            command.add_argument(
                "--data",
                metavar="DATA",
                default=None if name in DEFAULT_DATA else EVALUATION_DATA,
                help="labelled data: a folder of miniSEED with QuakeML, a corpus, a dataset in SeisBench's format, or 'example' "
                f"(default: {default})",
            )
    polarity = commands.add_parser(
        "polarity", help="measure how often first motions are decided, and how often wrongly"
    )
    polarity.add_argument(
        "--data",
        required=True,
        metavar="FOLDER",
        help="data with readings of first motions: a corpus, a dataset in SeisBench's format, a folder of miniSEED with QuakeML",
    )
    polarity.add_argument(
        "--model", default="micro", metavar="MODEL", help="what picks (default: %(default)s)"
    )
    polarity.add_argument("--shared", type=Path, metavar="FOLDER", help="a relative FOLDER is below it")
    polarity.add_argument("--no-progress", action="store_true", help="say nothing while working")
    show = commands.add_parser("show", help="print what a run or a weights file is")
    show.add_argument("path", type=Path, help="folder of a run, or a .onnx or .safetensors file")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Exit status: 0; 2 for wrong input; 130 when it is interrupted."""
    options, began_s = build_parser().parse_args(arguments), time.monotonic()
    try:
        status = _run(options)
        if status == 0 and options.command not in ("init", "show"):
            from distill.progress import peak_memory_mb

            took_s, cpu_s = time.monotonic() - began_s, time.process_time()
            used = f"{took_s:.0f} s, {cpu_s:.0f} s of CPU, at most {peak_memory_mb():.0f} MB of memory"
            _progress(options).say(f"{options.command}: {used}")
        return status
    except KeyboardInterrupt:
        print(f"\nstopped{_goes_on(options)}", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA:
            raise
        print(missing("xiao-distill", package, "distill"), file=sys.stderr)
        return WRONG


def _goes_on(options: argparse.Namespace) -> str:
    if options.command == "train":
        return "; the same command goes on from the last checkpoint"
    return (
        "; what the teacher has labelled is kept"
        if options.command not in ("init", "show", "polarity")
        else ""
    )


def _run(options: argparse.Namespace) -> int:
    from distill.config import ConfigError
    from models.export import ExportError
    from models.spec import SpecError

    commands = {
        "init": _init,
        "show": _show,
        "report": _report,
        "compare": _compare,
        "polarity": _polarity,
    }
    try:
        return commands.get(options.command, _work)(options)
    except (ConfigError, SpecError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return WRONG
    except (ExportError, OSError) as error:
        print(error, file=sys.stderr)
        return FAILED


def _init(options: argparse.Namespace) -> int:
    from distill.draft import draft

    made = draft(options.folder, options.quakeml, options.teacher, options.name, _progress(options))
    path = options.output or Path(f"{made.config.name}.yaml")
    if path.exists() and not options.force:
        raise FileNotFoundError(f"{path}: is there already; --force replaces it, --output names another file")
    path.write_text(made.text, encoding="utf-8")
    print(made.said)
    print(f"{path} is written. Next:")
    model = f"weights/{made.config.name}.onnx"
    config = ("--config", str(path))
    commands = [
        ("xiao-distill", "train", *config),
        ("xiao-distill", "export", *config, "--output", "weights"),
        ("xiao-distill", "compare", *config, "--model", model, "--output", "compared"),
        ("xiaod", "pick", str(options.folder), "--model", model),
    ]
    if not made.comparable:
        del commands[2]
    if made.config.data.all_sources[0].kind != "miniseed":
        commands.pop()
    for command in commands:
        print(f"  {shlex.join(command)}")
    if not made.comparable:
        print(
            "No analyst has picked at the stations held out: xiao-distill compare needs other labelled data (--data)."
        )
    return 0


def _work(options: argparse.Namespace) -> int:
    from distill.config import load_train_config

    config = load_train_config(options.config)
    shared = _shared(options)
    _check(config.paths, shared)

    # torch takes seconds to import: what is wrong with the arguments has been said by now.
    progress = _progress(options)
    progress.say("starting")
    from dataclasses import asdict

    from distill.corpus import load_corpus, summary
    from distill.export import export_run, rethreshold
    from distill.runs import run_folder
    from distill.serving import EARLY, FINAL
    from distill.teachers import open_teacher
    from distill.train import train
    from models.weights import STATEFUL_SUFFIX, SUFFIX, stateful_path, weights_path

    cache = options.runs / "cache"
    if options.command in ("export", "thresholds"):
        _check_clean(options.output)
    if options.command == "evaluate":
        shipped = stateful_path if config.notices else weights_path
        model = options.model or shipped(config.name)
        print(json.dumps(asdict(_measured(model, config, options, shared, progress)), indent=2))
        return 0
    if options.command == "card":
        suffix = STATEFUL_SUFFIX if config.notices else SUFFIX
        model = options.output / f"{config.name}{suffix}"
        print(_write_card(model, config, options, _measured(model, config, options, shared, progress)))
        return 0
    teacher = open_teacher(config.teacher, shared, config.threads)
    corpus = load_corpus(shared, config, teacher, cache, progress)
    if options.command == "label":
        print(json.dumps(summary(corpus), indent=2))
    elif options.command == "train":
        print(train(config, corpus, options.runs, progress, options.stop_at, teacher))
    elif options.command == "thresholds":
        stages = [stage for stage in (FINAL, EARLY) if options.stage in (None, stage.stage)]
        for path, spec in rethreshold(config, options.output, corpus, teacher, progress, stages).items():
            found = {"final": spec.thresholds, "early": spec.early_thresholds}
            print(path, json.dumps({stage: values for stage, values in found.items() if values}))
    else:
        print(export_run(config, run_folder(options.runs, config), corpus, teacher, options.output, progress))
    return 0


def _report(options: argparse.Namespace) -> int:
    from distill.report.config import load_report_config

    config = load_report_config(options.config)
    shared = _shared(options)
    if options.data:
        config = config.model_copy(update={"data": _source(options.data, shared)})
    _check({"data.path": config.data.path}, shared)
    progress = _progress(options)
    progress.say("starting")
    from distill.report.evaluation import run_evaluation
    from distill.report.pages import write_report

    _quiet()
    command = f"{SHARED_VARIABLE}=... xiao-distill report --config {options.config} --output FOLDER"
    if options.data:
        command += f" --data {options.data}"
    result = run_evaluation(config, options.config, shared, options.runs / "cache", command, progress)
    print(write_report(result, options.output, progress))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from distill.config import load_train_config

    config = load_train_config(options.config)
    shared = _shared(options)
    data = None if options.data is None else _source(options.data, shared)
    _check(config.paths | ({} if data is None else {"--data": data.path}), shared)
    progress = _progress(options)
    progress.say("starting")
    from distill.report.comparison import run_comparison, write_comparison

    _quiet()
    comparison = run_comparison(
        config, options.model, options.beside, data, shared, options.runs / "cache", progress
    )
    progress.say("drawing")
    print(write_comparison(comparison, options.output), end="")
    print(f"\nWritten to {options.output}.")
    return 0


def _polarity(options: argparse.Namespace) -> int:
    from distill.annotators import onnx_annotator
    from distill.config import ConfigError
    from distill.datasets import open_dataset
    from distill.datasets.waveform import POLARITY_COLUMN
    from distill.polarity import report
    from models.weights import resolve
    from xiaod.library import Picker

    _quiet()
    onnx_annotator(resolve(options.model))
    shared = _shared(options)
    data = _source(options.data, shared)
    _check({"--data": data.path}, shared)
    waveforms = [one for one in open_dataset(data, shared) if one.polarity is not None]
    if not waveforms:
        raise ConfigError(
            f"--data {options.data}: no record has positive or negative in the column {POLARITY_COLUMN}, or in QuakeML as polarity of its P"
        )
    print(report(Picker(options.model), _progress(options).over(waveforms, "records", len(waveforms))))
    return 0


def _measured(
    model: Path, config: "TrainConfig", options: argparse.Namespace, shared: Path, progress: "Progress"
) -> "Measurements":
    from distill.annotators import onnx_annotator
    from distill.measure import measure, student_alone

    _quiet()
    onnx_annotator(model)
    data = _source(options.data, shared)
    _check({"--data": data.path}, shared)
    compared = student_alone(model, config, options.config, data, shared)
    command = f"{SHARED_VARIABLE}=... xiao-distill {options.command} --config {options.config} --data {options.data}"
    _, held = measure(
        compared, options.config, {config.name: config}, shared, options.runs / "cache", command, progress
    )
    return held


def _write_card(
    model: Path, config: "TrainConfig", options: argparse.Namespace, held: "Measurements"
) -> Path:
    from distill.card import card

    path = model.with_name(f"{config.name}.md")
    path.write_text(card(model, config, str(options.config), held, config.name), encoding="utf-8")
    return path


def _source(data: str, shared: Path) -> "SourceSection":
    """A dataset by its path: miniSEED with QuakeML, a corpus, SeisBench's format; or ``example``."""
    from distill.config import SourceSection
    from distill.datasets import kind_of

    if data == "example":
        return SourceSection(kind="example")
    return SourceSection(kind=kind_of(shared / data), path=data)


def _shared(options: argparse.Namespace) -> Path:
    given: Path | None = options.shared
    return given if given is not None else Path(os.environ.get(SHARED_VARIABLE, "."))


def _check(paths: Mapping[str, str], shared: Path) -> None:
    """Check that all files exist before the long work begins."""
    for key, path in paths.items():
        if path and not (shared / path).exists():
            where = (
                ""
                if Path(path).is_absolute()
                else (
                    f"; {path} is relative: --shared or {SHARED_VARIABLE} must name the folder that holds it"
                )
            )
            raise FileNotFoundError(f"{shared / path}: not there ({key}){where}")


def _check_clean(output: Path) -> None:
    """Weights that are shipped name the commit that made them: code that is in no commit makes none."""
    from distill.config import ConfigError
    from distill.runs import code_version
    from models.weights import weights_path

    if output.resolve() == weights_path("").parent and code_version().endswith("-dirty"):
        raise ConfigError(
            f"{output}: holds what is shipped, and the code was changed since its last commit: commit it, or export to another folder"
        )


def _progress(options: argparse.Namespace) -> "Progress":
    from distill.progress import Progress

    return Progress(not options.no_progress)


def _quiet() -> None:
    """The daemon's own code picks the data; its log lines about gaps are not shown."""
    from xiaod.process.logs import configure_logs

    configure_logs("error", "console")


def _show(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    path: Path = options.path
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
