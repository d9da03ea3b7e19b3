"""Chunks equal the whole: the stateful student, its ONNX file, and the streaming front end."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.chunks import StatefulNet, in_chunks, places
from models.conventions import BANDS
from models.export import export_onnx, export_stateful
from models.frontend import BLOCK, STATE_SIZE, STEP, bands, fresh_state, prepare
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


@settings(max_examples=60)
@given(nets, st.integers(1, 3), st.integers(0, 2**16), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_chunks_give_what_the_whole_gives(
    config: NetConfig, multiple: int, seed: int, cuts: list[int]
) -> None:
    net = worn_net(config, seed)
    streaming = StreamingPhaseNet(net, config.steps[-1] * multiple)
    late, chunk = streaming.delay_samples, streaming.chunk_samples
    chunks = [cuts[number % len(cuts)] for number in range(late // chunk + 4)]
    wave = torch.randn(2, 3, sum(chunks) * chunk, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        state, pieces = streaming.fresh_state(2), []
        for piece in wave.split([count * chunk for count in chunks], dim=-1):
            probabilities, state = streaming.advance(piece, state)
            pieces.append(probabilities)
        whole = net(wave)
    assert state.shape == (2, streaming.state_size)
    found = torch.cat(pieces, dim=-1)[..., late:]
    assert torch.allclose(found, whole[..., : found.shape[-1]], atol=TOLERANCE)
    # What is late waits for what the output depends on, and hardly longer.
    assert late <= config.lookahead_samples


@settings(max_examples=40)
@given(nets, st.integers(0, 2**16), st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=3), max_size=5))
def test_any_number_of_chunks_of_each_stream_gives_what_one_after_the_other_does(
    config: NetConfig, seed: int, calls: list[list[int]]
) -> None:
    streaming = StreamingPhaseNet(worn_net(config, seed), config.steps[-1])
    generator = torch.Generator().manual_seed(seed)
    state = streaming.fresh_state(3)
    alone = [streaming.fresh_state(1) for _ in range(3)]
    for counts in calls:
        waves = [torch.randn(count, 3, streaming.chunk_samples, generator=generator) for count in counts]
        with torch.no_grad():
            where = map(torch.from_numpy, places(np.array(counts), streaming.depth))
            values, state = streaming(torch.cat(waves), state, *where)
            for row, (wave, found) in enumerate(zip(waves, values.split(counts), strict=True)):
                for chunk, wanted in zip(wave, found, strict=True):
                    value, alone[row] = streaming.advance(chunk[None], alone[row])
                    assert torch.allclose(value[0], wanted, atol=TOLERANCE)
        assert torch.allclose(torch.cat(alone), state, atol=TOLERANCE)


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
            probabilities, state = streaming.advance(piece, state)
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
    stateful = StatefulNet(session)
    wave = torch.randn(5, 3, 48 * 20, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole = net(wave).numpy()
    state, found = np.zeros((5, spec.state_size), np.float32), [[whole[:0, 0]] for _ in range(5)]
    fed = np.zeros(5, np.int64)
    for step in range(8):
        # Each stream at its own pace.
        chunks = np.minimum(1 + (np.arange(5) + step) % 4, 20 - fed)
        assert chunks.all()
        rows = [
            in_chunks(wave[row, :, 48 * begin : 48 * (begin + count)].numpy(), 48)
            for row, (begin, count) in enumerate(zip(fed, chunks, strict=True))
        ]
        values, state = stateful(np.concatenate(rows), state, chunks)
        for row, own in enumerate(np.split(values, np.cumsum(chunks)[:-1])):
            found[row].append(own.transpose(1, 0, 2).reshape(3, -1))
        fed += chunks
    for row, pieces in enumerate(found):
        joined = np.concatenate(pieces[1:], axis=-1)[..., spec.delay_samples :]
        np.testing.assert_allclose(joined, whole[row, :, : joined.shape[-1]], atol=TOLERANCE)


def test_a_file_of_another_version_is_refused_with_a_remedy(tmp_path: Path) -> None:
    import onnxruntime

    path = export_onnx(
        fresh_net(NetConfig(widths=(4, 4)), 0).eval(), ModelSpec("old", "1.0.0"), tmp_path / "old.onnx"
    )
    with pytest.raises(ValueError, match="write it anew from its"):
        StatefulNet(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]))


def test_chunks_that_do_not_fit_are_refused() -> None:
    net = fresh_net(NetConfig(widths=(4, 4)), seed=0).eval()
    with pytest.raises(ValueError, match="multiple of 16 samples; got 50"):
        StreamingPhaseNet(net, 50)


@settings(max_examples=40)
@given(st.data(), st.integers(0, 2**16), st.sampled_from([0.0, 1e4, -3e6]))
def test_the_front_end_in_pieces_gives_the_whole(data: st.DataObject, seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    waves = (rng.normal(size=(2, 3, 22 * BLOCK)) * [[[1], [5], [0]]] * 100 + offset).astype(np.float32)
    cuts = [BLOCK * cut for cut in sorted(data.draw(st.lists(st.integers(0, 22), max_size=8)))]
    whole, last = bands(waves, fresh_state(2))
    state, pieces = fresh_state(2), []
    for start, stop in zip([0, *cuts], [*cuts, 22 * BLOCK], strict=True):
        piece, state = bands(waves[..., start:stop], state)
        pieces.append(piece)
    assert whole.shape == (2, 12, 22 * BLOCK // STEP)
    np.testing.assert_allclose(np.concatenate(pieces, axis=-1), whole, atol=1e-4)
    np.testing.assert_allclose(state, last, rtol=1e-3, atol=1e-3)
    assert state.shape == (2, STATE_SIZE)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5), st.integers(0, 2**16)
)
def test_the_front_end_takes_any_number_of_rows_of_each_stream(
    calls: list[tuple[int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    waves = [(rng.normal(size=(3, 45 * BLOCK)) * 100 + offset).astype(np.float32) for offset in (0, 1e5)]
    found: list[list[NDArray[np.float32]]] = [[], []]
    state, fed = fresh_state(2), [0, 0]
    for counts in calls:
        rows = [
            in_chunks(wave[:, BLOCK * begin : BLOCK * (begin + count)], BLOCK)
            for wave, begin, count in zip(waves, fed, counts, strict=True)
        ]
        prepared, state = bands(np.concatenate(rows), state, np.array(counts))
        for row, own in enumerate(np.split(prepared, [counts[0]])):
            found[row].append(own.transpose(1, 0, 2).reshape(12, -1))
            fed[row] += counts[row]
    for row, wave in enumerate(waves):
        whole, last = bands(wave[None, :, : BLOCK * fed[row]], fresh_state(1))
        np.testing.assert_allclose(np.concatenate(found[row], axis=1), whole[0], atol=1e-4)
        np.testing.assert_allclose(state[row], last[0], rtol=1e-3, atol=1e-3)


def test_rows_of_more_than_a_block_are_blocks_that_follow_each_other() -> None:
    waves = np.random.default_rng(5).normal(size=(3, 3, 4 * BLOCK)).astype(np.float32)
    first, state = bands(waves, fresh_state(2), np.array([2, 1]))
    single, last = bands(
        waves.reshape(3, 3, 4, BLOCK).swapaxes(1, 2).reshape(12, 3, BLOCK), fresh_state(2), np.array([8, 4])
    )
    assert np.array_equal(first, single.reshape(3, 4, 12, -1).swapaxes(1, 2).reshape(3, 12, -1))
    assert np.array_equal(state, last)


def test_a_part_of_a_block_is_refused_in_a_stream_and_taken_in_a_window() -> None:
    waves = np.random.default_rng(6).normal(size=(1, 3, 10 * BLOCK)).astype(np.float32)
    with pytest.raises(ValueError, match="whole blocks of 32 samples; got 301"):
        bands(waves[..., :301], fresh_state(1))
    short = prepare(BANDS, waves[..., :301])
    assert short.shape == (1, 12, 76)
    assert np.array_equal(short[..., :75], prepare(BANDS, waves)[..., :75])


def test_the_front_end_knows_nothing_of_what_comes(rjob: Recording) -> None:
    waves = np.stack([rjob.components[component] for component in "ZNE"])[None].astype(np.float32)
    changed = waves.copy()
    changed[..., 1000:] *= 50
    first, second = prepare(BANDS, waves), prepare(BANDS, changed)
    assert np.array_equal(first[..., : 1000 // STEP], second[..., : 1000 // STEP])
    assert np.isfinite(first).all()
    # The units of the instrument do not matter.
    np.testing.assert_allclose(prepare(BANDS, waves * 1e-6), first, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 1.0, 1e6, 1e30])
def test_silence_stays_silence(level: float) -> None:
    out = prepare(BANDS, np.full((1, 3, 500), level, np.float32))
    assert np.abs(out).max() < 1e-6


def test_what_comes_after_silence_is_loud_and_finite() -> None:
    waves = np.zeros((1, 3, 1000), np.float32)
    waves[..., 600:] = 1e6 * np.random.default_rng(7).normal(size=(1, 3, 400))
    out = prepare(BANDS, waves)
    assert np.isfinite(out).all()
    assert 6 < out.max() < 7


def test_numbers_that_are_none_do_not_spoil_what_follows() -> None:
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(1, 3, 3000)).astype(np.float32)
    spoilt = waves.copy()
    spoilt[0, 1, 5:8] = np.nan, np.inf, -np.inf
    np.testing.assert_allclose(prepare(BANDS, spoilt)[..., 250:], prepare(BANDS, waves)[..., 250:], atol=0.1)


def test_an_odd_first_sample_is_forgotten() -> None:
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(1, 3, 160_000)).astype(np.float32)
    spoilt = waves.copy()
    spoilt[0, 0, 0] = 2.0**31 - 1
    np.testing.assert_allclose(
        prepare(BANDS, spoilt)[..., -250:], prepare(BANDS, waves)[..., -250:], atol=0.1
    )


def test_a_front_end_that_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match="'other-9': not known"):
        prepare("other-9", np.zeros((1, 3, 10), np.float32))
