"""``xiaod`` in a world whose clock is set: the host's time is off by the seconds in a file, which may change at any moment.

Only what the program takes for the host's time is moved; the steady clock and everything else is real.
"""

import os
import sys
import time
from pathlib import Path

OFFSET = Path(os.environ["CLOCK_OFFSET_FILE"])
_true_ns = time.time_ns


def _offset_s() -> float:
    return float(OFFSET.read_text(encoding="utf-8") or 0)


def _time_ns() -> int:
    return _true_ns() + round(_offset_s() * 1e9)


def _time() -> float:
    return _time_ns() / 1e9


time.time_ns = _time_ns
time.time = _time

if __name__ == "__main__":
    from xiaod.cli import main

    sys.exit(main())
