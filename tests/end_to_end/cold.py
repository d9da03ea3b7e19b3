"""``xiaod`` that tells of each module that a thread other than the main one imports; everything else is real.

Two threads that import one package at once can each get half of it: Python breaks the deadlock of their locks by handing out a module
that is not whole (``importlib._bootstrap``). So imports belong into the main thread, and this sees those that do not.
"""

import os
import sys
import threading
from pathlib import Path


def tell_of_imports(path: Path) -> None:
    """From now on the modules that other threads import stand in a file, a line each."""
    told = path.open("a", buffering=1, encoding="utf-8")
    main_thread = threading.main_thread()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        # Raised only for what is not there yet (audit events table of the Python library).
        if event == "import" and (thread := threading.current_thread()) is not main_thread:
            told.write(f"{thread.name}: {arguments[0]}\n")

    sys.addaudithook(hook)


if __name__ == "__main__":
    tell_of_imports(Path(os.environ["IMPORTS_FILE"]))

    from xiaod.cli.main import main

    sys.exit(main())
