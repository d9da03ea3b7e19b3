"""The configuration as it may be shown: every key with its value, defaults included, and no secret.

In: a part of the configuration. Out: mappings, lists and plain values, which are a configuration again. Secret is what a model
declares as such (pydantic's ``SecretStr``), text under a key that is named like one, and a password within an address. Of a secret address
scheme, host and port are shown; the name of an environment variable, ``${NAME}``, is none.

>>> from pydantic import SecretStr
>>> mask({"api_token": "abc", "url": "nats://me:abc@host", "token_file": "/run/token", "keepalive_s": 1.0})
{'api_token': '********', 'url': 'nats://********@host', 'token_file': '/run/token', 'keepalive_s': 1.0}
>>> mask([SecretStr("abc"), SecretStr("${TOKEN}"), SecretStr("https://me:abc@host:8443/services/abc?key=abc")])
['********', '${TOKEN}', 'https://host:8443/********']
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

MASK = "********"
SECRET_WORDS = frozenset({"password", "passphrase", "passwd", "token", "secret", "key", "credentials"})
"""Words of a key, between underscores, whose text is secret."""
NAMES_A_PLACE = frozenset({"file", "path", "folder", "env"})
"""Last words of a key that says where a secret lies, and not the secret."""

_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_VARIABLE = re.compile(r"\$\{\w+\}")


def masked(part: BaseModel) -> dict[str, Any]:
    """A part of the configuration, or all of it, without its secrets."""
    shown: dict[str, Any] = mask(part.model_dump())
    return shown


def mask(value: Any, key: str = "") -> Any:
    """A value without secrets; ``key`` is the one that it stands under."""
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
    words = key.lower().split("_")
    if SECRET_WORDS & set(words) and words[-1] not in NAMES_A_PLACE:
        return _hidden(value)
    return _USER_INFO.sub(MASK, value)


def _hidden(secret: str) -> str:
    """What may be shown of a secret."""
    if _VARIABLE.fullmatch(secret):
        return secret
    try:
        parts = urlsplit(secret)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return MASK
    return f"{parts.scheme}://{host}{port}/{MASK}" if "://" in secret and host else MASK
