"""The configuration as it may be shown: every key with its value, defaults included, without secrets.

In: a part of the configuration. Out: mappings, lists and plain values, which are a valid configuration again. Secrets are texts that a
model declares as such (pydantic's ``SecretStr``), texts under a key such as ``password``, and passwords in addresses. Of a secret address,
scheme, host and port are shown; of one that is not HTTP the scheme alone. The name of an environment variable, ``${NAME}``, is no secret.

>>> from pydantic import SecretStr
>>> mask({"api_token": "abc", "url": "nats://me:abc@host", "token_file": "/run/token", "keepalive_s": 1.0})
{'api_token': '********', 'url': 'nats://********@host', 'token_file': '/run/token', 'keepalive_s': 1.0}
>>> mask([SecretStr("tgram://abc/1"), SecretStr("abc"), SecretStr("${TOKEN}"), SecretStr("https://me:abc@host:8443/services/abc?key=abc")])
['tgram://********', '********', '${TOKEN}', 'https://host:8443/********']
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

MASK = "********"
SECRET_WORDS = frozenset(
    {"password", "passphrase", "passwd", "token", "secret", "key", "nkey", "credentials"}
)
"""A key with one of these words, between underscores, has a secret text."""
NAMES_A_PLACE = frozenset({"file", "path", "folder", "env"})
"""Last word of a key that names the place of a secret."""

SECRET_ADDRESSES = frozenset({"url_file"})
"""Keys of files with an address that holds secrets."""
HOST_SHOWN = frozenset({"http", "https"})
"""Other addresses may have a token in place of the host."""

_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_VARIABLE = re.compile(r"\$\{\w+\}")


def masked(part: BaseModel) -> dict[str, Any]:
    """A part of the configuration, or all of it, without its secrets."""
    shown: dict[str, Any] = mask(part.model_dump())
    return shown


def mask(value: Any, key: str = "") -> Any:
    """A value without secrets; ``key`` is its key."""
    if isinstance(value, Mapping):
        return {name: mask(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [mask(inner, key) for inner in value]
    if isinstance(value, SecretStr):
        return _hidden(value.get_secret_value())
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str) or not value:
        return value
    if is_secret(key) and not names_a_place(key):
        return _hidden(value)
    return _USER_INFO.sub(MASK, value)


def is_secret(key: str) -> bool:
    """Whether the text under a key is, or names the place of, a secret.

    >>> [key for key in ("password", "ca_file", "key_file", "nkey_file", "keepalive_s") if is_secret(key)]
    ['password', 'key_file', 'nkey_file']
    """
    return bool(SECRET_WORDS & set(key.lower().split("_"))) or key in SECRET_ADDRESSES


def names_a_place(key: str) -> bool:
    """Whether the text under a key names a place."""
    return key.lower().split("_")[-1] in NAMES_A_PLACE


def is_variable(text: str) -> bool:
    """Whether a text is the name of an environment variable, ``${NAME}``."""
    return _VARIABLE.fullmatch(text) is not None


def _hidden(secret: str) -> str:
    """The part of a secret that may be shown."""
    if is_variable(secret):
        return secret
    try:
        parts = urlsplit(secret)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return MASK
    if "://" not in secret or not host:
        return MASK
    return (
        f"{parts.scheme}://{host}{port}/{MASK}" if parts.scheme in HOST_SHOWN else f"{parts.scheme}://{MASK}"
    )
