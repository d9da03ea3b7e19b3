r"""``/api/stream``: stations, picks and traces as server-sent events.

- ``stations``: at first all stations (``complete``), then once a second those that have changed, with their changes.
- ``problems``: at first and twice a second all that is wrong with the daemon, also when that is nothing: who hears no word any more has
  lost it.
- ``pick``: the document of a pick, early or final, or of the withdrawal of an early one.
- ``trace``, with ``?station=``: at first the last minute, then what is new.
- ``wall``, with ``?wall=1``: once a second what is new of the envelopes of all stations; what there is already is at ``/api/wall``.

Events that a listener has not read wait in memory, at most :data:`WAITING_BYTES`. A slower listener is disconnected and counted, and may
connect again. The pipeline never waits for a listener. Without listeners no event is made.

>>> encode("pick", {"phase": "P"})
b'event: pick\ndata: {"phase":"P"}\n\n'
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from xiaod.config import Config
from xiaod.daemon.web.documents import envelope_document, problem_document, station_document, trace_document
from xiaod.domain.document import pick_document
from xiaod.domain.timegrid import BEFORE_ALL, iso_from_ns
from xiaod.domain.types import Instrument, Pick
from xiaod.pipeline.envelopes import WALL_BIN_S
from xiaod.pipeline.monitor import Monitor
from xiaod.pipeline.problems import Problem
from xiaod.process.logs import get_logger
from xiaod.process.metrics import Metrics

if TYPE_CHECKING:
    from aiohttp import web

PROBLEMS_S = 0.5
"""How often is told what is wrong."""
REVIEWED = 2
"""So many times, stations are compared with their last event once."""
WAITING_BYTES = 4_000_000
"""Some seconds of 500 stations that all record an event at the same moment."""
IGNORED = ("delay_s", "silent_s", "records")
"""Keys that change all the time, and follow from the others or matter little: they alone bring no event."""
NEW_BINS = 80
"""Told of an envelope at first: a window of data; before that, ``/api/wall`` tells more."""


def encode(event: str, document: Mapping[str, Any]) -> bytes:
    """The bytes of one event; JSON text has no line feeds."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return f"event: {event}\ndata: {text}\n\n".encode()


class Listener:
    """One connection, with the events that wait for it."""

    def __init__(self, instrument: Instrument | None, wall: bool = False) -> None:
        self.instrument = instrument
        self.wall = wall
        self.slow = False
        self._waiting: list[bytes] = []
        self._size = 0
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, message: bytes) -> None:
        """Append an event; if there is no room for it the listener is closed."""
        if self._size + len(message) > WAITING_BYTES:
            self.slow = True
            self.close()
        if not self._closed:
            self._waiting.append(message)
            self._size += len(message)
        self._changed.set()

    def close(self) -> None:
        """End the event stream and drop the events that wait."""
        self._closed = True
        self._waiting.clear()
        self._changed.set()

    async def take(self) -> bytes | None:
        """The events that wait, once there are any; None after the end."""
        if not self._waiting and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        if self._closed:
            return None
        message = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return message


