"""The stateful form of the student: each sample is computed once, chunk by chunk, for many stations at a time.

Every convolution keeps the last inputs that its next output needs, and every skip waits for the coarser levels. All of it is
one row of numbers for each station, the state: an input and an output of each call. The output is that of the one-shot form,
``delay_samples`` late: outputs that depend on later data come with a later chunk. A chunk holds a whole number of
steps of the coarsest level.

A chunk has few steps, and for few steps the overhead of a convolution dominates. So a stage is one matrix product
here: kept and new steps side by side in a row, ``(step, channel)``, times a banded matrix that holds the kernel
once for each output step (a Toeplitz matrix). The file holds these matrices, mostly zeros.

State beside the net, and the test that chunks equal the whole, are after encodec and moshi (Défossez et al. 2022,
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

from models.small_phasenet import ConvBlock, SmallPhaseNet

MOST_CHUNKS = float(2**20)
"""Where counting stops: a stream so old has long filled its state, and single precision counts no further than 2^24."""
NEVER = 1e9
"""Taken off, for each step that an output lies before its stream began, so that the rectifier gives zero."""


@dataclass(frozen=True)
class Stage:
    """A convolution in a stream: what it keeps, and how late it is."""

    channels: int
    kept: int
    """Steps of the input that are kept for the next chunk."""
    skip: int
    """Steps of the kept and new input together that come before the first output."""
    inputs: int
    """Steps of the input in each chunk."""
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
        """Take over a network's weights.

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
        self.config = config
        self.phases = net.num_phases
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
            self._hold(f"down{level}", net.down[level])
            self._hold(f"encode{level}", net.encode[level])
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
            self._hold(f"decode{level}", net.decode[level])
            self._hold(f"up{level}", net.up[level])
            delay = self._decode[level].delay
        self._hold("head", net.head)
        self.delay_samples = delay * config.stride(0)
        """Samples by which the output is late."""
        self._kept = [(stage.channels, stage.kept) for stage in (*self._down, *self._encode)]
        for level in self._wait:
            wait = self._wait[level]
            self._kept += [(wait.channels, wait.fine), (wait.channels, wait.coarse)]
            self._kept.append((wait.channels, self._decode[level].kept))
        self.state_size = 1 + sum(channels * steps for channels, steps in self._kept)
        """Numbers in one station's state: the chunks seen so far, and what is kept."""
        stages = [*enumerate(self._down), *enumerate(self._encode), *self._decode.items()]
        self._lates = sorted({(level, stage.delay) for level, stage in stages if stage.delay})
        lates = [delay - step for level, delay in self._lates for step in range(sizes[level])]
        passed = [size for level, _ in self._lates for size in [sizes[level]] * sizes[level]]
        self.register_buffer("_late", torch.tensor(lates, dtype=torch.float32))
        self.register_buffer("_passed", torch.tensor(passed, dtype=torch.float32))

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
        seen, *kept = state.split([1, *(channels * steps for channels, steps in self._kept)], dim=1)
        levels = self.config.levels
        after: list[Tensor] = [state[:, :0]] * len(kept)
        row, skips = chunk.transpose(1, 2).flatten(1), []
        earlies = self._earlies(seen)
        early: Tensor | None = None
        for level in range(levels):
            for name, stage, stride, place in (
                ("down", self._down[level], self.config.stride(level), level),
                ("encode", self._encode[level], 1, levels + level),
            ):
                early = earlies.get((level, stage.delay))
                row, after[place] = self._block(f"{name}{level}", stage, stride, row, kept[place], early)
            skips.append(row)
        place = 2 * levels
        for level in reversed(range(levels - 1)):
            wait, stage = self._wait[level], self._decode[level]
            coarse = self._stretched(level, row, early)
            new = wait.channels * self._sizes[level]
            fine, after[place] = _delayed(skips[level], kept[place], wait.fine, new)
            coarse, after[place + 1] = _delayed(coarse, kept[place + 1], wait.coarse, new)
            # What comes out last may be anything before the beginning.
            early = earlies.get((level, stage.delay)) if level else None
            row, after[place + 2] = self._block(
                f"decode{level}", stage, 1, fine + coarse, kept[place + 2], early
            )
            place += 3
        count = (seen + 1).clamp_max(MOST_CHUNKS)
        return self._probabilities(row), torch.cat([count, *after], dim=1)

    def _hold(self, name: str, block: ConvBlock | nn.Conv1d) -> None:
        """Keep kernel ``(steps, in, out)`` and bias, batch normalisation in them."""
        with torch.no_grad():
            conv = block.conv if isinstance(block, ConvBlock) else block
            kernel, bias = conv.weight, conv.bias
            if isinstance(block, ConvBlock):
                norm = block.norm
                scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                kernel, bias = kernel * scale[:, None, None], norm.bias - norm.running_mean * scale
            self.register_buffer(f"{name}_kernel", kernel.detach().permute(2, 1, 0).clone())
            self.register_buffer(f"{name}_bias", bias.detach().clone())

    def _held(self, name: str) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"{name}_kernel"), self.get_buffer(f"{name}_bias")

    def _earlies(self, seen: Tensor) -> dict[tuple[int, int], Tensor]:
        """By how many steps each step lies before the stream began, ``(n, steps)``, for each level and delay."""
        if not self._lates:
            return {}
        early = torch.relu(self.get_buffer("_late") - seen * self.get_buffer("_passed"))
        return dict(
            zip(
                self._lates, early.split([self._sizes[level] for level, _ in self._lates], dim=1), strict=True
            )
        )

    def _block(
        self, name: str, stage: Stage, stride: int, row: Tensor, kept: Tensor, early: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """A convolution with its rectifier, zero where the one-shot form pads: before the first step of the stream."""
        kernel, bias = self._held(name)
        steps = stage.kept + stage.inputs
        joined = torch.cat([kept, row], dim=1) if stage.kept else row
        after = joined[:, stage.inputs * stage.channels :]
        matrix = _banded(kernel, steps, stage.skip, stride, stage.outputs)
        if early is not None:
            joined = torch.cat([joined, early], dim=1)
            matrix = torch.cat([matrix, -NEVER * _spread(bias.new_ones(bias.shape), stage.outputs)])
        return torch.relu(torch.addmm(bias.repeat(stage.outputs), joined, matrix)), after

    def _stretched(self, level: int, row: Tensor, early: Tensor | None) -> Tensor:
        """A coarser level at the steps of a finer one; zero before the first step of the stream."""
        kernel, bias = self._held(f"up{level}")
        coarse, factor = self._sizes[level + 1], self.config.stride(level + 1)
        matrix = _banded(kernel, coarse, 0, 1, coarse)
        biases = _spread(bias, coarse)
        if early is None:
            low = torch.addmm(bias.repeat(coarse), row, matrix)
        else:
            low = torch.cat([row, 1 - early.clamp(0, 1)], dim=1) @ torch.cat([matrix, biases])
        return low.unflatten(1, (coarse, 1, -1)).expand(-1, -1, factor, -1).flatten(1)

    def _probabilities(self, row: Tensor) -> Tensor:
        kernel, bias = self._held("head")
        # From (phase, sample of the step) to (sample, phase).
        kernel = kernel[0].unflatten(1, (self.phases, -1)).transpose(1, 2).flatten(1)
        bias = bias.unflatten(0, (self.phases, -1)).transpose(0, 1).flatten()
        logits = row.unflatten(1, (self._sizes[0], -1)) @ kernel + bias
        return torch.softmax(logits.unflatten(2, (-1, self.phases)).flatten(1, 2), dim=2).transpose(1, 2)


def _stage(channels: int, kernel: int, padding: tuple[int, int], delay: int, size: int) -> Stage:
    return Stage(channels, kernel - 1, 0, size, size, delay + padding[1])


def _strided(
    channels: int, kernel: int, padding: tuple[int, int], stride: int, delay: int, size: int
) -> Stage:
    """An output can come once the last input it needs is there: the delay in its own steps is rounded up."""
    late = max(0, -((stride - 1 - padding[1] - delay) // stride))
    first = delay - stride * late - padding[0]
    return Stage(channels, max(0, -first), max(0, first), stride * size, size, late)


def _banded(kernel: Tensor, steps: int, skip: int, stride: int, outputs: int) -> Tensor:
    """``(steps * in, outputs * out)``: the kernel once for each output, ``stride`` steps further each time.

    The kernel with zeros behind it, again and again with a period of ``steps + stride``, read in rows of ``steps``.
    """
    period = steps + stride
    padded = nn.functional.pad(kernel, (0, 0, 0, 0, skip, period - skip - int(kernel.shape[0])))
    rows = padded.repeat(outputs, 1, 1)[: outputs * steps].unflatten(0, (outputs, steps))
    return rows.permute(1, 2, 0, 3).flatten(2).flatten(0, 1)


def _spread(values: Tensor, steps: int) -> Tensor:
    """``(steps, steps * channels)``: the values of all channels at each step."""
    return _banded(values[None, None], steps, 0, 1, steps)


def _delayed(row: Tensor, kept: Tensor, steps: int, new: int) -> tuple[Tensor, Tensor]:
    if not steps:
        return row, kept
    joined = torch.cat([kept, row], dim=1)
    return joined[:, :new], joined[:, new:]
