"""The shipped weights: they say what they are, and pick a real event."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.chunks import StatefulNet, in_chunks
from models.conventions import FRONT_ENDS
from models.export import respecify
from models.frontend import prepare
from models.geometry import PRESETS, NetConfig
from models.small_phasenet import SmallPhaseNet, net_of
from models.spec import ModelSpec
from models.weights import shipped, stateful_path, tail_path, weights_path
from tests.conftest import Recording

P_S, S_S = 4.73, 5.71
"""Where PhaseNet puts the onsets of the recording, seconds after its start."""


@pytest.fixture(params=sorted(shipped()))
def model(request: pytest.FixtureRequest) -> Path:
    return weights_path(request.param)


def test_the_default_model_is_shipped() -> None:
    assert {"micro", "small"} <= set(shipped())
    assert set(shipped(stateful=True)) == {"scout"}


@pytest.mark.parametrize("name", sorted(set(PRESETS) & set(shipped())))
def test_a_preset_with_the_name_of_a_shipped_model_is_that_network(name: str) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(weights_path(name), providers=["CPUExecutionProvider"])
    spec = ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    assert NetConfig.from_dict(dict(spec.net)) == PRESETS[name]


@pytest.mark.parametrize("name", sorted(shipped(stateful=True)))
def test_a_model_that_streams_is_two_files_and_a_card_that_tell_the_same(name: str) -> None:
    import onnxruntime
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    session = onnxruntime.InferenceSession(stateful_path(name), providers=["CPUExecutionProvider"])
    stateful = ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    weights = weights_path(name).with_suffix(".safetensors")
    with safe_open(weights, "numpy") as file:
        whole = ModelSpec.from_metadata(file.metadata())
    given = (stateful.name, stateful.version, stateful.thresholds, stateful.calibration, stateful.provenance)
    assert given == (whole.name, whole.version, whole.thresholds, whole.calibration, whole.provenance)
    card = weights.with_suffix(".md").read_text(encoding="utf-8")
    assert f"{stateful.name} {stateful.version}" in card
    assert str(stateful.provenance["config_sha256"]) in card
    net = net_of(whole).eval()
    net.load_state_dict(load_file(weights))
    front_end = FRONT_ENDS[whole.front_end]
    chunk = stateful.chunk_samples // front_end.step
    late = (stateful.delay_samples - front_end.late) // front_end.step
    channels, rows_out = front_end.channels, len(front_end.phases)
    waves = np.random.default_rng(1).normal(size=(2, channels, 40 * chunk)).astype(np.float32)
    with torch.no_grad():
        wanted = net(torch.from_numpy(waves)).numpy()
    state, pieces = np.zeros((2, stateful.state_size), np.float32), []
    net_of_file = StatefulNet(session)
    for start in range(0, waves.shape[-1], 5 * chunk):
        rows = np.concatenate([in_chunks(wave[:, start : start + 5 * chunk], chunk) for wave in waves])
        values, state = net_of_file(rows, state, np.array([5, 5]))
        pieces.append(values.reshape(2, 5, rows_out, chunk).transpose(0, 2, 1, 3).reshape(2, rows_out, -1))
    found = np.concatenate(pieces, axis=-1)[..., late:]
    assert np.abs(found - wanted[..., : found.shape[-1]]).max() < 1e-5
    assert stateful_path(name).stat().st_size < 300_000


def test_every_file_is_small(model: Path) -> None:
    assert model.stat().st_size < 300_000


def test_a_model_is_three_files_that_tell_the_same(model: Path) -> None:
    import onnxruntime
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    spec = ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    assert spec.name == model.stem
    weights = model.with_suffix(".safetensors")
    with safe_open(weights, "numpy") as file:
        assert ModelSpec.from_metadata(file.metadata()) == spec
    net = SmallPhaseNet(config=NetConfig.from_dict(dict(spec.net)))
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
    starts = range(0, min(400, whole.shape[1] - spec.window_samples + 1), 5)
    windows = np.stack([whole[:, start : start + spec.window_samples] for start in starts])
    [values] = session.run(None, {"wave": prepare(spec.front_end, windows)})
    for phase, onset_s in (("P", P_S), ("S", S_S)):
        curves = values[:, spec.phases.index(phase)]
        for start, curve in zip(starts, curves, strict=True):
            expected = onset_s * spec.sampling_rate_hz - start
            peaks, _ = find_peaks(curve, height=spec.thresholds[phase], distance=50)
            near = [peak for peak in peaks if abs(peak - expected) < 100]
            assert len(near) == 1, (phase, start, peaks)
            assert abs(near[0] - expected) <= 10, (phase, start, near)


def test_another_specification_leaves_every_number_as_it_is(model: Path, tmp_path: Path) -> None:
    import onnx
    from safetensors import safe_open

    for path in (model, tail_path(model), model.with_suffix(".safetensors")):
        if not path.exists():
            continue
        copied = tmp_path / path.name
        copied.write_bytes(path.read_bytes())
        new = respecify(copied, lambda spec: replace(spec, early_thresholds={"P": 0.11, "S": 0.12}))
        assert new.early_thresholds == {"P": 0.11, "S": 0.12}
        if path.suffix == ".safetensors":
            with safe_open(path, "numpy") as one, safe_open(copied, "numpy") as other:
                assert ModelSpec.from_metadata(other.metadata()) == new
                assert set(one.keys()) == set(other.keys())
                for name in one.keys():  # noqa: SIM118  it is no mapping
                    assert one.get_tensor(name).tobytes() == other.get_tensor(name).tobytes()
            continue
        before, after = onnx.load(path), onnx.load(copied)
        assert before.graph.SerializeToString() == after.graph.SerializeToString()
        assert ModelSpec.from_metadata({one.key: one.value for one in after.metadata_props}) == new
