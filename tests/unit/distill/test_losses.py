"""Terms of the loss, and what is learnt with them: hard labels, matching, early stopping, several processes."""

import hashlib
import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from distill.config import (
    ConfigError,
    ExportSection,
    LabelSection,
    LossSection,
    NetSection,
    OptimiserSection,
    SamplingSection,
    SceneSection,
    TrainConfig,
)
from distill.corpus import Corpus, label_record
from distill.export import mean_weights
from distill.losses import HARD_SIGMA, consistency, hard_labels, logit_matching, objective, soft_cross_entropy
from distill.runs import WEIGHTS, read_log, shown
from distill.scores import best_f1
from distill.train import train
from distill.trainee import Trainee
from models.small_phasenet import PRESETS, fresh_net
from models.spec import ModelSpec
from tests.conftest import Recording

ROOT = Path(__file__).parents[3]
TINY = TrainConfig(
    name="tiny",
    version="0.0.1",
    net=NetSection(widths=(4, 6, 8)),
    sampling=SamplingSection(ends_after_onset=0.4, holds_onset=0.4),
    optimiser=OptimiserSection(steps=40, batch=8, checkpoint_steps=10),
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def corpus(rjob: Recording) -> Corpus:
    event = (np.stack([rjob.components[letter] for letter in "ZNE"]) * 100).astype(np.int32)
    silent = np.zeros((3, event.shape[1]), np.float16)
    records = [
        label_record(name, name, "event", event, silent, (473.0, 571.0), LabelSection(analyst_weight=1.0))
        for name in ("XX.A", "XX.B")
    ]
    return Corpus((records[0],), (records[1],), "0" * 64)


def labels(seed: int) -> torch.Tensor:
    return torch.softmax(3 * torch.randn(2, 3, 400, generator=torch.Generator().manual_seed(seed)), dim=1)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), temperature=st.sampled_from([0.5, 1.0, 2.0, 4.0]))
def test_nothing_is_better_than_the_teachers_own_logits(seed: int, temperature: float) -> None:
    target = labels(seed)
    logits = torch.log(target)
    other = logits + 0.3 * torch.randn(target.shape, generator=torch.Generator().manual_seed(seed))
    assert soft_cross_entropy(logits, target, temperature, 0.0) < soft_cross_entropy(
        other, target, temperature, 0.0
    )
    assert logit_matching(logits + 5, target) < 1e-9
    assert logit_matching(other, target) > 1e-3


def test_a_higher_temperature_keeps_the_size_of_the_gradient() -> None:
    """Hinton et al. 2015, sec. 2: gradients scale as 1 / T^2, which the factor takes back."""
    sizes = []
    for temperature in (4.0, 8.0, 16.0):
        logits = torch.zeros(2, 3, 400, requires_grad=True)
        soft_cross_entropy(logits, labels(0), temperature, 0.0).backward()
        assert logits.grad is not None
        sizes.append(float(logits.grad.norm()))
    assert max(sizes) / min(sizes) < 1.3


def test_hard_labels_are_gaussians_at_onsets() -> None:
    place = torch.arange(600.0)
    target = torch.zeros(1, 3, 600)
    target[0, 1] = 0.5 * torch.exp(-0.5 * ((place - 200) / 14) ** 2)
    target[0, 2] = 0.2 * torch.exp(-0.5 * ((place - 400) / 14) ** 2)  # below the threshold
    target[:, 0] = 1 - target[:, 1:].sum(dim=1)
    hard = hard_labels(target)
    assert torch.allclose(
        hard[0, 1, 170:231], torch.exp(-0.5 * ((place[170:231] - 200) / HARD_SIGMA) ** 2), atol=1e-6
    )
    assert not hard[0, 2].any()
    assert torch.allclose(hard.sum(dim=1), torch.ones(1, 600))
    only_hard = objective(torch.log(target + 1e-6), target, LossSection(hard_weight=1.0, onset_weight=0.0))
    assert torch.isclose(only_hard, soft_cross_entropy(torch.log(target + 1e-6), hard, 1.0, 0.0))


