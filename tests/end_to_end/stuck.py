"""``xiaod`` that hangs in the midst of its work for as long as a file is there: the thread of its engine, or with ``HANG_LOOP`` its event
loop; everything else is real."""

import os
import sys
import time
from pathlib import Path

from xiaod.domain.types import Probabilities, SourceItem, WindowBatch
from xiaod.inference.onnx import OnnxEngine
from xiaod.pipeline.assemble import Assembler

POLL_S = 0.05


def hang_while(there: Path) -> None:
    """From now on windows wait as long as the file is there."""
    follow = OnnxEngine.follow

    def hanging(self: OnnxEngine, batch: WindowBatch) -> list[Probabilities]:
        while there.exists():
            time.sleep(POLL_S)
        return follow(self, batch)

    OnnxEngine.follow = hanging  # type: ignore[method-assign]


def hang_loop_while(there: Path) -> None:
    """From now on what has come waits as long as the file is there, and nothing else is done."""
    take = Assembler.take

    def hanging(self: Assembler, item: SourceItem, now_ns: int | None) -> None:
        while there.exists():
            time.sleep(POLL_S)
        take(self, item, now_ns)

    Assembler.take = hanging  # type: ignore[method-assign]


if __name__ == "__main__":
    (hang_loop_while if "HANG_LOOP" in os.environ else hang_while)(Path(os.environ["HANG_FILE"]))

    from xiaod.cli.main import main

    sys.exit(main())