class EventStream:
    """All listeners, and the events for them; implements :class:`xiaod.pipeline.monitor.MonitorListener`."""

    def __init__(
        self, monitor: Monitor, config: Config, metrics: Metrics, problems: Callable[[], list[Problem]]
    ) -> None:
        self._monitor = monitor
        self._problems = problems
        self._agency = config.agency
        self._known = config.stations
        self._metrics = metrics
        self._most = config.http.max_clients
        self._listeners: dict[Listener, web.Request] = {}
        self._sent: dict[str, dict[str, Any]] = {}
        self._sent_wall: dict[str, int] = {}
        """Bin of the wall up to which each envelope was sent."""
        self._reviewing: asyncio.Task[None] | None = None
        self._log = get_logger("web")
        monitor.subscribe(self)

    def reconfigure(self, config: Config) -> None:
        """Sign picks with another agency, and name stations as another file does, from now on."""
        self._agency = config.agency
        self._known = config.stations

    @property
    def full(self) -> bool:
        """Whether there are as many listeners as there may be."""
        return len(self._listeners) >= self._most

    async def serve(
        self, request: "web.Request", instrument: Instrument | None, wall: bool
    ) -> "web.StreamResponse":
        """Send events to one listener until it disconnects."""
        from aiohttp import web

        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "X-Accel-Buffering": "no",
                "Connection": "keep-alive",
            }
        )
        listener = Listener(instrument, wall)
        self._add(listener, request)
        try:
            await response.prepare(request)
            while (message := await listener.take()) is not None:
                await response.write(message)
        except ConnectionError:
            # It has disconnected or was dropped, as most listeners end.
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
        return [
            station_document(status, host_ns, self._known)
            for status in self._monitor.stations(time.monotonic_ns())
        ]

    def _add(self, listener: Listener, request: "web.Request") -> None:
        # Changes are counted from what all listeners know, so the others hear now what this one is told.
        documents = self._tell_stations()
        self._listeners[listener] = request
        self._metrics.stream_clients.set(len(self._listeners))
        if self._reviewing is None:
            self._reviewing = asyncio.create_task(self._review(), name="web.review")
        listener.put(encode("stations", {"time": _now(), "complete": True, "stations": documents}))
        listener.put(self._problems_event(self._problems()))
        self._monitor.envelopes.look()
        if listener.instrument is not None:
            self._monitor.watch(listener.instrument)
            trace = self._monitor.trace(listener.instrument)
            if trace is not None:
                listener.put(encode("trace", trace_document(listener.instrument.text, trace)))

    def _remove(self, listener: Listener) -> None:
        del self._listeners[listener]
        self._metrics.stream_clients.set(len(self._listeners))
        self._monitor.envelopes.leave()
        if listener.instrument is not None:
            self._monitor.unwatch(listener.instrument)
        if not self._listeners and self._reviewing is not None:
            self._reviewing.cancel()
            self._reviewing = None

    def _put(self, message: bytes, instrument: Instrument | None = None, wall: bool = False) -> None:
        """Send an event to all listeners, to those of an instrument, or to those of the wall."""
        for listener, request in list(self._listeners.items()):
            if listener.slow or (instrument is not None and listener.instrument != instrument):
                continue
            if wall and not listener.wall:
                continue
            listener.put(message)
            if listener.slow:
                self._metrics.stream_ended.labels("slow").inc()
                self._log.warning("stream.dropped", client=request.remote, reason="the client does not read")
                # Its task may wait in a write that never ends.
                if request.transport is not None:
                    request.transport.abort()

    def on_pick(self, pick: Pick) -> None:
        """Send a pick to all listeners."""
        if self._listeners:
            self._put(encode("pick", pick_document(pick, self._agency)))

    def on_trace(self, instrument: Instrument, first: int) -> None:
        """Send bins of a trace to those who watch the instrument."""
        if (trace := self._monitor.trace(instrument)) is not None:
            self._put(encode("trace", trace_document(instrument.text, trace, first)), instrument)

    async def _review(self) -> None:
        """Twice a second, send what is wrong; once a second, stations that have changed and names of those that are gone."""
        for turn in count(1):
            await asyncio.sleep(PROBLEMS_S)
            self._put(self._problems_event(self._problems()))
            if turn % REVIEWED:
                continue
            self._tell_stations()
            if any(listener.wall for listener in self._listeners):
                self._put(encode("wall", self._wall_document()), wall=True)
            else:
                self._sent_wall.clear()

    def _tell_stations(self) -> list[dict[str, Any]]:
        """Send stations that have changed and names of those that are gone; documents of all that there are now."""
        documents = self.stations()
        current = {document["id"]: _comparable(document) for document in documents}
        changed = [
            {"id": document["id"], **changes}
            for document in documents
            if (changes := _changes(document, current[document["id"]], self._sent.get(document["id"], {})))
        ]
        gone = [name for name in self._sent if name not in current]
        self._sent = current
        if changed or gone:
            document = {"time": _now(), "complete": False, "stations": changed, "gone": gone}
            self._put(encode("stations", document))
        return documents

    def _wall_document(self) -> dict[str, Any]:
        """What is new of all envelopes since the last event."""
        stations, sent = {}, {}
        for instrument, envelope in self._monitor.envelopes.wall:
            if (stop := envelope.stop) is None:
                continue
            sent[instrument.text] = stop
            first = self._sent_wall.get(instrument.text, stop - NEW_BINS)
            # One that was set back is told from its beginning.
            if first != stop:
                stations[instrument.text] = envelope_document(envelope, first if first < stop else BEFORE_ALL)
        self._sent_wall = sent
        return {"bin_s": WALL_BIN_S, "stations": stations}

    @staticmethod
    def _problems_event(problems: Sequence[Problem]) -> bytes:
        return encode("problems", {"time": _now(), "problems": [problem_document(one) for one in problems]})


def _comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a document whose changes are sent: probabilities only as finely as a person reads them."""
    kept = {key: value for key, value in document.items() if key not in IGNORED}
    kept["phases"] = {
        phase: (found["threshold"], found["reason"], found["text"], round(found["highest"] or 0.0, 2))
        for phase, found in document["phases"].items()
    }
    return kept


def _changes(
    document: Mapping[str, Any], current: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    return {key: document[key] for key, value in current.items() if key not in before or before[key] != value}


def _now() -> str:
    return iso_from_ns(time.time_ns())
