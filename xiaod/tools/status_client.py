"""``xiaod status``: asks a running daemon over HTTP for the state of its stations, and why there was no pick.

In: addresses of daemons. Out: the answers of ``/api/stations``, and their text for a person. Station codes come from the
network: characters that are not printable are shown as ``?``.

>>> from xiaod.config import Config
>>> urls_of(Config.model_validate({"sources": [{"server": "a"}], "http": {"host": "::"}}))
['http://[::1]:9808']
>>> ask("http://127.0.0.1:1", timeout_s=5.0)
Traceback (most recent call last):
xiaod.tools.status_client.StatusError: http://127.0.0.1:1: Connection refused; is the daemon running, and does it listen there? ...
"""

import json
import re
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from xiaod.domain.timegrid import NS_PER_S, ns_from_iso, span_text
from xiaod.picking.diagnosis import STATES

if TYPE_CHECKING:
    from xiaod.config import Config

PATH = "/api/stations"
MAX_ANSWER_BYTES = 50_000_000
"""Some 50,000 stations; what answers with more is no daemon of ours."""
SCHEMES = ("http://", "https://")
_ODD = re.compile(r"[\s\x00-\x1f\x7f]")
HEADS = (
    "STATION", "STATE", "DELAY", "GAPS", "PICKS", "EARLY", "WITHDRAWN", "LAST PICK", "LATENCY", "LAST DECISION",
)  # fmt: skip
PROBLEM = "PROBLEM: "
TIME_LENGTH = len("2026-01-31T12:00:00")

Answer = Mapping[str, Any]


class StatusError(Exception):
    """A daemon that could not be asked; the message names the address, what happened, and what helps."""


def urls_of(config: "Config") -> list[str]:
    """Where a daemon with this configuration listens; with several shards and none chosen, where each of them does.

    Raises:
        ValueError: when the configuration does not say.
    """
    http, shard = config.http, config.shard
    if not http.enabled:
        raise ValueError("http.enabled is false: a daemon with this configuration cannot be asked")
    if http.port == 0:
        raise ValueError(
            "http.port is 0: any free port; the daemon's log names it (web.listening): give it with --url"
        )
    shards = range(shard.count) if shard.index is None and shard.count > 1 else range(1)
    return [http.url(http.port + index) for index in shards]


def ask(url: str, timeout_s: float) -> Answer:
    """The answer of one daemon.

    Raises:
        ValueError: when the address is none.
        StatusError: when it cannot be reached, or what answers is not a daemon that tells of its stations.
    """
    if not _is_address(url):
        raise ValueError(f"--url: {url!r}: must be such as http://127.0.0.1:9808")
    # What listens on this machine is not asked through a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url.rstrip("/") + PATH, timeout=timeout_s) as answer:
            found = json.loads(answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        raise StatusError(f"{url}: {_refused(error)}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise StatusError(
            f"{url}: {said}; is the daemon running, and does it listen there? --url names another address"
        ) from error
    except (ValueError, HTTPException) as error:
        raise StatusError(
            f"{url}: what listens there is not xiaod: {str(error).strip() or type(error).__name__}"
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("stations"), list):
        raise StatusError(f"{url}: what listens there is not xiaod: its answer has no stations")
    return found


SORTS: Mapping[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]] = {
    "station": lambda one: (str(one["id"]),),
    "state": lambda one: (STATES.index(one["state"]) if one["state"] in STATES else -1, str(one["id"])),
    "delay": lambda one: (-(one["delay_s"] or 0.0), str(one["id"])),
    "gaps": lambda one: (-one["gaps"], str(one["id"])),
    "picks": lambda one: (-one["picks"], str(one["id"])),
}
"""Orders of the table: by name, by how bad the state is, or what is most first."""


def report(answer: Answer, states: Collection[str] = (), sort: str = "station") -> str:
    """An answer as a table, with a line for each station.

    Args:
        answer: of a daemon.
        states: only stations in these states are in the table; empty: all.
        sort: order of the table, a key of :data:`SORTS`.
    """
    stations = answer["stations"]
    live = sum(station["state"] == "live" for station in stations)
    up_s = (ns_from_iso(answer["time"]) - ns_from_iso(answer["started"])) / NS_PER_S
    sources = ", ".join(f"{name} {state}" for name, state in answer["sources"].items())
    lines = [
        f"xiaod {answer['version']}, {answer['model']}, up {span_text(up_s)}; sources: {sources}",
        f"{live} of {len(stations)} stations live{_counts(stations)}",
        # A daemon of an earlier version tells of none.
        *(f"{PROBLEM}{problem['text']}" for problem in answer.get("problems", ())),
    ]
    shown = [station for station in stations if not states or station["state"] in states]
    rows = [_row(station) for station in sorted(shown, key=SORTS[sort])]
    if rows:
        table = [HEADS, *rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(HEADS) - 1)]
        lines.append("")
        lines += [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
            for row in table
        ]
    elif stations:
        lines.append(f"no station is {' or '.join(states)}")
    return "\n".join(_printable(line).rstrip() for line in lines)


def fitted(text: str, columns: int, rows: int) -> str:
    r"""A text for a screen: rows of the table are cut at its width, and those that have no room are counted in the last one.

    >>> print(fitted("first row\nsecond\nthird\nfourth", columns=79, rows=4))
    first row
    second
    ... 2 more lines: --sort puts what is worst first, --state leaves out others
    """
    lines: list[str] = []
    for line in text.splitlines():
        # What is wrong is shown whole.
        lines += textwrap.wrap(line, columns) if line.startswith(PROBLEM) else [line[:columns]]
    if len(lines) >= rows:
        kept = max(rows - 2, 1)
        more = (
            f"... {len(lines) - kept} more lines: --sort puts what is worst first, --state leaves out others"
        )
        lines = [*lines[:kept], more[:columns]]
    return "\n".join(lines)


def _counts(stations: Sequence[Mapping[str, Any]]) -> str:
    final, early, withdrawn = (
        sum(station.get(key, 0) for station in stations)
        for key in ("picks", "early_picks", "withdrawn_picks")
    )
    return f"; picks: {final} final, {early} early, of which {withdrawn} withdrawn" if final or early else ""


def _row(station: Mapping[str, Any]) -> tuple[str, ...]:
    pick, phases = station["last_pick"], station["phases"]
    reasons = [f"{phase}: {told['text']}" for phase, told in phases.items()]
    if len({told["text"] for told in phases.values()}) == 1:
        reasons = [next(iter(phases.values()))["text"]]
    return (
        station["id"],
        station["state"],
        "" if station["delay_s"] is None else span_text(station["delay_s"]),
        str(station["gaps"]),
        str(station["picks"]),
        # A daemon of an earlier version has none.
        str(station.get("early_picks", 0)),
        str(station.get("withdrawn_picks", 0)),
        "" if pick is None else f"{pick['phase']} {pick['time'][:TIME_LENGTH]}",
        ", ".join(
            f"{span_text(latency_s)} {stage}"
            for stage, latency_s in station.get("pick_latency_s", {}).items()
            if latency_s is not None
        ),
        "; ".join(reasons),
    )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return url.startswith(SCHEMES) and bool(parts.hostname) and parts.port != 0 and not _ODD.search(url)
    except ValueError:
        return False


def _refused(error: urllib.error.HTTPError) -> str:
    if error.code == 404:
        return "it does not tell of its stations: http.page is false there, or it is not xiaod"
    try:
        return f"HTTP {error.code}: {json.loads(error.read(MAX_ANSWER_BYTES))['error']}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"HTTP {error.code}: {error.reason}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
