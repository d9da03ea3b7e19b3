"""``xiaod`` whose engine hangs in the midst of its work for as long as a file is there; everything else is real."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from xiaod.engines.onnx import OnnxEngine
from xiaod.records import Probabilities, Window

POLL_S = 0.05


def hang_while(there: Path) -> None:
    """From now on windows wait as long as the file is there."""
    follow = OnnxEngine.follow

    def hanging(self: OnnxEngine, windows: Sequence[Window]) -> list[Probabilities]:
        while there.exists():
            time.sleep(POLL_S)
        return follow(self, windows)

    OnnxEngine.follow = hanging  # type: ignore[assignment]


if __name__ == "__main__":
    hang_while(Path(os.environ["HANG_FILE"]))

    from xiaod.cli import main

    sys.exit(main())
