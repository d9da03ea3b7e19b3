"""SmallPhaseNet: the student, a lean U-Net for P and S.

After PhaseNet (Zhu & Beroza 2019, doi:10.1093/gji/ggy423), with what costs most on a small computer left out:
the first convolution already brings 100 Hz to 25 Hz, everything else works there or below, skips are added
and not concatenated, upsampling is nearest neighbour after a 1x1 convolution, and the head gives four samples
for each of its steps ("pixel shuffle", Shi et al. 2016, doi:10.1109/CVPR.2016.207). There is no global
operation: an output sample depends on a bounded piece of the input.

::

    100 Hz  25 Hz        6.25 Hz      1.56 Hz
    input - stem, conv --------------------------- + conv - head - output (100 Hz)
                  |                                |
                  down, conv ---------- + conv - up
                          |             |
                          down, conv - up

>>> import torch
>>> net = SmallPhaseNet(window_len=1000, in_channels=3, num_phases=3)
>>> net(torch.zeros(1, 3, 1000)).shape
torch.Size([1, 3, 1000])
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

STRIDE = 4
"""Factor between two levels, and from the input to the first."""


@dataclass(frozen=True)
class NetConfig:
    """Hyper-parameters of the network."""

    widths: tuple[int, int, int] = (12, 24, 32)
    """Channels at 25, 6.25 and 1.56 Hz."""
    kernels: tuple[int, int, int] = (9, 7, 5)
    """Kernel of the stem, of the convolutions at 25 Hz, and of those below; odd."""

    def __post_init__(self) -> None:
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise ValueError(f"widths must be three positive numbers; got {self.widths}")
        if len(self.kernels) != 3 or any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be three odd numbers; got {self.kernels}")

    def to_dict(self) -> dict[str, list[int]]:
        """As plain lists, for JSON."""
        return {key: list(value) for key, value in asdict(self).items()}


PRESETS = {
    "nano": NetConfig(widths=(6, 10, 16)),
    "micro": NetConfig(widths=(12, 24, 32)),
    "small": NetConfig(widths=(16, 32, 64)),
}
"""Sizes with names."""


class ConvBlock(nn.Sequential):  # type: ignore[misc]  # torch is not analysed
    """Convolution, batch normalisation, rectifier; zero padding on both sides."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv1d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm1d(out_channels),
            nn.ReLU(),
        )


class SmallPhaseNet(nn.Module):  # type: ignore[misc]  # torch is not analysed
    """Probabilities of noise, P and S at every sample of a window."""

    def __init__(
        self,
        window_len: int = 1000,
        in_channels: int = 3,
        num_phases: int = 3,
        config: NetConfig = PRESETS["micro"],
    ) -> None:
        """Build the network.

        Args:
            window_len: nominal number of samples; the network takes any.
            in_channels: components of the input.
            num_phases: rows of the output, noise included.
            config: sizes.
        """
        super().__init__()
        self.window_len = window_len
        self.num_phases = num_phases
        self.config = config
        fine, middle, coarse = config.widths
        stem_kernel, fine_kernel, kernel = config.kernels
        self.stem = ConvBlock(in_channels, fine, stem_kernel, STRIDE)
        self.encode_fine = ConvBlock(fine, fine, fine_kernel)
        self.down_middle = ConvBlock(fine, middle, fine_kernel, STRIDE)
        self.encode_middle = ConvBlock(middle, middle, kernel)
        self.down_coarse = ConvBlock(middle, coarse, kernel, STRIDE)
        self.encode_coarse = ConvBlock(coarse, coarse, kernel)
        self.up_middle = nn.Conv1d(coarse, middle, 1)
        self.decode_middle = ConvBlock(middle, middle, kernel)
        self.up_fine = nn.Conv1d(middle, fine, 1)
        self.decode_fine = ConvBlock(fine, fine, fine_kernel)
        self.head = nn.Conv1d(fine, num_phases * STRIDE, 1)

    def forward(self, wave: Tensor) -> Tensor:
        """Probabilities.

        Shape:
            ``(n, in_channels, L)`` prepared by the front end -> ``(n, num_phases, L)``; phases sum to one.
        """
        return nn.functional.softmax(self.logits(wave), dim=1)

    def logits(self, wave: Tensor) -> Tensor:
        """Logits, of the same shape as the probabilities."""
        samples = wave.shape[-1]
        wave = nn.functional.pad(wave, (0, -samples % STRIDE**3))
        fine = self.encode_fine(self.stem(wave))  # (n, w0, L / 4)
        middle = self.encode_middle(self.down_middle(fine))  # (n, w1, L / 16)
        coarse = self.encode_coarse(self.down_coarse(middle))  # (n, w2, L / 64)
        middle = self.decode_middle(middle + _stretch(self.up_middle(coarse)))
        fine = self.decode_fine(fine + _stretch(self.up_fine(middle)))
        steps = self.head(fine)  # (n, phases * 4, L / 4)
        spread = steps.unflatten(1, (self.num_phases, STRIDE)).transpose(2, 3).flatten(2)  # (n, phases, L)
        return spread[..., :samples]

    @property
    def receptive_field_samples(self) -> int:
        """Input samples from the first to the last that an output sample can depend on, at most."""
        stem_kernel, fine_kernel, kernel = self.config.kernels
        reach = stem_kernel // 2
        reach += STRIDE * 2 * (fine_kernel // 2)  # two convolutions at 25 Hz
        reach += STRIDE * (fine_kernel // 2) + STRIDE**2 * 2 * (kernel // 2)  # down to 6.25 Hz, two there
        reach += STRIDE**2 * (kernel // 2) + STRIDE**3 * (kernel // 2)  # down to 1.56 Hz, one there
        # Nearest-neighbour upsampling and the head look at most one step of their level aside.
        return 2 * (reach + STRIDE + STRIDE**2 + STRIDE**3) + 1


def _stretch(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=float(STRIDE), mode="nearest")


def parameter_count(net: nn.Module) -> int:
    """Count the trainable parameters.

    >>> parameter_count(SmallPhaseNet(config=PRESETS["nano"])) < 7000
    True
    """
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def fresh_net(config: NetConfig, seed: int) -> SmallPhaseNet:
    """Build a network with seeded initial weights, without touching the global state of the generator.

    >>> first, second = fresh_net(PRESETS["nano"], 1), fresh_net(PRESETS["nano"], 1)
    >>> torch.equal(first.head.weight, second.head.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallPhaseNet(config=config)
