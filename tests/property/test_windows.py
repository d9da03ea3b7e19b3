"""What the files for windows compute is what the network gives, and a tail the end of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.geometry import NetConfig
from models.windows import WindowNet
from tests.property.test_streaming import nets, worn_net


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@settings(max_examples=100)
@given(nets, st.integers(0, 2**16), st.integers(1, 700), st.data())
def test_windows_and_tails_give_what_the_network_gives(
    config: NetConfig, seed: int, samples: int, data: st.DataObject
) -> None:
    net = worn_net(config, seed)
    wave = torch.randn(2, 3, samples, generator=torch.Generator().manual_seed(seed))
    read = data.draw(st.integers(1, samples))
    with torch.no_grad():
        wanted, served = net(wave), WindowNet(net)
        whole, tail = served(wave), served(wave, torch.tensor(read))
    assert whole.shape == wanted.shape
    assert torch.allclose(whole, wanted, atol=1e-6)
    assert tail.shape == (2, 3, read)
    assert torch.allclose(tail, wanted[..., -read:], atol=1e-6)
