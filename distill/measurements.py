"""What was measured of the shipped networks: one run, one file, and all texts that show it.

``python -m distill.measurements`` (``make measurements``) does everything that ``xiao-distill report`` does with ``evaluation.yaml``, asks
every shipped student in depth, loads the daemon, writes ``measurements.json``, and puts the numbers into README, cards and ``docs``.
``--texts`` only does the last. A test says that the texts are what the file gives, so no number stands with two values.

Times are not in it: they are those of one machine in one hour. What a network costs is how many times cheaper it is than PhaseNet,
measured by turns in one process.

>>> held = Measurements({}, "a", {"a": "first"}, [Number("accuracy", "a", "P", "0.1 s", "f1", 0.9, 10, 0.8, 0.95)])
>>> Measurements.parsed(held.text()).text() == held.text()
True
"""

import argparse
import csv
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

from distill.config import SourceSection, TrainConfig, load_train_config
from distill.corpus import Corpus, Record, held_out_stations, load_corpus, load_records
from distill.datasets.corpus import TABLE
from distill.evaluate import Student, in_depth
from distill.progress import SILENT, Progress
from distill.report.config import ContenderSection, ReportConfig, load_report_config
from distill.report.evaluation import run_evaluation
from distill.report.outcome import Outcome
from distill.report.scoring import Number
from distill.teachers import open_teacher
from models.conventions import RATE_HZ
from models.weights import resolve
from xiaod.process.logs import configure_logs

PATH = Path(__file__).parent / "measurements.json"
EVALUATION = Path(__file__).parent / "evaluation.yaml"
KEPT = frozenset({"accuracy", "difference", "noise", "continuous"})
"""Tables of the report that texts show; all others are in the report alone."""
TOLERANCES = ("0.1 s", "0.5 s")
ATTRIBUTION = ("source", "licence", "data_attribution")
EXAMPLE_START = "2009-08-24T00:20:03"
"""Start of ObsPy's example event."""
STATIONS = (1, 10, 100, 1000)


