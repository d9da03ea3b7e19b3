"""The geometry of the student: sizes and padding, and from them receptive field and lookahead.

Does not need torch.

>>> NetConfig(widths=(8, 12), kernels=(9, 5, 5), strides=(4, 4), lookahead=(1, 0)).lookahead_samples
23
"""

from dataclasses import asdict, dataclass
from itertools import accumulate
from operator import mul
from typing import Any

STRIDE = 4
"""Factor between two levels, and from the input to the first, unless the configuration says otherwise."""
MIN_KERNELS = 2
"""The stem's kernel and at least one more."""


@dataclass(frozen=True)
class NetConfig:
    """Hyper-parameters of the network; levels are counted from the finest, 25 Hz with the usual stride."""

    widths: tuple[int, ...] = (12, 16, 24, 32)
    """Channels of each level."""
    kernels: tuple[int, ...] = (9, 7, 5)
    """Kernel of the stem and of each level's convolutions; odd. The last one holds for the levels that follow."""
    strides: tuple[int, ...] = ()
    """Factor into each level, the stem's first; none given: :data:`STRIDE` everywhere."""
    lookahead: tuple[int, ...] = ()
    """Steps that each level's convolutions look ahead; the last one holds for the levels that follow. None given:
    half a kernel, symmetric padding. Convolutions with a stride look ahead to the end of their own stride then, not
    further."""

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths must be positive numbers, one for each level; got {self.widths}")
        if len(self.kernels) < MIN_KERNELS or any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be odd numbers, the stem's and others; got {self.kernels}")
        if self.strides and (len(self.strides) != len(self.widths) or min(self.strides) < 1):
            raise ValueError(
                f"strides must be positive numbers, one for each of {len(self.widths)} levels; got {self.strides}"
            )
        if any(steps < 0 for steps in self.lookahead):
            raise ValueError(f"lookahead must be steps, zero or more; got {self.lookahead}")

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.widths)

    def stride(self, level: int) -> int:
        """Factor into a level."""
        return self.strides[level] if self.strides else STRIDE

    @property
    def steps(self) -> tuple[int, ...]:
        """Samples of the input in one step of each level."""
        return tuple(accumulate((self.stride(level) for level in range(self.levels)), mul))

    def kernel(self, level: int) -> int:
        """Kernel of a level's convolutions."""
        return self.kernels[min(level + 1, len(self.kernels) - 1)]

    def padding(self, level: int) -> tuple[int, int]:
        """Steps of padding before and after a level's convolutions; the second is their lookahead."""
        kernel = self.kernel(level)
        after = kernel // 2
        if self.lookahead:
            after = min(after, self.lookahead[min(level, len(self.lookahead) - 1)])
        return kernel - 1 - after, after

    def down_kernel(self, level: int) -> int:
        """Kernel of the convolution into a level."""
        return self.kernels[0] if level == 0 else self.kernel(level - 1)

    def down_padding(self, level: int) -> tuple[int, int]:
        """Padding of the convolution into a level, in steps of the level above."""
        kernel = self.down_kernel(level)
        after = kernel // 2
        if self.lookahead and level > 0:
            after = min(after, self.stride(level) - 1)
        return kernel - 1 - after, after

    @property
    def reach(self) -> tuple[int, int]:
        """Input samples before and after an output sample that it can depend on, at most."""
        # From the output down to the coarsest level and up to the input again, the worst place in each step.
        steps = (1, *self.steps)
        before = after = steps[1] - 1
        widest = (0, 0)
        for level in range(self.levels):
            step = steps[level + 1]
            left, right = self.padding(level)
            decoded = level < self.levels - 1
            if decoded:
                before, after = before + left * step, after + right * step
            down = (before + left * step, after + right * step)
            # Up the encoder from this level: its own convolution, then the one into each level.
            for above in range(level, -1, -1):
                left, right = self.down_padding(above)
                down = (down[0] + left * steps[above], down[1] + right * steps[above])
                if above:
                    left, right = self.padding(above - 1)
                    down = (down[0] + left * steps[above], down[1] + right * steps[above])
            widest = (max(widest[0], down[0]), max(widest[1], down[1]))
            if decoded:
                # A step of the next level begins at most so much before the step it is stretched to.
                before += steps[level + 2] - step
        return widest

    @property
    def lookahead_samples(self) -> int:
        """Input samples after an output sample that it can depend on, at most."""
        return self.reach[1]

    def to_dict(self) -> dict[str, list[int]]:
        """As plain lists, for JSON."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "NetConfig":
        """Read what :meth:`to_dict` gave.

        Raises:
            ValueError: for values that make no network.
            TypeError: for keys that are not known.
        """
        return cls(**{key: tuple(value) for key, value in content.items()})


PRESETS = {
    "nano": NetConfig(widths=(6, 10, 16)),
    "micro": NetConfig(widths=(12, 16, 24, 32)),
    "small": NetConfig(widths=(16, 24, 36, 52), kernels=(9, 7, 7, 7, 5)),
}
"""Sizes with names; those of shipped students are theirs."""
