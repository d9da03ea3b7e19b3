"""One soak: a replay server in this process, ``xiaod --config`` as another, faults in turn, and the account at the end.

In the first part the daemon is killed, stopped in order, frozen, told to reload, while the line is cut, frozen and refused; in the rest
the daemon lives, with faults of the line alone, so that its memory can be watched.

>>> SoakSettings(stations=2, hours=1.0).cycles
6
"""

import asyncio
import json
import math
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from xiaod.config import Early
from xiaod.domain.document import pick_from_document
from xiaod.domain.timegrid import NS_PER_S, ns_from_s
from xiaod.domain.types import Pick
from xiaod.replay import Faults, ReplayConfig, ReplayServer
from xiaod.storage.pick_store import PickStore
from xiaod.tools.bench.daemon import BenchError, DaemonProcess, sums
from xiaod.tools.soak.data import CYCLE_S, GAP_S, Key, expected, write_cycle
from xiaod.tools.soak.report import Sample, SoakReport, followed

SCHEDULE = Faults(duplicate_every=997, reorder_every=1009, garbage_every=5003)
"""Active all the time: packets twice, out of order, and meaningless."""
NEAR_WRAP = 0xFFFF00
"""The first sequence number, so that numbers wrap early."""
QUICK = {
    "connect_timeout_s": 5.0,
    "network_timeout_s": 3.0,
    "keepalive_s": 1.0,
    "reconnect_min_s": 0.1,
    "reconnect_max_s": 0.5,
}
POLL_S = 0.2
SAMPLE_S = 0.25
SETTLING_S = 2.0
REFUSED_S = 1.5
FROZEN_S = 4.0
"""Longer than the time limit of a silent connection."""
STOPPED_S = 1.0
HARD_PART = 0.25
"""Part of the run in which the daemon itself is killed and stopped."""
WARM_PART = 0.35
"""From here on memory is watched."""
HARD = ("kill -9", "stop", "freeze", "cut", "reload", "refuse")
SOFT = ("cut", "freeze", "sleep", "refuse", "reload")
EARLY_HOP_S = 2.5
"""A fifth of the usual number of early windows, so that days go by in minutes."""
GRACE_S = 35.0
STALL_S = 300.0
NOT_FINAL_S = 120.0
UNDECIDED_S = 60.0
"""Before the end of the data an early pick may still be without its final one."""


@dataclass(frozen=True)
class SoakSettings:
    """How long, how much."""

    stations: int = 50
    hours: float = 72.0
    early: Early = "windows"
    """What early picks are made by. At full speed final picks are made before a scout has noticed anything."""
    model: str = "micro"
    faults: int = 48
    """Number of faults, evenly spread."""

    @property
    def cycles(self) -> int:
        """Whole cycles to be played."""
        return math.ceil(self.hours * 3600 / CYCLE_S)


@dataclass
class _Progress:
    """What has been measured so far."""

    faults: Counter[str] = field(default_factory=Counter)
    samples: list[Sample] = field(default_factory=list)


async def soak(settings: SoakSettings, folder: Path, say: Callable[[str], None]) -> SoakReport:
    """Run one soak in a folder, where the daemon's files stay.

    Raises:
        BenchError: when the daemon ends by itself, or makes no progress.
    """
    data = folder / "cycle.mseed"
    one_cycle = await asyncio.to_thread(_offline, data, settings)
    config = ReplayConfig(
        inputs=(data,),
        port=0,
        speed="max",
        loop=True,
        loop_gap_s=GAP_S,
        copies=settings.stations,
        first_sequence=NEAR_WRAP,
        faults=SCHEDULE,
    )
    begun = time.monotonic()
    async with ReplayServer(config) as server:
        run = _SoakRun(settings, folder, server, say)
        try:
            await run.drive()
            text = await run.drained()
            status = await asyncio.to_thread(run.daemon.stop)
        finally:
            if run.daemon.process.poll() is None:
                run.daemon.process.kill()
    stored = PickStore(folder / "state" / "picks.sqlite")
    picks = stored.between(None, None)
    stored.close()
    sunk = _sunk(folder / "picks.jsonl")
    keys = [
        _key(pick.channel.instrument.station_text, pick.phase, pick.time_ns)
        for pick in picks
        if pick.stage == "final"
    ]
    # With one station its own name is kept.
    stations = {f"{status.network}.{status.station}" for status in server.streams()}
    wanted = expected(one_cycle, stations, settings.cycles)
    end_ns = min((key[2] for key in wanted), default=0) + (settings.cycles * CYCLE_S - GAP_S) * NS_PER_S
    found = Counter(key for key in keys if key[2] < end_ns)
    received, accounted = _packet_counts(text)
    return SoakReport(
        stations=settings.stations,
        hours=settings.hours,
        wall_s=round(time.monotonic() - begun, 1),
        faults=dict(run.progress.faults),
        samples=run.progress.samples,
        packets=received,
        accounted=accounted,
        expected_picks=len(wanted),
        missing=len(wanted - found.keys()),
        unexpected=len(found.keys() - wanted),
        twice=sum(found.values()) - len(found),
        sink_missing=len({pick.id for pick in picks} - sunk.keys()),
        early=followed(sunk.values(), end_ns - ns_from_s(UNDECIDED_S)),
        status=status,
    )


