"""The training loop: seeded, checkpointed, resumed exactly, and written down.

A run lives in a folder of its own, ``RUNS/NAME-VERSION-HASH``, where the hash is that of the configuration:
its values, the code version, the environment, a CSV log, checkpoints, and at the end ``weights.safetensors``
with the averaged weights.

The average is an exponential one over the steps (Polyak & Juditsky 1992, doi:10.1137/0330046); the learning
rate follows one cycle (Smith & Topin 2019, arXiv:1708.07120).

>>> [round(learning_rate(step, steps=100, peak=1.0, warm_up=0.1), 2) for step in (0, 10, 55, 99)]
[0.04, 1.0, 0.5, 0.0]
"""

import csv
import json
import math
import platform
import subprocess
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from distill.config import TrainConfig
from distill.corpus import Corpus
from distill.examples import Examples
from distill.losses import soft_cross_entropy
from distill.teachers import Teacher
from models.small_phasenet import SmallPhaseNet, fresh_net, parameter_count

VALIDATION_STEPS = 8
"""Batches of the validation loss, the same at every look."""
START_FRACTION = 0.04
"""Learning rate at the beginning, relative to its peak."""
CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"


def run_folder(runs: Path, config: TrainConfig) -> Path:
    """Folder of a run."""
    return runs / f"{config.name}-{config.version}-{config.sha256[:8]}"


def train(
    config: TrainConfig,
    corpus: Corpus,
    runs: Path,
    progress: bool = True,
    stop_at: int | None = None,
    teacher: Teacher | None = None,
) -> Path:
    """Train, or go on where a run was stopped; gives the run's folder.

    Args:
        config: hyper-parameters.
        corpus: what to learn from.
        runs: folder of all runs.
        progress: whether a progress bar is shown.
        stop_at: stop with a checkpoint at this step, to go on another time; None trains to the end.
        teacher: who labels scenes, where the configuration asks for them.
    """
    from tqdm import tqdm

    torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True)
    folder = run_folder(runs, config)
    folder.mkdir(parents=True, exist_ok=True)
    _describe(folder, config, corpus)
    net = fresh_net(config.net.config(), config.seed)
    average = {key: value.clone() for key, value in net.state_dict().items()}
    settings = config.optimiser
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    begin = _resume(folder, net, average, optimiser)
    examples = Examples(corpus.training, config, teacher=teacher)
    held_out = [
        batch(Examples(corpus.validation, config, augmented=False), step) for step in range(VALIDATION_STEPS)
    ]
    total, since = 0.0, time.monotonic()
    end = settings.steps if stop_at is None else min(stop_at, settings.steps)
    steps = tqdm(range(begin, end), initial=begin, total=settings.steps, disable=not progress)
    for step in steps:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.steps, settings.learning_rate, settings.warm_up)
        waves, labels = batch(examples, step)
        loss = soft_cross_entropy(
            net.logits(waves), labels, config.loss.temperature, config.loss.onset_weight
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        _average(average, net, min(settings.average_decay, (step + 1) / (step + 10)))
        total += loss.item()
        if (step + 1) % settings.checkpoint_steps == 0 or step + 1 == end:
            count = step + 1 - max(begin, step - step % settings.checkpoint_steps)
            validation = _validation_loss(config, average, held_out)
            steps.set_postfix(loss=f"{total / count:.4f}", validation=f"{validation:.4f}")
            _log(folder, step + 1, total / count, validation, time.monotonic() - since)
            _checkpoint(folder, step + 1, net, average, optimiser)
            total = 0.0
    if end == settings.steps:
        save_file(average, folder / WEIGHTS)
    return folder


def batch(examples: Examples, step: int) -> tuple[Tensor, Tensor]:
    """Give a step's batch as tensors."""
    waves, labels = examples.batch(step)
    return torch.from_numpy(waves), torch.from_numpy(labels)


def learning_rate(step: int, steps: int, peak: float, warm_up: float) -> float:
    """Cosine up to the peak over the first part of the steps, cosine down to nothing over the rest."""
    turn = max(1.0, warm_up * steps)
    if step < turn:
        share = 0.5 - 0.5 * math.cos(math.pi * step / turn)
        return peak * (START_FRACTION + (1 - START_FRACTION) * share)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - turn) / max(1.0, steps - turn)))


def averaged_net(config: TrainConfig, average: dict[str, Tensor]) -> SmallPhaseNet:
    """Build the network with averaged weights, ready to be used."""
    net = SmallPhaseNet(config=config.net.config())
    net.load_state_dict(average)
    net.eval()
    return net


def _average(average: dict[str, Tensor], net: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if value.dtype.is_floating_point:
                average[key].mul_(decay).add_(value, alpha=1 - decay)
            else:
                average[key].copy_(value)


def _validation_loss(
    config: TrainConfig, average: dict[str, Tensor], held_out: list[tuple[Tensor, Tensor]]
) -> float:
    net = averaged_net(config, average)
    with torch.no_grad():
        losses = [
            float(soft_cross_entropy(net.logits(waves), labels, 1.0, 0.0)) for waves, labels in held_out
        ]
    return sum(losses) / len(losses)


def _checkpoint(
    folder: Path, step: int, net: nn.Module, average: dict[str, Tensor], optimiser: torch.optim.Optimizer
) -> None:
    partial = folder / (CHECKPOINT + ".partial")
    content = {"step": step, "net": net.state_dict(), "average": average, "optimiser": optimiser.state_dict()}
    torch.save(content, partial)
    partial.replace(folder / CHECKPOINT)


def _resume(
    folder: Path, net: nn.Module, average: dict[str, Tensor], optimiser: torch.optim.Optimizer
) -> int:
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    # weights_only: nothing but tensors and plain values is ever unpickled.
    content = torch.load(path, weights_only=True)
    net.load_state_dict(content["net"])
    average.update(content["average"])
    optimiser.load_state_dict(content["optimiser"])
    return int(content["step"])


def _describe(folder: Path, config: TrainConfig, corpus: Corpus) -> None:
    facts = {
        "config": config.model_dump(mode="json"),
        "config_sha256": config.sha256,
        "code": code_version(),
        "data_table_sha256": corpus.sha256,
        "records": {"training": len(corpus.training), "validation": len(corpus.validation)},
        "parameters": parameter_count(SmallPhaseNet(config=config.net.config())),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def code_version() -> str:
    """Describe the checked-out code; empty outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return found.stdout.strip()


def _log(folder: Path, step: int, loss: float, validation: float, seconds: float) -> None:
    path = folder / "log.csv"
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "loss", "validation_loss", "seconds_since_start"])
        writer.writerow([step, f"{loss:.6f}", f"{validation:.6f}", f"{seconds:.1f}"])
