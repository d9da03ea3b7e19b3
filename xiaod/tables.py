"""From a table of kinds to a class: imports what a configuration asks for, when it asks.

>>> from xiaod.sinks import SINKS
>>> load(SINKS, "console").__name__
'ConsoleSink'
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def load(table: Mapping[str, str], kind: str) -> Any:
    """The class that a table names for a kind.

    Raises:
        KeyError: when the table has no such kind; the configuration has checked that before.
    """
    module, _, name = table[kind].partition(":")
    return getattr(import_module(module), name)
