"""Checks of texts that several kinds of sink have: addresses, and templates with names between braces.

>>> address("broker.local:1883"), names_in("xiaod/{network}/{stage}", ("network", "stage")) == {"network", "stage"}
('broker.local:1883', True)
>>> address("http://broker")
Traceback (most recent call last):
ValueError: must be HOST or HOST:PORT, for example 'broker.local:1883'
"""

import re
from string import Formatter
from urllib.parse import urlsplit

_HOST_PATTERN = re.compile(r"[A-Za-z0-9._:-]+")


def address(text: str) -> str:
    """HOST or HOST:PORT, as it is.

    Raises:
        ValueError: when it is something else.
    """
    try:
        parts = urlsplit(f"//{text}")
        good = parts.netloc == text and _HOST_PATTERN.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in text:
        raise ValueError("must be HOST or HOST:PORT, for example 'broker.local:1883'")
    return text


def names_in(template: str, allowed: tuple[str, ...]) -> set[str]:
    """Names in braces.

    Raises:
        ValueError: when a brace stands alone, or a name is none of those allowed.
    """
    listed = ", ".join(f"{{{name}}}" for name in allowed)
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{error}; allowed are {listed}") from error
    names = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    for name, spec, conversion in names:
        if name not in allowed or spec or conversion:
            raise ValueError(f"{{{name}}} is not known; allowed are {listed}")
    return {name for name, _, _ in names}
