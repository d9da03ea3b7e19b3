"""The stateful form of the student: each sample is computed once, chunk by chunk, for many stations at a time.

Every convolution keeps the last inputs that its next output needs, and every skip waits for the coarser levels; all of it is
one row of numbers for each station, the state, which is handed in and comes back. The output is that of the one-shot form,
``delay_samples`` late: what depends on data that are not there yet comes with a later chunk. A chunk holds a whole number of
steps of the coarsest level.

State beside the net and chunks equal to the whole as the test are after encodec and moshi (Défossez et al. 2022,
arXiv:2210.13438, sec. 3.1; 2024, arXiv:2410.00037).

>>> import torch
>>> from models.geometry import NetConfig
>>> from models.small_phasenet import fresh_net
>>> net = fresh_net(NetConfig(widths=(8, 12), lookahead=(1, 0)), seed=0).eval()
>>> streaming = StreamingPhaseNet(net, chunk_samples=32)
>>> wave = torch.randn(1, 3, 160)
>>> state, pieces = streaming.fresh_state(1), []
>>> with torch.no_grad():
...     for chunk in wave.split(32, dim=-1):
...         piece, state = streaming(chunk, state)
...         pieces.append(piece)
...     whole = net(wave)
>>> late = streaming.delay_samples
>>> bool(torch.allclose(torch.cat(pieces, dim=-1)[..., late:], whole[..., :-late], atol=1e-5))
True
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.small_phasenet import ConvBlock, SmallPhaseNet, stretch

MOST_STEPS = float(2**20)
"""Where counting stops: a stream so old has long filled its state, and single precision counts no further than 2^24."""


@dataclass(frozen=True)
class Stage:
    """A convolution in a stream: what it keeps, and how late it is."""

    channels: int
    kept: int
    """Steps of the input that are kept for the next chunk."""
    skip: int
    """Steps of the kept and new input together that come before the first output."""
    outputs: int
    """Steps of the output for each chunk."""
    delay: int
    """Steps by which the output is late."""


@dataclass(frozen=True)
class Wait:
    """A skip connection in a stream: how many steps it waits for the coarser level, or that for it."""

    channels: int
    fine: int
    coarse: int
    delay: int


class StreamingPhaseNet(nn.Module):  # type: ignore[misc]  # torch is not analysed
    """A network in evaluation mode as a function of chunk and state."""

    def __init__(self, net: SmallPhaseNet, chunk_samples: int) -> None:
        """Wrap a network; it shares the weights.

        Args:
            net: the network.
            chunk_samples: samples of each chunk, a multiple of the coarsest step.

        Raises:
            ValueError: when the chunk is no such multiple.
        """
        super().__init__()
        config = net.config
        if chunk_samples < 1 or chunk_samples % config.steps[-1]:
            raise ValueError(
                f"a chunk must hold a multiple of {config.steps[-1]} samples; got {chunk_samples}"
            )
        self.net = net
        self.chunk_samples = chunk_samples
        sizes = [chunk_samples // step for step in config.steps]
        self._sizes = sizes
        self._down: list[Stage] = []
        self._encode: list[Stage] = []
        sources = (net.in_channels, *config.widths)
        delay = 0
        for level in range(config.levels):
            down = _strided(
                sources[level],
                config.down_kernel(level),
                config.down_padding(level),
                config.stride(level),
                delay,
                sizes[level],
            )
            encode = _stage(
                config.widths[level], config.kernel(level), config.padding(level), down.delay, sizes[level]
            )
            self._down.append(down)
            self._encode.append(encode)
            delay = encode.delay
        self._wait: dict[int, Wait] = {}
        self._decode: dict[int, Stage] = {}
        for level in reversed(range(config.levels - 1)):
            late = delay * config.stride(level + 1)
            here = self._encode[level].delay
            most = max(late, here)
            self._wait[level] = Wait(config.widths[level], most - here, most - late, most)
            self._decode[level] = _stage(
                config.widths[level], config.kernel(level), config.padding(level), most, sizes[level]
            )
            delay = self._decode[level].delay
        self.delay_samples = delay * config.stride(0)
        """Samples by which the output is late."""
        self._kept = [(stage.channels, stage.kept) for stage in (*self._down, *self._encode)]
        for level in self._wait:
            wait = self._wait[level]
            self._kept += [(wait.channels, wait.fine), (wait.channels, wait.coarse)]
            self._kept.append((wait.channels, self._decode[level].kept))
        self.state_size = 1 + sum(channels * steps for channels, steps in self._kept)
        """Numbers in one station's state: the chunks seen so far, and what is kept."""

    def fresh_state(self, rows: int) -> Tensor:
        """State of stations of which nothing has been seen, ``(rows, state_size)``: zeros."""
        return torch.zeros(rows, self.state_size)

    def forward(self, chunk: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Process the next chunk.

        Shape:
            chunk ``(n, in_channels, chunk_samples)``, prepared by the front end, and state ``(n, state_size)`` ->
            probabilities ``(n, num_phases, chunk_samples)`` of the samples ``delay_samples`` before the chunk's, and the
            next state. What stands for samples before the first of a stream means nothing.
        """
        parts = list(state.split([1, *(channels * steps for channels, steps in self._kept)], dim=1))
        seen = parts.pop(0)
        kept = [
            part.unflatten(1, (channels, steps)) if steps else None
            for part, (channels, steps) in zip(parts, self._kept, strict=True)
        ]
        after: list[Tensor | None] = [None] * len(kept)
        net, levels = self.net, self.net.config.levels
        wave, skips = chunk, []
        for level in range(levels):
            for stage, blocks, place in (
                (self._down[level], net.down, level),
                (self._encode[level], net.encode, levels + level),
            ):
                wave, after[place] = _run(blocks[level], stage, wave, kept[place])
                wave = self._masked(wave, seen, level, stage.delay)
            skips.append(wave)
        place = 2 * levels
        for level in reversed(range(levels - 1)):
            wait = self._wait[level]
            coarse = stretch(net.up[level](wave), net.config.stride(level + 1))
            fine, after[place] = _delayed(skips[level], kept[place])
            coarse, after[place + 1] = _delayed(coarse, kept[place + 1])
            wave = self._masked(fine + coarse, seen, level, wait.delay)
            stage = self._decode[level]
            wave, after[place + 2] = _run(net.decode[level], stage, wave, kept[place + 2])
            if level:
                wave = self._masked(wave, seen, level, stage.delay)
            place += 3
        probabilities = nn.functional.softmax(net.spread(net.head(wave)), dim=1)
        count = (seen + 1).clamp_max(MOST_STEPS)
        return probabilities, torch.cat(
            [count, *(part.flatten(1) for part in after if part is not None)], dim=1
        )

    def _masked(self, wave: Tensor, seen: Tensor, level: int, delay: int) -> Tensor:
        """Zero where the one-shot form pads: before the first step of the stream."""
        if not delay:
            return wave
        steps = torch.arange(self._sizes[level], dtype=wave.dtype) - delay
        return wave * (seen * self._sizes[level] + steps >= 0).to(wave.dtype).unsqueeze(1)


def _stage(channels: int, kernel: int, padding: tuple[int, int], delay: int, size: int) -> Stage:
    return Stage(channels, kernel - 1, 0, size, delay + padding[1])


def _strided(
    channels: int, kernel: int, padding: tuple[int, int], stride: int, delay: int, size: int
) -> Stage:
    """An output can come once the last input it needs is there: the delay in its own steps is rounded up."""
    late = max(0, -((stride - 1 - padding[1] - delay) // stride))
    first = delay - stride * late - padding[0]
    return Stage(channels, max(0, -first), max(0, first), size, late)


def _run(block: ConvBlock, stage: Stage, wave: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor | None]:
    joined = wave if kept is None else torch.cat([kept, wave], dim=-1)
    after = joined[..., joined.shape[-1] - stage.kept :] if stage.kept else None
    stride, kernel = block.conv.stride[0], block.conv.kernel_size[0]
    stop = stage.skip + stride * (stage.outputs - 1) + kernel
    return block.valid(joined[..., stage.skip : stop]), after


def _delayed(wave: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor | None]:
    if kept is None:
        return wave, None
    joined = torch.cat([kept, wave], dim=-1)
    steps = wave.shape[-1]
    return joined[..., :steps], joined[..., steps:]
