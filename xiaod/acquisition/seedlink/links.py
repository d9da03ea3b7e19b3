"""Which kind of connection a source makes.

>>> from xiaod.config import SeedLinkConfig
>>> connector(SeedLinkConfig(server="localhost")) is Connection
True
"""

import threading
from collections.abc import Callable
from functools import partial

from xiaod.acquisition.seedlink.connection import Connection
from xiaod.config import SeedLinkConfig
from xiaod.config.tls import tls_context
from xiaod.process.plugins import imported
from xiaod.process.secret_file import CredentialError, credential

EXTRA = "seedlink4"
"""The extra that SeedLink 4 needs."""

Connector = Callable[[str, float, threading.Event], Connection]
"""Makes a connection that is not opened yet: of an address, the time limit of replies (s), and what stops it."""


def connector(config: SeedLinkConfig) -> Connector:
    """What makes the connections of a source.

    Raises:
        MissingExtraError: when its version of SeedLink needs a package that is not installed.
    """
    tls = None if config.tls is None else partial(tls_context, config.tls)
    if config.protocol == 3:
        return Connection if tls is None else partial(Connection, tls=tls)
    made = imported(
        "xiaod.acquisition.seedlink.connection4:Connection4", f"protocol: {config.protocol}", EXTRA
    )
    return partial(made, tls=tls, demanded=config.protocol == 4, login=partial(login, config))


def check(config: SeedLinkConfig) -> None:
    """Look whether what the connections of a source need is there.

    Raises:
        MissingExtraError: as :func:`connector`.
        OSError: when a file of ``tls`` or with a secret cannot be used; the message names its key.
    """
    connector(config)
    if config.tls is not None:
        tls_context(config.tls)
    login(config)


def login(config: SeedLinkConfig) -> str:
    """The words after AUTH; empty: there is no login.

    Raises:
        CredentialError: when a secret cannot be read, or cannot be sent.
    """
    if not config.logs_in:
        return ""
    key, path = (
        ("token", config.token_file) if config.token_file is not None else ("password", config.password_file)
    )
    secret = credential(key, None, path) or ""
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise CredentialError(
            f"{key}_file: {path}: must be ASCII without blanks: SeedLink 4 sends nothing else"
        )
    return f"JWT {secret}" if key == "token" else f"USERPASS {config.username} {secret}"
