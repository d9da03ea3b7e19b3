"""What the daemon serves over HTTP: metrics and health, the status page, and the API behind it.

- :mod:`~xiaod.daemon.web.http_service`: the server of a running daemon, with what it needs of the pipeline.
- :mod:`~xiaod.daemon.web.web_server`: the server, ``/metrics``, ``/healthz``, ``/readyz``.
- :mod:`~xiaod.daemon.web.api`: ``/api/stations``, ``/api/picks``.
- :mod:`~xiaod.daemon.web.event_stream`: ``/api/stream``, server-sent events.
- :mod:`~xiaod.daemon.web.documents`: their JSON.
- :mod:`~xiaod.daemon.web.page`: the page at ``/``, one file without outside resources.
- :mod:`~xiaod.daemon.web.connection_limit`, :mod:`~xiaod.daemon.web.security`: limits and checks of connections and requests.
"""
