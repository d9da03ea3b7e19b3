"""From a run to the files that are shipped.

Thresholds are chosen on the training corpus alone, through the daemon's own picker: of those that give at
most :data:`MAX_FALSE_PER_HOUR` picks per station-hour of its noise, the lowest whose F1 against the teacher's
onsets and the analysts' picks on the held-out stations is within :data:`LEVEL` of the best.

>>> best_threshold({0.2: 0.8, 0.4: 0.795, 0.6: 0.8, 0.8: 0.7}, {0.2: 9.0, 0.4: 0.4, 0.6: 0.1, 0.8: 0.0})
0.4
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from safetensors.torch import load_file, save_file

from distill.annotators import net_annotator
from distill.config import TrainConfig
from distill.corpus import Corpus
from distill.serving import false_rates, service_scores
from distill.train import WEIGHTS, averaged_net, code_version
from models.export import export_onnx
from models.spec import ModelSpec

CANDIDATES = tuple(round(0.2 + 0.05 * step, 2) for step in range(13))
MAX_FALSE_PER_HOUR = 0.5
"""Picks of each phase per station-hour of the corpus's noise: about what the teacher gives."""
WEIGHTS_MODE = 0o644
"""The library writes files that only their owner may read."""
LEVEL = 0.01
"""Differences of F1 below this are taken for chance: a few stations are held out."""


def export_run(config: TrainConfig, folder: Path, corpus: Corpus, teacher_file: Path, output: Path) -> Path:
    """Write ``NAME.onnx`` and ``NAME.safetensors`` from a finished run.

    Raises:
        FileNotFoundError: when the run has not been finished.
        ExportError: when the exported file does not give what the network gives.
    """
    if not (folder / WEIGHTS).exists():
        raise FileNotFoundError(
            f"{folder / WEIGHTS}: the run is not finished; 'xiao-distill train' goes on with it"
        )
    weights = load_file(folder / WEIGHTS)
    net = averaged_net(config, weights)
    annotate = net_annotator(net)
    noise = [record for record in corpus.training + corpus.validation if record.kind == "noise"]
    scores = service_scores(annotate, corpus.validation, CANDIDATES)
    rates = false_rates(annotate, noise, CANDIDATES)
    spec = ModelSpec(
        name=config.name,
        version=config.version,
        window_samples=config.sampling.window_samples,
        receptive_field_samples=net.receptive_field_samples,
        thresholds={phase: best_threshold(scores[phase], rates[phase]) for phase in ("P", "S")},
        net=net.config.to_dict(),
        provenance={
            "teacher": "PhaseNet original (Zhu & Beroza 2019), padded as in its training",
            "teacher_sha256": hashlib.sha256(teacher_file.read_bytes()).hexdigest(),
            "data": config.data.folder,
            "data_table_sha256": corpus.sha256,
            "config_sha256": config.sha256,
            "code": code_version(),
            "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        },
    )
    output.mkdir(parents=True, exist_ok=True)
    path = export_onnx(net, spec, output / f"{config.name}.onnx")
    partial = output / f"{config.name}.partial.safetensors"
    save_file(weights, partial, metadata=spec.to_metadata())
    partial.chmod(WEIGHTS_MODE)
    partial.replace(output / f"{config.name}.safetensors")
    return path


def best_threshold(scores: Mapping[float, float], rates: Mapping[float, float]) -> float:
    """Choose the lowest threshold that is as good as any whose rate of false picks is allowed.

    Where none is allowed, the one with the lowest rate.
    """
    allowed = [threshold for threshold in scores if rates[threshold] <= MAX_FALSE_PER_HOUR]
    if not allowed:
        return min(scores, key=lambda threshold: (rates[threshold], threshold))
    best = max(scores[threshold] for threshold in allowed)
    return min(threshold for threshold in allowed if scores[threshold] >= best - LEVEL)
