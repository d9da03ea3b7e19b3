"""The shipped weights: they say what they are, and pick a real event."""

from pathlib import Path

import numpy as np
import pytest

from models.frontend import standardise
from models.spec import ModelSpec
from models.weights import shipped, weights_path
from tests.conftest import Recording

P_S, S_S = 4.73, 5.71
"""Where PhaseNet puts the onsets of the recording, seconds after its start."""


@pytest.fixture(params=sorted(shipped()))
def model(request: pytest.FixtureRequest) -> Path:
    return weights_path(request.param)


def test_the_default_model_is_shipped() -> None:
    assert "micro" in shipped()


def test_a_model_is_three_files_that_tell_the_same(model: Path) -> None:
    import onnxruntime
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    from models.small_phasenet import NetConfig, SmallPhaseNet

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    spec = ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    assert spec.name == model.stem
    weights = model.with_suffix(".safetensors")
    with safe_open(weights, "numpy") as file:
        assert ModelSpec.from_metadata(file.metadata()) == spec
    net = SmallPhaseNet(config=NetConfig(tuple(spec.net["widths"]), tuple(spec.net["kernels"])))
    net.load_state_dict(load_file(weights))
    assert net.receptive_field_samples == spec.receptive_field_samples
    waves = np.random.default_rng(1).normal(size=(2, 3, spec.window_samples)).astype(np.float32)
    with torch.no_grad():
        wanted = net.eval()(torch.from_numpy(waves)).numpy()
    [given] = session.run(None, {"wave": waves})
    assert np.abs(given - wanted).max() < 1e-5
    card = model.with_suffix(".md").read_text(encoding="utf-8")
    assert f"{spec.name} {spec.version}" in card
    assert spec.provenance["config_sha256"] in card


def test_one_p_and_one_s_of_a_real_event(model: Path, rjob: Recording) -> None:
    import onnxruntime
    from scipy.signal import find_peaks

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    spec = ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    whole = np.stack([rjob.components[letter] for letter in spec.components]).astype(np.float32)
    starts = range(0, 400, 5)
    windows = np.stack([whole[:, start : start + spec.window_samples] for start in starts])
    [values] = session.run(None, {"wave": standardise(windows)})
    for phase, onset_s in (("P", P_S), ("S", S_S)):
        curves = values[:, spec.phases.index(phase)]
        for start, curve in zip(starts, curves, strict=True):
            expected = onset_s * spec.sampling_rate_hz - start
            peaks, _ = find_peaks(curve, height=spec.thresholds[phase], distance=50)
            near = [peak for peak in peaks if abs(peak - expected) < 100]
            assert len(near) == 1, (phase, start, peaks)
            assert abs(near[0] - expected) <= 10, (phase, start, near)
