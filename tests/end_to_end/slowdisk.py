"""``xiaod`` whose disk does not answer its store for as long as a file is there; everything else is real.

Each use of the store waits then, and says so with a file beside it, whose name ends in ``.waiting``.
"""

import os
import sqlite3
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

POLL_S = 0.05


def hang_while(there: Path) -> None:
    """From now on whatever is written to or read from a store waits as long as the file is there."""

    class Hanging(sqlite3.Connection):
        def cursor(self, *arguments: Any, **named: Any) -> Any:
            while there.exists():
                there.with_suffix(".waiting").touch()
                time.sleep(POLL_S)
            return super().cursor(*arguments, **named)

    sqlite3.connect = partial(sqlite3.connect, factory=Hanging)  # type: ignore[assignment]


if __name__ == "__main__":
    hang_while(Path(os.environ["HANG_FILE"]))

    from xiaod.cli.main import main

    sys.exit(main())
