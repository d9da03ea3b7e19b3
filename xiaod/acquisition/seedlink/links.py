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
from xiaod.process.plugins import imported

EXTRA = "seedlink4"
"""The extra that SeedLink 4 needs."""

Connector = Callable[[str, float, threading.Event], Connection]
"""Makes a connection that is not opened yet: of an address, the time limit of replies (s), and what stops it."""


def connector(config: SeedLinkConfig) -> Connector:
    """What makes the connections of a source.

    Raises:
        MissingExtraError: when its version of SeedLink needs a package that is not installed.
    """
    if config.protocol == 3:
        return Connection
    made = imported(
        "xiaod.acquisition.seedlink.connection4:Connection4", f"protocol: {config.protocol}", EXTRA
    )
    return partial(made, demanded=config.protocol == 4)
