"""Secrets of the configuration: read from a file or from the environment when they are needed, never logged.

>>> import os
>>> from pydantic import SecretStr
>>> os.environ["XIAOD_EXAMPLE"] = "hush"
>>> credential("password", SecretStr("${XIAOD_EXAMPLE}"), None)
'hush'
>>> credential("password", SecretStr("${XIAOD_NONE}"), None)
Traceback (most recent call last):
xiaod.process.secret_file.CredentialError: password: the environment variable XIAOD_NONE is not set
"""

import os
import re
from pathlib import Path

from pydantic import SecretStr

MAX_BYTES = 65_536
"""So much of a file is read; a secret is shorter."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class CredentialError(OSError):
    """A secret cannot be read; the message names its key and its file or variable, never the secret."""


def credential(key: str, value: SecretStr | None, path: Path | None) -> str | None:
    """The secret itself: the first line of a file, an environment variable named as ``${NAME}``, or the value as it is.

    Args:
        key: name in the configuration, for errors; that of the file is ``KEY_file``.
        value: the secret or the name of a variable.
        path: a file, instead.

    Raises:
        CredentialError: when the file cannot be read, or the variable is not set.
    """
    if path is not None:
        return _first_line(f"{key}_file", path)
    if value is None:
        return None
    text = value.get_secret_value()
    if named := _VARIABLE.fullmatch(text):
        found = os.environ.get(named[1])
        if found is None:
            raise CredentialError(f"{key}: the environment variable {named[1]} is not set")
        return found
    return text


def _first_line(key: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_BYTES).decode().splitlines()
    except OSError as error:
        raise CredentialError(f"{key}: {path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CredentialError(f"{key}: {path}: is not UTF-8 text") from error
    if not lines or not lines[0]:
        raise CredentialError(f"{key}: {path}: the first line is empty")
    return lines[0]
