"""One table and one picture: a student of one's own, shipped ones, the teacher and STA/LTA, on the same labelled windows.

Windows, scores, and intervals by bootstrap over events are those of the report (:mod:`distill.report.evaluation`); each picker has its own
thresholds. STA/LTA has the settings that are best on the training records that analysts picked, or, where there are none, on the
compared windows themselves, which favours it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from distill.baselines import RECURSIVE
from distill.bootstrap import Counts
from distill.config import ConfigError, SourceSection, TrainConfig
from distill.corpus import Corpus, load_corpus
from distill.evaluate import training_windows
from distill.progress import SILENT, Progress
from distill.report.config import ContenderSection, ReportConfig
from distill.report.contenders import Bench, Contender, contenders_of
from distill.report.evaluation import SPARE_SAMPLES, look
from distill.report.figures import draw_tolerance
from distill.report.result import EvaluationResult
from distill.report.scoring import accuracy, counts_by_tolerance, differences
from distill.report.tables import Table, markdown
from distill.report.windows import LabelledWindow, cut_windows, load_labelled
from distill.teachers import open_teacher
from models.conventions import PHASES

TABLE_TOLERANCES = ("0.1 s", "0.5 s")
FEW_RECORDS = 20
"""Below it intervals by bootstrap are too narrow: of records that are all alike they have no width."""
TEXT, PICTURE = "comparison.md", "comparison.png"


@dataclass(frozen=True)
class Comparison:
    """What was compared, and how it came out."""

    own: str
    """Name of the student that the others are compared to."""
    data: str
    """What it was compared on, in words."""
    result: EvaluationResult
    notes: Sequence[str] = field(default=())
    """What to know before believing it."""


def run_comparison(
    config: TrainConfig,
    model: Path,
    beside: Sequence[str],
    data: SourceSection | None,
    shared: Path,
    cache: Path,
    progress: Progress = SILENT,
) -> Comparison:
    """Compare a student with others.

    Args:
        config: of its training: names the teacher, and the records on which STA/LTA is tuned.
        model: its ``.onnx`` file.
        beside: shipped students, by their names, or paths of others.
        data: labelled records; None: those of the training data at held-out stations.
        shared: folder of data and teachers.
        cache: folder of the teachers' output.
        progress: shows the stage.

    Raises:
        ConfigError, FileNotFoundError, SpecError: when something does not exist, is not valid, or has no label.
    """
    corpus = load_corpus(
        shared, config, open_teacher(config.teacher, shared, config.threads), cache, progress
    )
    windows, data_sha256, said, notes = _windows(config, corpus, data, shared, progress)
    training = training_windows(replace(corpus, validation=()))
    if not training:
        notes.append(
            f"{RECURSIVE} has the settings that are best on these very windows: no training record was picked by an analyst."
        )
        training = [(window.waves.astype(np.float64), window.labels) for window in windows]
    bench = Bench(shared, Path(), training, config.threads, progress)
    # A student of one's own may be called small, too.
    others = [name for name in beside if name != config.name]
    sections = [
        ContenderSection(name=config.name, kind="student", model=str(model)),
        *(ContenderSection(name=Path(name).stem, kind="student", model=name) for name in others),
        ContenderSection(name="teacher", kind="teacher", teacher=config.teacher),
        ContenderSection(name=RECURSIVE, kind="classic", model=RECURSIVE),
    ]
    contenders = [one for section in sections for one in contenders_of(section, bench)]
    result = EvaluationResult(f"{config.name} beside others", reference=config.name)
    result.contenders = {one.name: one.described for one in contenders}
    counts = {one.name: _measure(one, windows, data_sha256, cache, result, progress) for one in contenders}
    for name, own in counts.items():
        if name != config.name:
            result.numbers += differences(name, own, counts[config.name])
    return Comparison(config.name, said, result, notes)


def _windows(
    config: TrainConfig, corpus: Corpus, data: SourceSection | None, shared: Path, progress: Progress
) -> tuple[list[LabelledWindow], str, str, list[str]]:
    """Windows, the hash of their data, the data in words, and what to know of them."""
    if data is None:
        records, data_sha256 = [one for one in corpus.validation if one.labelled], corpus.sha256
        said, notes = (
            "stations held out of training",
            [f"Thresholds of {config.name} were chosen at these stations: other data are a harder test."],
        )
    else:
        said, notes = data.path or data.name or data.kind, []
        records, data_sha256 = load_labelled(data, shared, progress)
        known = {record.station for record in corpus.training}
        if shared_with := {record.station for record in records} & known:
            notes.append(
                f"{config.name} was trained on data of {len(shared_with)} of these stations: at others it may do worse."
            )
    events = {record.name: record.event for record in records if record.event}
    windows = cut_windows(records, events, ReportConfig().window_samples + SPARE_SAMPLES)
    if not windows:
        raise ConfigError(
            f"{said}: no record with an analyst's P that is longer than {ReportConfig().window_samples / 100:g} s; "
            "--data names labelled data"
        )
    labels = ", ".join(
        f"{sum(window.labels[phase] is not None for window in windows)} {phase}" for phase in PHASES
    )
    names = {window.record for window in windows}
    if len(names) < FEW_RECORDS:
        notes.append(f"Of {len(names)} records, intervals say little: take {FEW_RECORDS} or more.")
    return windows, data_sha256, f"{said}: {len(names)} records, {len(windows)} windows with {labels}", notes


def _measure(
    contender: Contender,
    windows: Sequence[LabelledWindow],
    data_sha256: str,
    cache: Path,
    result: EvaluationResult,
    progress: Progress,
) -> Mapping[tuple[str, str], Counts]:
    tolerances_s = ReportConfig().tolerances_s
    looked = look(contender, windows, data_sha256, cache, progress)
    result.numbers += accuracy(contender, looked, tolerances_s)
    return counts_by_tolerance(contender, looked, tolerances_s)


def table_of(comparison: Comparison) -> Table:
    """A row for each picker and phase."""
    result, own, rows = comparison.result, comparison.own, []
    for name in result.contenders:
        for phase in PHASES:
            f1 = [result.value("accuracy", name, phase, at, "f1") for at in TABLE_TOLERANCES]
            if f1[0] is None or not f1[0].count:
                continue
            minus = [result.value("difference", name, phase, at, "f1") for at in TABLE_TOLERANCES]
            rest = [result.value("accuracy", name, phase, "0.5 s", key) for key in ("precision", "recall")]
            median = result.value("residuals", name, phase, "1 s", "median_s")
            rows.append(
                [
                    name,
                    phase,
                    *(one.text(interval=True) for one in f1 if one),
                    *(one.text(interval=True, signed=True) if one else "" for one in minus),
                    *(one.text() for one in rest if one),
                    f"{1e3 * median.value:+.0f}" if median and median.count else "",
                    str(f1[0].count),
                ]
            )
    head = [
        "picker",
        "phase",
        *(f"F1 at {at}" for at in TABLE_TOLERANCES),
        *(f"minus {own}, {at}" for at in TABLE_TOLERANCES),
        "precision, 0.5 s",
        "recall, 0.5 s",
        "median, ms",
        "labels",
    ]
    caption = "F1 with its 95 % interval by bootstrap over events; the median is that of pick minus label"
    return Table("comparison", caption, head, rows)


def write_comparison(comparison: Comparison, folder: Path) -> str:
    """Write text and picture into a folder; returns the text."""
    folder.mkdir(parents=True, exist_ok=True)
    table = table_of(comparison)
    lines = [
        f"# {comparison.result.title}",
        "",
        f"On {comparison.data}.",
        "",
        markdown(table),
        "",
        f"{table.caption}.",
        "",
        *(f"- {name}: {described}" for name, described in comparison.result.contenders.items()),
        *(["", *comparison.notes] if comparison.notes else []),
    ]
    text = "\n".join(lines) + "\n"
    (folder / TEXT).write_text(f"{text}\n![F1 against tolerance]({PICTURE})\n", encoding="utf-8")
    draw_tolerance(comparison.result, folder / PICTURE)
    return text
