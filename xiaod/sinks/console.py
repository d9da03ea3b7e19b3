"""A line for each pick, and for each event if it takes them, on standard output, for a person who watches.

A word says what has become of the onset: ``early``; ``confirmed`` or ``revised``, a final pick after an early one, with the shift;
``final``, without an early one; ``withdrawn``, an early pick that no final one followed, at its time.

>>> from io import StringIO
>>> from xiaod.domain.types import Channel, Pick, Stages
>>> out = StringIO()
>>> ConsoleSink(ConsoleConfig(kind="console"), AgencyConfig(), out).deliver([Pick("id", Channel("BW", "RJOB", "", "EHZ"), "P",
...     1_251_073_207_731_250_000, 0.1, 0.93, 5.0, 1200.0, "ZNE", "micro-0.1.0", "0" * 64)], now_ns=0)
>>> out.getvalue().rstrip()
'2009-08-24T00:20:07.731250Z  P  BW.RJOB..EHZ      final      probability 0.93  +-0.10 s  snr    5.0'
"""

import errno
import sys
from collections.abc import Sequence
from typing import TextIO

from xiaod.config import AgencyConfig
from xiaod.config.sinks.console import ConsoleConfig
from xiaod.domain.event import about
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import Event, PickOrEvent
from xiaod.sinks import ConfiguredSink

COLOURS = {"P": "\033[1;34m", "S": "\033[1;31m"}
EARLY_COLOURS = {"P": "\033[34m", "S": "\033[31m"}
"""The same, not bold."""
RESET = "\033[0m"


class ConsoleSink(ConfiguredSink):
    """Writes to standard output; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: ConsoleConfig, agency: AgencyConfig, stream: TextIO | None = None) -> None:
        del agency
        super().__init__(config)
        self._stream = stream

    def deliver(self, picks: Sequence[PickOrEvent], now_ns: int) -> None:
        """Write a line for each pick and event.

        Raises:
            OSError: when standard output is closed, its reader has exited (``BrokenPipeError``), or its disk is full.
        """
        del now_ns
        if not picks:
            return
        # None: the process was started with standard output closed.
        stream: TextIO | None = self._stream or sys.stdout
        if stream is None or stream.closed:
            raise OSError(errno.EBADF, "standard output is closed")
        coloured = stream.isatty()
        text = "".join(_line(pick, coloured) for pick in picks)
        # A damaged record can hold any code, but standard output does not take every character.
        stream.write(text.encode("ascii", "backslashreplace").decode())
        stream.flush()

    def close(self) -> None:
        """Nothing is held back, and standard output is not ours to close."""


def _line(pick: PickOrEvent, coloured: bool) -> str:
    if isinstance(pick, Event):
        return f"{iso_from_ns(pick.time_ns)}  E  {pick.event_id:<16}  {pick.stage:<9}  {about(pick)}\n"
    colour = COLOURS if pick.stage == "final" else EARLY_COLOURS
    phase = f"{colour.get(pick.phase, '')}{pick.phase}{RESET}" if coloured else pick.phase
    late = "" if pick.latency is None else f"  latency {pick.latency.total_s:5.2f} s"
    begin = f"{iso_from_ns(pick.time_ns)}  {phase}  {pick.channel!s:<16}  {pick.outcome or pick.stage:<9}"
    if pick.stage == "withdrawn":
        return f"{begin}\n"
    # Plus zero: -0.001 s is written as +0.00.
    moved = "" if pick.moved_s is None else f"  moved {round(pick.moved_s, 2) + 0.0:+.2f} s"
    return (
        f"{begin}  probability {pick.probability:.2f}  +-{pick.time_uncertainty_s:.2f} s  "
        f"snr {pick.snr:6.1f}{late}{moved}\n"
    )
