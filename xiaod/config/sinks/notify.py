"""The ``notify`` sink: messages to people's phones, through Apprise.

The address holds tokens, so it is a secret: only its scheme is ever shown.

>>> config = NotifyConfig(kind="notify", url="ntfys://ntfy.sh/hush", quiet_hours={"begin": "22:00", "end": "07:00"})
>>> config.url, config.quiet_hours.covers(23 * 60), config.quiet_hours.covers(7 * 60)
(SecretStr('**********'), True, False)
>>> PickTextConfig(title="{where}")
Traceback (most recent call last):
pydantic_core._pydantic_core.ValidationError: ...
"""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from xiaod.config.model import Model, PositiveSeconds
from xiaod.config.redact import is_variable
from xiaod.config.sinks.checks import template
from xiaod.config.sinks.kind import SinkModel, SinkName, SinkOf, SinkStages

EVENT_PLACEHOLDERS = ("time", "stations", "names", "about", "first", "stage", "event_id", "id", "notice")
PICK_PLACEHOLDERS = (
    "time", "phase", "name", "network", "station", "location", "channel", "stage", "probability",
    "uncertainty_s", "snr", "id", "notice",
)  # fmt: skip
"""Names that can stand between braces in the texts for an event, and for a pick."""
MINUTES_OF_DAY = 24 * 60
TRIAL_TITLE, TRIAL_MARK = "Test: ", "This is a test of xiaod, of an old earthquake.\n"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def _url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not is_variable(text) and not _SCHEME.fullmatch(text):
        raise ValueError(
            "must be an address of Apprise, SERVICE://..., for example 'ntfys://ntfy.sh/TOPIC', without blanks"
        )
    return secret


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(
            f"no time zone {name!r} on this machine; must be as 'Europe/Berlin', or UTC"
        ) from None
    return name


