"""Every engine in the table says the same of the same windows."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from models.weights import weights_path
from tests.conftest import Recording
from xiaod.inference import ENGINES, Engine
from xiaod.inference.errors import ModelError
from xiaod.process.plugins import load

WINDOW_ENGINES = ("onnx", "torch")


@pytest.fixture(params=WINDOW_ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "torch" and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    made: Engine = load(ENGINES, request.param)(weights_path("micro"))
    return made


def windows(recording: Recording) -> np.ndarray:
    data = np.stack([recording.components[component] for component in "ZNE"])
    return np.stack([data[:, start : start + 1000] for start in range(0, 2001, 100)]).astype(np.float32)


def test_engines_agree(engine: Engine, rjob: Recording) -> None:
    given = engine.annotate(windows(rjob))
    wanted = load(ENGINES, "onnx")(weights_path("micro")).annotate(windows(rjob))
    assert given.shape == (21, 2, 1000)
    np.testing.assert_allclose(given, wanted, atol=2e-5)
    assert given[0, 0].argmax() / 100 == pytest.approx(4.73, abs=0.1)
    assert given[0, 1].argmax() / 100 == pytest.approx(5.71, abs=0.1)


def test_a_row_does_not_depend_on_its_batch(engine: Engine, rjob: Recording) -> None:
    together = engine.annotate(windows(rjob))
    for index, window in enumerate(windows(rjob)):
        np.testing.assert_allclose(engine.annotate(window[None])[0], together[index], atol=1e-6)


def test_missing_components_and_silence_give_numbers(engine: Engine, rjob: Recording) -> None:
    alone = windows(rjob)
    alone[:, 1:] = 0
    assert np.isfinite(engine.annotate(alone)).all()
    assert engine.annotate(np.zeros((1, 3, 1000), np.float32)).max() < 0.5


def test_every_engine_is_under_test() -> None:
    assert set(ENGINES) == {*WINDOW_ENGINES, "stateful"}


@pytest.mark.parametrize("kind", sorted(ENGINES))
@pytest.mark.parametrize("content", [None, b"", b"not a model", "half"])
def test_files_that_are_no_models_are_refused_by_name(
    tmp_path: Path, kind: str, content: bytes | str | None
) -> None:
    if kind == "torch" and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    path = tmp_path / ("model.safetensors" if kind == "torch" else "model.onnx")
    if content == "half":
        whole = weights_path("micro").with_suffix(path.suffix).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ModelError, match="model"):
        load(ENGINES, kind)(path)
