"""The configuration as it may be shown: every key with its value, defaults included, and no secret.

In: a :class:`~xiaod.config.Config`. Out: mappings, lists and plain values, which are a configuration again. Secret is what the model
declares as such (pydantic's ``SecretStr``), text under a key that is named like one, and a password within an address.

>>> config = Config.model_validate({"sources": [{"server": "rs.local"}]})
>>> masked(config)["sources"][0]["server"]
'rs.local:18000'
>>> mask({"api_token": "abc", "url": "nats://me:abc@host", "token_file": "/run/token", "keepalive_s": 1.0})
{'api_token': '********', 'url': 'nats://********@host', 'token_file': '/run/token', 'keepalive_s': 1.0}
"""

import re
from typing import Any

from xiaod.config import Config

MASK = "********"
SECRET_WORDS = frozenset({"password", "passphrase", "passwd", "token", "secret", "key", "credentials"})
"""Words of a key, between underscores, whose text is secret."""
NAMES_A_PLACE = frozenset({"file", "path", "folder", "env"})
"""Last words of a key that says where a secret lies, and not the secret."""

_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def masked(config: Config) -> dict[str, Any]:
    """The whole configuration without its secrets."""
    shown: dict[str, Any] = mask(config.model_dump(mode="json"))
    return shown


def mask(value: Any, key: str = "") -> Any:
    """A value without secrets; ``key`` is the one that it stands under."""
    if isinstance(value, dict):
        return {name: mask(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [mask(inner, key) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    words = key.lower().split("_")
    if SECRET_WORDS & set(words) and words[-1] not in NAMES_A_PLACE:
        return MASK
    return _USER_INFO.sub(MASK, value)
