"""One service of Apprise, called in a thread that can be left alone.

In: title, body and picture. Out: nothing once the service has accepted them. Apprise's calls block, each part of one with a limit of its
own, so one deadline covers the whole: a call that takes longer goes on in its thread, which holds up no stop of the program, and its result
counts when the same message is sent again. There is one call at a time.

Apprise gives no reason but in its log. What it and the libraries under it log in that thread is collected: the last message, without
any part of the address, is the reason; the rest is dropped, because addresses and headers hold tokens.

>>> without_parts_of("tgram://123:abc/hush?x=1", "tgram: no chat hush at /bot123:abc/send")
'tgram: no chat ******** at /bot********:********/send'
"""

import contextvars
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from apprise import Apprise, AppriseAsset, AppriseAttachment, NotifyBase, NotifyFormat, NotifyType
from apprise.attachment.file import AttachFile

from xiaod.config.redact import MASK
from xiaod.process.logs import collected
from xiaod.sinks import Refused
from xiaod.sinks.webhook import MISCONFIGURED, WAIT

WIKI = "https://appriseit.com/services"
SHORTEST = 3
"""A shorter part of an address is a word like any other."""

_STATUS = re.compile(r"\berror\s?=\s?([1-5][0-9]{2})\b")
"""How Apprise's plug-ins log the status of an answer over HTTP."""


def scheme_of(url: str) -> str:
    """The part of an address that names the service.

    >>> scheme_of("ntfys://ntfy.sh/hush")
    'ntfys'
    """
    return url.partition("://")[0].lower()


def without_parts_of(url: str, text: str) -> str:
    """A text without anything that stands in an address after its scheme."""
    rest = url.partition("://")[2]
    parts = {part for whole in (rest, unquote(rest)) for part in re.split(r"[^A-Za-z0-9_-]+", whole)}
    # The longest first: one may be in another.
    for part in sorted((part for part in parts if len(part) >= SHORTEST), key=len, reverse=True):
        text = re.sub(re.escape(part), MASK, text, flags=re.IGNORECASE)
    # Apprise shortens what it takes for a secret.
    return re.sub(r"://\S+", f"://{MASK}", text)


def opened(url: str) -> NotifyBase:
    """The service of an address.

    Raises:
        ValueError: when Apprise does not know it; the message holds no part of it but the scheme.
    """
    # Nothing is kept on the disk, and no keys are made.
    asset = AppriseAsset(storage_mode="memory", app_id="xiaod", app_desc="seismic phase picker", app_url="")
    asset.pgp_autogen = asset.pem_autogen = False
    # Phones would fetch its icons from the Internet.
    asset.image_url_mask = asset.image_url_logo = ""
    with collected() as said:
        made = Apprise.instantiate(url, asset=asset)
    if made is None:
        why = f" ({without_parts_of(url, said[-1]).strip()})" if said else ""
        raise ValueError(f"Apprise does not take this {scheme_of(url)}:// address{why}; its forms: {WIKI}")
    return made


@dataclass
class _Call:
    """One message on its way."""

    key: tuple[str, str, str]
    url: str
    thread: threading.Thread | None = None
    said: list[str] = field(default_factory=list)
    accepted: bool = False
    fault: str = ""


class Service:
    """Sends messages to one service."""

    def __init__(self, name: str, url: str, timeout_s: float) -> None:
        """Set up; nothing is sent.

        Args:
            name: of the sink; of the threads too.
            url: of the service.
            timeout_s: for one message.

        Raises:
            ValueError: when Apprise does not know the address.
        """
        self._name = name
        self._url = ""
        self._timeout_s = timeout_s
        self._call: _Call | None = None
        self.use(url)

    def use(self, url: str) -> None:
        """Send to this address from now on.

        Raises:
            ValueError: when Apprise does not know it.
        """
        if url != self._url:
            self._plugin = opened(url)
            self._url = url

    @property
    def takes_files(self) -> bool:
        """Whether a picture can come with a message."""
        return bool(self._plugin.attachment_support)

    @property
    def scheme(self) -> str:
        """Which service it is."""
        return scheme_of(self._url)

    def send(self, title: str, body: str, picture: Path | None = None) -> None:
        """Send a message, with a picture.

        Raises:
            Refused: when the service will never accept it.
            OSError: when it is not accepted, or not in time.
        """
        key = (title, body, picture.name if picture else "")
        call = self._call
        if call is None or call.key != key:
            if call is not None and call.thread is not None and call.thread.is_alive():
                call.thread.join(self._timeout_s)
                if call.thread.is_alive():
                    raise OSError(f"{self.scheme}: the message before still hangs")
            call = self._call = self._begun(key, picture)
        assert call.thread is not None  # noqa: S101  it has been begun
        call.thread.join(self._timeout_s)
        if call.thread.is_alive():
            raise OSError(f"{self.scheme}: no answer within {self._timeout_s:g} s")
        self._call = None
        self._judge(call)

    def _begun(self, key: tuple[str, str, str], picture: Path | None) -> _Call:
        title, body, _ = key
        plugin, call = self._plugin, _Call(key, self._url)

        def work() -> None:
            with collected() as call.said:
                try:
                    files = None
                    if picture is not None:
                        # Some plug-ins open the file themselves.
                        file = AttachFile(str(picture), name=picture.name, mimetype="image/png")  # type: ignore[no-untyped-call]
                        files = AppriseAttachment(file)
                    call.accepted = plugin.notify(
                        body=body,
                        title=title,
                        notify_type=NotifyType.INFO,
                        body_format=NotifyFormat.TEXT,
                        attach=files,
                    )
                except Exception as error:  # noqa: BLE001  plug-ins raise anything, and its text may hold the address
                    call.fault = type(error).__name__

        # As a daemon it does not hold up the end of the program; in a context of its own its messages are collected.
        call.thread = threading.Thread(
            target=contextvars.Context().run, args=(work,), name=f"notify.{self._name}", daemon=True
        )
        call.thread.start()
        return call

    def _judge(self, call: _Call) -> None:
        """Raise unless the message was accepted."""
        if call.accepted:
            return
        said = " ".join(without_parts_of(call.url, call.said[-1]).split()) if call.said else ""
        statuses = [int(found) for text in call.said for found in _STATUS.findall(text)]
        if not statuses:
            raise OSError(f"{self.scheme}: {call.fault or said or 'not accepted, without a reason'}")
        status = statuses[-1]
        reason = f"{self.scheme}: HTTP {status}: {said}"
        if status in WAIT or status in MISCONFIGURED or not 400 <= status < 500:
            raise OSError(reason)
        raise Refused(reason)
