"""The training loop: seeded, checkpointed, resumed exactly, with a folder for each run (:mod:`distill.runs`).

The weights are an exponential average over the steps (Polyak & Juditsky 1992, doi:10.1137/0330046); the learning
rate follows one cycle (Smith & Topin 2019, arXiv:1708.07120). In several processes: :mod:`distill.processes`.

>>> [round(learning_rate(step, steps=100, peak=1.0, warm_up=0.1), 2) for step in (0, 10, 55, 99)]
[0.04, 1.0, 0.5, 0.0]
"""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from distill.annotators import net_annotator
from distill.checkpoint import load, optimiser_parts, restore_optimiser, save
from distill.config import ConfigError, TrainConfig
from distill.corpus import Corpus, Record
from distill.curves import CURVES, draw_curves
from distill.examples import Examples
from distill.falsepicks import PICKED, with_false_picks
from distill.losses import soft_cross_entropy
from distill.onset_loss import noticed_share, onset_loss
from distill.processes import Processes
from distill.progress import SILENT, Progress
from distill.runs import WEIGHTS, LogRow, describe, finish, log, read_log, run_folder
from distill.scores import best_f1
from distill.teachers import Teacher
from distill.trainee import Trainee, exported_net, read_spec
from models.conventions import ONSET
from models.files import put_in_place
from models.small_phasenet import SmallPhaseNet, net_behind

VALIDATION_STEPS = 8
"""Batches of the validation loss, always the same ones."""
START_FRACTION = 0.04
"""Learning rate at the beginning, relative to its peak."""
CHECKPOINT = "checkpoint.safetensors"
SHIFT_STREAM = 2
"""Separates the random numbers of shifts from those of examples."""
MAX_SHIFT = 8
AWAKE_S = 60.0
"""For so long after an onset it does not matter whether another one is noticed."""
DRAW_EVERY_S = 60.0
ENDS_HOP = 200
"""Samples between the windows in which false picks are looked for, where those at the end of one count too."""


@dataclass
class State:
    """What changes from step to step, besides the weights."""

    average: dict[str, Tensor]
    step: int = 0
    best: float = -math.inf
    """Highest F1 of its picks on the stations held out; of a network that notices, the largest part of the onsets."""
    best_average: dict[str, Tensor] | None = None
    waited: int = 0
    """Checkpoints since the best one."""


