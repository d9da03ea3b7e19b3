"""Messages to people, through Apprise: one for each event that is told, and one about all that was held back.

In: events, picks or both. Out: nothing once the service has accepted the message. Each is delivered at least once, in order; what fails is
sent again.

Of an event a person wants to know that there may be one, and what became of it. So of the versions that announce it only the first with
``min_stations`` is told; it is told then what becomes of it, and of an event that was not told nothing is withdrawn.

What comes within ``quiet_hours``, or is above ``max_per_hour``, is held back: one message tells it later, of each event what became of it
at last. The store keeps what is held back (:attr:`NotifySink.held`), so it is told after a crash too; then some messages come again.

>>> config = NotifyConfig(kind="notify", url="json://127.0.0.1:9/hush")
>>> sink = NotifySink(config, AgencyConfig())
>>> sink.deliver([], now_ns=0)
>>> sink.held, sink.left_out
(0, 0)
"""

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from xiaod.config import AgencyConfig
from xiaod.config.sinks.notify import NotifyConfig
from xiaod.config.snippets import SnippetConfig
from xiaod.domain.codes import safe
from xiaod.domain.onsets import first_name
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Event, PickOrEvent
from xiaod.process.logs import get_logger
from xiaod.process.secret_file import credential
from xiaod.sinks import ConfiguredSink, Refused, SinkError
from xiaod.sinks.attachments import files_of
from xiaod.sinks.notify.service import Service
from xiaod.sinks.notify.texts import Message, line_of, message_of, summary_of

NONE_KEPT = SnippetConfig()
HOUR_NS = 3600 * NS_PER_S
MAX_EVENTS = 1000
"""Announced events of which it is remembered whether they were told."""
MAX_HELD = 1000
"""Messages that are held back one by one; of more only the number is known."""
PICTURE_TRIES = 3
"""After so many failures a message goes without its picture, which may be what is not taken."""


