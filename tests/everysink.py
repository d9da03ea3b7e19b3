"""A sink of every kind with what it delivers to, all real, for tests that say "every sink".

>>> from xiaod.sinks import SINKS
>>> set(ARRIVED) | {"console"} == set(SINKS)
True
"""

import csv
import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from obspy import read_events

from tests.endpoint import Answer, Endpoint
from tests.mosquitto import Mosquitto
from tests.natsserver import NatsServer
from xiaod.sinks import SINKS

TOPIC = "xiaod/+/+/+"


class EverySink:
    """Folders, files, a broker, a bus and an endpoint; without one of the programs the test is skipped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = Mosquitto(folder / "broker")
        self.bus = NatsServer(folder / "bus", "-js")
        self.endpoint = Endpoint([Answer(200)])

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for part in (self.broker, self.bus, self.endpoint):
                stack.enter_context(part)
            self.broker.watch(TOPIC)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def configuration(self) -> list[dict[str, Any]]:
        """One sink of each kind of the table, named as its kind; a kind that is new must be added here."""
        keys: dict[str, dict[str, Any]] = {
            "console": {},
            "jsonl": {"path": str(self.folder / "picks.jsonl")},
            "anss": {"path": str(self.folder / "picks.anss")},
            "table": {"path": str(self.folder / "picks.csv")},
            "quakeml": {"folder": str(self.folder / "quakeml")},
            "scml": {"folder": str(self.folder / "scml")},
            "mqtt": {"server": self.broker.server},
            "webhook": {"url": self.endpoint.url},
            "nats": {"servers": [self.bus.server], "stream": {"create": True}},
        }
        return [{"kind": kind, "name": kind, **keys[kind]} for kind in SINKS]

    def arrived(self) -> dict[str, list[str]]:
        """Identifiers of the picks at each sink, as whoever reads there finds them; the console prints none."""
        return {kind: sorted(found(self)) for kind, found in ARRIVED.items()}


def _lines(name: str) -> Callable[[EverySink], list[str]]:
    return lambda sinks: [
        json.loads(line)["id"] for line in (sinks.folder / name).read_text(encoding="utf-8").splitlines()
    ]


def _rows(sinks: EverySink) -> list[str]:
    with (sinks.folder / "picks.csv").open(encoding="utf-8", newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def _quakeml(sinks: EverySink) -> list[str]:
    return [
        pick.resource_id.id.removeprefix("smi:local/xiaod/pick/")
        for file in (sinks.folder / "quakeml").iterdir()
        for pick in read_events(str(file))[0].picks
    ]


def _scml(sinks: EverySink) -> list[str]:
    files = (sinks.folder / "scml").iterdir()
    return re.findall('<pick publicID="([^"]+)"', "".join(file.read_text(encoding="utf-8") for file in files))


ARRIVED: dict[str, Callable[[EverySink], list[str]]] = {
    "jsonl": _lines("picks.jsonl"),
    "anss": _lines("picks.anss"),
    "table": _rows,
    "quakeml": _quakeml,
    "scml": _scml,
    "mqtt": lambda sinks: [json.loads(text)["id"] for text in sinks.broker.drain(TOPIC)],
    "webhook": lambda sinks: sinks.endpoint.taken,
    "nats": lambda sinks: sinks.bus.ids(),
}
"""Kind of sink -> what has arrived there."""