class _SoakRun:
    """The daemon, the server and the faults of one soak."""

    def __init__(
        self, settings: SoakSettings, folder: Path, server: ReplayServer, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._server = server
        self._say = say
        self._begun = time.monotonic()
        self._end_s = settings.cycles * CYCLE_S
        self._newest_s = -1.0
        """Seconds of data that the slowest station had sent when they were asked for last."""
        self.progress = _Progress()
        self.daemon = self._start()

    async def drive(self) -> None:
        """Until the end of the data: watch the daemon, and make the faults that are due."""
        watching = asyncio.create_task(self._watch())
        try:
            await self._make_faults()
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        """Measure memory and more from the warm part on: often, because it differs by some megabytes from batch to batch."""
        while True:
            if self._newest_s >= WARM_PART * self._end_s:
                self.progress.samples.append(await asyncio.to_thread(self._sample, self._newest_s))
            await asyncio.sleep(SAMPLE_S)

    async def _make_faults(self) -> None:
        end_s = self._end_s
        due = [(number + 0.5) / self._settings.faults for number in range(self._settings.faults)]
        hard, soft = cycle(HARD), cycle(SOFT)
        moved_s = time.monotonic()
        while (data_s := await asyncio.to_thread(self._data_s)) < end_s:
            self.daemon.check("the end of the data")
            if data_s > self._newest_s:
                moved_s, self._newest_s = time.monotonic(), data_s
            elif time.monotonic() - moved_s > STALL_S:
                raise BenchError(f"nothing has moved for {STALL_S:g} s at {data_s:.0f} s of data")
            part = data_s / end_s
            if due and part >= due[0]:
                due.pop(0)
                kind = next(hard if part < HARD_PART else soft)
                self._say(f"{data_s / 3600:6.1f} h of data, {time.monotonic() - self._begun:6.0f} s: {kind}")
                self.progress.faults[kind] += 1
                await self._make(kind)
            await asyncio.sleep(POLL_S)

    async def drained(self) -> str:
        """The daemon's metrics after the last packet, when no queue holds anything."""
        await self._server.set_faults(replace(SCHEDULE, refuse_connections=True))
        before, until = "", time.monotonic() + NOT_FINAL_S
        while time.monotonic() < until:
            text = await asyncio.to_thread(self.daemon.text)
            moving = [
                line for line in text.splitlines() if line.startswith(("xiaod_packets", "xiaod_windows"))
            ]
            depth = sums(text).get("xiaod_queue_depth", 0.0)
            if depth == 0 and "".join(moving) == before:
                return text
            before = "".join(moving)
            await asyncio.sleep(SETTLING_S)
        raise BenchError(f"still busy {NOT_FINAL_S:g} s after the last packet")

    async def _make(self, kind: str) -> None:
        process = self.daemon.process
        if kind == "kill -9":
            process.kill()
            process.wait()
            self.daemon = self._start()
        elif kind == "stop":
            status = await asyncio.to_thread(self.daemon.stop)
            if status:
                raise BenchError(f"an orderly stop ended with status {status}")
            self.daemon = self._start()
        elif kind == "reload":
            process.send_signal(signal.SIGHUP)
        elif kind == "sleep":
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(STOPPED_S)
            process.send_signal(signal.SIGCONT)
        elif kind == "cut":
            await self._server.set_faults(replace(SCHEDULE, cut_after_packets=1, cut_connections=1))
        elif kind == "freeze":
            await self._server.set_faults(replace(SCHEDULE, freeze_after_packets=0))
            await asyncio.sleep(FROZEN_S)
            await self._server.set_faults(SCHEDULE)
        else:
            await self._server.set_faults(replace(SCHEDULE, refuse_connections=True))
            await asyncio.sleep(REFUSED_S)
            await self._server.set_faults(SCHEDULE)

    def _start(self) -> DaemonProcess:
        return DaemonProcess(
            self._folder,
            {
                "sources": [{"name": "soak", "server": self._server.address, "begin": "resume", **QUICK}],
                "early": self._settings.early,
                "windows": {"early_hop_s": EARLY_HOP_S},
                "engine": {"model": self._settings.model},
                "sinks": [
                    {
                        "kind": "jsonl",
                        "path": str(self._folder / "picks.jsonl"),
                        "rotate": "none",
                        "stage": "all",
                    }
                ],
                "state": {"folder": str(self._folder / "state"), "save_interval_s": 2.0, "keep_days": 0.0},
                "buffer": {"max_future_s": None},
                "logs": {"format": "json"},
                # At full speed the queues are full at the stop; on a busy machine it takes a while to empty them.
                "grace_s": GRACE_S,
            },
        )

    def _data_s(self) -> float:
        """Seconds of data that the slowest station has sent."""
        text = self.daemon.text()
        delays = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "xiaod_data_delay_seconds"
        ]
        if len(delays) < self._settings.stations:
            return 0.0
        return time.time() - max(delays) - self._server.playback.schedule.first_ns / NS_PER_S

    def _sample(self, data_s: float) -> Sample:
        status = Path(f"/proc/{self.daemon.process.pid}/status").read_text(encoding="ascii")
        values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        files = sum(1 for _ in Path(f"/proc/{self.daemon.process.pid}/fd").iterdir())
        return Sample(
            wall_s=round(time.monotonic() - self._begun, 1),
            data_s=round(data_s, 1),
            resident_mb=round(int(values["VmRSS"].split()[0]) * 1024 / 1e6, 2),
            files=files,
            threads=int(values["Threads"]),
        )


