"""Plug-ins: the class for a kind of source, engine or sink is imported when a configuration uses it; an error names the missing extra.

>>> from xiaod.sinks import SINKS
>>> load(SINKS, "console").__name__
'ConsoleSink'
"""

import shlex
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

EXTRAS = {"distributed": "dask", "matplotlib": "plot", "nats": "nats", "paho": "mqtt"}
"""Package that only an extra installs -> the name of the extra."""


class MissingExtraError(Exception):
    """A kind needs a package that is not installed; the message names the extra."""


def missing(who: str, package: str, extra: str = "") -> str:
    """A message about a package that is not installed: what needs it, and the command that installs it into this environment.

    >>> missing("kind mqtt", "paho").replace(sys.executable, "PYTHON")
    "kind mqtt needs the package paho, which is not installed: PYTHON -m pip install 'xiaod[mqtt]'"
    """
    python = shlex.quote(sys.executable or "python3")
    return (
        f"{who} needs the package {package}, which is not installed: "
        f"{python} -m pip install 'xiaod[{extra or EXTRAS[package]}]'"
    )


def load(table: Mapping[str, str], kind: str) -> Any:
    """The class that a table names for a kind.

    Raises:
        KeyError: when the table has no such kind, which the configuration has ruled out.
        MissingExtraError: when a package that the class needs is not installed.
    """
    module, _, name = table[kind].partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise MissingExtraError(missing(f"kind {kind}", package)) from error
