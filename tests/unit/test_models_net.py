"""SmallPhaseNet: shapes, sizes, and how far an output sample looks."""

import pytest
import torch

from models.small_phasenet import PRESETS, NetConfig, SmallPhaseNet, fresh_net, parameter_count


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("samples", [1, 63, 64, 65, 999, 1000, 3001])
def test_any_length_gives_probabilities_of_the_same_length(preset: str, samples: int) -> None:
    net = fresh_net(PRESETS[preset], seed=0).eval()
    wave = torch.randn(2, 3, samples, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out, logits = net(wave), net.logits(wave)
    assert out.shape == logits.shape == (2, 3, samples)
    assert torch.allclose(out.sum(dim=1), torch.ones(2, samples), atol=1e-5)
    assert torch.equal(torch.softmax(logits, dim=1), out)


def test_other_numbers_of_components_and_phases() -> None:
    net = SmallPhaseNet(window_len=600, in_channels=1, num_phases=4).eval()
    assert net(torch.zeros(1, 1, 600)).shape == (1, 4, 600)


@pytest.mark.parametrize(("preset", "most"), [("nano", 6_000), ("micro", 30_000), ("small", 60_000)])
def test_presets_keep_to_their_size(preset: str, most: int) -> None:
    assert most / 2 < parameter_count(fresh_net(PRESETS[preset], seed=0)) <= most


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("place", [1500, 1517, 1531, 1563])
def test_no_sample_reaches_further_than_the_receptive_field(preset: str, place: int) -> None:
    net = fresh_net(PRESETS[preset], seed=3).eval().double()
    wave = torch.randn(1, 3, 3000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    changed = wave.clone()
    changed[..., place] += 10
    with torch.no_grad():
        differs = (net.logits(changed) != net.logits(wave)).any(dim=1)[0].nonzero().flatten()
    reach = max(place - int(differs.min()), int(differs.max()) - place)
    assert 2 * reach + 1 <= net.receptive_field_samples
    # The bound is not idle either.
    assert 2 * reach + 1 > net.receptive_field_samples // 2


def test_a_row_does_not_depend_on_the_rest_of_the_batch() -> None:
    net = fresh_net(PRESETS["micro"], seed=0).eval()
    waves = torch.randn(4, 3, 1000, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        together = net(waves)
        alone = torch.cat([net(wave[None]) for wave in waves])
    assert torch.allclose(together, alone, atol=1e-6)


def test_fresh_nets_repeat_and_leave_the_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, second, other = (fresh_net(PRESETS["nano"], seed) for seed in (7, 7, 8))
    assert torch.equal(first.stem[0].weight, second.stem[0].weight)
    assert not torch.equal(first.stem[0].weight, other.stem[0].weight)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("widths", "kernels"), [((1, 2), (9, 7, 5)), ((1, 2, 0), (9, 7, 5)), ((4, 4, 4), (8, 7, 5))], ids=str
)
def test_impossible_sizes_are_refused(widths: tuple[int, ...], kernels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be three"):
        NetConfig(widths=widths, kernels=kernels)  # type: ignore[arg-type]
