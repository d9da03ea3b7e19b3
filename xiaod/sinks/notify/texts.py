"""Title and body of a message, from the templates of the configuration. Pure.

>>> from xiaod.domain.types import Channel, EventPick
>>> pick = EventPick("a", Channel("BW", "RJOB", "", "EHZ"), "P", 1_251_073_207_731_250_000, 0.1, "final")
>>> event = Event("e-v1", "e", 1, "final", "coincidence", pick.time_ns, (pick,))
>>> print("|".join(message_of(event, TextsConfig(), ZoneInfo("Europe/Berlin"))))
Likely earthquake: 1 station|First P at 2009-08-24 02:20:07 CEST, at BW.RJOB.
Stations: BW.RJOB.
Automatic, unreviewed, not located, not for early warning.
>>> line_of(event, ZoneInfo("UTC"))
'2009-08-24 00:20:07 UTC: likely earthquake, 1 station'
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from xiaod.config.sinks.notify import TextConfig, TextsConfig
from xiaod.domain.codes import safe
from xiaod.domain.event import about, notice_of
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Channel, Event, PickOrEvent

MAX_NAMES = 10
"""Stations that a message names."""
MAX_LINES = 20
"""Lines of a summary: services limit the length of a message."""
PICK_NOTICE = "Automatic, unreviewed."


class Message(NamedTuple):
    """What a person reads."""

    title: str
    body: str


def local_time(time_ns: int, zone: ZoneInfo) -> str:
    """A time as people read it, to the second.

    >>> local_time(1_251_073_207_731_250_000, ZoneInfo("UTC"))
    '2009-08-24 00:20:07 UTC'
    """
    return f"{datetime.fromtimestamp(time_ns // NS_PER_S, UTC).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def name_of(channel: Channel) -> str:
    """Network and station; a damaged record may carry any code."""
    return f"{safe(channel.network)}.{safe(channel.station)}"


def message_of(item: PickOrEvent, texts: TextsConfig, zone: ZoneInfo) -> Message:
    """The message about a pick or an event."""
    if isinstance(item, Event):
        template: TextConfig = {
            "early": texts.announced,
            "final": texts.settled,
            "withdrawn": texts.withdrawn,
        }[item.stage]
        fields = _event_fields(item, zone)
        return Message(template.title.format_map(fields), template.body.format_map(fields))
    fields = {
        "time": local_time(item.time_ns, zone),
        "phase": item.phase,
        "name": name_of(item.channel),
        "network": safe(item.channel.network),
        "station": safe(item.channel.station),
        "location": safe(item.channel.location),
        "channel": safe(item.channel.channel),
        "stage": item.stage,
        "probability": f"{item.probability:.2f}",
        "uncertainty_s": f"{item.time_uncertainty_s:.2f}",
        "snr": f"{item.snr:.1f}",
        "id": item.id,
        "notice": PICK_NOTICE,
    }
    return Message(texts.pick.title.format_map(fields), texts.pick.body.format_map(fields))


def _event_fields(event: Event, zone: ZoneInfo) -> dict[str, str]:
    names = [name_of(pick.channel) for pick in event.picks if pick.phase == "P"]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return {
        "time": local_time(event.time_ns, zone),
        "stations": str(event.stations),
        "names": ", ".join(names[:MAX_NAMES]) + more,
        "about": _about(event),
        "first": names[0] if names else "",
        "stage": event.stage,
        "event_id": event.event_id,
        "id": event.id,
        "notice": f"{notice_of(event)[0].upper()}{notice_of(event)[1:]}.",
    }


def _about(event: Event) -> str:
    return about(event).encode("ascii", "backslashreplace").decode()


def line_of(item: PickOrEvent, zone: ZoneInfo) -> str:
    """A line of a summary."""
    time = local_time(item.time_ns, zone)
    if not isinstance(item, Event):
        return f"{time}: {item.phase} at {name_of(item.channel)}, {item.stage}"
    what = {"early": "possible earthquake", "final": "likely earthquake", "withdrawn": "withdrawn"}[
        item.stage
    ]
    return f"{time}: {what}, {_about(item)}"


def summary_of(lines: Sequence[str], more: int) -> Message:
    r"""One message about all that was held back.

    Args:
        lines: of what is known one by one, in order of time.
        more: what was left out besides.

    >>> summary_of(["a", "b"], 1)
    Message(title='3 messages were held back', body='a\nb\nand 1 more')
    """
    shown = [*lines[:MAX_LINES]]
    left = more + len(lines) - len(shown)
    number = len(lines) + more
    title = f"{number} message{' was' if number == 1 else 's were'} held back"
    return Message(title, "\n".join([*shown, *([f"and {left} more"] if left else [])]))
