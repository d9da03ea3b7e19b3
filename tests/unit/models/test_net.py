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


@pytest.mark.parametrize(("preset", "most"), [("nano", 6_000), ("micro", 30_000), ("small", 70_000)])
def test_presets_keep_to_their_size(preset: str, most: int) -> None:
    assert most / 2 < parameter_count(fresh_net(PRESETS[preset], seed=0)) <= most


CONFIGS = [
    PRESETS["nano"],
    NetConfig(widths=(4, 5, 6), kernels=(9, 7, 5), strides=(4, 4, 3), lookahead=(2, 1, 0)),
    NetConfig(widths=(4, 5), kernels=(3, 5, 7), strides=(5, 2), lookahead=(0,)),
    NetConfig(widths=(3, 4, 5, 6), kernels=(9, 7, 7, 5, 3), strides=(2, 3, 2, 4)),
    NetConfig(widths=(6,), kernels=(9, 5)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_an_output_looks_as_far_as_is_said_and_no_further(config: NetConfig) -> None:
    net = fresh_net(config, seed=3).eval().double()
    step = config.steps[-1]
    # Half a period of the coarsest level is enough to see the worst place, and far from both ends.
    middle = (sum(config.reach) // step + 2) * step
    generator = torch.Generator().manual_seed(2)
    wave = torch.randn(1, 3, 2 * middle, generator=generator, dtype=torch.float64).requires_grad_()
    logits = net.logits(wave)
    before = after = 0
    for place in range(middle, middle + step):
        [gradient] = torch.autograd.grad(logits[0, :, place].sum(), wave, retain_graph=True)
        seen = gradient.abs().sum(dim=(0, 1)).nonzero().flatten()
        before, after = max(before, place - int(seen[0])), max(after, int(seen[-1]) - place)
    said_before, said_after = config.reach
    # The bound is not idle: it may only be off by what lies between a step and the worst place in it.
    assert said_before - config.stride(0) * 2 <= before <= said_before
    assert said_after - config.stride(0) * 2 <= after <= said_after
    assert net.receptive_field_samples == said_before + 1 + said_after


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
    assert torch.equal(first.down[0].conv.weight, second.down[0].conv.weight)
    assert not torch.equal(first.down[0].conv.weight, other.down[0].conv.weight)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"widths": ()}, "widths must be"),
        ({"widths": (4, 0)}, "widths must be"),
        ({"widths": (4, 4), "kernels": (8, 7)}, "kernels must be odd"),
        ({"widths": (4, 4), "kernels": (9,)}, "kernels must be odd"),
        ({"widths": (4, 4), "strides": (4,)}, "one for each of 2 levels"),
        ({"widths": (4, 4), "lookahead": (-1,)}, "lookahead must be steps"),
    ],
    ids=str,
)
def test_impossible_sizes_are_refused(values: dict[str, tuple[int, ...]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        NetConfig(**values)


def test_a_configuration_survives_being_written_down() -> None:
    for config in CONFIGS:
        assert NetConfig.from_dict(config.to_dict()) == config
