"""Chunks equal the whole: the stateful student, its ONNX file, and the streaming front end."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.export import export_stateful
from models.frontend import STATE_SIZE, fresh_state, prepare, stream
from models.geometry import NetConfig
from models.small_phasenet import SmallPhaseNet, fresh_net
from models.spec import ModelSpec
from models.streaming import StreamingPhaseNet
from tests.conftest import Recording

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def worn_net(config: NetConfig, seed: int) -> SmallPhaseNet:
    """A net whose biases and statistics are anything: zeros would hide what goes wrong at the beginning."""
    net = fresh_net(config, seed)
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.bias.data.normal_(0, 0.5, generator=generator)
    net.eval()
    return net


odd = st.sampled_from([1, 3, 5, 7, 9])
nets = st.integers(1, 4).flatmap(
    lambda levels: st.builds(
        NetConfig,
        widths=st.tuples(*[st.integers(1, 5)] * levels),
        kernels=st.tuples(odd, *[odd] * levels),
        strides=st.tuples(*[st.integers(1, 4)] * levels),
        lookahead=st.sampled_from([(), (0,), (1,), (2, 1, 0), (0, 3)]),
    )
)


@settings(max_examples=60, deadline=None)
@given(nets, st.integers(1, 3), st.integers(0, 2**16))
def test_chunks_give_what_the_whole_gives(config: NetConfig, multiple: int, seed: int) -> None:
    net = worn_net(config, seed)
    streaming = StreamingPhaseNet(net, config.steps[-1] * multiple)
    late, chunk = streaming.delay_samples, streaming.chunk_samples
    count = late // chunk + 4
    wave = torch.randn(2, 3, count * chunk, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        state, pieces = streaming.fresh_state(2), []
        for piece in wave.split(chunk, dim=-1):
            probabilities, state = streaming(piece, state)
            pieces.append(probabilities)
        whole = net(wave)
    assert state.shape == (2, streaming.state_size)
    found = torch.cat(pieces, dim=-1)[..., late:]
    assert torch.allclose(found, whole[..., : found.shape[-1]], atol=TOLERANCE)
    # What is late waits for what the output depends on, and hardly longer.
    assert late <= config.lookahead_samples


def test_one_station_can_be_reset_without_the_others() -> None:
    net = worn_net(NetConfig(widths=(6, 8, 10), strides=(4, 4, 3), lookahead=(2, 1, 0)), seed=1)
    streaming = StreamingPhaseNet(net, 48)
    wave = torch.randn(3, 3, 48 * 12, generator=torch.Generator().manual_seed(1))
    pieces = wave.split(48, dim=-1)
    with torch.no_grad():
        state, out = streaming.fresh_state(3), []
        for number, piece in enumerate(pieces):
            if number == 5:
                state[1] = streaming.fresh_state(1)[0]
            probabilities, state = streaming(piece, state)
            out.append(probabilities)
        whole, again = net(wave), net(wave[1:2, :, 5 * 48 :])
    late = streaming.delay_samples
    found = torch.cat(out, dim=-1)
    for row in (0, 2):
        assert torch.allclose(found[row, :, late:], whole[row, :, :-late], atol=TOLERANCE)
    assert torch.allclose(found[1, :, 5 * 48 + late :], again[0, :, :-late], atol=TOLERANCE)


def test_the_file_does_so_too_in_any_batch(tmp_path: Path) -> None:
    import onnxruntime

    net = worn_net(NetConfig(widths=(6, 8, 10), strides=(4, 4, 3), lookahead=(2, 1, 0)), seed=2)
    path = export_stateful(net, ModelSpec("example", "1.0.0"), tmp_path / "example.stateful.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    spec = ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    assert (spec.form, spec.chunk_samples) == ("stateful", 48)
    wave = torch.randn(5, 3, 48 * 20, generator=torch.Generator().manual_seed(2))
    state, pieces = np.zeros((5, spec.state_size), np.float32), []
    for piece in wave.split(48, dim=-1):
        probabilities, state = session.run(None, {"wave": piece.numpy(), "state": state})
        pieces.append(probabilities)
    with torch.no_grad():
        whole = net(wave).numpy()
    found = np.concatenate(pieces, axis=-1)[..., spec.delay_samples :]
    np.testing.assert_allclose(found, whole[..., : found.shape[-1]], atol=TOLERANCE)


def test_chunks_that_do_not_fit_are_refused() -> None:
    net = fresh_net(NetConfig(widths=(4, 4)), seed=0).eval()
    with pytest.raises(ValueError, match="multiple of 16 samples; got 50"):
        StreamingPhaseNet(net, 50)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 2**16), st.sampled_from([0.0, 1e4, -3e6]))
def test_the_front_end_in_pieces_gives_the_whole(data: st.DataObject, seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    waves = (rng.normal(size=(2, 3, 700)) * [[[1], [5], [0]]] * 100 + offset).astype(np.float32)
    cuts = sorted(data.draw(st.lists(st.integers(0, 700), max_size=8)))
    whole, last = stream(waves, fresh_state(2))
    state, pieces = fresh_state(2), []
    for start, stop in zip([0, *cuts], [*cuts, 700], strict=True):
        piece, state = stream(waves[..., start:stop], state)
        pieces.append(piece)
    np.testing.assert_allclose(np.concatenate(pieces, axis=-1), whole, atol=1e-6)
    np.testing.assert_allclose(state, last, rtol=1e-6, atol=1e-9)
    assert state.shape == (2, STATE_SIZE)


def test_the_front_end_knows_nothing_of_what_comes(rjob: Recording) -> None:
    waves = np.stack([rjob.components[component] for component in "ZNE"])[None].astype(np.float32)
    changed = waves.copy()
    changed[..., 1000:] *= 50
    first, second = prepare("stream-1", waves), prepare("stream-1", changed)
    assert np.array_equal(first[..., :1000], second[..., :1000])
    assert np.isfinite(first).all()
    # The units of the instrument do not matter.
    np.testing.assert_allclose(prepare("stream-1", waves * 1e-6), first, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 1.0, 1e6, 1e30])
def test_silence_stays_silence(level: float) -> None:
    out = prepare("stream-1", np.full((1, 3, 500), level, np.float32))
    assert not out.any()


def test_numbers_that_are_none_do_not_spoil_what_follows() -> None:
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(1, 3, 3000)).astype(np.float32)
    spoilt = waves.copy()
    spoilt[0, 1, 5:8] = np.nan, np.inf, -np.inf
    np.testing.assert_allclose(
        prepare("stream-1", spoilt)[..., 1000:], prepare("stream-1", waves)[..., 1000:], atol=0.1
    )


def test_an_odd_first_sample_is_forgotten() -> None:
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(1, 3, 60_000)).astype(np.float32)
    spoilt = waves.copy()
    spoilt[0, 0, 0] = 2.0**31 - 1
    np.testing.assert_allclose(
        prepare("stream-1", spoilt)[..., -1000:], prepare("stream-1", waves)[..., -1000:], atol=0.1
    )


def test_a_front_end_that_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match="'other-9': not known"):
        prepare("other-9", np.zeros((1, 3, 10), np.float32))
