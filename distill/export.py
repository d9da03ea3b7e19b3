"""A run's student becomes shipped weights: thresholds chosen on training data, ONNX and safetensors written.

Thresholds are chosen on the held-out stations of the training corpus: those that give the best F1 against the teacher's onsets and the
analysts' picks, in overlapping windows as in service.

>>> best_threshold({0.2: 0.8, 0.4: 0.9, 0.6: 0.7})
0.4
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from safetensors.torch import load_file, save_file

from distill.config import TrainConfig
from distill.corpus import Corpus
from distill.evaluate import serving_scores
from distill.train import WEIGHTS, averaged_net
from models.export import export_onnx
from models.spec import ModelSpec

CANDIDATES = tuple(round(0.1 + 0.05 * step, 2) for step in range(15))


def export_run(config: TrainConfig, folder: Path, corpus: Corpus, output: Path) -> Path:
    """Write ``NAME.onnx`` and ``NAME.safetensors`` from a finished run.

    Raises:
        FileNotFoundError: when the run has not been finished.
    """
    if not (folder / WEIGHTS).exists():
        raise FileNotFoundError(f"{folder / WEIGHTS}: the run is not finished; 'xiao-distill train' goes on with it")
    weights = load_file(folder / WEIGHTS)
    net = averaged_net(config, weights)
    scores = serving_scores(net, corpus.validation, CANDIDATES)
    spec = ModelSpec(
        name=config.name,
        version=config.version,
        window_samples=config.sampling.window_samples,
        receptive_field_samples=net.receptive_field_samples,
        thresholds={phase: best_threshold(scores[phase]) for phase in ("P", "S")},
        net=net.config.to_dict(),
        provenance={
            "teacher": "PhaseNet original (Zhu & Beroza 2019), padded as in its training",
            "data_table_sha256": corpus.sha256,
            "config_sha256": config.sha256,
            "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        },
    )
    output.mkdir(parents=True, exist_ok=True)
    save_file(weights, output / f"{config.name}.safetensors", metadata=spec.to_metadata())
    return export_onnx(net, spec, output / f"{config.name}.onnx")


def best_threshold(scores: Mapping[float, float]) -> float:
    """The threshold with the best score."""
    return max(scores, key=lambda threshold: scores[threshold])
