"""Finds files with secrets that every user of this machine can read.

In: a configuration. Out: an :class:`Exposed` for each such file: the configuration file where it contains a secret, and the files that
it names, such as ``password_file`` or ``tls.key_file``.

>>> from xiaod.config import Config
>>> config = Config.model_validate({"sources": [{"server": "a"}], "sinks": [{"kind": "mqtt", "server": "b", "tls": {
...     "cert_file": "/etc/hostname", "key_file": "/etc/hostname"}}]})
>>> [(one.key, str(one.file), one.remedy) for one in exposed_files(config)]
[('sinks[0].tls.key_file', '/etc/hostname', 'chmod o= /etc/hostname')]
"""

import shlex
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from xiaod.config import Config
from xiaod.config.origin import Place
from xiaod.config.redact import is_secret, is_variable, names_a_place


@dataclass(frozen=True, slots=True)
class Exposed:
    """A file with a secret that everybody can read."""

    key: str
    """``FILE:LINE: KEY`` that contains or names the secret."""
    file: Path
    mode: int

    @property
    def remedy(self) -> str:
        """A command that closes the file to others."""
        return f"chmod o= {shlex.quote(str(self.file))}"

    def __str__(self) -> str:
        """For a person."""
        return f"{self.key}: everybody on this machine can read {self.file} (mode {self.mode:04o}); {self.remedy}"


def exposed_files(config: Config) -> list[Exposed]:
    """Files with secrets that everybody can read, each once; missing and inaccessible files are left out."""
    found: dict[Path, Exposed] = {}
    own = Path(config.origin.file) if config.origin.file else None
    for place, path in _secrets(config, ()):
        if (file := path or own) is None or file in found:
            continue
        try:
            status = file.stat()
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH:
            found[file] = Exposed(config.origin.where(*place), file, stat.S_IMODE(status.st_mode))
    return list(found.values())


def _secrets(value: object, place: Place) -> Iterator[tuple[Place, Path | None]]:
    """The places of secrets, each with its file; None: the configuration file."""
    if isinstance(value, BaseModel):
        for key, inner in value:
            yield from _secrets(inner, (*place, key))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secrets(inner, (*place, str(key)))
    elif isinstance(value, tuple | list):
        for number, inner in enumerate(value):
            yield from _secrets(inner, (*place, number))
    elif isinstance(value, SecretStr):
        if not is_variable(text := value.get_secret_value()) and _tells(text):
            yield place, None
    elif isinstance(value, Path) and is_secret(str(place[-1])) and names_a_place(str(place[-1])):
        yield place, value


def _tells(text: str) -> bool:
    """Whether a text is worth hiding: an address only with a user or a query in it."""
    if not text.startswith(("http://", "https://")):
        return bool(text)
    try:
        parts = urlsplit(text)
    except ValueError:
        return True
    return bool(parts.query or "@" in parts.netloc)
