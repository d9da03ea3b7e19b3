"""From a table of kinds to a class: imports what a configuration asks for, when it asks.

>>> from xiaod.sinks import SINKS
>>> load(SINKS, "console").__name__
'ConsoleSink'
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

EXTRAS = {"matplotlib": "plot", "nats": "nats", "paho": "mqtt"}
"""Package that only an optional extra installs -> the name of the extra."""


class MissingExtraError(Exception):
    """A kind needs a package that is not installed; the message names the extra."""


def load(table: Mapping[str, str], kind: str) -> Any:
    """The class that a table names for a kind.

    Raises:
        KeyError: when the table has no such kind; the configuration has checked that before.
        MissingExtraError: when a package that it needs is not installed.
    """
    module, _, name = table[kind].partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise MissingExtraError(
            f"kind {kind} needs the package {package}, which is not installed: pip install 'xiaod[{EXTRAS[package]}]'"
        ) from error