@dataclass(frozen=True)
class Measurements:
    """All that texts show."""

    provenance: Mapping[str, Any]
    reference: str
    """The picker that others are compared with."""
    pickers: Mapping[str, str]
    """Name -> what it is."""
    numbers: Sequence[Number] = ()
    trade_offs: Sequence[Mapping[str, Any]] = ()
    """Of P: F1 and delay by lookahead and hop."""
    costs: Sequence[Mapping[str, Any]] = ()
    """Form, batch, times cheaper than PhaseNet."""
    evaluation_data: Mapping[str, Any] = field(default_factory=dict)
    students: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name -> what only it was asked, and what it was trained on."""
    daemon: Sequence[Mapping[str, Any]] = ()
    """Stations, resident memory."""

    def number(self, table: str, picker: str, phase: str, condition: str, metric: str) -> Number | None:
        """Look up one number."""
        wanted = (table, picker, phase, condition, metric)
        return next(
            (
                one
                for one in self.numbers
                if (one.table, one.contender, one.phase, one.condition, one.metric) == wanted
            ),
            None,
        )

    def text(self) -> str:
        """As JSON, a number a line, so that what changes can be seen."""
        parts = []
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name == "numbers":
                value = [list(astuple(one)) for one in value]
            parts.append(f"{json.dumps(name)}: {_lines(value)}")
        return "{\n" + ",\n".join(parts) + "\n}\n"

    @classmethod
    def parsed(cls, text: str) -> "Measurements":
        """Read :meth:`text`."""
        content = json.loads(text)
        return cls(**{**content, "numbers": [Number(*row) for row in content["numbers"]]})

    @classmethod
    def load(cls, path: Path = PATH) -> "Measurements":
        """Read the file."""
        return cls.parsed(path.read_text(encoding="utf-8"))


def measure(
    config: ReportConfig,
    source: Path,
    students: Mapping[str, TrainConfig],
    shared: Path,
    cache: Path,
    command: str,
    progress: Progress = SILENT,
) -> tuple[Outcome, Measurements]:
    """Compare pickers, and ask some of them in depth.

    Args:
        config: what is compared, and on what.
        source: file that it came from: its relative paths are below that folder.
        students: those asked in depth, by their names among the contenders, and what each was trained with.
        shared: folder of data and teachers.
        cache: where the teachers' output is kept.
        command: how this can be done again.
        progress: told what is being done.

    Raises:
        ConfigError, FileNotFoundError, SpecError: when something is not there or not what it should be.
    """
    outcome = run_evaluation(config, source, shared, cache, command, progress)
    asked = {}
    for name, trained in students.items():
        [section] = [one for one in config.contenders if one.name == name]
        asked[name] = _asked(section, trained, config.data, shared, cache, progress)
    labelled = [
        record for record in _labelled(config, shared) if any(pick is not None for pick in record.analyst)
    ]
    return outcome, Measurements(
        provenance=outcome.provenance | {"left out": outcome.skipped},
        reference=outcome.reference,
        pickers=outcome.contenders,
        numbers=[
            one
            for one in outcome.numbers
            if one.table in KEPT and (one.table in ("noise", "continuous") or one.condition in TOLERANCES)
        ],
        trade_offs=[asdict(one) for one in outcome.trade_offs if one.phase == "P"],
        costs=[
            {key: value for key, value in row.items() if key != "us_per_station_s"} for row in outcome.costs
        ],
        evaluation_data=_facts(labelled, (config.data,), shared),
        students=asked,
    )


def student_alone(
    model: Path, config: TrainConfig, source: Path, data: SourceSection, shared: Path
) -> ReportConfig:
    """What compares one student with its teacher, PhaseNet through SeisBench where it is, and the classic pickers."""
    contenders = [
        ContenderSection(name=config.name, kind="student", model=str(model)),
        ContenderSection(name="teacher", kind="teacher", teacher=config.teacher),
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
            "latency": {"model": ""},
            "lengths_of": "",
            "sizes": None,
            "threads": config.threads,
        }
    )


def _asked(
    section: ContenderSection,
    config: TrainConfig,
    data: SourceSection,
    shared: Path,
    cache: Path,
    progress: Progress,
) -> dict[str, Any]:
    teacher = open_teacher(config.teacher, shared, config.threads)
    records, _ = load_records(data, shared, config, teacher, cache, progress)
    corpus = load_corpus(shared, config, teacher, cache, progress)
    student = Student.load(resolve(section.model), config.threads)
    depth = in_depth(student, [one for one in records if one.labelled], corpus, teacher, progress)
    return depth | {"training_data": _training_facts(corpus, config, shared)}


def _labelled(config: ReportConfig, shared: Path) -> list[Record]:
    from distill.report.windows import load_labelled

    return load_labelled(config.data, shared)[0]


def _training_facts(corpus: Corpus, config: TrainConfig, shared: Path) -> dict[str, Any]:
    records = [*corpus.training, *corpus.validation]
    facts = _facts(records, config.data.all_sources, shared)
    starts = [row.get("trace_start_time", "") for row in _rows(config.data.all_sources, shared)]
    return facts | {
        "sha256": corpus.sha256,
        "held_out": len(held_out_stations({record.station for record in records}, config)),
        "holds_example": any(start.startswith(EXAMPLE_START) for start in starts),
    }


def _facts(records: Sequence[Record], sources: Sequence[SourceSection], shared: Path) -> dict[str, Any]:
    """How much there is, and where it comes from as far as the tables of the data say it."""
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
    """Rows of the tables of those sources that are corpora."""
    rows = []
    for source in sources:
        table = shared / source.path / TABLE
        if source.kind == "corpus" and table.is_file():
            with table.open(encoding="utf-8", newline="") as file:
                rows += list(csv.DictReader(file))
    return rows


def _lines(value: Any) -> str:
    """JSON with a line for each entry."""
    if isinstance(value, Mapping) and value:
        inner = [f" {json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(inner) + "\n}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f" {json.dumps(entry)}" for entry in value) + "\n]"
    return json.dumps(value)


def _daemon(progress: Progress) -> list[dict[str, Any]]:
    """Memory of the whole daemon with more and more stations."""
    from xiaod.tools.bench.daemon import BenchError
    from xiaod.tools.bench.load import LoadSettings, run_load

    rows: list[dict[str, Any]] = []
    for stations in progress.over(STATIONS, "daemon under load", len(STATIONS)):
        try:
            found = run_load(stations, LoadSettings())
        except BenchError as error:
            # More stations are no easier.
            progress.say(f"{stations} stations: {error}")
            break
        rows.append({key: found[key] for key in ("stations", "resident_mb", "windows_of_due", "kept_up")})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything, or only put the numbers into the texts again."""
    from distill.report.pages import write_report
    from distill.texts import ROOT, texts_of

    parser = argparse.ArgumentParser(
        prog="python -m distill.measurements", description=__doc__.split("\n\n")[0]
    )
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
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="also write the whole report there")
    options = parser.parse_args(arguments)
    if not options.texts:
        # The daemon's own code picks the data: what it logs of gaps in them is no news here.
        configure_logs("error", "console")
        config = load_report_config(EVALUATION)
        students = {
            one.name: load_train_config(EVALUATION.with_name(f"{one.model}.yaml"))
            for one in config.contenders
            if one.kind == "student"
        }
        progress = Progress()
        outcome, found = measure(
            config,
            EVALUATION,
            students,
            options.shared,
            options.runs / "cache",
            "XIAO_SHARED=... python -m distill.measurements",
            progress,
        )
        # Kept before the daemon is loaded: that may fail for reasons of the machine.
        PATH.write_text(found.text(), encoding="utf-8")
        PATH.write_text(replace(found, daemon=_daemon(progress)).text(), encoding="utf-8")
        if options.report:
            print(write_report(outcome, options.report))
    for path, text in texts_of(Measurements.load(), ROOT).items():
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
