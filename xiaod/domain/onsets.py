"""The identifier of a pick, and facts about onsets that several rooms need."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from models import conventions
from xiaod.domain.timegrid import GRID_NS, GRID_RATE_HZ, NS_PER_S, grid_index
from xiaod.domain.types import (
    Delivered,
    Event,
    Instrument,
    Outcome,
    Pick,
    PickOrEvent,
    RsamValue,
    Stage,
    Stages,
    Wanted,
)

PHASES = conventions.PHASES
"""What is picked: P and S, in the order of all arrays that have a row for each."""
CONFIRM_SHIFT = 15
"""Samples by which the windows that confirm an onset are shifted at most: so much more than a hop of data is kept before a window."""
CENTROID_S = 0.2
"""An onset lies within this much of the peak of its probability."""
SIGNAL_S = 1.0
"""Signal for ratio and amplitude of a pick: at most this much after the onset."""
BAND_HZ = (2.0, 20.0)
"""Corners of the band in which they are measured: what the networks see of local and regional earthquakes, without microseisms."""
WOOD_ANDERSON_HZ = (0.5, 20.0)
"""Corners of the band of Wood-Anderson amplitudes: the record of all but the largest earthquakes is in it, microseisms are not."""
CONFIRMED_S = 0.1
"""A final pick that lies so close to the early one confirms it; another one revises it."""
_PEAK_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)\.(\d\d)(\d\d)(\d\d)\.(\d\d)-")
"""The beginning of an identifier, see :func:`pick_id`."""


def pick_id(index_ns: int, phase: str, instrument: Instrument, model: str, stage: Stage = "final") -> str:
    """Identifier from the sample of the peak: rounding of the refined time cannot change it; an early pick says that it is one."""
    early = "-early" if stage == "early" else ""
    return f"{_stamp(index_ns)}-{phase}-{instrument}-{model}{early}"


def event_id_of(time_ns: int, instrument: Instrument) -> str:
    """Identifier of an event, from the time and the instrument of its first P pick.

    >>> event_id_of(1_251_073_207_731_250_000, Instrument("BW", "RJOB", "", "EH"))
    '20090824.002007.73-E-BW.RJOB..EH'
    """
    return f"{_stamp(time_ns)}-E-{instrument}"


def _stamp(time_ns: int) -> str:
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y%m%d.%H%M%S}.{time_ns // GRID_NS % 100:02d}"


def settled(final: Pick, early: Pick) -> Pick:
    """A final pick that says how the early pick of the same onset turned out."""
    moved_s = (final.time_ns - early.time_ns) / NS_PER_S
    outcome: Outcome = "confirmed" if abs(moved_s) <= CONFIRMED_S else "revised"
    return replace(final, early_id=early.id, outcome=outcome, moved_s=moved_s)


def withdrawal(early: Pick) -> Pick:
    """The document that withdraws an early pick, because no final one followed; its identifier follows from that of the early pick."""
    return replace(
        early,
        id=f"{early.id}-withdrawn",
        stage="withdrawn",
        early_id=early.id,
        created_ns=None,
        latency=None,
    )


def first_name(item: PickOrEvent) -> str:
    """The name under which a pick or an event came first: that of the early one, if there was one."""
    return item.early_id or (item.event_id if isinstance(item, Event) else item.id)


def standing(picks: Iterable[Pick]) -> list[Pick]:
    """Picks of different onsets: an early pick gives way to its final pick, or to what withdraws it, where that is among them."""
    picks = list(picks)
    gone = {pick.early_id for pick in picks}
    return [pick for pick in picks if pick.id not in gone]


def unresolved_early(picks: Iterable[Pick]) -> list[Pick]:
    """The early picks that are neither withdrawn nor named by a final pick, in their order.

    >>> from xiaod.domain.types import Channel
    >>> early = Pick("a-early", Channel("BW", "RJOB", "", "EHZ"), "P", 0, 0.1, 0.9, 5.0, 1.0, "ZNE", "micro-0.1.0", "", stage="early")
    >>> final = replace(early, id="a", stage="final", early_id="a-early", outcome="confirmed", moved_s=0.0)
    >>> unresolved_early([early]) == [early], unresolved_early([early, final]), unresolved_early([early, withdrawal(early)])
    (True, [], [])
    """
    return [pick for pick in standing(picks) if pick.stage == "early"]


def is_of(item: Delivered, stages: Stages, wanted: Wanted = "picks") -> bool:
    """Whether something is for a sink that takes these; a withdrawal goes where the early one went."""
    if isinstance(item, RsamValue):
        return wanted == "rsam"
    kind: Wanted = "events" if isinstance(item, Event) else "picks"
    return wanted in ("all", kind) and stages in ("all", "final" if item.stage == "final" else "early")


def sample_of(pick: Pick) -> int:
    """Grid index of the peak of a pick, from its identifier; of another kind of identifier, the sample nearest to the time of the pick.

    >>> from dataclasses import replace
    >>> from xiaod.domain.types import Channel
    >>> peak = 125_107_320_773
    >>> found = pick_id(peak * GRID_NS, "P", Instrument("BW", "RJOB", "", "EH"), "micro-0.1.0")
    >>> pick = Pick(found, Channel("BW", "RJOB", "", "EHZ"), "P", (peak + 3) * GRID_NS, 0.1, 0.9, 5.0, 1.0, "ZNE", "micro-0.1.0", "")
    >>> sample_of(pick) == peak, sample_of(replace(pick, id="another")) == peak + 3
    (True, True)
    """
    found = _PEAK_TIME.match(pick.id)
    if found is None:
        return grid_index(pick.time_ns)
    year, month, day, hour, minute, second, hundredths = map(int, found.groups())
    # As for the identifier: whole seconds, exactly, of whatever century.
    since = datetime(year, month, day, hour, minute, second, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * round(GRID_RATE_HZ) + hundredths