def _key(station: str, phase: str, time_ns: int) -> Key:
    # The store keeps microseconds.
    return station, phase, round(time_ns / 1000) * 1000


def _offline(data: Path, settings: SoakSettings) -> list[tuple[str, int]]:
    """Phase and time of the picks of one cycle, by ``xiaod pick``'s own pipeline."""
    from xiaod.config import Config
    from xiaod.inference.errors import ModelError
    from xiaod.pipeline.offline import picks_of

    data.parent.mkdir(parents=True, exist_ok=True)
    write_cycle(data)
    config = Config.model_validate(
        {
            "sources": [{"server": "localhost"}],
            "early": "off",
            "engine": {"model": settings.model},
        }
    )
    try:
        picks = picks_of([data], config)
    except ModelError as error:
        raise BenchError(str(error)) from error
    return [_key("", pick.phase, pick.time_ns)[1:] for pick in picks]


def _packet_counts(text: str) -> tuple[int, dict[str, int]]:
    """Number of received packets, and packets by their result."""
    received = 0
    reasons: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels: dict[str, Any] = sample.labels
            if sample.name == "xiaod_packets_total" and labels["outcome"] == "received":
                received += int(sample.value)
            elif sample.name == "xiaod_packets_total":
                reasons[labels["outcome"]] += int(sample.value)
            elif sample.name == "xiaod_records_total":
                reasons[labels["verdict"]] += int(sample.value)
            elif sample.name == "xiaod_bad_records_total" and labels["reason"] != "framing":
                reasons[f"bad: {labels['reason']}"] += int(sample.value)
    return received, dict(reasons)


def _sunk(path: Path) -> dict[str, Pick]:
    """All picks in a file of JSON Lines, by their identifiers."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        picks = [pick_from_document(json.loads(line)) for line in file]
    return {pick.id: pick for pick in picks}
