r"""``/api/stream``: what happens, as server-sent events.

``stations``: all stations at first (``complete``), then each second what has changed of those that have. ``pick``: a pick's document.
``trace``, with ``?station=``: the last minute at first, then what is new. A comment every :data:`HEARTBEAT_S` keeps the connection alive.

What a listener has not read yet waits in memory, :data:`WAITING_BYTES` at most: one that is slower is cut off and counted, and
may come again. Nothing of it makes the pipeline wait. While nobody listens nothing is made.

>>> encode("pick", {"phase": "P"})
b'event: pick\ndata: {"phase":"P"}\n\n'
"""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xiaod.config import Config
from xiaod.daemon.web.documents import station_document, trace_document
from xiaod.domain.document import pick_document
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import Instrument, Pick
from xiaod.pipeline.monitor import Monitor
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics

if TYPE_CHECKING:
    from aiohttp import web

REVIEW_S = 1.0
"""How often stations are compared with what was told of them."""
HEARTBEAT_S = 15.0
WAITING_BYTES = 4_000_000
"""Some seconds of what 500 stations that all have an event at the same moment bring."""
UNTOLD = ("delay_s", "silent_s", "records")
"""What changes all the time, and follows from the rest or matters little: no reason to tell of a station again."""
HEARTBEAT = b": heartbeat\n\n"


def encode(event: str, document: Mapping[str, Any]) -> bytes:
    """One event on the wire; JSON has no line feeds of its own."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return f"event: {event}\ndata: {text}\n\n".encode()


class Listener:
    """One connection, with what waits for it."""

    def __init__(self, instrument: Instrument | None) -> None:
        self.instrument = instrument
        self.slow = False
        self._waiting: list[bytes] = []
        self._size = 0
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, message: bytes) -> None:
        """Append a message, unless there is no room: then this listener is done with."""
        if self._size + len(message) > WAITING_BYTES:
            self.slow = True
            self.close()
        if not self._closed:
            self._waiting.append(message)
            self._size += len(message)
        self._changed.set()

    def close(self) -> None:
        """No more will come; what waits is let go."""
        self._closed = True
        self._waiting.clear()
        self._changed.set()

    async def take(self) -> bytes | None:
        """What waits, or a heartbeat after a while without; None after the end."""
        if not self._waiting and not self._closed:
            self._changed.clear()
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._changed.wait()
            except TimeoutError:
                return HEARTBEAT
        if self._closed:
            return None
        message = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return message


class Hub:
    """All listeners, and what they are told."""

    def __init__(self, monitor: Monitor, config: Config, metrics: Metrics) -> None:
        self._monitor = monitor
        self._agency = config.agency
        self._metrics = metrics
        self._most = config.http.max_clients
        self._listeners: dict[Listener, web.Request] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._reviewing: asyncio.Task[None] | None = None
        self._log = get_logger("web")
        monitor.on_pick = self._pick
        monitor.on_trace = self._trace

    def reconfigure(self, config: Config) -> None:
        """Sign picks with another agency from now on."""
        self._agency = config.agency

    @property
    def full(self) -> bool:
        """Whether there is no room for one more listener."""
        return len(self._listeners) >= self._most

    async def serve(self, request: "web.Request", instrument: Instrument | None) -> "web.StreamResponse":
        """Tell one listener what happens until it goes."""
        from aiohttp import web

        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "X-Accel-Buffering": "no",
                "Connection": "keep-alive",
            }
        )
        listener = Listener(instrument)
        self._add(listener, request)
        try:
            await response.prepare(request)
            while (message := await listener.take()) is not None:
                await response.write(message)
        except ConnectionError:
            # It has gone, or was cut off: how listeners usually end.
            pass
        finally:
            self._remove(listener)
        return response

    def close(self) -> None:
        """End all connections."""
        for listener in list(self._listeners):
            listener.close()

    def stations(self) -> list[dict[str, Any]]:
        """Documents of all stations now."""
        host_ns = time.time_ns()
        return [station_document(status, host_ns) for status in self._monitor.stations(time.monotonic_ns())]

    def _add(self, listener: Listener, request: "web.Request") -> None:
        self._listeners[listener] = request
        self._metrics.stream_clients.set(len(self._listeners))
        documents = self.stations()
        if self._reviewing is None:
            self._told = {document["id"]: _told_of(document) for document in documents}
            self._reviewing = asyncio.create_task(self._review(), name="web.review")
        listener.put(encode("stations", {"time": _now(), "complete": True, "stations": documents}))
        if listener.instrument is not None:
            self._monitor.watch(listener.instrument)
            trace = self._monitor.trace(listener.instrument)
            if trace is not None:
                listener.put(encode("trace", trace_document(listener.instrument.text, trace.part())))

    def _remove(self, listener: Listener) -> None:
        del self._listeners[listener]
        self._metrics.stream_clients.set(len(self._listeners))
        if listener.instrument is not None:
            self._monitor.unwatch(listener.instrument)
        if not self._listeners and self._reviewing is not None:
            self._reviewing.cancel()
            self._reviewing = None

    def _put(self, message: bytes, instrument: Instrument | None = None) -> None:
        for listener, request in list(self._listeners.items()):
            if listener.slow or (instrument is not None and listener.instrument != instrument):
                continue
            listener.put(message)
            if listener.slow:
                self._metrics.stream_ended.labels("slow").inc()
                self._log.warning("stream.dropped", client=request.remote, reason="does not read")
                # It may wait in a write that will never end.
                if request.transport is not None:
                    request.transport.abort()

    def _pick(self, pick: Pick) -> None:
        if self._listeners:
            self._put(encode("pick", pick_document(pick, self._agency)))

    def _trace(self, instrument: Instrument, first: int) -> None:
        if (trace := self._monitor.trace(instrument)) is not None:
            self._put(encode("trace", trace_document(instrument.text, trace.part(first))), instrument)

    async def _review(self) -> None:
        """Tell of stations that have changed, and of those that are gone."""
        while True:
            await asyncio.sleep(REVIEW_S)
            documents = self.stations()
            told = {document["id"]: _told_of(document) for document in documents}
            changed = [
                {"id": document["id"], **news}
                for document in documents
                if (news := _news(document, told[document["id"]], self._told.get(document["id"], {})))
            ]
            gone = [name for name in self._told if name not in told]
            self._told = told
            if changed or gone:
                document = {"time": _now(), "complete": False, "stations": changed, "gone": gone}
                self._put(encode("stations", document))


def _told_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a document is worth telling when it changes: probabilities no finer than a person reads them."""
    told = {key: value for key, value in document.items() if key not in UNTOLD}
    told["phases"] = {
        phase: (found["threshold"], found["reason"], found["text"], round(found["highest"] or 0.0, 2))
        for phase, found in document["phases"].items()
    }
    return told


def _news(document: Mapping[str, Any], told: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return {key: document[key] for key, value in told.items() if key not in before or before[key] != value}


def _now() -> str:
    return iso_from_ns(time.time_ns())
