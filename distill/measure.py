"""Measures the shipped networks, writes ``measurements.json``, and fills the texts that show the numbers.

``python -m distill.measure`` (``make measurements``) does what ``xiao-distill report`` does with ``evaluation.yaml``, evaluates every
shipped student in depth, loads the daemon, writes ``measurements.json``, and puts the numbers into README, cards and ``docs``.
``--texts`` (``make texts``) only does the last. ``--only NAME ...`` measures some pickers anew, and keeps what was measured of all others
and of the daemon. ``--daemon`` measures only what networks and daemon cost, about 25 minutes on an idle machine, and keeps all else.
"""

import argparse
import csv
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from distill.config import ConfigError, SourceSection, TrainConfig, load_train_config
from distill.corpus import Corpus, Record, load_corpus, load_records
from distill.cost import REFERENCE, costs
from distill.datasets.corpus import TABLE
from distill.evaluate import Student, in_depth
from distill.measurements import PATH, TOLERANCES, Measurements
from distill.progress import SILENT, Progress
from distill.report.config import ContenderSection, LatencySection, ReportConfig, load_report_config
from distill.report.evaluation import (
    COST_BATCHES,
    COST_RUNS,
    PHASENET,
    noise_for,
    run_evaluation,
    training_of,
)
from distill.report.pages import write_report
from distill.report.result import EvaluationResult
from distill.report.windows import load_labelled
from distill.teachers import open_teacher
from distill.texts import ROOT, texts_of
from models.conventions import RATE_HZ
from models.weights import resolve
from xiaod.process.logs import configure_logs

EVALUATION = Path(__file__).parent / "evaluation.yaml"
KEPT = frozenset({"accuracy", "difference", "origin", "stages", "noise", "continuous", "noticing"})
"""Tables of the report that the texts use."""
BY_TOLERANCE = frozenset({"accuracy", "difference"})
"""Those that have a row for each tolerance."""
ATTRIBUTION = ("source", "licence", "data_attribution")
EXAMPLE_START = "2009-08-24T00:20:03"
"""Start of ObsPy's example event."""
STATIONS = (1, 10, 100, 1000)
STOPPED_S = 60.0
"""For so long the daemon is stopped after the largest load, and catches up."""
DAY_H = 24.0
OF_A_LOAD = (
    "stations",
    "data",
    "early",
    "us_per_station_s",
    "resident_mb",
    "windows_of_due",
    "kept_up",
    "own_latency_s",
    "caught_up_s",
    "catching_up_peak_mb",
)
"""What is kept of a load."""


def measure(
    config: ReportConfig,
    source: Path,
    students: Mapping[str, TrainConfig],
    shared: Path,
    cache: Path,
    command: str,
    progress: Progress = SILENT,
) -> tuple[EvaluationResult, Measurements]:
    """Compare pickers, and measure some of them in depth.

    Args:
        config: pickers and data to compare.
        source: file of the configuration; relative paths are below its folder.
        students: with the configurations of their training, by their names among the contenders, or as they stream. Those that are
            contenders are measured in depth.
        shared: folder of data and teachers.
        cache: folder of the teachers' output.
        command: with which to repeat it.
        progress: shows the stage.

    Raises:
        ConfigError, FileNotFoundError, SpecError: when something does not exist or is not valid.
    """
    result = run_evaluation(config, source, shared, cache, command, progress)
    asked = {}
    compared = training_of(config, source)
    teacher = open_teacher(compared.teacher, shared, compared.threads)
    noise = noise_for(config, load_corpus(shared, compared, teacher, cache, progress))
    for name, trained in students.items():
        sections = [one for one in config.contenders if one.name == name]
        asked[name] = _asked(sections, trained, config.data, noise, shared, cache, progress)
    labelled = [
        record for record in _labelled(config, shared) if any(pick is not None for pick in record.analyst)
    ]
    return result, Measurements(
        provenance=result.provenance | {"left out": result.skipped},
        reference=result.reference,
        pickers=result.contenders,
        numbers=[
            one
            for one in result.numbers
            if one.table in KEPT and (one.table not in BY_TOLERANCE or one.condition in TOLERANCES)
        ],
        trade_offs=[asdict(one) for one in result.trade_offs if one.phase == "P"],
        costs=_as_shares(result.costs),
        evaluation_data=_facts(labelled, (config.data,), shared),
        students=asked,
    )


