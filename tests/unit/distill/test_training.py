"""A tiny training run on a real event: it learns, it repeats, and it goes on exactly where it was stopped."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill import runs
from distill.config import (
    ConfigError,
    LabelSection,
    NetSection,
    OptimiserSection,
    SamplingSection,
    TrainConfig,
)
from distill.corpus import Corpus, Record, label_record
from distill.examples import Examples
from distill.progress import Progress
from distill.runs import WEIGHTS, training_facts
from distill.train import CHECKPOINT, averaged_net, batch, train
from tests.conftest import Recording

TINY = TrainConfig(
    name="tiny",
    version="0.0.1",
    net=NetSection(widths=(6, 10, 16)),
    sampling=SamplingSection(lengths=(1000,), ends_after_onset=0.4, holds_onset=0.4),
    optimiser=OptimiserSection(steps=120, batch=8, checkpoint_steps=40),
)


@pytest.fixture(scope="module")
def corpus(rjob: Recording) -> Corpus:
    whole = np.stack([rjob.components[letter] for letter in "ZNE"])
    event = (whole * 100).astype(np.int32)
    silent = np.zeros((3, event.shape[1]), np.float16)
    noise = np.random.default_rng(0).normal(0, 1000, (3, 4000)).astype(np.int32)

    def record(station: str) -> Record:
        return label_record(station, station, "event", event, silent, (473.0, 571.0), LabelSection())

    quiet = np.zeros((3, 4000), np.float16)
    hushed = label_record("c", "XX.C", "noise", noise, quiet, (None, None), LabelSection())
    return Corpus((record("XX.A"), hushed), (record("XX.B"), hushed), "0" * 64)


def losses(folder: Path) -> list[tuple[int, float, float]]:
    with (folder / "log.csv").open(encoding="utf-8") as file:
        return [
            (int(row["step"]), float(row["loss"]), float(row["validation_loss"]))
            for row in csv.DictReader(file)
        ]


def test_training_learns_repeats_and_resumes(corpus: Corpus, tmp_path: Path) -> None:
    whole = train(TINY, corpus, tmp_path / "whole")
    again = train(TINY, corpus, tmp_path / "again", stop_at=53)
    assert not (again / WEIGHTS).exists()
    assert [row[0] for row in losses(again)] == [40, 53]
    assert train(TINY, corpus, tmp_path / "again") == again
    first, second = load_file(whole / WEIGHTS), load_file(again / WEIGHTS)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert losses(whole)[-1][2] == losses(again)[-1][2]
    history = losses(whole)
    assert [row[0] for row in history] == [40, 80, 120]
    assert history[-1][1] < 0.7 * history[0][1]
    assert history[-1][2] < history[0][2]
    facts = json.loads((whole / "run.json").read_text(encoding="utf-8"))
    assert facts["config"]["optimiser"]["steps"] == 120
    assert facts["config_sha256"] == TINY.sha256
    net = averaged_net(TINY, first)
    waves, _ = batch(Examples(corpus.validation, TINY, augmented=False), 0)
    with torch.no_grad():
        assert not torch.equal(
            net(waves), averaged_net(TINY, {**first, "head.bias": first["head.bias"] + 1})(waves)
        )


def test_a_run_names_the_code_of_each_part(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TINY.model_copy(update={"optimiser": OptimiserSection(steps=4, batch=4, checkpoint_steps=1)})
    for code, stop_at in (("old", 1), ("new", 2), ("new", 3), ("newest", 3), ("newest", None)):
        monkeypatch.setattr(runs, "code_version", lambda code=code: code)
        folder = train(config, corpus, tmp_path, Progress(), stop_at=stop_at)
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert facts["code"] == code
    expected = [(0, "old"), (1, "new"), (3, "newest")]
    assert [(part["from_step"], part["code"]) for part in facts["parts"]] == expected
    assert training_facts(folder)["parts"] == facts["parts"]
    assert "from step 0: old; from step 1: new; from step 3: newest" in capsys.readouterr().err


def test_what_a_run_leaves_is_on_the_disk_before_it_has_its_name(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls go through to the system; what is looked at is their order."""
    done: list[tuple[str, str]] = []
    names: dict[int, str] = {}
    sync, rename = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        done.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    def replace(source: Path, place: Path) -> None:
        rename(source, place)
        done.append(("replace", Path(source).name))
        names[len(done) - 1] = Path(place).name

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    config = TINY.model_copy(update={"optimiser": OptimiserSection(steps=2, batch=4, checkpoint_steps=1)})
    folder = train(config, corpus, tmp_path)
    for kept in (CHECKPOINT, WEIGHTS):
        places = [place for place, name in names.items() if name == kept]
        assert places, kept
        for place in places:
            assert done[place - 1] == ("fsync", done[place][1])
            assert done[place + 1] == ("fsync", folder.name)
    assert not list(folder.glob("*.partial*"))


@pytest.mark.parametrize("content", [b"", b"junk", b"\2\0\0\0\0\0\0\0{}"])
def test_a_damaged_checkpoint_is_named(content: bytes, corpus: Corpus, tmp_path: Path) -> None:
    folder = train(TINY, corpus, tmp_path, stop_at=1)
    (folder / CHECKPOINT).write_bytes(content)
    with pytest.raises(ConfigError, match=r"checkpoint\.safetensors: is no checkpoint"):
        train(TINY, corpus, tmp_path, stop_at=2)


def test_another_seed_gives_other_examples_and_the_same_seed_the_same(corpus: Corpus) -> None:
    same = [Examples(corpus.training, TINY).batch(3) for _ in range(2)]
    assert all(np.array_equal(left, right) for left, right in zip(*same, strict=True))
    other = Examples(corpus.training, TINY.model_copy(update={"seed": 1})).batch(3)
    assert not np.array_equal(same[0][0], other[0])


def test_labels_are_probabilities_and_windows_are_standardised(corpus: Corpus) -> None:
    examples = Examples(corpus.training, TINY)
    for step in range(10):
        waves, labels = examples.batch(step)
        assert waves.shape == labels.shape == (8, 3, 1000)
        assert waves.dtype == labels.dtype == np.float32
        assert np.isfinite(waves).all()
        assert np.abs(waves.mean(axis=-1)).max() < 1e-4
        assert labels.min() >= 0
        assert np.abs(labels.sum(axis=1) - 1).max() < 2e-3  # labels are kept in half precision


def test_windows_end_soon_after_an_onset_as_often_as_configured(corpus: Corpus) -> None:
    sampling = SamplingSection(
        lengths=(1000,), ends_after_onset=1.0, holds_onset=0.0, ends_after_s=(0.2, 0.5), soon=0.0
    )
    event = corpus.training[0]
    late = event.waves[:, ::-1].copy()  # an onset with more than a window before it
    onset = late.shape[1] - 1 - 473
    labels = np.zeros(late.shape, np.float16)
    record = label_record(
        "d", "XX.D", "event", late, labels, (float(onset), None), LabelSection(analyst_weight=1.0)
    )
    config = TINY.model_copy(update={"sampling": sampling})
    _, drawn = Examples((record,), config, augmented=False).batch(0)
    after_s = (drawn.shape[-1] - 1 - drawn[:, 1].argmax(axis=-1)) / 100
    assert after_s.min() >= 0.19
    assert after_s.max() <= 0.51