def test_consistency_asks_the_same_of_shifted_windows() -> None:
    logits = torch.randn(2, 3, 100, generator=torch.Generator().manual_seed(0))
    assert consistency(logits, logits[..., 5:], 5) == 0
    assert consistency(logits, logits[..., :-5], 5) > 0.01


@pytest.mark.parametrize("term", ["hard_weight", "logit_weight", "consistency_weight", "feature_weight"])
def test_every_term_reaches_the_weights(term: str, tmp_path: Path) -> None:
    guide = tmp_path / "guide.safetensors"
    net = fresh_net(PRESETS["nano"], seed=5).eval()
    save_file(
        net.state_dict(), guide, metadata=ModelSpec("guide", "1.0.0", net=net.config.to_dict()).to_metadata()
    )
    waves = torch.randn(2, 3, 640, generator=torch.Generator().manual_seed(1))
    gradients = []
    for weight in (0.0, 1.0):
        loss = LossSection.model_validate({"feature_teacher": str(guide), term: weight})
        trainee = Trainee(TINY.model_copy(update={"loss": loss})).eval()
        trainee(waves, labels(1).repeat(1, 1, 2)[..., :640], 3).backward()
        gradients.append(trainee.net.encode[0].conv.weight.grad.clone())
    assert not torch.allclose(gradients[0], gradients[1])