def student_alone(
    model: Path, config: TrainConfig, source: Path, data: SourceSection, shared: Path
) -> ReportConfig:
    """The comparison of one student with its teacher, PhaseNet in SeisBench if it is available, and the classic pickers.

    One that streams is not compared: it picks nothing.
    """
    teacher = ContenderSection(name="teacher", kind="teacher", teacher=config.teacher)
    contenders = [teacher]
    if not config.notices:
        contenders = [
            ContenderSection(name=config.name, kind="student", model=str(model)),
            teacher,
            ContenderSection(name="classic", kind="classic"),
        ]
        shipped = load_report_config(EVALUATION).contenders
        if (shared / "teacher" / "models").is_dir():
            contenders[2:2] = [one for one in shipped if one.teacher.kind == "seisbench"]
    return ReportConfig.model_validate(
        {
            "data": data,
            "training": str(source.resolve()),
            "contenders": tuple(contenders),
            "reference": "teacher",
            "noticing": {"models": (str(model),) if config.notices else ()},
            "latency": {"model": ""},
            "lengths_of": "",
            "sizes": None,
            "threads": config.threads,
        }
    )


def _asked(
    sections: Sequence[ContenderSection],
    config: TrainConfig,
    data: SourceSection,
    noise: Sequence[Record],
    shared: Path,
    cache: Path,
    progress: Progress,
) -> dict[str, Any]:
    teacher = open_teacher(config.teacher, shared, config.threads)
    corpus = load_corpus(shared, config, teacher, cache, progress)
    found: dict[str, Any] = {"training_data": _training_facts(corpus, config, shared)}
    for section in sections:
        records, _ = load_records(data, shared, config, teacher, cache, progress)
        student = Student.load(resolve(section.model), config.threads)
        labelled = [one for one in records if one.labelled]
        found |= in_depth(student, labelled, corpus, noise, teacher, progress)
    return found


def _labelled(config: ReportConfig, shared: Path) -> list[Record]:
    return load_labelled(config.data, shared)[0]


def _training_facts(corpus: Corpus, config: TrainConfig, shared: Path) -> dict[str, Any]:
    records = [*corpus.training, *corpus.validation]
    facts = _facts(records, config.data.all_sources, shared)
    starts = [row.get("trace_start_time", "") for row in _rows(config.data.all_sources, shared)]
    return facts | {
        "sha256": corpus.sha256,
        "held_out": len({record.station for record in corpus.validation}),
        "holds_example": any(start.startswith(EXAMPLE_START) for start in starts),
    }


def _facts(records: Sequence[Record], sources: Sequence[SourceSection], shared: Path) -> dict[str, Any]:
    """Amount and sources of the data, as far as their tables name them."""
    counts: dict[tuple[str, ...], int] = {}
    names = {record.name for record in records}
    for row in _rows(sources, shared):
        if row.get("trace_name") in names and all(key in row for key in ATTRIBUTION):
            found = tuple(row[key] for key in ATTRIBUTION)
            counts[found] = counts.get(found, 0) + 1
    return {
        "records": len(records),
        "hours": round(sum(record.waves.shape[1] for record in records) / RATE_HZ / 3600, 1),
        "stations": len({record.station for record in records}),
        "sources": [
            [count, *found] for found, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ],
    }


