"""SmallPhaseNet: the student, a lean U-Net for P and S.

After PhaseNet (Zhu & Beroza 2019, doi:10.1093/gji/ggy423), without the parts that are expensive on a small computer:
the first convolution already goes from 100 Hz to 25 Hz, everything else works there or below, skips are added
and not concatenated, upsampling is nearest neighbour after a 1x1 convolution, and the head gives four samples
for each of its steps ("pixel shuffle", Shi et al. 2016, doi:10.1109/CVPR.2016.207). There is no global
operation: an output sample depends on a bounded piece of the input. How much of that lies after it, the
lookahead, follows from the padding.

::

    100 Hz  25 Hz       6.25 Hz     1.56 Hz     0.39 Hz
    input - stem, conv ------------------------------ + conv - head - output (100 Hz)
                  down, conv --------------- + conv - up
                              down, conv - + conv - up
                                  down, conv - up

>>> import torch
>>> net = SmallPhaseNet(window_len=1000, in_channels=3, num_phases=3)
>>> net(torch.zeros(1, 3, 1000)).shape
torch.Size([1, 3, 1000])
"""

import torch
from torch import Tensor, nn

from models.conventions import FRONT_ENDS, STANDARDISE
from models.geometry import PRESETS, NetConfig
from models.spec import ModelSpec

__all__ = [
    "PRESETS",
    "ConvBlock",
    "NetConfig",
    "SmallPhaseNet",
    "folded",
    "fresh_net",
    "net_behind",
    "net_of",
    "parameter_count",
    "stretch",
]


class ConvBlock(nn.Module):  # type: ignore[misc]  # torch is not analysed
    """Zero padding, convolution, batch normalisation, rectifier."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, padding: tuple[int, int], stride: int = 1
    ) -> None:
        super().__init__()
        self.padding = padding
        symmetric = padding[0] == padding[1]
        self.conv = nn.Conv1d(
            in_channels, out_channels, kernel, stride, padding=padding[0] if symmetric else 0, bias=False
        )
        self.norm = nn.BatchNorm1d(out_channels)
        self._pads = not symmetric

    def forward(self, wave: Tensor) -> Tensor:
        """``(n, in_channels, m)`` -> ``(n, out_channels, ceil(m / stride))``."""
        if self._pads:
            wave = nn.functional.pad(wave, self.padding)
        return torch.relu(self.norm(self.conv(wave)))


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
            num_phases: rows of the output, the first of which is noise.
            config: sizes.
        """
        super().__init__()
        self.window_len = window_len
        self.in_channels = in_channels
        self.num_phases = num_phases
        self.config = config
        widths, levels = config.widths, range(config.levels)
        sources = (in_channels, *widths)
        self.down = nn.ModuleList(
            ConvBlock(
                sources[level],
                widths[level],
                config.down_kernel(level),
                config.down_padding(level),
                config.stride(level),
            )
            for level in levels
        )
        self.encode = nn.ModuleList(_block(config, level) for level in levels)
        self.up = nn.ModuleList(nn.Conv1d(widths[level + 1], widths[level], 1) for level in levels[:-1])
        self.decode = nn.ModuleList(_block(config, level) for level in levels[:-1])
        self.head = nn.Conv1d(widths[0], num_phases * config.stride(0), 1)

    def forward(self, wave: Tensor) -> Tensor:
        """Probabilities.

        Shape:
            ``(n, in_channels, L)`` prepared by the front end -> ``(n, num_phases, L)``; phases sum to one.
        """
        return nn.functional.softmax(self.logits(wave), dim=1)

    def logits(self, wave: Tensor) -> Tensor:
        """Logits, of the same shape as the probabilities."""
        return self.decoded(self.encoded(wave))[..., : wave.shape[-1]]

    def encoded(self, wave: Tensor) -> list[Tensor]:
        """Features of each level, the finest first: ``(n, widths[level], ceil(L / steps[-1]) * steps[-1] / steps[level])``."""
        wave = nn.functional.pad(wave, (0, -wave.shape[-1] % self.config.steps[-1]))
        features = []
        for down, encode in zip(self.down, self.encode, strict=True):
            wave = encode(down(wave))
            features.append(wave)
        return features

    def decoded(self, features: list[Tensor]) -> Tensor:
        """Logits of the padded wave from the features of all levels."""
        wave = features[-1]
        for level in reversed(range(self.config.levels - 1)):
            wave = features[level] + stretch(self.up[level](wave), self.config.stride(level + 1))
            wave = self.decode[level](wave)
        return self.spread(self.head(wave))

    def spread(self, steps: Tensor) -> Tensor:
        """Steps of the head ``(n, phases * stride, m)`` -> samples ``(n, phases, m * stride)``."""
        shuffled = steps.unflatten(1, (self.num_phases, self.config.stride(0))).transpose(2, 3)
        return shuffled.flatten(2)

    @property
    def receptive_field_samples(self) -> int:
        """Input samples from the first to the last that an output sample can depend on, at most."""
        before, after = self.config.reach
        return before + 1 + after


def folded(block: ConvBlock | nn.Conv1d) -> tuple[Tensor, Tensor]:
    """Kernel ``(out, in, steps)`` and bias of a convolution in evaluation mode, batch normalisation in them."""
    with torch.no_grad():
        if not isinstance(block, ConvBlock):
            return block.weight.detach().clone(), block.bias.detach().clone()
        norm = block.norm
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        return (block.conv.weight * scale[:, None, None]).detach(), (
            norm.bias - norm.running_mean * scale
        ).detach()


def stretch(wave: Tensor, factor: int) -> Tensor:
    """Repeat each step: nearest-neighbour upsampling."""
    return nn.functional.interpolate(wave, scale_factor=float(factor), mode="nearest")


def _block(config: NetConfig, level: int) -> ConvBlock:
    width = config.widths[level]
    return ConvBlock(width, width, config.kernel(level), config.padding(level))


def parameter_count(net: nn.Module) -> int:
    """Count the trainable parameters.

    >>> parameter_count(SmallPhaseNet(config=PRESETS["nano"])) < 7000
    True
    """
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def net_behind(front_end: str, config: NetConfig, window_len: int = 1000) -> SmallPhaseNet:
    """Build a network that takes what a front end gives.

    >>> net_behind("bands-1", PRESETS["nano"]).in_channels
    12
    """
    found = FRONT_ENDS[front_end]
    return SmallPhaseNet(window_len, found.channels, len(found.phases), config)


def net_of(spec: ModelSpec) -> SmallPhaseNet:
    """Build the network of a specification, with weights that mean nothing."""
    return net_behind(spec.front_end, NetConfig.from_dict(dict(spec.net)), spec.window_samples)


def fresh_net(
    config: NetConfig, seed: int, window_len: int = 1000, front_end: str = STANDARDISE
) -> SmallPhaseNet:
    """Build a network with seeded initial weights, without touching the global state of the generator.

    >>> first, second = fresh_net(PRESETS["nano"], 1), fresh_net(PRESETS["nano"], 1)
    >>> torch.equal(first.head.weight, second.head.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return net_behind(front_end, config, window_len)