def _time_of_day(value: Any) -> Any:
    """A time that YAML 1.1 has read as a number of minutes, because it stands there without quotes."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MINUTES_OF_DAY:
        return f"{value // 60:02d}:{value % 60:02d}"
    return value


TimeOfDay = Annotated[str, BeforeValidator(_time_of_day), Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
EventText = Annotated[str, AfterValidator(template(EVENT_PLACEHOLDERS))]
PickText = Annotated[str, AfterValidator(template(PICK_PLACEHOLDERS))]


def minutes_of(time_of_day: str) -> int:
    """Minutes since midnight.

    >>> minutes_of("07:30")
    450
    """
    hours, _, minutes = time_of_day.partition(":")
    return int(hours) * 60 + int(minutes)


class TextConfig(Model):
    """Base of the texts."""

    title: str
    """Title."""
    body: str
    """The message."""


class AnnouncedTextConfig(TextConfig):
    """An event that is announced, stage early."""

    title: EventText = "Possible earthquake: {about}"
    """Title. Filled in, here and in the body, are {time} (of the first P), {stations} (their number), {names} (of the stations), {about}
    (what is known, in words), {first} (the first station), {stage}, {event_id}, {id} and {notice}. {{ is a brace."""
    body: EventText = "First P at {time}, at {first}.\nWhat comes of it follows in a minute or so.\n{notice}"
    """The message."""


class SettledTextConfig(TextConfig):
    """An event that is settled, stage final."""

    title: EventText = "Likely earthquake: {about}"
    """Title."""
    body: EventText = "First P at {time}, at {first}.\nStations: {names}.\n{notice}"
    """The message."""


class WithdrawnTextConfig(TextConfig):
    """An announced event that is withdrawn."""

    title: EventText = "Withdrawn: no earthquake after all"
    """Title."""
    body: EventText = "The possible earthquake with a first P at {time}, at {first}, is none.\n{notice}"
    """The message."""


class PickTextConfig(TextConfig):
    """A pick, or what withdraws one."""

    title: PickText = "{phase} at {name}, {stage}"
    """Title. Filled in, here and in the body, are {time}, {phase}, {name} (NET.STA), {network}, {station}, {location}, {channel}, {stage},
    {probability}, {uncertainty_s}, {snr}, {id} and {notice}."""
    body: PickText = "{time}, probability {probability}, signal-to-noise ratio {snr}.\n{notice}"
    """The message."""


class TextsConfig(Model):
    """What messages say."""

    announced: AnnouncedTextConfig = AnnouncedTextConfig()
    """Of an event that is announced."""
    settled: SettledTextConfig = SettledTextConfig()
    """Of an event that is settled."""
    withdrawn: WithdrawnTextConfig = WithdrawnTextConfig()
    """Of an announced event that is withdrawn."""
    pick: PickTextConfig = PickTextConfig()
    """Of a pick, with 'of: picks' or 'of: all'."""


class QuietHoursConfig(Model):
    """Hours of each day in which messages are held back."""

    begin: TimeOfDay = "22:00"
    """HH:MM in time_zone."""
    end: TimeOfDay = "07:00"
    """HH:MM in time_zone, of the next day where it is earlier than begin."""
    then: Literal["hold", "drop"] = "hold"
    """hold: at their end one message tells all that came, whatever became of it; drop: they are left out."""
    unless_stations: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Events of at least so many stations are told at once all the same; null: none is."""

    @model_validator(mode="after")
    def _consistent(self) -> "QuietHoursConfig":
        if self.begin == self.end:
            raise ValueError(
                f"begin and end are both {self.begin}; remove the sink to be told nothing at all"
            )
        return self

    def covers(self, minute: int) -> bool:
        """Whether a minute of the day, from 0 on, is in them."""
        begin, end = minutes_of(self.begin), minutes_of(self.end)
        return begin <= minute < end if begin < end else minute >= begin or minute < end


class NotifyConfig(SinkModel):
    """Messages to phones."""

    EXAMPLE: ClassVar = {"url_file": "/etc/xiaod/notify"}
    CODE = "xiaod.sinks.notify.sink:NotifySink"
    EXTRA = "notify"
    ATTACHING = True
    DESTINATION = "url"
    READERS = "people: ntfy, Telegram, Pushover, Discord, e-mail and some 130 others"
    DELIVERED = "accepted by the service within `timeout_s`, or left out as you say"
    REPEATED = "when the answer was lost, and after a crash"
    TOLD_APART = "the text"

    kind: Literal["notify"]
    """Messages through Apprise to people's phones; needs the extra notify."""
    name: SinkName = "notify"
    stage: SinkStages = "all"
    of: SinkOf = "events"
    url: Annotated[SecretStr, AfterValidator(_url)] | None = None
    """Address of one service as Apprise has them, such as ntfys://ntfy.sh/TOPIC, or "${NAME}" for the environment variable of that name.
    It may hold tokens: better in a file. Several services are several sinks, so that none waits for another."""
    url_file: Path | None = Field(default=None, strict=False)
    """File with the address in its first line; read at each message."""
    texts: TextsConfig = TextsConfig()
    """What the messages say."""
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Of the times in texts and quiet hours, for example Europe/Berlin."""
    min_stations: Annotated[int, Field(ge=1, le=1000)] = 1
    """Events of fewer stations are not told."""
    max_per_hour: Annotated[int, Field(ge=1, le=1000)] = 20
    """Messages within an hour at most. What is left out is told in one message as soon as there is room again."""
    quiet_hours: QuietHoursConfig | None = None
    """Hours in which messages are held back; null: none; {}: from 22:00 to 07:00."""
    attach: Annotated[tuple[Literal["picture"], ...], Field(strict=False)] = ()
    """[picture]: the snippet of the first station comes with a settled event, that of the pick with a final pick; the message waits for it.
    Needs snippets.enabled, the extra plot, and a service that takes files."""
    timeout_s: PositiveSeconds = 60.0
    """Seconds for one message at most."""

    @model_validator(mode="after")
    def _consistent(self) -> "NotifyConfig":
        if self.url is None and self.url_file is None:
            raise ValueError("url_file and url: give one of them")
        return self

    def for_trial(self) -> Self:
        """The same at any hour, and of one station, with texts that say that it is a test."""
        texts = {
            name: text.model_copy(update={"title": TRIAL_TITLE + text.title, "body": TRIAL_MARK + text.body})
            for name, text in self.texts
        }
        changes = {
            "min_stations": 1,
            "quiet_hours": None,
            "texts": self.texts.model_copy(update=texts),
        }
        return self.model_copy(update=changes)
