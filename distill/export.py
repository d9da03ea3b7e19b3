"""Exports a run: the files that are shipped.

Thresholds are chosen on the training corpus alone, through the daemon's own picker as it makes final picks, and as it makes early ones:
of those that give at most so many picks per station-hour of its noise, the middle one of those whose F-measure against the teacher's
onsets and the analysts' picks is within :data:`LEVEL` of the best. For final picks that is F1; for early ones recall counts half
(:class:`distill.serving.Serving`). They are chosen as often as there are origins, each time without the records of one of them, and the
middle one of these is taken: no origin decides alone.

A network that streams notices onsets and picks none: it has the lowest threshold that gives at most so many candidates per station-hour of
noise.

>>> best_threshold({0.2: 0.8, 0.4: 0.795, 0.6: 0.8, 0.8: 0.7}, {0.2: 9.0, 0.4: 0.4, 0.6: 0.1, 0.8: 0.0}, 0.5)
0.4
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from distill.annotators import Annotate, net_annotator, onnx_annotator
from distill.calibration import NEAR_S, Judged, convolved, fit_probability, fit_times, fold
from distill.config import TrainConfig
from distill.corpus import Corpus, Record, hours_of, noise_of, onsets_of, silenced, without_horizontals
from distill.noticing import Scout, candidates_per_hour, open_scout, scout_in_training
from distill.progress import SILENT, Progress
from distill.rates import TEACHER_THRESHOLD
from distill.runs import WEIGHTS, code_version, sha256_of, training_facts
from distill.serving import (
    EARLY,
    FINAL,
    PHASE_ROWS,
    Serve,
    Serving,
    false_rates,
    judged,
    scores_of,
    service_counts,
    windowed,
)
from distill.teachers import Teacher
from distill.train import averaged_net
from distill.trainee import widened_net
from models.calibration import Calibration
from models.conventions import FRONT_ENDS, ONSET, PHASES, RATE_HZ
from models.export import WEIGHTS_SUFFIX, export_onnx, export_stateful, export_tail, respecify, write_weights
from models.spec import ModelSpec
from models.streaming import StreamingPhaseNet
from models.weights import OTHER_FORMS, STATEFUL_SUFFIX, SUFFIX, tail_path

CANDIDATES = tuple(round(0.1 + 0.05 * step, 2) for step in range(15))
"""Thresholds from which one is chosen. The lowest must score worse than :data:`LEVEL` allows: the middle would be that of a part."""
NOTICING = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, *(round(0.1 + 0.02 * step, 2) for step in range(36)))
"""Thresholds of a network that notices onsets, from which one is chosen."""
LEAST_PROBABILITY = 0.1
"""Picks with a lower probability are not used for calibration."""
LEVEL = 0.01
"""Smaller differences of the F-measure count as chance, since few stations are held out."""


@dataclass(frozen=True)
class Thresholds:
    """Of P and S, for each stage; those of early picks are empty where a network makes none."""

    final: Mapping[str, float]
    final_vertical: Mapping[str, float]
    """Without horizontals."""
    early: Mapping[str, float] = field(default_factory=dict)
    early_vertical: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """A trained network, and what was chosen for it on the training corpus."""

    weights: dict[str, torch.Tensor]
    thresholds: Thresholds
    calibration: Calibration
    slopes: Mapping[str, tuple[float, float]]
    """Of the calibration of each phase's probability, which is part of the weights; empty: none."""


