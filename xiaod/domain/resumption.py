"""Where a run begins again after a stop or ``kill -9``, so that it makes the picks that are missing and no pick twice.

A run writes down, for each instrument, the time until which it has picked (``picked_until``), and for each station the packet from
which the next run must read. All of it follows from the end of the newest window::

                                                                                 end of the
     first packet   resume_from                 picked_until                  newest window     newest sample
          │              │                           │                              │                 │
    ──────┴──────────────┴───────────────────────────┴──────────────────────────────┴─────────────────┴──▶ time
                         │◀──────── warm_up ────────▶│◀───────── not final ────────▶│
                         │       length + 15 s       │   max_lead + length + 5 s    │
                         │                           │                              │
          └───── read again, nothing is picked ──────┤                              │
                                                     ├── picked again; a pick that is in the store is not stored twice
    ◀──────────── remembered, 130 s ─────────────────┤
     older picks are not given to the pickers        │

- *not final*: in this part picks may still change. A late component may bring windows again that end ``max_lead`` before the newest,
  and an onset may lie anywhere in them.
- *warm up*: what windows, merged probabilities and noise need in front of the first onset that is picked.
- *first packet*: the one that holds ``resume_from``; packets come whole.
- *remembered*: picks from here on are given to the picker that begins again.

The store holds all this as it was at the last save, at most ``state.save_interval_s`` before the end. After ``kill -9`` the new run
therefore starts that much earlier, and makes the picks in between again; the store knows them by their ids and times.

Three limits keep one instrument or station from holding up others, or from being taken for another recording:

- *abandoned*: what lies more than :data:`ABANDONED_S` behind others that are picked no longer holds them back: an instrument does not hold
  back its station, nor a silent station or refused packet its server.
- *elsewhere*: an instrument whose data begin more than :data:`ELSEWHERE_S` before ``picked_until`` is another recording, and is picked.
- *gone*: a station that its server no longer lists, with data :data:`GONE_S` older than those of others, is forgotten.

So the server must still have the data since the end of the last run, and ``save_interval + not_final + warm_up`` and a packet before it;
while an instrument or a station is behind the others, up to :data:`ABANDONED_S` more.
"""

from collections.abc import Collection

from xiaod.domain.timegrid import ns_from_s

WARM_UP_S = 15.0
"""What has to come again besides one window: 10 s in which a pick suppresses another (``min_separation_s`` at most), 2 s in which an
onset is looked for, and the 3 s of noise before it."""
ONSET_MARGIN_S = 5.0
"""How far an onset may still move when it is confirmed, and more."""
PICKER_MEMORY_S = 120.0
"""How long a picker remembers its picks, besides ``max_lead``: the longest window there may be."""
REMEMBERED_S = 130.0
"""How long before ``picked_until`` picks are given to the next run: the picker's memory and the 10 s in which a pick suppresses another."""
RESOLVED_S = 10.0
"""How far a final pick may lie from the early one that it confirms or revises, and more (``min_separation_s`` at most)."""
ABANDONED_S = 600.0
"""How far behind others something may lie before it no longer holds them back; a component may lie as far behind (``max_lead``)."""
ELSEWHERE_S = 86_400.0
"""How far before ``picked_until`` the data of an instrument may begin and still be the same recording."""
GONE_S = 86_400.0
"""How old the data of a station that is not listed must be for it to be forgotten."""


def not_final_s(length_s: float, max_lead_s: float) -> float:
    """How far behind the end of the newest window all picks are final.

    >>> not_final_s(length_s=20, max_lead_s=30)
    55.0
    """
    return max_lead_s + length_s + ONSET_MARGIN_S


def warm_up_s(length_s: float) -> float:
    """How much data a run needs in front of the first onset that it picks, for windows of a length.

    >>> warm_up_s(length_s=20)
    35.0
    """
    return length_s + WARM_UP_S


def resumable_age_s(length_s: float, max_lead_s: float) -> float:
    """How old the data are, at least, that a run requests again when it begins the moment the last one ends.

    >>> resumable_age_s(length_s=20, max_lead_s=30)
    90.0
    """
    return not_final_s(length_s, max_lead_s) + warm_up_s(length_s)


def needed_picks_s(length_s: float, max_lead_s: float, save_interval_s: float) -> float:
    """How long the store must keep picks, so that the next run knows all that it may make again.

    >>> needed_picks_s(length_s=20, max_lead_s=30, save_interval_s=30)
    815.0
    """
    return save_interval_s + ABANDONED_S + not_final_s(length_s, max_lead_s) + REMEMBERED_S


def resume_from_ns(picked_until_ns: int, length_s: float) -> int:
    """Time from which a run must read everything again that has been picked until a time.

    >>> resume_from_ns(100_000_000_000, length_s=20)
    65000000000
    """
    return picked_until_ns - ns_from_s(warm_up_s(length_s))


def remembered_from_ns(picked_until_ns: int) -> int:
    """Time of the oldest pick that the picker of an instrument gets."""
    return picked_until_ns - ns_from_s(REMEMBERED_S)


def resolved_from_ns(early_ns: int) -> int:
    """Time from which on picks say what became of an early pick."""
    return early_ns - ns_from_s(RESOLVED_S)


def is_elsewhere(begin_ns: int, picked_until_ns: int) -> bool:
    """Whether data that begin at a time are another recording than the one that has been picked until ``picked_until_ns``."""
    return begin_ns < picked_until_ns - ns_from_s(ELSEWHERE_S)


def is_abandoned(time_ns: int, other_ns: int) -> bool:
    """Whether something lies so far behind something else that it does not hold it back."""
    return time_ns < other_ns - ns_from_s(ABANDONED_S)


def station_picked_until_ns(instruments_ns: Collection[int]) -> int:
    """Time until which a station has been picked: that of its slowest instrument which is not abandoned.

    >>> station_picked_until_ns([400_000_000_000, 100_000_000_000]), station_picked_until_ns([800_000_000_000, 100_000_000_000])
    (100000000000, 800000000000)
    """
    newest_ns = max(instruments_ns)
    return min(time_ns for time_ns in instruments_ns if not is_abandoned(time_ns, newest_ns))
