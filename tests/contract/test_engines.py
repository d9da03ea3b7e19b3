"""The engine in ONNX Runtime gives the numbers of the network in torch; no engine takes a file that is no model."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.frontend import prepare
from models.spec import ModelSpec
from models.weights import tail_path, weights_path
from tests.conftest import ONSETS_S, Recording
from xiaod.config import Config, SeedLinkConfig
from xiaod.domain.types import Instrument, Probabilities, Stage, Window, WindowBatch
from xiaod.inference.errors import ModelError
from xiaod.inference.onnx import OnnxEngine
from xiaod.inference.scout import Scout
from xiaod.pipeline.settings import read_samples

if TYPE_CHECKING:
    from models.small_phasenet import SmallPhaseNet


INSTRUMENT = Instrument("BW", "RJOB", "", "EH")


def windows(recording: Recording) -> np.ndarray:
    data = np.stack([recording.components[component] for component in "ZNE"])
    return np.stack([data[:, start : start + 1000] for start in range(0, 2001, 100)]).astype(np.float32)


def network(path: Path) -> tuple["SmallPhaseNet", ModelSpec]:
    """The network in torch, from the weights beside an ONNX file, and their specification."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    from models.small_phasenet import NetConfig, SmallPhaseNet

    torch.set_num_threads(1)
    weights = path.with_suffix(".safetensors")
    with safe_open(weights, "numpy") as file:
        spec = ModelSpec.from_metadata(file.metadata())
    net = SmallPhaseNet(spec.window_samples, config=NetConfig.from_dict(dict(spec.net)))
    net.load_state_dict(load_file(weights))
    return net.eval(), spec


def followed(engine: OnnxEngine, recording: Recording, read: int) -> list[Probabilities]:
    """Windows of the length the model was made for, every third of them discontinuous."""
    samples = np.stack([recording.components[component] for component in "ZNE"]).astype(np.float32)
    length = engine.spec.window_samples
    batch = [
        Window(
            INSTRUMENT, start, 0, samples[:, start : start + length], "ZNE", discontinuous=start % 300 == 0
        )
        for start in range(0, samples.shape[1] - length + 1, 100)
    ]
    return engine.follow(WindowBatch(tuple(batch), np.stack([one.samples for one in batch]), read))


@pytest.mark.parametrize("model", ["micro", "small"])
@pytest.mark.parametrize("stage", ["early", "final"])
def test_the_end_of_a_window_is_that_of_the_whole(model: str, stage: Stage, rjob: Recording) -> None:
    """The shipped file of the tail form gives what the whole window gives, where a picker reads it."""
    engine = OnnxEngine(weights_path(model))
    read = read_samples(Config(sources=(SeedLinkConfig(server="localhost"),)), stage)
    whole, tails = (
        followed(engine, rjob, engine.spec.window_samples),
        followed(engine, rjob, read),
    )
    assert len(tails) == len(whole) == 11
    assert any(result.values[0].max() > 0.9 for result in whole)
    for wanted, given in zip(whole, tails, strict=True):
        assert wanted.valid is None
        assert given.window.index == wanted.window.index
        assert (given.valid is None) == given.window.discontinuous
        np.testing.assert_allclose(given.known, wanted.values[:, -given.known.shape[1] :], atol=1e-6)
        assert given.window.discontinuous or given.known.shape[1] == read


@pytest.mark.parametrize("read", [1, 2, 255, 256, 257, 401, 1100, 1999])
def test_as_many_of_the_last_samples_as_are_wanted(read: int, rjob: Recording, engine: OnnxEngine) -> None:
    samples = np.stack([rjob.components[component] for component in "ZNE"])[None, :, :2000].astype(np.float32)
    given = engine.annotate_end(samples, read)
    assert given.shape == (1, 2, read)
    np.testing.assert_allclose(given, engine.annotate(samples)[..., -read:], atol=1e-6)


def test_windows_of_which_more_is_read_are_computed_whole(rjob: Recording, engine: OnnxEngine) -> None:
    """All of one after which another component begins is searched."""
    assert all(result.valid is None for result in followed(engine, rjob, engine.spec.window_samples))
    samples = np.stack([rjob.components[component] for component in "ZNE"])[:, :2000].astype(np.float32)
    window = Window(INSTRUMENT, 0, 0, samples, "Z--", until=100)
    [result] = engine.follow(WindowBatch((window,), samples[None], 400))
    assert result.valid is None


def test_the_tail_of_another_model_is_refused(tmp_path: Path) -> None:
    shutil.copy(weights_path("micro"), tmp_path / "mine.onnx")
    shutil.copy(tail_path(weights_path("small")), tmp_path / "mine.tail.onnx")
    with pytest.raises(ModelError, match=r"mine\.tail\.onnx: not of the model in mine\.onnx"):
        OnnxEngine(tmp_path / "mine.onnx")


@pytest.fixture
def engine() -> OnnxEngine:
    return OnnxEngine(weights_path("micro"))


@pytest.mark.parametrize("model", ["micro", "small"])
def test_the_engine_gives_the_numbers_of_the_network(model: str, rjob: Recording) -> None:
    torch = pytest.importorskip("torch")
    given = OnnxEngine(weights_path(model)).annotate(windows(rjob))
    net, spec = network(weights_path(model))
    with torch.inference_mode():
        values = net(torch.from_numpy(prepare(spec.front_end, windows(rjob)))).numpy()
    wanted = values[:, [spec.phases.index(phase) for phase in "PS"]]
    assert given.shape == (21, 2, 1000)
    np.testing.assert_allclose(given, wanted, atol=2e-5)
    assert given[0, 0].argmax() / 100 == pytest.approx(ONSETS_S["P"], abs=0.1)
    assert given[0, 1].argmax() / 100 == pytest.approx(ONSETS_S["S"], abs=0.1)


def test_a_row_does_not_depend_on_its_batch(engine: OnnxEngine, rjob: Recording) -> None:
    together = engine.annotate(windows(rjob))
    for index, window in enumerate(windows(rjob)):
        np.testing.assert_allclose(engine.annotate(window[None])[0], together[index], atol=1e-6)


def test_missing_components_and_silence_give_numbers(engine: OnnxEngine, rjob: Recording) -> None:
    alone = windows(rjob)
    alone[:, 1:] = 0
    assert np.isfinite(engine.annotate(alone)).all()
    assert engine.annotate(np.zeros((1, 3, 1000), np.float32)).max() < 0.5


@pytest.mark.parametrize("kind", [OnnxEngine, Scout])
@pytest.mark.parametrize("content", [None, b"", b"not a model", "half"])
def test_files_that_are_no_models_are_refused_by_name(
    tmp_path: Path, kind: type[OnnxEngine | Scout], content: bytes | str | None
) -> None:
    path = tmp_path / "model.onnx"
    if content == "half":
        whole = weights_path("micro").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ModelError, match="model"):
        kind(path)