def test_training_begins_with_the_weights_of_another(corpus: Corpus, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    net = fresh_net(PRESETS["nano"], seed=5).eval()
    save_file(
        net.state_dict(), start, metadata=ModelSpec("start", "1.0.0", net=net.config.to_dict()).to_metadata()
    )
    begun = TINY.optimiser.model_copy(update={"start": str(start), "steps": 1, "learning_rate": 1e-12})
    same = NetSection(widths=net.config.widths, kernels=net.config.kernels)
    folder = train(TINY.model_copy(update={"optimiser": begun, "net": same}), corpus, tmp_path)
    trained = load_file(folder / WEIGHTS)
    assert torch.allclose(trained["head.weight"], net.state_dict()["head.weight"], atol=1e-6)
    assert shown(folder)["start_sha256"] == hashlib.sha256(start.read_bytes()).hexdigest()
    with pytest.raises(ConfigError, match=r"optimiser\.start: .*start\.safetensors does not fit into net"):
        Trainee(TINY.model_copy(update={"optimiser": begun}))


def test_a_wider_network_gives_what_the_narrower_gave_with_any_seed_and_goes_on(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    net = fresh_net(PRESETS["nano"], seed=5)
    waves = torch.randn(4, 3, 1000, generator=torch.Generator().manual_seed(0))
    net(waves)  # running statistics that are not those of a new network
    net.eval()
    save_file(
        net.state_dict(), start, metadata=ModelSpec("start", "1.0.0", net=net.config.to_dict()).to_metadata()
    )
    begun = TINY.optimiser.model_copy(update={"start": str(start)})
    widths = tuple(width + more for width, more in zip(net.config.widths, (2, 0, 3), strict=True))
    wider = NetSection(widths=widths, kernels=net.config.kernels)
    trainee, other = (
        Trainee(TINY.model_copy(update={"optimiser": begun, "net": wider, "seed": seed})) for seed in (0, 1)
    )
    assert torch.allclose(trainee.net.eval()(waves), net(waves), atol=1e-6)
    assert torch.equal(trainee.net.eval()(waves), other.net.eval()(waves))
    other_end = TINY.sampling.model_copy(update={"front_end": "bands-1"})
    with pytest.raises(ConfigError, match=r"optimiser\.start: .* is not of a network behind bands-1"):
        Trainee(TINY.model_copy(update={"optimiser": begun, "net": wider, "sampling": other_end}))
    # What is new learns: gradients reach its weights as soon as those that take it in are no longer zero.
    trainee.net.train()
    optimiser = torch.optim.SGD(trainee.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        trainee.net.logits(waves).square().mean().backward()
        optimiser.step()
    for block, old in zip(trainee.net.encode, net.config.widths, strict=True):
        new = block.conv.weight.grad[old:]
        assert bool((new.abs().amax(dim=(1, 2)) > 0).all())


def test_false_picks_are_those_of_a_network_that_is_there() -> None:
    with pytest.raises(ValueError, match=r"scenes\.false_pick needs optimiser\.start"):
        TrainConfig(name="a", version="1.0.0", scenes=SceneSection(false_pick=0.1))
    with pytest.raises(ValueError, match=r"sampling\.ends_after_false_pick needs scenes around false picks"):
        TrainConfig(name="a", version="1.0.0", sampling=SamplingSection(ends_after_false_pick=0.1))


def test_the_mean_of_a_run_with_a_student(tmp_path: Path) -> None:
    net, run = (fresh_net(PRESETS["nano"], seed=seed) for seed in (3, 4))
    path = tmp_path / "other.safetensors"
    save_file(
        net.state_dict(), path, metadata=ModelSpec("other", "1.0.0", net=net.config.to_dict()).to_metadata()
    )
    same = NetSection(widths=net.config.widths, kernels=net.config.kernels)
    config = TINY.model_copy(
        update={"net": same, "export": ExportSection(mean_with=str(path), mean_share=0.25)}
    )
    weights, others = run.state_dict(), net.state_dict()
    mean = mean_weights(config, weights)
    assert mean.keys() == weights.keys()
    assert torch.allclose(mean["head.weight"], 0.25 * weights["head.weight"] + 0.75 * others["head.weight"])
    counts = {key for key, value in weights.items() if not value.dtype.is_floating_point}
    assert counts
    assert all(torch.equal(mean[key], weights[key]) for key in counts)
    whole = config.model_copy(update={"export": ExportSection(mean_with=str(path), mean_share=1.0)})
    assert all(torch.equal(value, weights[key]) for key, value in mean_weights(whole, weights).items())
    with pytest.raises(ConfigError, match=r"export\.mean_with: .*other\.safetensors does not fit into net"):
        mean_weights(config.model_copy(update={"net": TINY.net}), weights)
    nowhere = config.model_copy(update={"export": ExportSection(mean_with="nowhere.safetensors")})
    with pytest.raises(ConfigError, match=r"export\.mean_with: nowhere\.safetensors"):
        mean_weights(nowhere, weights)


def test_the_validation_measures_picks() -> None:
    place = np.arange(1000)
    labels = np.zeros((4, 3, 1000), np.float32)
    labels[:2, 1] = np.exp(-0.5 * ((place - 300) / 10) ** 2)
    labels[:2, 2] = np.exp(-0.5 * ((place - 600) / 10) ** 2)
    assert best_f1(labels, labels, 0.3) == 1.0
    assert best_f1(np.zeros_like(labels), labels, 0.3) == 0.0
    late = np.roll(labels, 30, axis=-1)
    assert best_f1(late, labels, 0.3) == 0.5  # right within 0.5 s, wrong within 0.1 s
    false = labels.copy()
    false[2:] = labels[:2]
    assert 0.6 < best_f1(false, labels, 0.3) < 0.7  # as many false picks as right ones


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_a_guide_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "guide.safetensors"
    if content is not None:
        path.write_bytes(content)
    loss = LossSection(feature_weight=1.0, feature_teacher=str(path))
    with pytest.raises(ConfigError, match=r"loss\.feature_teacher: .*guide\.safetensors"):
        Trainee(TINY.model_copy(update={"loss": loss}))


def test_training_stops_early_and_keeps_the_best_weights(corpus: Corpus, tmp_path: Path) -> None:
    """With a rate that tears the weights apart the first looks are the best."""
    wild = OptimiserSection(
        steps=400,
        batch=4,
        checkpoint_steps=5,
        patience=3,
        learning_rate=3.0,
        average_decay=0.0,
        clip_norm=1.0,
    )
    folder = train(TINY.model_copy(update={"optimiser": wild}), corpus, tmp_path)
    rows = read_log(folder)
    scores = [row["validation_f1"] for row in rows]
    best = max(range(len(scores)), key=scores.__getitem__)
    assert len(rows) == best + 4 < 80
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["stopped_early"]
    assert math.isclose(metrics["best_validation_f1"], scores[best], abs_tol=1e-4)
    assert all(
        value.isfinite().all() for value in load_file(folder / WEIGHTS).values() if value.is_floating_point()
    )
    # Asked for once more it is what it is.
    before = [(folder / name).read_bytes() for name in (WEIGHTS, "log.csv", "metrics.json")]
    train(TINY.model_copy(update={"optimiser": wild}), corpus, tmp_path)
    assert [(folder / name).read_bytes() for name in (WEIGHTS, "log.csv", "metrics.json")] == before


def test_a_run_is_written_down(corpus: Corpus, tmp_path: Path) -> None:
    folder = train(TINY, corpus, tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "run.json",
        "log.csv",
        "curves.png",
        "checkpoint.safetensors",
        "metrics.json",
        "weights.safetensors",
    }
    facts = shown(folder)
    assert facts["finished"]
    assert facts["progress"]["step"] == 40
    assert facts["libraries"]["torch"] == torch.__version__.split("+")[0] or facts["libraries"]["torch"]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FileNotFoundError, match="not the folder of a run"):
        shown(tmp_path)


PROCESS = """
import faulthandler
import sys
from pathlib import Path
import numpy as np
from distill.config import LabelSection, NetSection, OptimiserSection, TrainConfig
from distill.corpus import Corpus, label_record
from distill.train import train

def run(event_path, folder):
    event = np.load(event_path)
    silent = np.zeros(event.shape, np.float16)
    records = [label_record(n, n, "event", event, silent, (473.0, 571.0), LabelSection()) for n in ("XX.A", "XX.B")]
    config = TrainConfig(name="tiny", version="0.0.1", net=NetSection(widths=(4, 6)),
                         optimiser=OptimiserSection(steps=12, batch=8, checkpoint_steps=6))
    train(config, Corpus((records[0],), (records[1],), "0" * 64), Path(folder))

if __name__ == "__main__":
    faulthandler.dump_traceback_later(100, exit=True)  # says where it hangs, if it does
    run(*sys.argv[1:])
"""


def test_two_processes_train_one_student(rjob: Recording, tmp_path: Path) -> None:
    script, event = tmp_path / "run.py", tmp_path / "event.npy"
    script.write_text(PROCESS, encoding="utf-8")
    np.save(event, (np.stack([rjob.components[letter] for letter in "ZNE"]) * 100).astype(np.int32))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    launch = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr",
        "127.0.0.1",
        "--nproc-per-node",
        "2",
    ]
    command = [sys.executable, *launch, str(script), str(event), str(tmp_path / "two")]
    subprocess.run(command, check=True, env=environment, timeout=120, cwd=tmp_path)
    runpy.run_path(str(script))["run"](event, tmp_path / "one")
    [two], [one] = ([*(tmp_path / name).iterdir()] for name in ("two", "one"))
    assert shown(two)["processes"] == 2
    first, second = load_file(two / WEIGHTS), load_file(one / WEIGHTS)
    assert first.keys() == second.keys()
    # The same examples, split: losses go the same way, though batch normalisation sees halves of the batch.
    losses = [[row["loss"] for row in read_log(folder)] for folder in (two, one)]
    assert len(losses[0]) == len(losses[1]) == 2
    assert all(abs(left - right) < 0.4 * right for left, right in zip(*losses, strict=True))
