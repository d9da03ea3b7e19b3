"""Every teacher in the table gives probabilities on the record's own samples, with its own preprocessing."""

import os
from pathlib import Path

import numpy as np
import pytest

from distill.config import ConfigError, TeacherSection
from distill.teachers import TEACHERS, Teacher, open_teacher
from models.weights import weights_path
from tests.conftest import Recording

SHARED = Path(os.environ.get("XIAO_SHARED", "../shared"))
needs_shared = pytest.mark.skipif(
    not (SHARED / "teacher/models").is_dir(), reason=f"no PhaseNet below XIAO_SHARED ({SHARED})"
)


@pytest.fixture(scope="module")
def local_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SeisBench model that nobody trained, as its ``save`` writes it."""
    import seisbench.models
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = seisbench.models.PhaseNet(phases="NPS")
    path = tmp_path_factory.mktemp("weights") / "mine"
    model.save(path)
    return path


def sections(local_weights: Path) -> dict[str, TeacherSection]:
    onnx = TeacherSection(onnx=str(weights_path("micro")), window_samples=1000, hop_samples=250)
    seisbench = TeacherSection(kind="seisbench", model=f"PhaseNet/{local_weights}", cache_root="")
    members = (onnx.model_copy(update={"weight": 3.0}), seisbench)
    return {
        "onnx": onnx,
        "seisbench": seisbench,
        "ensemble": TeacherSection(kind="ensemble", members=members),
    }


@pytest.fixture(params=sorted(TEACHERS))
def teacher(request: pytest.FixtureRequest, local_weights: Path) -> Teacher:
    return open_teacher(sections(local_weights)[request.param], Path("/"), threads=1)


def test_probabilities_on_every_sample(teacher: Teacher, rjob: Recording) -> None:
    whole = np.stack([rjob.components[letter] for letter in "ZNE"]).astype(np.float64)
    for samples in (3000, 2900) if len(whole[0]) < 3200 else (3200,):
        # SeisBench's PhaseNet takes 3,001 samples at least.
        record = np.concatenate([whole[:, :400], whole[:, :samples]], axis=1)
        values = teacher.annotate(record)
        assert values.shape == record.shape
        assert values.min() >= -1e-6
        assert np.abs(values.sum(axis=0) - 1).max() < 1e-3


def test_it_repeats_and_says_what_it_is(teacher: Teacher, rjob: Recording) -> None:
    record = np.stack([rjob.components[letter] for letter in "ZNE"]).astype(np.float64)
    record = np.concatenate([record, record], axis=1)
    assert np.array_equal(teacher.annotate(record), teacher.annotate(record))
    assert len(teacher.fingerprint) == 64
    assert teacher.description


def test_fingerprints_differ(local_weights: Path) -> None:
    prints = [open_teacher(section, Path("/"), 1).fingerprint for section in sections(local_weights).values()]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("PhaseNet", "must be MODEL/WEIGHTS"),
        ("NoSuchNet/original", "SeisBench has no model 'NoSuchNet'"),
    ],
)
def test_a_model_that_is_not_there_is_named(model: str, problem: str) -> None:
    section = TeacherSection(kind="seisbench", model=model, cache_root="")
    with pytest.raises(ConfigError, match=problem):
        open_teacher(section, Path("/"), 1)


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"kind": "seisbench"}, "needs model"), ({"kind": "ensemble"}, "needs members")],
)
def test_what_a_kind_needs_is_said(values: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TeacherSection.model_validate(values)


@needs_shared
def test_phasenet_padded_as_trained_is_the_aligned_file(rjob: Recording) -> None:
    record = np.stack([rjob.components[letter] for letter in "ZNE"]).astype(np.float64)
    record = np.concatenate([record, record], axis=1)
    section = TeacherSection(kind="seisbench", model="PhaseNet/original", aligned=True)
    ours = open_teacher(section, SHARED, 1).annotate(record)
    theirs = open_teacher(TeacherSection(), SHARED, 1).annotate(record)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


@needs_shared
def test_phasenet_as_seisbench_runs_it_is_late(rjob: Recording) -> None:
    record = np.stack([rjob.components[letter] for letter in "ZNE"]).astype(np.float64)
    record = np.concatenate([record, record], axis=1)
    late = open_teacher(TeacherSection(kind="seisbench", model="PhaseNet/original"), SHARED, 1).annotate(
        record
    )
    aligned = open_teacher(TeacherSection(), SHARED, 1).annotate(record)
    difference = int(late[1, :3000].argmax()) - int(aligned[1, :3000].argmax())
    assert 1 <= difference <= 6