class NotifySink(ConfiguredSink):
    """Tells people; implements :class:`xiaod.sinks.Sink`, :class:`xiaod.sinks.Portioned`, and those of what it holds back."""

    def __init__(
        self, config: NotifyConfig, agency: AgencyConfig, snippets: SnippetConfig = NONE_KEPT
    ) -> None:
        """Check the address; nothing is opened.

        Args:
            config: of the sink.
            agency: who signs the picks, which messages do not say.
            snippets: where the pictures are.

        Raises:
            OSError: when the address cannot be read.
            SinkError: when it is not one of Apprise, or the service takes no pictures.
        """
        del agency
        super().__init__(config)
        self._config = config
        self._snippets = snippets
        self._zone = ZoneInfo(config.time_zone)
        self._sent_ns: deque[int] = deque(maxlen=config.max_per_hour)
        self._told: dict[str, bool] = {}
        """Announced events that came, and whether they were told."""
        self._back: dict[str, str] = {}
        """What is held back: pick or event, by its first name -> its line."""
        self._more = 0
        """What was held back when there were too many lines."""
        self._since = 0
        """What was taken since the first of them."""
        self._left_out = 0
        self._failing: tuple[Message | None, int] = None, 0
        """A message that failed, and how often."""
        self._said = False
        """Whether the log says already that messages are left out."""
        self._now_ns = 0
        self._log = get_logger("notify").bind(sink=config.name)
        try:
            self._service = Service(config.name, self._url(), config.timeout_s)
        except ValueError as error:
            raise SinkError(f"{self._url_key}: {error}") from None
        if config.attach and not self._service.takes_files:
            raise SinkError(f"attach: {self._service.scheme} takes no pictures; write attach: []")

    @property
    def portion(self) -> int:
        """One: what was told is not told again because the next message failed."""
        return 1

    @property
    def held(self) -> int:
        """How many of the newest that it has taken would be lost with what is held back."""
        return min(self._since, MAX_HELD) if self._back or self._more else 0

    @property
    def left_out(self) -> int:
        """Messages so far that were not sent, or not on their own."""
        return self._left_out

    def deliver(self, picks: Sequence[PickOrEvent], now_ns: int) -> None:
        """Tell each on its own, or hold it back; without any, tell what was held back once that may be.

        Raises:
            Refused: when the service will never accept it.
            OSError: when it does not accept it, or not in time.
        """
        self._now_ns = now_ns
        if not self._quiet() and self._room():
            self._summarise()
        for item in picks:
            if self._is_wanted(item):
                self._tell(item)
            self._since = self._since + 1 if self._holding else 0

    def close(self) -> None:
        """Tell what was held back, but in quiet hours: then it waits in the store.

        Raises:
            OSError: when that is so, or the service does not accept it.
        """
        if self._holding and self._quiet():
            raise OSError(f"{self._number} messages wait for the end of the quiet hours")
        self._summarise()

    @property
    def _number(self) -> int:
        """Messages that are held back."""
        return len(self._back) + self._more

    @property
    def _holding(self) -> bool:
        return self._number > 0

    def _is_wanted(self, item: PickOrEvent) -> bool:
        """Whether a person wants to know of it, now or later; what is held back and withdrawn is forgotten."""
        name = first_name(item)
        if item.stage == "withdrawn" and self._back.pop(name, None) is not None:
            return False
        if not isinstance(item, Event):
            return True
        enough = item.stations >= self._config.min_stations
        if item.stage == "early":
            return enough and not self._told.get(name, False)
        if item.stage == "final":
            return enough or name in self._back or self._told.get(name, False)
        # Of one that an earlier run announced it is not known.
        return self._told.get(name, enough)

    def _tell(self, item: PickOrEvent) -> None:
        """Send a message, or hold it back."""
        name = first_name(item)
        quiet = self._quiet() and not self._is_large(item)
        if quiet or not self._room():
            self._hold_back(name, item, quiet)
            return
        self._send(message_of(item, self._config.texts, self._zone), item)
        self._back.pop(name, None)
        self._remember(item, name, told=True)

    def _hold_back(self, name: str, item: PickOrEvent, quiet: bool) -> None:
        hours = self._config.quiet_hours
        self._left_out += 1
        self._remember(item, name, told=False)
        if not self._said:
            self._said = True
            because = "quiet_hours" if quiet else "max_per_hour"
            self._log.info("notify.left_out", because=because, first=item.id)
        if quiet and hours is not None and hours.then == "drop":
            return
        if name in self._back or len(self._back) < MAX_HELD:
            self._back[name] = line_of(item, self._zone)
        else:
            self._more += 1

    def _remember(self, item: PickOrEvent, name: str, told: bool) -> None:
        if not isinstance(item, Event) or item.stage != "early":
            self._told.pop(name, None)
            return
        self._told[name] = told
        if len(self._told) > MAX_EVENTS:
            del self._told[next(iter(self._told))]

    def _summarise(self) -> None:
        """Send one message about all that is held back, if there is any."""
        if not self._holding:
            return
        try:
            self._send(summary_of(list(self._back.values()), self._more), None)
        except Refused as error:
            # It is not the fault of what is delivered next.
            self._log.error("notify.refused", reason=str(error), messages=self._number)
        else:
            self._log.info("notify.summary", messages=self._number)
        for name in self._back.keys() & self._told.keys():
            self._told[name] = True
        self._back, self._more, self._since = {}, 0, 0

    def _send(self, message: Message, item: PickOrEvent | None) -> None:
        """Send a message, with a picture if there is one."""
        before, failures = self._failing
        failures = failures if before == message else 0
        picture = self._picture(item) if failures < PICTURE_TRIES else None
        try:
            self._service.use(self._url())
        except ValueError as error:
            raise OSError(f"{self._url_key}: {error}") from None
        try:
            try:
                self._service.send(*message, picture)
            except Refused:
                if picture is None:
                    raise
                # Perhaps it is the picture that is not taken.
                self._service.send(*message)
        except Refused:
            raise
        except OSError:
            self._failing = message, failures + 1
            raise
        self._sent_ns.append(self._now_ns)
        self._said = False

    def _picture(self, item: PickOrEvent | None) -> Path | None:
        """The picture of the first station, once it is there; None where there is none, or it takes too long."""
        if item is None or item.stage != "final" or not self._config.attach:
            return None
        if isinstance(item, Event):
            stem = safe(item.picks[0].id)
        elif item.snippet is not None:
            stem = safe(item.id)
        else:
            return None
        found = files_of(stem, self._config.attach, self._snippets, item.created_ns)
        return self._snippets.folder.absolute() / found["picture"][0] if found else None

    def _room(self) -> bool:
        """Whether another message may go within the hour."""
        if len(self._sent_ns) < self._config.max_per_hour:
            return True
        # When the clock was set back, the last messages lie in the future.
        return not 0 <= self._now_ns - self._sent_ns[0] < HOUR_NS

    def _quiet(self) -> bool:
        """Whether it is a quiet hour."""
        hours = self._config.quiet_hours
        if hours is None:
            return False
        now = datetime.fromtimestamp(self._now_ns // NS_PER_S, UTC).astimezone(self._zone)
        return hours.covers(60 * now.hour + now.minute)

    def _is_large(self, item: PickOrEvent) -> bool:
        """Whether it is told in quiet hours too."""
        hours = self._config.quiet_hours
        least = None if hours is None else hours.unless_stations
        return least is not None and isinstance(item, Event) and item.stations >= least

    @property
    def _url_key(self) -> str:
        return "url" if self._config.url_file is None else "url_file"

    def _url(self) -> str:
        return credential("url", self._config.url, self._config.url_file) or ""
