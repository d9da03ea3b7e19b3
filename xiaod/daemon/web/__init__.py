"""What the daemon serves over HTTP: metrics and health, the status page, and the API behind it.

- :mod:`~xiaod.daemon.web.app`: the server, ``/metrics``, ``/healthz``, ``/readyz``.
- :mod:`~xiaod.daemon.web.front`: what it is told of the running daemon.
- :mod:`~xiaod.daemon.web.api`: ``/api/stations``, ``/api/picks``; :mod:`~xiaod.daemon.web.stream`: ``/api/stream``, server-sent events.
- :mod:`~xiaod.daemon.web.page`: the page at ``/``, one file without outside resources.
- :mod:`~xiaod.daemon.web.guard`: who may ask, and the headers of every answer.

>>> readiness({"a": "streaming"}, fresh=1, stale=[])[0]
True
"""

from xiaod.daemon.web.app import Readiness, WebServer, readiness

__all__ = ["Readiness", "WebServer", "readiness"]
