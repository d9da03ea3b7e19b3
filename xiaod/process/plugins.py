"""Plug-ins: a class is imported by name, ``module:Class``, when a configuration uses it; an error names the missing extra.

>>> imported("json:JSONDecoder").__name__
'JSONDecoder'
"""

import shlex
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any


class MissingExtraError(Exception):
    """A kind needs a package that is not installed; the message names the extra."""


def missing(who: str, package: str, extra: str) -> str:
    """A message about a package that is not installed: what needs it, and what brings it into this environment.

    >>> missing("kind mqtt", "paho", "mqtt").replace(sys.executable, "PYTHON")
    "kind mqtt needs the package paho, which is not installed: PYTHON -m pip install 'xiaod[mqtt]'"
    """
    said = f"{who} needs the package {package}, which is not installed: "
    if find_spec("pip") is None:
        # So in the Debian package, which dpkg alone changes.
        return (
            f"{said}{sys.prefix} has no pip; a Debian package that has it is built in the source of xiaod by make deb DEB='--add {extra}' "
            f"(docs/install.md); elsewhere, what has installed xiaod installs 'xiaod[{extra}]'"
        )
    python = shlex.quote(sys.executable or "python3")
    return f"{said}{python} -m pip install 'xiaod[{extra}]'"


def imported(target: str, who: str = "", extra: str = "") -> Any:
    """What ``module:name`` names.

    Args:
        target: module and name.
        who: who needs it, for the message.
        extra: the extra that installs the packages it needs; empty: it needs none.

    Raises:
        MissingExtraError: when a package of the extra is not installed.
        ImportError: when the module cannot be imported for another reason.
    """
    module, _, name = target.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not extra or package == __name__.partition(".")[0]:
            raise
        raise MissingExtraError(missing(who, package, extra)) from error