def _rows(sources: Sequence[SourceSection], shared: Path) -> list[dict[str, str]]:
    """Rows of the tables of the corpora among the sources."""
    rows = []
    for source in sources:
        table = shared / source.path / TABLE
        if source.kind == "corpus" and table.is_file():
            with table.open(encoding="utf-8", newline="") as file:
                rows += list(csv.DictReader(file))
    return rows


def _costs(found: Measurements, shared: Path, progress: Progress) -> Measurements:
    """With what the shipped students cost, as a share of PhaseNet; as it was where that is not to be had."""
    teacher = shared / PHASENET
    if not teacher.is_file():
        return found
    config = load_report_config(EVALUATION)
    streaming = config.noticing.models
    students = {name: resolve(name, stateful=name in streaming) for name in _students(config)}
    models = {REFERENCE: teacher} | students
    return replace(found, costs=_as_shares(costs(models, COST_BATCHES, COST_RUNS, progress)))


def _as_shares(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of :func:`distill.cost.costs` without microseconds, which are those of one machine in one hour."""
    return [{key: value for key, value in row.items() if key != "us_per_station_s"} for row in rows]


def _daemon(found: Measurements, progress: Progress) -> Measurements:
    """With what the daemon costs on this machine, and a station-day offline."""
    from xiaod.tools.bench.daemon import BenchError
    from xiaod.tools.bench.early import data_until_early
    from xiaod.tools.bench.hardware import describe
    from xiaod.tools.bench.load import LoadSettings, run_load
    from xiaod.tools.bench.offline import offline_costs
    from xiaod.tools.bench.run import KINDS

    loads = [
        *(LoadSettings(data=data) for data in KINDS),
        LoadSettings(data="quiet", early="windows"),
    ]
    rows: list[dict[str, Any]] = []
    for settings in progress.over(loads, "daemon under load", len(loads)):
        for stations in STATIONS if settings.early == "scout" else STATIONS[-1:]:
            last = settings.data == "events" and stations == STATIONS[-1]
            try:
                load = run_load(stations, replace(settings, stopped_s=STOPPED_S if last else 0.0))
            except BenchError as error:
                # More stations are no easier.
                progress.say(f"{stations} stations: {error}")
                break
            rows.append({key: load[key] for key in OF_A_LOAD if key in load})
    try:
        offline = offline_costs(DAY_H, LoadSettings().model, progress.say)
    except BenchError as error:
        progress.say(f"offline: {error}")
        offline = []
    hardware = describe()
    return replace(
        found,
        machine={key: hardware[key] for key in ("model", "cores", "memory_mb", "python")},
        daemon=rows,
        offline=offline,
        early=[data_until_early(LoadSettings().model, early) for early in ("scout", "windows")],
    )


def _keep(found: Measurements, progress: Progress) -> None:
    """Write the measurements, and again with those of the daemon, which may fail for reasons of the machine."""
    PATH.write_text(found.text(), encoding="utf-8")
    PATH.write_text(_daemon(found, progress).text(), encoding="utf-8")


def _with_only(config: ReportConfig, names: Sequence[str]) -> ReportConfig:
    """The comparison of some pickers with the reference alone.

    Raises:
        ConfigError: when one is not in the configuration.
    """
    known = {one.name for one in config.contenders} | set(config.noticing.models)
    if not set(names) <= known:
        raise ConfigError(
            f"--only: {', '.join(sorted(set(names) - known))}: there are {', '.join(sorted(known))}"
        )
    kept = tuple(one for one in config.contenders if one.name in (*names, config.reference))
    models = tuple(name for name in config.noticing.models if name in names)
    changes = {"contenders": kept, "continuous": "", "sizes": None, "lengths_of": ""}
    latency = config.latency if config.latency.model in names else LatencySection(model="")
    noticing = config.noticing.model_copy(update={"models": models})
    return config.model_copy(update={**changes, "latency": latency, "noticing": noticing})


def renewed(held: Measurements, found: Measurements, names: Sequence[str]) -> Measurements:
    """Measurements of which those of some pickers are new, and all others as they were; what is no student any more is left out.

    Raises:
        ConfigError: when the others were measured on other noise.
    """
    models = _students(load_report_config(EVALUATION))
    gone = set(held.students) - set(models)
    # The classic ones are several; the reference is always measured.
    measured = {*names, *(name for name in found.pickers if name != found.reference)}
    kept = [one for one in held.numbers if one.contender not in measured | gone]
    new = {(one.table, one.contender) for one in found.numbers if one.contender in measured}
    numbers = [
        one for one in held.numbers if (one.table, one.contender) not in new and one.contender not in gone
    ]
    numbers += (taken := [one for one in found.numbers if one.contender in measured])
    conditions = {one.condition for one in [*kept, *taken] if one.table == "noise"}
    if len(conditions) > 1:
        raise ConfigError(
            f"--only: the noise is {' and '.join(sorted(conditions))}: measure those too that have been measured on the other"
        )
    costs = [one for one in held.costs if one["model"] not in gone | measured]
    pickers = {name: said for name, said in held.pickers.items() if name not in gone}
    return replace(
        held,
        provenance={
            **held.provenance,
            "noise": found.provenance.get("noise", ""),
            "renewed": held.provenance.get("renewed", {})
            | {name: {key: found.provenance[key] for key in ("made", "code")} for name in names},
            "contenders": {
                **{name: said for name, said in held.provenance["contenders"].items() if name not in gone},
                **found.provenance["contenders"],
            },
        },
        pickers=pickers | {name: said for name, said in found.pickers.items() if name in measured},
        numbers=numbers,
        trade_offs=found.trade_offs or held.trade_offs,
        costs=[*costs, *(row for row in found.costs if row["model"] in measured)],
        students={name: (found if name in names else held).students[name] for name in models},
    )


def _students(config: ReportConfig) -> list[str]:
    """Names of the shipped students: those that pick, and those that notice onsets."""
    return [*(one.model for one in config.contenders if one.kind == "student"), *config.noticing.models]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything, or only write the numbers into the texts."""
    parser = argparse.ArgumentParser(prog="python -m distill.measure", description=__doc__.split("\n\n")[0])
    parser.add_argument("--texts", action="store_true", help="measure nothing; only fill the texts")
    parser.add_argument(
        "--shared",
        type=Path,
        default=os.environ.get("XIAO_SHARED", "."),
        metavar="FOLDER",
        help="folder of data and teachers (default: XIAO_SHARED)",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="where caches are kept"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="pickers to measure; the others are kept")
    parser.add_argument(
        "--daemon", action="store_true", help="measure only what networks and daemon cost; keep all else"
    )
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="also write the whole report there")
    options = parser.parse_args(arguments)
    if options.daemon:
        progress = Progress()
        _keep(_costs(Measurements.load(), options.shared, progress), progress)
    elif not options.texts:
        # The daemon's own code picks the data; its log lines about gaps are not shown.
        configure_logs("error", "console")
        config = load_report_config(EVALUATION)
        command = "XIAO_SHARED=... make measurements"
        if options.only:
            config = _with_only(config, options.only)
            command = f"XIAO_SHARED=... python -m distill.measure --only {' '.join(options.only)}"
        students = {
            name: load_train_config(EVALUATION.with_name(f"{name}.yaml")) for name in _students(config)
        }
        progress = Progress()
        result, found = measure(
            config,
            EVALUATION,
            students,
            options.shared,
            options.runs / "cache",
            command,
            progress,
        )
        if options.only:
            found = renewed(Measurements.load(), found, options.only)
            PATH.write_text(found.text(), encoding="utf-8")
        else:
            _keep(found, progress)
        if options.report:
            print(write_report(result, options.report, progress))
    for path, text in texts_of(Measurements.load(), ROOT).items():
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
