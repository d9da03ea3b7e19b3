"""How long to wait before the next attempt to connect: exponential backoff with full jitter, so that many clients do not return at once."""

import time
from random import Random

HEALTHY_S = 30.0
"""After a connection that streamed for longer, the next delay is short again."""


class ReconnectDelay:
    """Delays of one source."""

    def __init__(self, min_s: float, max_s: float) -> None:
        """Begin; the longest delay doubles from ``min_s`` to ``max_s``."""
        self._min_s = min_s
        self._max_s = max_s
        self._failures = 0
        self._jitter = Random()  # noqa: S311  spreads reconnections, guards nothing

    def forgive(self) -> None:
        """The server has done nothing wrong: the next delay is short."""
        self._failures = 0

    def next_s(self, streaming_since_s: float | None) -> float:
        """Seconds to wait now; ``streaming_since_s``: monotonic time at which the last connection began to stream; None: it never did."""
        if streaming_since_s is not None and time.monotonic() - streaming_since_s > HEALTHY_S:
            self._failures = 0
        longest_s = min(self._max_s, self._min_s * 2 ** min(self._failures, 20))
        self._failures += 1
        return self._jitter.uniform(min(self._min_s, longest_s) / 2, longest_s)
