"""The stateful form of the student: each sample is computed once, in chunks, for many stations at a time.

Every convolution keeps the last inputs that its next output needs, and every skip waits for the coarser levels. All of it is
one row of numbers for each station, the state: an input and an output of each call. The output is that of the one-shot form,
``delay_samples`` late: outputs that depend on later data come with a later chunk. A chunk holds a whole number of
steps of the coarsest level.

A call takes any number of chunks of each station, all side by side as rows. What comes before a chunk is in a row of the same call, or in
the state: each convolution looks it up there (:func:`models.chunks.places`), so that it takes all rows in one product.

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
...     for samples in wave.split([64, 32, 64], dim=-1):
...         piece, state = streaming.advance(samples, state)
...         pieces.append(piece)
...     whole = net(wave)
>>> late = streaming.delay_samples
>>> bool(torch.allclose(torch.cat(pieces, dim=-1)[..., late:], whole[..., :-late], atol=1e-5))
True
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.chunks import places
from models.small_phasenet import ConvBlock, SmallPhaseNet, folded

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
        held = [(stage.kept, stage.inputs) for stage in (*self._down, *self._encode)]
        for level in self._wait:
            wait, decode = self._wait[level], self._decode[level]
            for steps in (_whole(wait.fine, sizes[level]), _whole(wait.coarse, sizes[level]), decode.kept):
                self._kept.append((wait.channels, steps))
                held.append((steps, sizes[level]))
        self.depth = max(1, *(-(-steps // new) for steps, new in held))
        """Chunks before one of which something is kept."""
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

    def forward(
        self,
        wave: Tensor,
        state: Tensor,
        stream: Tensor,
        number: Tensor,
        chunks: Tensor,
        context: Tensor,
        newest: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Process the next chunks of streams, any number of each; the result is that of one chunk after the other.

        Shape:
            wave ``(rows, in_channels, chunk_samples)``, prepared by the front end, state ``(n, state_size)``, and what
            :func:`models.chunks.places` says of them for :attr:`depth` -> probabilities ``(rows, num_phases, chunk_samples)`` of the
            samples ``delay_samples`` before each chunk's, and the next state. What stands for samples before the first of a stream
            means nothing.
        """
        seen, *kept = state.split([1, *(channels * steps for channels, steps in self._kept)], dim=1)
        levels = self.config.levels
        new: list[Tensor] = [state[:, :0]] * len(kept)
        row, skips = wave.transpose(1, 2).flatten(1), []
        places = _Places(context, newest)
        earlies = self._earlies(seen[stream] + number[:, None])
        early: Tensor | None = None
        for level in range(levels):
            for name, stage, stride, place in (
                ("down", self._down[level], self.config.stride(level), level),
                ("encode", self._encode[level], 1, levels + level),
            ):
                early = earlies.get((level, stage.delay))
                row, new[place] = self._block(
                    f"{name}{level}", stage, stride, row, kept[place], early, places
                )
            skips.append(row)
        place = 2 * levels
        for level in reversed(range(levels - 1)):
            stage = self._decode[level]
            coarse = self._stretched(level, row, early)
            wait = self._wait[level]
            fine, new[place] = places.delayed(skips[level], kept[place], wait.channels * wait.fine)
            coarse, new[place + 1] = places.delayed(coarse, kept[place + 1], wait.channels * wait.coarse)
            # What comes out last may be anything before the beginning.
            early = earlies.get((level, stage.delay)) if level else None
            row, new[place + 2] = self._block(
                f"decode{level}", stage, 1, fine + coarse, kept[place + 2], early, places
            )
            place += 3
        count = (seen + chunks[:, None]).clamp_max(MOST_CHUNKS)
        return self._probabilities(row), torch.cat([count, *new], dim=1)

    def advance(self, wave: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The same for as many chunks of each stream: wave ``(n, in_channels, chunks * chunk_samples)`` and probabilities likewise."""
        chunks = np.full(len(wave), wave.shape[2] // self.chunk_samples)
        rows = wave.unflatten(2, (-1, self.chunk_samples)).transpose(1, 2).flatten(0, 1)
        values, state = self(rows, state, *map(torch.from_numpy, places(chunks, self.depth)))
        return values.unflatten(0, (len(wave), -1)).transpose(1, 2).flatten(2), state

    def _hold(self, name: str, block: ConvBlock | nn.Conv1d) -> None:
        """Keep kernel ``(steps, in, out)`` and bias, batch normalisation in them."""
        kernel, bias = folded(block)
        self.register_buffer(f"{name}_kernel", kernel.permute(2, 1, 0).clone())
        self.register_buffer(f"{name}_bias", bias)

    def _held(self, name: str) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"{name}_kernel"), self.get_buffer(f"{name}_bias")

    def _earlies(self, seen: Tensor) -> dict[tuple[int, int], Tensor]:
        """By how many steps each step lies before the stream began, ``(chunks, steps)``, for each level and delay."""
        if not self._lates:
            return {}
        early = torch.relu(self.get_buffer("_late") - seen * self.get_buffer("_passed"))
        return dict(
            zip(
                self._lates, early.split([self._sizes[level] for level, _ in self._lates], dim=1), strict=True
            )
        )

    def _block(
        self,
        name: str,
        stage: Stage,
        stride: int,
        row: Tensor,
        kept: Tensor,
        early: Tensor | None,
        places: "_Places",
    ) -> tuple[Tensor, Tensor]:
        """A convolution with its rectifier, zero where the one-shot form pads: before the first step of the stream."""
        kernel, bias = self._held(name)
        joined, after = places.joined(row, kept)
        matrix = _banded(kernel, stage.kept + stage.inputs, stage.skip, stride, stage.outputs)
        if early is not None:
            joined = torch.cat([joined, early], dim=1)
            matrix = torch.cat([matrix, -NEVER * _spread(bias.new_ones(bias.shape), stage.outputs)])
        return torch.relu(torch.addmm(bias.repeat(stage.outputs), joined, matrix)), after

    def _stretched(self, level: int, row: Tensor, early: Tensor | None) -> Tensor:
        """A coarser level at the steps of a finer one; zero before the first step of the stream."""
        kernel, bias = self._held(f"up{level}")
        coarse, factor = self._sizes[level + 1], self.config.stride(level + 1)
        matrix = _banded(kernel, coarse, 0, 1, coarse)
        # Each step as often as the finer level has it.
        matrix, biases = (
            one.unflatten(1, (coarse, 1, -1)).expand(-1, -1, factor, -1).flatten(1)
            for one in (matrix, _spread(bias, coarse))
        )
        if early is None:
            return torch.addmm(bias.repeat(coarse * factor), row, matrix)
        return torch.cat([row, 1 - early.clamp(0, 1)], dim=1) @ torch.cat([matrix, biases])

    def _probabilities(self, row: Tensor) -> Tensor:
        """Of each phase one over the sum of what the others are of it: the head gives the differences between logits at once."""
        kernel, bias = self._held("head")
        steps, phases = self._sizes[0], self.phases
        # From (step, channel) to (phase, step, sample of the step).
        matrix = _banded(kernel, steps, 0, 1, steps).unflatten(1, (steps, phases, -1)).transpose(1, 2)
        biases = bias.unflatten(0, (phases, -1))[:, None].expand(-1, steps, -1)
        total: Tensor | float = 1.0
        for other in range(1, phases):
            differences = torch.addmm(
                (biases.roll(other, 0) - biases).flatten(), row, (matrix.roll(other, 1) - matrix).flatten(1)
            )
            total = torch.exp(differences) + total
        return torch.reciprocal(total).reshape(-1, phases, self.chunk_samples)


class _Places:
    """Where what is kept before a chunk is found: in the chunks before it in the same call, or in the state."""

    def __init__(self, context: Tensor, newest: Tensor) -> None:
        self._context, self._newest = context, newest

    def joined(self, row: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept before each chunk and the chunk, ``(rows, kept + new)``, and what is kept after the last ones.

        Whole chunks are kept, the newest first.
        """
        width, new = int(kept.shape[1]), int(row.shape[1])
        if not width:
            return row, kept
        blocks = width // new
        if blocks > 1:
            kept = kept.reshape(-1, blocks, new).transpose(0, 1).reshape(-1, new)
        held = torch.cat([row, kept])
        first = int(self._context.shape[1]) - 1 - blocks
        return held[self._context[:, first:]].flatten(1), held[self._newest[:, :blocks]].flatten(1)

    def delayed(self, row: Tensor, kept: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """What came ``steps`` numbers earlier, ``(rows, new)``, and what is kept after the last ones."""
        width, new = int(kept.shape[1]), int(row.shape[1])
        joined, after = self.joined(row, kept)
        return joined[:, width - steps : width - steps + new] if width else row, after


def _whole(steps: int, new: int) -> int:
    """Steps that are kept where so many are needed: those of whole chunks."""
    return -(-steps // new) * new


def _stage(channels: int, kernel: int, padding: tuple[int, int], delay: int, size: int) -> Stage:
    kept = _whole(kernel - 1, size)
    return Stage(channels, kept, kept - (kernel - 1), size, size, delay + padding[1])


def _strided(
    channels: int, kernel: int, padding: tuple[int, int], stride: int, delay: int, size: int
) -> Stage:
    """An output can come once the last input it needs is there: the delay in its own steps is rounded up."""
    late = max(0, -((stride - 1 - padding[1] - delay) // stride))
    first = delay - stride * late - padding[0]
    kept = _whole(max(0, -first), stride * size)
    return Stage(channels, kept, kept + first, stride * size, size, late)


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
