"""``xiaod`` in a world whose clock is set: the host's time is off by the seconds in a file, which may change at any moment.

Only what the program takes for the host's time is moved; the monotonic clock and everything else is real.
"""

import os
import sys
import time
from pathlib import Path


def move_the_clock(offset: Path) -> None:
    """From now on the host's time in this process is off by the seconds that the file holds."""
    true_ns = time.time_ns

    def moved_ns() -> int:
        return true_ns() + round(float(offset.read_text(encoding="utf-8") or 0) * 1e9)

    time.time_ns = moved_ns
    time.time = lambda: moved_ns() / 1e9


if __name__ == "__main__":
    move_the_clock(Path(os.environ["CLOCK_OFFSET_FILE"]))

    from xiaod.cli.main import main

    sys.exit(main())
