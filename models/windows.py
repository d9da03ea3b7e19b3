"""A student as its files for windows hold it: the same numbers as :class:`models.small_phasenet.SmallPhaseNet`, in less time.

Convolutions have two dimensions, the first of them one step high: ONNX Runtime has its fast ones for these alone. Batch normalisation is in
their kernels. The probabilities of a step's samples are computed before they are put in a row. And where only the last samples of a window
are wanted, the encoder sees the whole window, but behind it only the steps are computed that those samples depend on.

>>> import torch
>>> from models.geometry import PRESETS
>>> from models.small_phasenet import fresh_net
>>> net = fresh_net(PRESETS["nano"], seed=0).eval()
>>> wave = torch.randn(1, 3, 1000)
>>> with torch.no_grad():
...     whole, tail = net(wave), WindowNet(net)(wave, torch.tensor(300))
>>> bool(torch.allclose(tail, whole[..., -300:], atol=1e-6))
True
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.small_phasenet import ConvBlock, SmallPhaseNet, folded


class _Begin(NamedTuple):
    """Where computation begins on one level, in its steps."""

    needed: int | Tensor
    kept: int | Tensor


class WindowNet(nn.Module):  # type: ignore[misc]  # torch is not analysed
    """A network in evaluation mode as a function of windows."""

    def __init__(self, net: SmallPhaseNet) -> None:
        """Take over a network's weights."""
        super().__init__()
        self.config = net.config
        self.phases = net.num_phases
        for level in range(net.config.levels):
            self._hold(f"down{level}", net.down[level])
            self._hold(f"encode{level}", net.encode[level])
        for level in range(net.config.levels - 1):
            self._hold(f"up{level}", net.up[level])
            self._hold(f"decode{level}", net.decode[level])
        self._hold("head", net.head)

    def forward(self, wave: Tensor, read: Tensor | None = None) -> Tensor:
        """Probabilities.

        Args:
            wave: ``(n, in_channels, L)``, prepared by the front end.
            read: how many of its last samples are wanted, from 1 to ``L``: a tensor without dimensions, of whole numbers. None: all.

        Returns:
            ``(n, phases, L)``, or ``(n, phases, read)``; phases sum to one.
        """
        config, length = self.config, wave.shape[-1]
        features, begins = self._encoded(wave), self._begins(None if read is None else length - read)
        steps = features[-1][..., begins[-1].kept :] if read is not None else features[-1]
        for level in reversed(range(config.levels - 1)):
            needed, kept = begins[level]
            fine = features[level] if read is None else features[level][..., needed:]
            coarse = self._convolved(f"up{level}", steps)
            scale = (1.0, float(config.stride(level + 1)))
            fine = fine + nn.functional.interpolate(coarse, scale_factor=scale, mode="nearest")
            steps = torch.relu(self._convolved(f"decode{level}", fine, config.padding(level)))
            if read is not None:
                # The first steps lack what lies before them.
                steps = steps[..., kept - needed :]
        values = self._probabilities(self._convolved("head", steps))
        if read is None:
            return values[..., :length]
        first = length - begins[0].kept * config.stride(0)
        return values[..., first - read : first]

    def _encoded(self, wave: Tensor) -> list[Tensor]:
        """Features of each level, the finest first: ``(n, widths[level], 1, m)``."""
        config = self.config
        wave = nn.functional.pad(wave, (0, -wave.shape[-1] % config.steps[-1]))[:, :, None]
        features = []
        for level in range(config.levels):
            padding, stride = config.down_padding(level), config.stride(level)
            wave = torch.relu(self._convolved(f"down{level}", wave, padding, stride))
            wave = torch.relu(self._convolved(f"encode{level}", wave, config.padding(level)))
            features.append(wave)
        return features

    def _begins(self, first: Tensor | None) -> list[_Begin]:
        """Where computation begins on each level, when samples from ``first`` on are wanted; None: all."""
        config = self.config
        if first is None:
            return [_Begin(0, 0)] * config.levels
        begins, first = [], _whole_steps(first, config.stride(0))
        for level in range(config.levels - 1):
            stride = config.stride(level + 1)
            coarse = _whole_steps((first - config.padding(level)[0]).clamp_min(0), stride)
            begins.append(_Begin(coarse * stride, first))
            first = coarse
        return [*begins, _Begin(first, first)]

    def _probabilities(self, steps: Tensor) -> Tensor:
        """Steps of the head ``(n, phases * stride, 1, m)`` -> samples ``(n, phases, m * stride)``."""
        logits = steps.unflatten(1, (self.phases, self.config.stride(0)))[:, :, :, 0]
        raised = torch.exp(logits - logits.amax(dim=1, keepdim=True))
        values = raised / raised.sum(dim=1, keepdim=True)
        return values.transpose(2, 3).flatten(2)

    def _convolved(
        self, name: str, wave: Tensor, padding: tuple[int, int] = (0, 0), stride: int = 1
    ) -> Tensor:
        symmetric = padding[0] == padding[1]
        if not symmetric:
            wave = nn.functional.pad(wave, padding)
        kernel, bias = self.get_buffer(f"{name}_kernel"), self.get_buffer(f"{name}_bias")
        around = (0, padding[0] if symmetric else 0)
        return nn.functional.conv2d(wave, kernel, bias, (1, stride), around)

    def _hold(self, name: str, block: ConvBlock | nn.Conv1d) -> None:
        kernel, bias = folded(block)
        self.register_buffer(f"{name}_kernel", kernel[:, :, None])
        self.register_buffer(f"{name}_bias", bias)


def _whole_steps(samples: Tensor, stride: int) -> Tensor:
    return torch.div(samples, stride, rounding_mode="trunc")