def export_run(
    config: TrainConfig,
    folder: Path,
    corpus: Corpus,
    teacher: Teacher,
    output: Path,
    progress: Progress = SILENT,
) -> Path:
    """Write ``NAME.onnx``, ``NAME.tail.onnx`` and ``NAME.safetensors`` from a finished run.

    Of a network that streams, ``NAME.stateful.onnx`` and ``NAME.safetensors``.

    Returns:
        The first of these.

    Raises:
        FileNotFoundError: when the run is not complete.
        ConfigError: when the student whose weights are averaged with those of the run cannot be used.
        ExportError: when the output of an exported file differs from that of the network.
    """
    if not (folder / WEIGHTS).exists():
        raise FileNotFoundError(
            f"{folder / WEIGHTS}: the run is not finished; 'xiao-distill train' goes on with it"
        )
    torch.set_num_threads(config.threads)
    fit = _fitted_scout if config.notices else _fitted
    weights = load_file(folder / WEIGHTS)
    made = training_facts(folder)
    if config.export.mean_with:
        weights = mean_weights(config, weights)
        made |= {
            "mean_with_sha256": sha256_of(config.export.mean_with),
            "mean_share": config.export.mean_share,
        }
    fitted = fit(config, weights, corpus, teacher, progress)
    net, front_end = averaged_net(config, fitted.weights), FRONT_ENDS[config.sampling.front_end]
    progress.say("writing the files")
    spec = ModelSpec(
        name=config.name,
        version=config.version,
        window_samples=config.service_samples,
        receptive_field_samples=net.receptive_field_samples * front_end.step,
        lookahead_samples=net.config.lookahead_samples * front_end.step,
        phases=front_end.phases,
        lengths=tuple(sorted({config.sampling.window_samples, *config.lengths, config.service_samples})),
        front_end=config.sampling.front_end,
        thresholds=fitted.thresholds.final,
        vertical_thresholds=fitted.thresholds.final_vertical,
        early_thresholds=fitted.thresholds.early,
        early_vertical_thresholds=fitted.thresholds.early_vertical,
        calibration=fitted.calibration.to_spec(),
        net=net.config.to_dict(),
        provenance={
            "teacher": teacher.description,
            "teacher_sha256": teacher.fingerprint,
            "data": ", ".join(source.path or source.name for source in config.data.all_sources),
            "data_table_sha256": corpus.sha256,
            "config_sha256": config.sha256,
            "calibration": {
                phase: [round(value, 4) for value in values] for phase, values in fitted.slopes.items()
            },
            "training": made,
            "note": config.export.note,
            "code": code_version(),
            "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        },
    )
    output.mkdir(parents=True, exist_ok=True)
    if config.notices:
        path = output / f"{config.name}{STATEFUL_SUFFIX}"
        export_stateful(net, spec, path, config.export.chunk_samples)
    else:
        path = export_onnx(net, spec, output / f"{config.name}{SUFFIX}")
        export_tail(net, spec, tail_path(path))
    write_weights(fitted.weights, spec, output / f"{config.name}{WEIGHTS_SUFFIX}")
    return path


def mean_weights(config: TrainConfig, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The mean of a run's weights and of those of ``export.mean_with``; counts of steps stay the run's.

    A run that begins with the weights of a student stays near enough for that; of two runs with other first weights a mean is no network
    that works.

    Raises:
        ConfigError: when there is no such student, or it differs in more than narrower levels.
    """
    others = widened_net("export.mean_with", config.export.mean_with, config).state_dict()
    share = config.export.mean_share
    return {
        key: share * value + (1 - share) * others[key] if value.dtype.is_floating_point else value
        for key, value in weights.items()
    }


def rethreshold(
    config: TrainConfig,
    folder: Path,
    corpus: Corpus,
    teacher: Teacher,
    progress: Progress = SILENT,
    stages: Sequence[Serving] = (FINAL, EARLY),
) -> dict[Path, ModelSpec]:
    """Choose the thresholds of an exported student anew and write them into all its files; its numbers stay.

    Args:
        config: of its training.
        folder: where its files lie.
        corpus: of its training.
        teacher: labels what is left of it without horizontals.
        progress: shows the stage.
        stages: of which thresholds are chosen, where a student picks; those of the other stay.

    Returns:
        The files, with what they say now.

    Raises:
        FileNotFoundError, SpecError: when there is no such student, or its files are damaged.
    """
    if config.notices:
        scout, _ = open_scout(folder / f"{config.name}{STATEFUL_SUFFIX}", config.threads)
        chosen = scout_thresholds(config, scout, corpus, progress)
    else:
        annotate, _ = onnx_annotator(folder / f"{config.name}{SUFFIX}", config.threads)
        chosen = stage_thresholds(config, annotate, corpus, teacher, progress, stages)
    made = {"code": code_version(), "chosen": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}

    def changed(spec: ModelSpec) -> ModelSpec:
        return replace(
            spec,
            thresholds=chosen.final or spec.thresholds,
            vertical_thresholds=chosen.final_vertical or spec.vertical_thresholds,
            early_thresholds=chosen.early or spec.early_thresholds,
            early_vertical_thresholds=chosen.early_vertical or spec.early_vertical_thresholds,
            provenance={**spec.provenance, "thresholds": made},
        )

    suffixes = (SUFFIX, *OTHER_FORMS, WEIGHTS_SUFFIX)
    files = [folder / f"{config.name}{suffix}" for suffix in suffixes]
    return {path: respecify(path, changed) for path in files if path.is_file()}


def _fitted(
    config: TrainConfig,
    weights: dict[str, torch.Tensor],
    corpus: Corpus,
    teacher: Teacher,
    progress: Progress,
) -> Fitted:
    """Calibrate a student that picks, and choose its thresholds."""
    held_out = len(corpus.validation)
    annotate = net_annotator(averaged_net(config, weights), config.sampling.front_end)
    serve = windowed(annotate, config.service_samples, FINAL)
    raw = judged(progress.counted(serve, held_out, "calibration"), corpus.validation, LEAST_PROBABILITY)
    slopes = {phase: _platt([one for one in raw if one.phase == phase]) for phase in PHASES}
    weights = fold(weights, config.net.config(), slopes)
    annotate = net_annotator(averaged_net(config, weights), config.sampling.front_end)
    chosen = stage_thresholds(config, annotate, corpus, teacher, progress)
    serve = windowed(annotate, config.service_samples, FINAL)
    sure = [
        one
        for one in judged(
            progress.counted(serve, held_out, "time uncertainty"),
            corpus.validation,
            min(chosen.final.values()),
        )
        if one.probability >= chosen.final[one.phase]
    ]
    labelled = [record for record in corpus.training if record.labelled]
    off = teacher_residuals(teacher, progress.over(labelled, "residuals of the teacher", len(labelled)))
    return Fitted(weights, chosen, fit_times(convolved(sure, off)), slopes)


def stage_thresholds(
    config: TrainConfig,
    annotate: Annotate,
    corpus: Corpus,
    teacher: Teacher,
    progress: Progress = SILENT,
    stages: Sequence[Serving] = (FINAL, EARLY),
) -> Thresholds:
    """Thresholds of a student that picks, for some stages, with and without horizontals; empty for the others."""
    records = len(corpus.validation) + len(one_of_each(corpus.training)) + len(noise_of(corpus))
    alone = vertical_alone(config, corpus, teacher, progress)
    chosen: dict[str, Mapping[str, float]] = {"final": {}, "early": {}}
    vertical = dict(chosen)
    for stage in stages:
        serve = windowed(annotate, config.service_samples, stage)
        looks, said = records * len(CANDIDATES), f"thresholds of {stage.stage} picks"
        thresholds = chosen_thresholds(config, progress.counted(serve, looks, said), corpus, stage)
        chosen[stage.stage] = thresholds
        said += ", a vertical alone"
        counted = progress.counted(serve, looks, said)
        vertical[stage.stage] = vertical_thresholds(config, counted, alone, thresholds, stage)
    return Thresholds(chosen["final"], vertical["final"], chosen["early"], vertical["early"])


def _fitted_scout(
    config: TrainConfig,
    weights: dict[str, torch.Tensor],
    corpus: Corpus,
    teacher: Teacher,
    progress: Progress,
) -> Fitted:
    """Choose the thresholds of a student that notices onsets; its probabilities are compared with nothing else."""
    del teacher
    net = averaged_net(config, weights)
    front_end, annotate = FRONT_ENDS[config.sampling.front_end], net_annotator(net, config.sampling.front_end)
    streaming = StreamingPhaseNet(net, config.export.chunk_samples // front_end.step or net.config.steps[-1])
    late = streaming.delay_samples * front_end.step + front_end.late
    scout = scout_in_training(config.name, annotate, late, streaming.chunk_samples * front_end.step)
    return Fitted(weights, scout_thresholds(config, scout, corpus, progress), Calibration(), {})


def scout_thresholds(
    config: TrainConfig, scout: Scout, corpus: Corpus, progress: Progress = SILENT
) -> Thresholds:
    """Thresholds of a student that notices onsets, with and without horizontals."""
    noise = noise_of(corpus)
    counted = progress.counted(scout.curve, 2 * len(noise), "thresholds, with and without horizontals")
    scout = replace(scout, curve=counted)
    thresholds = noticing_thresholds(config, scout, noise)
    alone = noticing_thresholds(config, scout, list(map(silenced, noise)))
    return Thresholds(thresholds, {ONSET: max(alone[ONSET], thresholds[ONSET])})


def noticing_thresholds(config: TrainConfig, scout: Scout, noise: Sequence[Record]) -> dict[str, float]:
    """The lowest threshold with which a scout calls seldom enough in noise."""
    rates, most = candidates_per_hour(scout, noise, NOTICING), config.export.max_candidates_per_hour
    return {ONSET: next((one for one in NOTICING if rates[one] <= most), NOTICING[-1])}


def chosen_thresholds(
    config: TrainConfig, serve: Serve, corpus: Corpus, stage: Serving = FINAL
) -> dict[str, float]:
    """Thresholds of both phases for picks of a stage, see the module."""
    records = [*corpus.validation, *one_of_each(corpus.training)]
    counts = service_counts(serve, records, CANDIDATES, stage)
    noise = noise_of(corpus)
    rates, taught = false_rates(serve, noise, CANDIDATES), teacher_rates(noise)
    limits = config.export.max_false_per_hour
    origins = sorted({record.origin for record in records})
    # Without the only one there would be nothing left.
    left_out: list[str | None] = [*origins] if len(origins) > 1 else [None]
    chosen: dict[str, float] = {}
    for phase in ("P", "S"):
        most = max(limits[phase], taught[phase])
        found = sorted(
            best_threshold(scores_of(counts, stage.beta, origin)[phase], rates[phase], most)
            for origin in left_out
        )
        chosen[phase] = found[(len(found) - 1) // 2]
    return chosen


def vertical_thresholds(
    config: TrainConfig,
    serve: Serve,
    corpus: Corpus,
    thresholds: Mapping[str, float],
    stage: Serving = FINAL,
) -> dict[str, float]:
    """Thresholds without horizontals, on a corpus without them: chosen like the others, and never below them."""
    alone = chosen_thresholds(config, serve, corpus, stage)
    return {phase: max(value, thresholds[phase]) for phase, value in alone.items()}


def vertical_alone(
    config: TrainConfig, corpus: Corpus, teacher: Teacher, progress: Progress = SILENT
) -> Corpus:
    """The records by which thresholds are chosen, without horizontals, and with what the teacher sees and analysts picked then.

    An analyst's pick stays where the teacher confirms it: what only the horizontals show is not missed.
    """
    wanted = {record.name for record in (*one_of_each(corpus.training), *noise_of(corpus))}
    parts = [
        [record for record in corpus.training if record.name in wanted],
        list(corpus.validation),
        list(corpus.noise),
    ]
    said = "the teacher on a vertical alone"
    training, validation, noise = (
        tuple(
            without_horizontals(record, teacher, config.labels)
            for record in progress.over(part, said, len(part))
        )
        for part in parts
    )
    return replace(corpus, training=training, validation=validation, noise=noise)


def one_of_each(records: Sequence[Record]) -> list[Record]:
    """A record of each station, one that an analyst picked if there is one: the held-out stations alone can be too few."""
    chosen: dict[str, Record] = {}
    for record in records:
        if record.labelled > chosen.setdefault(record.station, record).labelled:
            chosen[record.station] = record
    return list(chosen.values())


def teacher_rates(noise: Sequence[Record]) -> dict[str, float]:
    """Onsets per station-hour that the teacher sees in noise: a student may be as wrong as it is."""
    hours = hours_of(noise) or 1.0
    return {
        phase: sum(of == row for record in noise for _, of in record.onsets) / hours
        for row, phase in PHASE_ROWS
    }


def teacher_residuals(teacher: Teacher, records: Iterable[Record]) -> dict[str, list[float]]:
    """Pick of the teacher minus pick of the analyst, in seconds, where they are near."""
    found: dict[str, list[float]] = {"P": [], "S": []}
    for record in records:
        if not record.labelled:
            continue
        curves = teacher.annotate(record.waves.astype(np.float64))
        for row, phase in PHASE_ROWS:
            pick = record.analyst[row - 1]
            peaks = onsets_of(curves[row], TEACHER_THRESHOLD)
            if pick is not None and peaks:
                residual_s = min((peak - pick for peak in peaks), key=abs) / RATE_HZ
                if abs(residual_s) <= NEAR_S:
                    found[phase].append(residual_s)
    return found


def _platt(found: Sequence[Judged]) -> tuple[float, float]:
    return fit_probability(
        np.array([one.probability for one in found]), np.array([one.residual_s is not None for one in found])
    )


def best_threshold(
    scores: Mapping[float, float], rates: Mapping[float, float], most_per_hour: float
) -> float:
    """Choose the middle one of the best thresholds whose rate of false picks is allowed.

    If none is allowed, the one with the lowest rate.
    """
    allowed = [threshold for threshold in scores if rates[threshold] <= most_per_hour]
    if not allowed:
        return min(scores, key=lambda threshold: (rates[threshold], threshold))
    best = max(scores[threshold] for threshold in allowed)
    level = sorted(threshold for threshold in allowed if scores[threshold] >= best - LEVEL)
    return level[(len(level) - 1) // 2]
