"""The API behind the page, see :meth:`StatusApi.routes`.

All answers but snippets are JSON; errors are ``{"error": ...}``.

>>> query_number("limit", "20", 1, 1000)
20
>>> query_number("limit", "0", 1, 1000)
Traceback (most recent call last):
xiaod.daemon.web.api.QueryError: limit: '0': must be a whole number from 1 to 1000
>>> query_time("until", "9999-12-31T00:00:00Z")
Traceback (most recent call last):
xiaod.daemon.web.api.QueryError: until: '9999-12-31T00:00:00Z': year 9999: must be 1700 to 2249
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from xiaod.config import Config
from xiaod.daemon.web.connection_limit import RETRY_AFTER_S
from xiaod.daemon.web.documents import envelope_document, problem_document
from xiaod.daemon.web.event_stream import EventStream
from xiaod.daemon.web.page import Page
from xiaod.daemon.web.security import error_response
from xiaod.domain.document import pick_document
from xiaod.domain.event import event_document
from xiaod.domain.timegrid import BEFORE_ALL, NS_PER_HOUR, iso_from_ns, ns_from_iso
from xiaod.domain.types import Event, Instrument, Pick, Stages
from xiaod.pipeline.envelopes import DAY_BIN_S, WALL_BIN_S
from xiaod.pipeline.monitor import Monitor
from xiaod.pipeline.problems import Problem
from xiaod.pipeline.snippets import PATH
from xiaod.process.metrics import Metrics
from xiaod.snippets.folder import MINISEED, PICTURE, is_file_name
from xiaod.storage.pick_query import picks_per_hour, stored_events, stored_picks
from xiaod.storage.pick_store import PickStore, StoreError

if TYPE_CHECKING:
    from aiohttp import web

HOURS = 24
"""Hours of which picks are counted, with the one that has begun."""
DEFAULT_PICKS = 200
MOST_BIN = 2**40
MOST_PICKS = 2000
"""Picks in one answer."""
WAITING = """<!doctype html>
<title>{name}</title>
<p>The waveforms around this pick are not there yet. They come some seconds after the {after_s:g} s of data behind it.
<p>This page looks again by itself.
<p>{reason}
"""
"""For a browser; the name is one of a snippet, and has no letters that mean something in HTML."""
WRITTEN_WITHIN_S = 120.0
"""After its data a snippet is there so soon, or never."""
SNIPPET_TYPES = {MINISEED: "application/vnd.fdsn.mseed", PICTURE: "image/png"}


class QueryError(ValueError):
    """A query that cannot be answered; the message names the key, the value, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Version, model and start time."""

    version: str
    model: str
    started_ns: int


class StatusApi:
    """Handlers of the page and of everything under ``/api``."""

    def __init__(
        self,
        config: Config,
        monitor: Monitor,
        metrics: Metrics,
        identity: Identity,
        links: Callable[[], Mapping[str, str]],
        problems: Callable[[], list[Problem]],
        store: PickStore | None,
    ) -> None:
        """Set up.

        Args:
            config: of the daemon.
            monitor: what is shown of the stations.
            metrics: count listeners.
            identity: version and model.
            links: gives the state of each source's connection.
            problems: gives what is wrong.
            store: picks are read from it; None: from the monitor.
        """
        self._monitor = monitor
        self._agency = config.agency
        self._metrics = metrics
        self._identity = identity
        self._links = links
        self._problems = problems
        self._store = store
        self._page = Page.load()
        self._snippets = config.snippets
        self._makes_events = config.events.enabled
        self.stream = EventStream(monitor, config, metrics, problems)

    def reconfigure(self, config: Config) -> None:
        """Sign picks with another agency from now on."""
        self._agency = config.agency
        self.stream.reconfigure(config)

    def routes(self) -> "list[web.RouteDef]":
        """Routes of the page and the API."""
        from aiohttp import web

        return [
            web.get("/", self._serve_page),
            web.get("/api/stations", self._serve_stations),
            web.get("/api/picks", self._serve_picks),
            web.get("/api/events", self._serve_events),
            web.get(PATH + "{name}", self._serve_snippet),
            web.get("/api/picks-per-hour", self._serve_hours),
            web.get("/api/wall", self._serve_wall),
            web.get("/api/day", self._serve_day),
            # The answer to HEAD would have a body without end.
            web.get("/api/stream", self._serve_stream, allow_head=False),
        ]

    async def _serve_page(self, _: "web.Request") -> "web.Response":
        from aiohttp import web

        return web.Response(
            text=self._page.text,
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": self._page.policy},
        )

    async def _serve_stations(self, _: "web.Request") -> "web.Response":
        from aiohttp import web

        return web.json_response(
            {
                "time": iso_from_ns(time.time_ns()),
                "version": self._identity.version,
                "model": self._identity.model,
                "started": iso_from_ns(self._identity.started_ns),
                "sources": dict(self._links()),
                "problems": [problem_document(one) for one in self._problems()],
                "stations": self.stream.stations(),
            }
        )

    async def _serve_picks(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        query = request.query
        try:
            limit = query_number("limit", query.get("limit", str(DEFAULT_PICKS)), 1, MOST_PICKS)
            since_ns, until_ns = (query_time(key, query.get(key)) for key in ("since", "until"))
            instrument = query_instrument(query.get("station"))
            stages = query_stages(query.get("stage"))
        except QueryError as error:
            return error_response(400, str(error))
        try:
            # One more than the limit shows whether there are more.
            picks = await asyncio.to_thread(self._picks, limit + 1, since_ns, until_ns, instrument, stages)
        except StoreError as error:
            return error_response(503, str(error))
        documents = [pick_document(pick, self._agency) for pick in picks[-limit:]]
        return web.json_response({"picks": documents, "truncated": len(picks) > limit})

    async def _serve_events(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        query = request.query
        try:
            limit = query_number("limit", query.get("limit", str(DEFAULT_PICKS)), 1, MOST_PICKS)
            since_ns, until_ns = (query_time(key, query.get(key)) for key in ("since", "until"))
            stages = query_stages(query.get("stage"))
        except QueryError as error:
            return error_response(400, str(error))
        events: list[Event] = []
        if self._makes_events:
            if self._store is None:
                return error_response(503, "events are kept in the store, and there is none now")
            try:
                events = await asyncio.to_thread(
                    stored_events, self._store.path, since_ns, until_ns, limit + 1, stages
                )
            except StoreError as error:
                return error_response(503, str(error))
        documents = [event_document(event, self._agency) for event in events[-limit:]]
        return web.json_response(
            {"enabled": self._makes_events, "events": documents, "truncated": len(events) > limit}
        )

    async def _serve_snippet(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        name = request.match_info["name"]
        if not self._snippets.enabled:
            return error_response(404, "no waveforms are kept; snippets.enabled: true keeps them")
        if not is_file_name(name):
            return error_response(404, f"{name!r}: must be the id of a final pick, with .mseed or .png")
        try:
            content = await asyncio.to_thread((self._snippets.folder / name).read_bytes)
        except OSError as error:
            reason = (
                f"{name}: {error.strerror or error}; it is there once the data after the pick have come, "
                "until it is among the oldest"
            )
            if "text/html" not in request.headers.get("Accept", ""):
                return error_response(404, reason)
            if not self._may_come(name):
                return error_response(404, reason)
            # Somebody has clicked on a pick that is seconds old.
            return web.Response(
                status=404,
                text=WAITING.format(name=name, reason=reason, after_s=self._snippets.after_s),
                content_type="text/html",
                charset="utf-8",
                headers={"Refresh": "3"},
            )
        return web.Response(body=content, content_type=SNIPPET_TYPES[Path(name).suffix])

    def _may_come(self, name: str) -> bool:
        """Whether the pick of a snippet is so young that the snippet may still be written."""
        try:
            picked = datetime.strptime(name[:18], "%Y%m%d.%H%M%S.%f").replace(tzinfo=UTC)
        except ValueError:
            return False
        return time.time() - picked.timestamp() < self._snippets.after_s + WRITTEN_WITHIN_S

    async def _serve_hours(self, _: "web.Request") -> "web.Response":
        from aiohttp import web

        first = time.time_ns() // NS_PER_HOUR - HOURS + 1
        try:
            counts = await asyncio.to_thread(self._hours, first)
        except StoreError as error:
            return error_response(503, str(error))
        return web.json_response(
            {
                "start": iso_from_ns(first * NS_PER_HOUR),
                "stations": {
                    station: [hours.get(first + number, 0) for number in range(HOURS)]
                    for station, hours in counts.items()
                },
            }
        )

    async def _serve_wall(self, _: "web.Request") -> "web.Response":
        from aiohttp import web

        stations = {
            instrument.text: envelope_document(envelope, BEFORE_ALL)
            for instrument, envelope in self._monitor.envelopes.wall
        }
        return web.json_response({"bin_s": WALL_BIN_S, "stations": stations})

    async def _serve_day(self, request: "web.Request") -> "web.Response":
        from aiohttp import web

        station = request.query.get("station", "")
        if (instrument := self._monitor.find(station)) is None:
            return _no_such_station(station)
        try:
            first = query_number("since", request.query.get("since", "0"), 0, MOST_BIN)
        except QueryError as error:
            return error_response(400, str(error))
        if (envelope := self._monitor.envelopes.day(instrument)) is None:
            return error_response(404, "no day is kept of any station; http.days says of how many")
        return web.json_response(
            {"station": station, "bin_s": DAY_BIN_S, **envelope_document(envelope, first)}
        )

    async def _serve_stream(self, request: "web.Request") -> "web.StreamResponse":
        instrument: Instrument | None = None
        if (station := request.query.get("station")) is not None:
            instrument = self._monitor.find(station)
            if instrument is None:
                return _no_such_station(station)
        if self.stream.full:
            self._metrics.stream_ended.labels("full").inc()
            answer = error_response(503, "too many listeners; http.max_clients says how many there may be")
            answer.headers["Retry-After"] = str(RETRY_AFTER_S)
            return answer
        return await self.stream.serve(request, instrument, wall="wall" in request.query)

    def _hours(self, first: int) -> dict[str, dict[int, int]]:
        """Final picks of each instrument in each hour since 1970 from one on, where there were any."""
        if self._store is not None:
            return picks_per_hour(self._store.path, first * NS_PER_HOUR)
        counts: dict[str, dict[int, int]] = {}
        for pick in list(self._monitor.recent):
            hour = pick.time_ns // NS_PER_HOUR
            if pick.stage == "final" and hour >= first:
                own = counts.setdefault(pick.channel.instrument.text, {})
                own[hour] = own.get(hour, 0) + 1
        return counts

    def _picks(
        self,
        limit: int,
        since_ns: int | None,
        until_ns: int | None,
        instrument: Instrument | None,
        stages: Stages,
    ) -> list[Pick]:
        if self._store is not None:
            return stored_picks(self._store.path, since_ns, until_ns, instrument, limit, stages)
        found = [
            pick
            for pick in list(self._monitor.recent)
            if (since_ns is None or pick.time_ns >= since_ns)
            and (until_ns is None or pick.time_ns < until_ns)
            and instrument in {None, pick.channel.instrument}
            and stages in ("all", pick.stage)
        ]
        return sorted(found, key=lambda pick: pick.time_ns)[-limit:]


def _no_such_station(station: str) -> "web.Response":
    return error_response(404, f"station: {station!r}: no such station; /api/stations lists them")


def query_number(key: str, text: str, least: int, most: int) -> int:
    """A whole number of a query.

    Raises:
        QueryError: when it is none, or out of range.
    """
    if text.isascii() and text.isdigit() and len(text) < len(str(most)) + 2 and least <= int(text) <= most:
        return int(text)
    raise QueryError(f"{key}: {text!r}: must be a whole number from {least} to {most}")


def query_time(key: str, text: str | None) -> int | None:
    """A time of a query, in nanoseconds.

    Raises:
        QueryError: when it is none, or out of range.
    """
    try:
        return None if text is None else ns_from_iso(text)
    except ValueError as error:
        raise QueryError(f"{key}: {text!r}: {error}") from None


def query_stages(text: str | None) -> Stages:
    """Which picks a query asks for: final ones, unless it says otherwise; withdrawals come with all alone.

    Raises:
        QueryError: when there is no such stage.
    """
    match text:
        case None:
            return "final"
        case "early" | "final" | "all":
            return text
    raise QueryError(f"stage: {text!r}: must be early, final or all")


def query_instrument(text: str | None) -> Instrument | None:
    """An instrument of a query; it need not be in the station table.

    Raises:
        QueryError: when it is none.
    """
    if text is None:
        return None
    parts = text.split(".")
    if len(parts) != 4:
        raise QueryError(f"station: {text!r}: must be NET.STA.LOC.BI, such as BW.RJOB..EH")
    return Instrument(*parts)