def train(
    config: TrainConfig,
    corpus: Corpus,
    runs: Path,
    progress: Progress = SILENT,
    stop_at: int | None = None,
    teacher: Teacher | None = None,
) -> Path:
    """Train, or continue a run that was stopped; returns the folder of the run.

    Args:
        config: hyper-parameters.
        corpus: the training data.
        runs: folder of all runs.
        progress: shows the steps.
        stop_at: stop with a checkpoint at this step; None: train to the end.
        teacher: labels the scenes, if the configuration has them.

    Raises:
        ConfigError: when something that the configuration names does not exist.
    """
    torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True)
    device = _device(config.optimiser.device)
    processes = Processes.from_environment(os.environ)
    processes.join(device)
    folder = run_folder(runs, config)
    trainee = Trainee(config).to(device)
    settings = config.optimiser
    optimiser = torch.optim.AdamW(
        trainee.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    state = State({key: value.clone() for key, value in trainee.net.state_dict().items()})
    _resume(folder, trainee, optimiser, state)
    if processes.first:
        parts = describe(folder, config, corpus, processes.count, state.step)
        if len(parts) > 1:
            made = "; ".join(f"from step {part['from_step']}: {part['code'] or 'unknown'}" for part in parts)
            progress.say(f"{folder}: more than one version of the code has made this run: {made}")
    learner = processes.wrapped(trainee)
    said = progress if processes.first else SILENT
    examples = Examples(_records(config, corpus, said), config, teacher=teacher)
    held_out = _held_out(config, corpus) if processes.first else []
    total, since, drawn, last = 0.0, time.monotonic(), -math.inf, time.monotonic()
    # A run that has stopped early is finished: it does not continue.
    stopped = 0 < settings.patience <= state.waited
    last_step = settings.steps if stop_at is None else min(stop_at, settings.steps)
    begin, end = state.step, state.step if stopped else last_step
    steps = said.bar(range(begin, end), "training", settings.steps, begin)
    for step in steps:
        rate = learning_rate(step, settings.steps, settings.learning_rate, settings.warm_up)
        for group in optimiser.param_groups:
            group["lr"] = rate
        total += _learn(
            learner, trainee, optimiser, batch(examples, step, processes.share), config, step, device
        )
        _average(state.average, trainee.net, min(settings.average_decay, (step + 1) / (step + 10)))
        state.step = step + 1
        if (step + 1) % settings.checkpoint_steps == 0 or step + 1 == end:
            if processes.first:
                count = step + 1 - max(begin, step - step % settings.checkpoint_steps)
                validation, f1 = _validation(config, state.average, held_out)
                steps.set_postfix(loss=f"{total / count:.4f}", validation=f"{validation:.4f}", f1=f"{f1:.3f}")
                now = time.monotonic()
                log(
                    folder,
                    LogRow(step + 1, total / count, validation, f1, now - since, rate, count / (now - last)),
                )
                last = now
                stopped = _remember(state, f1, settings.patience)
                _checkpoint(folder, trainee, optimiser, state)
                if now - drawn >= DRAW_EVERY_S:
                    draw_curves(read_log(folder), folder / CURVES)
                    drawn = now
            total = 0.0
            stopped = processes.agreed(stopped, device)
            if stopped:
                break
    if processes.first:
        _finish(folder, config, state, stopped)
    processes.leave()
    return folder


def batch(examples: Examples, step: int, share: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """The batch of a step, or a share of it, as tensors."""
    waves, labels = examples.batch(step, share)
    return torch.from_numpy(waves), torch.from_numpy(labels)


def learning_rate(step: int, steps: int, peak: float, warm_up: float) -> float:
    """A cosine up to the peak over the first part of the steps, then a cosine down to zero."""
    turn = max(1.0, warm_up * steps)
    if step < turn:
        share = 0.5 - 0.5 * math.cos(math.pi * step / turn)
        return peak * (START_FRACTION + (1 - START_FRACTION) * share)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - turn) / max(1.0, steps - turn)))


def averaged_net(config: TrainConfig, average: dict[str, Tensor]) -> SmallPhaseNet:
    """Build the network with averaged weights, ready to be used."""
    net = net_behind(config.sampling.front_end, config.net.config(), config.service_samples)
    net.load_state_dict(average)
    net.eval()
    return net


def _learn(
    learner: nn.Module,
    trainee: Trainee,
    optimiser: torch.optim.Optimizer,
    example: tuple[Tensor, Tensor],
    config: TrainConfig,
    step: int,
    device: torch.device,
) -> float:
    """Make one step; returns its loss."""
    waves, labels = (part.to(device) for part in example)
    shift = int(np.random.default_rng([config.seed, SHIFT_STREAM, step]).integers(1, MAX_SHIFT + 1))
    loss = learner(waves, labels, shift)
    optimiser.zero_grad()
    loss.backward()
    if config.optimiser.clip_norm:
        nn.utils.clip_grad_norm_(trainee.parameters(), config.optimiser.clip_norm)
    optimiser.step()
    value: float = loss.item()
    return value


def _device(name: str) -> torch.device:
    if name == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError("optimiser.device: cuda: there is none here; cpu works everywhere")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def _records(config: TrainConfig, corpus: Corpus, progress: Progress) -> tuple[Record, ...]:
    """Records to learn from, with the false picks of the network that training begins with if scenes are cut around them."""
    records = corpus.training
    if not config.scenes.false_pick:
        return records
    start = net_annotator(exported_net("optimiser.start", config.optimiser.start), config.sampling.front_end)
    # What is noticed while the station is awake costs little.
    picked, calm_s = PICKED, 0.0
    if config.notices:
        picked, calm_s = read_spec(Path(config.optimiser.start)).thresholds[ONSET], AWAKE_S
    said = progress.over(records, "false picks", len(records))
    hop = ENDS_HOP if config.sampling.ends_after_false_pick else 0
    return with_false_picks(said, start, config.service_samples, picked, calm_s, hop)


