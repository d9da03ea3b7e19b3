"""The progress of a long command on standard error: the stage, and a bar if steps can be counted.

>>> Progress(shown=False).counted(str.upper, 2, "letters")("a")
'A'
>>> list(Progress(shown=False).over([1, 2], "numbers"))
[1, 2]
"""

import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from tqdm import tqdm

Given = ParamSpec("Given")
Made = TypeVar("Made")
Item = TypeVar("Item")
MAXRSS_MB = 1e-6 if sys.platform == "darwin" else 1.024e-3
"""Unit of ``ru_maxrss``: bytes on macOS, kilobytes on Linux (getrusage(2))."""
LOG_INTERVAL_S = 10.0
"""Time between lines of a bar in a log file."""


@dataclass(frozen=True)
class Progress:
    """Stages and bars; with ``shown`` False nothing at all."""

    shown: bool = True

    def say(self, stage: str) -> None:
        """Begin a stage that cannot be counted."""
        if self.shown:
            tqdm.write(stage, file=sys.stderr)

    def over(self, items: Iterable[Item], stage: str, total: int | None = None) -> Iterator[Item]:
        """Yield the items, with a bar."""
        yield from self.bar(items, stage, total)

    def counted(self, work: Callable[Given, Made], calls: int, stage: str) -> Callable[Given, Made]:
        """The same function, with a bar over its calls."""
        bar = self.bar(None, stage, calls)

        def call(*arguments: Given.args, **named: Given.kwargs) -> Made:
            made = work(*arguments, **named)
            bar.update()
            if bar.n >= calls:
                bar.close()
            return made

        return call

    def bar(self, items: Any, stage: str, total: int | None, initial: int = 0) -> Any:
        """A bar of ``tqdm``, on a terminal or in a log file."""
        return tqdm(
            items,
            desc=stage,
            total=total,
            initial=initial,
            disable=not self.shown,
            file=sys.stderr,
            mininterval=0.1 if sys.stderr.isatty() else LOG_INTERVAL_S,
            # A stage is said when it begins, however long its first item takes.
            miniters=0,
        )


def peak_memory_mb() -> float:
    """Most memory that this process has held at a time, without its children.

    >>> 10 < peak_memory_mb() < 100_000
    True
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_MB


SILENT = Progress(shown=False)
