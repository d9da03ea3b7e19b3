"""Checks of texts that several kinds of sink have: addresses, and templates with names between braces.

>>> host_and_port("broker.local", 1883), full_address("[::1]", 9092), full_address("[::1]:9", 9092)
(('broker.local', 1883), '[::1]:9092', '[::1]:9')
>>> names_in("xiaod/{network}/{stage}", ("network", "stage")) == {"network", "stage"}
True
>>> host_and_port("http://broker", 1883)
Traceback (most recent call last):
ValueError: must be HOST or HOST:PORT, for example 'broker.local:1883'
>>> template(("stage",), "[a-z.]+", "must be small letters")("Picks.{stage}")
Traceback (most recent call last):
ValueError: must be small letters
"""

import re
from collections.abc import Callable
from string import Formatter
from urllib.parse import urlsplit

_HOST_PATTERN = re.compile(r"[A-Za-z0-9._:-]+")


def host_and_port(address: str, default_port: int) -> tuple[str, int]:
    """The parts of HOST or HOST:PORT.

    Raises:
        ValueError: when it is something else.
    """
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname or "", parts.port
        good = parts.netloc == address and _HOST_PATTERN.fullmatch(host) and port != 0 and "@" not in address
    except ValueError:
        good = False
    if not good:
        hint = "; a user name goes into username" if "@" in address else ""
        raise ValueError(f"must be HOST or HOST:PORT, for example 'broker.local:{default_port}'{hint}")
    return host, port or default_port


def address(default_port: int) -> Callable[[str], str]:
    """A check of HOST or HOST:PORT, which stays as it is."""

    def check(text: str) -> str:
        host_and_port(text, default_port)
        return text

    return check


def full_address(address: str, default_port: int) -> str:
    """HOST:PORT of HOST or HOST:PORT.

    Raises:
        ValueError: when it is something else.
    """
    host, port = host_and_port(address, default_port)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def names_in(text: str, allowed: tuple[str, ...]) -> set[str]:
    """Names in braces.

    Raises:
        ValueError: when a brace stands alone, or a name is none of those allowed.
    """
    listed = ", ".join(f"{{{name}}}" for name in allowed)
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{error}; allowed are {listed}") from error
    names = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    for name, spec, conversion in names:
        if name not in allowed:
            raise ValueError(f"{{{name}}} is not known; allowed are {listed}")
        if spec or conversion:
            raise ValueError(f"{{{name}}} must stand alone in its braces, without : or !")
    return {name for name, _, _ in names}


def template(allowed: tuple[str, ...], pattern: str = ".*", otherwise: str = "") -> Callable[[str], str]:
    """A check of a template.

    Args:
        allowed: names that may stand in braces.
        pattern: regular expression of the text, with a letter for each name.
        otherwise: what is said of one that does not match.
    """

    def check(text: str) -> str:
        names_in(text, allowed)
        if not re.fullmatch(pattern, re.sub(r"\{\w+\}", "x", text), re.DOTALL):
            raise ValueError(otherwise)
        return text

    return check