def _held_out(config: TrainConfig, corpus: Corpus) -> list[tuple[Tensor, Tensor]]:
    examples = Examples(corpus.validation, config, augmented=False)
    return [batch(examples, step) for step in range(VALIDATION_STEPS)]


def _average(average: dict[str, Tensor], net: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if value.dtype.is_floating_point:
                average[key].mul_(decay).add_(value, alpha=1 - decay)
            else:
                average[key].copy_(value)


def _validation(
    config: TrainConfig, average: dict[str, Tensor], held_out: list[tuple[Tensor, Tensor]]
) -> tuple[float, float]:
    """Loss on the windows held out, and F1 of their picks, or the part of their onsets that is noticed."""
    net = averaged_net(config, {key: value.cpu() for key, value in average.items()})
    with torch.no_grad():
        logits = [net.logits(waves) for waves, _ in held_out]
    labels = [wanted for _, wanted in held_out]
    if config.notices:
        losses = [float(onset_loss(ours, theirs)) for ours, theirs in zip(logits, labels, strict=True)]
        share = noticed_share(torch.cat(logits), torch.cat(labels), config.export.max_candidates_per_hour)
        return sum(losses) / len(losses), share
    losses = [
        float(soft_cross_entropy(ours, theirs, 1.0, 0.0)) for ours, theirs in zip(logits, labels, strict=True)
    ]
    ours = torch.softmax(torch.cat(logits), dim=1).numpy()
    return sum(losses) / len(losses), best_f1(ours, torch.cat(labels).numpy(), config.labels.onset_threshold)


def _remember(state: State, f1: float, patience: int) -> bool:
    """Keep the best weights if early stopping is on; returns whether to stop."""
    if f1 > state.best:
        state.best, state.waited = f1, 0
        if patience:
            state.best_average = {key: value.clone() for key, value in state.average.items()}
        return False
    state.waited += 1
    return bool(patience) and state.waited >= patience


def _checkpoint(folder: Path, trainee: Trainee, optimiser: torch.optim.Optimizer, state: State) -> None:
    moments, groups = optimiser_parts(optimiser)
    tensors: dict[str, Any] = {"net": trainee.net.state_dict(), "average": state.average, "moments": moments}
    if state.best_average is not None:
        tensors["best_average"] = state.best_average
    if trainee.regressor is not None:
        tensors["regressor"] = trainee.regressor.state_dict()
    # JSON has no infinity.
    best = None if math.isinf(state.best) else state.best
    plain = {"step": state.step, "best_f1": best, "waited": state.waited, "groups": groups}
    save(folder / CHECKPOINT, tensors, plain)


def _resume(folder: Path, trainee: Trainee, optimiser: torch.optim.Optimizer, state: State) -> None:
    path = folder / CHECKPOINT
    if not path.exists():
        return
    try:
        tensors, plain = load(path)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(
            f"{path}: is no checkpoint ({error}); move it away, and the run begins anew"
        ) from error
    trainee.net.load_state_dict(tensors["net"])
    if trainee.regressor is not None:
        trainee.regressor.load_state_dict(tensors["regressor"])
    state.average.update(tensors["average"])
    restore_optimiser(optimiser, tensors.get("moments", {}), plain["groups"])
    state.step = int(plain["step"])
    # A checkpoint of an earlier version has the best loss instead.
    best = plain.get("best_f1")
    state.best = -math.inf if best is None else float(best)
    state.waited = int(plain["waited"])
    state.best_average = tensors.get("best_average")


def _finish(folder: Path, config: TrainConfig, state: State, stopped: bool) -> None:
    """Draw the curves; write the weights if the run is complete."""
    rows = read_log(folder)
    draw_curves(rows, folder / CURVES)
    if stopped or state.step == config.optimiser.steps:
        best = state.best_average if config.optimiser.patience and state.best_average else state.average
        partial = folder / f"{WEIGHTS}.partial"
        save_file({key: value.cpu() for key, value in best.items()}, partial)
        # The run counts as finished from here on.
        put_in_place(partial, folder / WEIGHTS)
        finish(folder, state.step, rows[-1]["validation_loss"], state.best, stopped)
