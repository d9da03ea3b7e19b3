"""The running replay: its clock, and what is available at this moment.

Before `Playback.begin` nothing is available. Then packets become available as the clock passes the moments at
which their last samples were recorded, and waiting connections are woken. At speed ``max`` there is no clock:
everything is available at once to each client.

>>> from xiaod.replay.records import load
>>> playback = Playback(ReplayConfig(inputs=("example",), speed="max"), load(["example"]))
>>> playback.available(0, 100), playback.over(31), playback.streams()[0].channel
(100, True, 'EHE')
"""

import asyncio
import contextlib
import time

from xiaod.domain.timegrid import NS_PER_S
from xiaod.replay.config import ReplayConfig
from xiaod.replay.info import StreamStatus
from xiaod.replay.records import Archive
from xiaod.replay.ring import Ring
from xiaod.replay.schedule import Schedule


class Playback:
    """A replay under way.

    Args:
        config: speed, shift, loop, faults.
        archive: the records to replay.

    Attributes:
        schedule: all packets.
        ring: those available, and their numbers.
        played: set when the last packet has become available (never if looped; at speed ``max``, when the
            replay begins).

    Raises:
        ReplayError: if the codes for copies of stations do not suffice.
    """

    def __init__(self, config: ReplayConfig, archive: Archive) -> None:
        self.schedule = Schedule(
            archive,
            copies=config.copies,
            loop=config.loop,
            loop_gap_s=config.loop_gap_s,
            faults=config.faults,
        )
        self.ring = Ring(
            self.schedule,
            capacity=config.ring_packets,
            first_sequence=config.first_sequence,
            whole=config.speed == "max",
        )
        self.played = asyncio.Event()
        self._config = config
        self._news = asyncio.Event()
        self._origin_s: float | None = None
        self._clock: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the clock of the replay, unless it runs."""
        if self._origin_s is not None:
            return
        now_ns = time.time_ns()
        late_ns = 0
        if self._config.shift_to_now:
            # Whole seconds keep the sampling grid; the first sample then lies less than a second ago.
            self.schedule.shift_ns = (now_ns - self.schedule.first_ns) // NS_PER_S * NS_PER_S
            late_ns = now_ns - self.schedule.first_ns - self.schedule.shift_ns
        self._origin_s = asyncio.get_running_loop().time() - late_ns / NS_PER_S
        if self._config.speed == "max":
            self.played.set()
        else:
            self._clock = asyncio.create_task(
                self._run_clock(self._origin_s, self._config.speed), name="replay-clock"
            )
            self._clock.add_done_callback(report_death)

    def available(self, cursor: int, most: int) -> int:
        """End of the packets that can be sent from ``cursor`` on, ``most`` of them."""
        return cursor + most if self.ring.whole else min(self.ring.next, max(cursor, self.ring.oldest) + most)

    def over(self, cursor: int) -> bool:
        """Whether no packet will ever come at ``cursor``."""
        total = self.schedule.total()
        return total is not None and cursor >= total

    def dialup_limit(self) -> int:
        """Where a dial-up transfer ends: at what is there now; at speed ``max``, after one cycle."""
        return len(self.schedule.cycle(0).packets) if self.ring.whole else self.ring.next

    async def wait_beyond(self, cursor: int) -> None:
        """Return when the packet at ``cursor`` has become available: never, if there is none to come."""
        # At speed max what exists is available, so a waiting connection has reached the end.
        while self.ring.whole or self.ring.next <= cursor:
            await self._news.wait()

    def note_sent(self, reached: int) -> None:
        """Note how far a client has come: at speed ``max`` numbers are counted from there."""
        if self.ring.whole:
            self.ring.advance(reached)

    def streams(self) -> tuple[StreamStatus, ...]:
        """All streams and what is available of each."""
        statuses = []
        newest = self.schedule.total() if self.ring.whole and not self.schedule.loop else self.ring.next
        for index, stream in enumerate(self.schedule.streams):
            first = self.schedule.first_of(index, self.ring.oldest)
            last = self.schedule.last_of(index, (newest or 0) - 1)
            begin_ns = None if first is None else self.ring.start_ns(first)
            if begin_ns is None:
                begin_ns = self.schedule.first_ns + self.schedule.shift_ns
            end_ns = None if last is None else self.ring.end_ns(last)
            end_ns = begin_ns if end_ns is None else end_ns
            codes = (stream.network, stream.station, stream.location, stream.channel, stream.kind)
            statuses.append(StreamStatus(*codes, begin_ns, max(begin_ns, end_ns)))
        return tuple(statuses)

    async def stop(self) -> None:
        """Stop the clock."""
        if self._clock is not None:
            self._clock.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clock

    async def _run_clock(self, origin_s: float, speed: float) -> None:
        loop, ring, schedule = asyncio.get_running_loop(), self.ring, self.schedule
        while True:
            if (due_ns := schedule.due_ns(ring.next)) is None:
                break
            due_s = due_ns / NS_PER_S / speed
            await asyncio.sleep(max(0.0, origin_s + due_s - loop.time()))
            elapsed_ns = int((loop.time() - origin_s) * speed * NS_PER_S)
            ring.advance(schedule.first_due_after(ring.next, elapsed_ns, inclusive=False))
            self._tell()
        self.played.set()
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def report_death(task: asyncio.Task[None]) -> None:
    """Report a task that died of an error to the loop: it must not look like a quiet network."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": f"{task.get_name()} died", "exception": error, "task": task}
        )
