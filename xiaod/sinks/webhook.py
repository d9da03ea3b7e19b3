"""Picks to an HTTP endpoint: one POST for each delivery, signed as the Standard Webhooks specification 1.0.0 says.

In: picks. Out: nothing once the endpoint has answered 2xx. Each pick is delivered at least once, in order: after any other answer the
message is sent again, with the same ``webhook-id``. Only a status that no waiting can change (400, 413, 422 and the like) refuses a pick;
a wrong address or password is a fault of the configuration, and no pick is lost by it. Redirects are not followed. Only status and header
of the answer are read, and one deadline covers the whole exchange, however slow the endpoint is. aiohttp has such a deadline
(``http.client`` has one for each ``recv``), limits the length of a header, and serves ``/metrics`` anyway.

With ``attach`` the body is a form (``multipart/form-data``, RFC 7578): the part ``pick`` is the document, ``picture`` and ``miniseed`` are
files of the snippet. A pick waits for them in the thread of the sink, so picks stay in order
(:mod:`xiaod.sinks.attachments`). The boundary follows from the pick, so a repetition has the same body.

>>> sink = WebhookSink(WebhookConfig(kind="webhook", url="http://me:hush@127.0.0.1:9/picks?key=hush"), AgencyConfig())
>>> sink.deliver([], now_ns=0)
>>> signature(b"0" * 24, "pick_1", 1700000000, b"{}")
'v1,Q3yYBhv5/h42G0toa7F61sBsk0COzjZwAQGdBoOUgSw='
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from xiaod import __version__
from xiaod.config import AgencyConfig
from xiaod.config.sinks.webhook import WebhookConfig
from xiaod.config.snippets import SnippetConfig
from xiaod.config.tls import tls_context
from xiaod.domain.event import json_of
from xiaod.domain.types import Event, PickOrEvent
from xiaod.process.secret_file import credential
from xiaod.sinks import ConfiguredSink, Refused, RetryLater
from xiaod.sinks.attachments import ATTACHED, files_of

NONE_KEPT = SnippetConfig()
SECRET_PREFIX = "whsec_"  # noqa: S105  how each begins
SECRET_BYTES = range(24, 65)
"""Lengths that the specification allows."""
REMEDY = "make one with: echo whsec_$(openssl rand -base64 32)"
MAX_HEADER_BYTES = 8190
"""A longer line of the answer's header is an error."""
WAIT = {408, 425, 429}
"""Statuses that ask for a later attempt (RFC 9110, RFC 8470, RFC 6585)."""
MISCONFIGURED = {
    401: "check the password or token in url or headers",
    402: "ask the operator of the endpoint",
    403: "check the password or token in url or headers, and the secret",
    404: "check url",
    405: "check url: this one takes no POST",
    407: "a proxy asks for a password",
    410: "the endpoint is gone: remove the sink, or change url",
    415: "check url: this one takes no JSON",
    421: "check url",
    426: "check url: the endpoint asks for another protocol",
}
"""Statuses that are no fault of the pick -> the remedy."""

_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


def signature(secret: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Signature of a message: HMAC-SHA256 over ``ID.TIMESTAMP.BODY``."""
    content = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()


def _kind_of(item: PickOrEvent) -> str:
    return "event" if isinstance(item, Event) else "pick"


def message_id(picks: Sequence[PickOrEvent]) -> str:
    """Identifier of a message, the same for the same picks; without a full stop, which separates the signed parts."""
    # A damaged code can hold a lone surrogate.
    content = "\n".join(pick.id for pick in picks).encode("utf-8", "surrogatepass")
    return "pick_" + hashlib.sha256(content).hexdigest()[:32]


def form(boundary: str, document: bytes, files: Mapping[str, tuple[str, bytes]], name: str = "pick") -> bytes:
    """A form with a document of this name, and files, each with its name and content.

    >>> form("b", b"{}", {}).decode().splitlines()
    ['--b', 'content-disposition: form-data; name="pick"', 'content-type: application/json', '', '{}', '--b--']
    """
    parts = [(f'name="{name}"', "application/json", document)]
    parts += [
        (f'name="{kind}"; filename="{file_name}"', ATTACHED[kind][1], content)
        for kind, (file_name, content) in files.items()
    ]
    made = [
        f"--{boundary}\r\ncontent-disposition: form-data; {head}\r\ncontent-type: {kind}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for head, kind, content in parts
    ]
    return b"".join([*made, f"--{boundary}--\r\n".encode()])


def secrets_of(text: str) -> list[bytes]:
    """Secrets, separated by spaces: while one replaces another, messages are signed with both.

    Raises:
        ValueError: when one is not ``whsec_`` and 24 to 64 bytes in base64; the message does not show it.
    """
    found = []
    for word in text.split():
        try:
            secret = base64.b64decode(word.removeprefix(SECRET_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if not word.startswith(SECRET_PREFIX) or len(secret) not in SECRET_BYTES:
            raise ValueError(f"must be {SECRET_PREFIX} and 24 to 64 bytes in base64; {REMEDY}")
        found.append(secret)
    return found


class WebhookSink(ConfiguredSink):
    """Posts picks; implements :class:`xiaod.sinks.Sink` and :class:`xiaod.sinks.Portioned`."""

    def __init__(
        self, config: WebhookConfig, agency: AgencyConfig, snippets: SnippetConfig = NONE_KEPT
    ) -> None:
        """Check that all secrets can be read; nothing is opened.

        Args:
            config: of the sink.
            agency: who signs the picks.
            snippets: where the files are that are attached.

        Raises:
            OSError: when one cannot.
        """
        super().__init__(config)
        self._config = config
        self._agency = agency
        self._snippets = snippets
        self._url()
        self._headers()
        self._secrets()
        self._tls()

    @property
    def portion(self) -> int:
        """Picks in one message at most."""
        return self._config.batch

    def deliver(self, picks: Sequence[PickOrEvent], now_ns: int) -> None:
        """Post picks, in one message when there are no more than :attr:`portion`.

        Raises:
            RetryLater: when the endpoint asks for a pause.
            Refused: when it will never accept this message.
            OSError: when it cannot be reached, does not answer in time, or not as it should.
        """
        del now_ns
        for begin in range(0, len(picks), self.portion):
            part = picks[begin : begin + self.portion]
            body = self._body(part).encode()
            identifier, kind = message_id(part), "application/json"
            if self._config.attach:
                body = form(identifier, body, self._attachments(part[0]), _kind_of(part[0]))
                kind = f"multipart/form-data; boundary={identifier}"
            status, header = self._post(identifier, kind, body)
            self._judge(status, header)

    def close(self) -> None:
        """Nothing is held back, and no connection stays open."""

    def _body(self, part: Sequence[PickOrEvent]) -> str:
        """A document, or those of several in a list for each kind that the sink takes."""
        if self._config.batch == 1:
            return json_of(part[0], self._agency)
        kinds = {"picks": ("pick",), "events": ("event",), "all": ("pick", "event")}[self._config.of]
        lists = (
            f'"{kind}s":[{",".join(json_of(one, self._agency) for one in part if _kind_of(one) == kind)}]'
            for kind in kinds
        )
        return f"{{{','.join(lists)}}}"

    def _attachments(self, pick: PickOrEvent) -> dict[str, tuple[str, bytes]]:
        """Name and content of the files of a pick, once they are there, or as many as there are when that takes too long."""
        if isinstance(pick, Event) or pick.snippet is None:
            return {}
        stem = pick.snippet.rpartition("/")[2].removesuffix(ATTACHED["miniseed"][0])
        return files_of(stem, self._config.attach, self._snippets, pick.created_ns)

    def _post(self, identifier: str, kind: str, body: bytes) -> tuple[int, Mapping[str, str]]:
        """Status and header of the answer; secrets are read anew, so that they can be replaced at run time."""
        url, tls = self._url(), self._tls()
        timestamp_s = int(time.time())
        headers = {
            **self._headers(),
            "content-type": kind,
            "user-agent": f"xiaod/{__version__}",
            "webhook-id": identifier,
            "webhook-timestamp": str(timestamp_s),
        }
        if secrets := self._secrets():
            headers["webhook-signature"] = " ".join(
                signature(secret, identifier, timestamp_s, body) for secret in secrets
            )
        where = f"{url.scheme}://{url.host}:{url.port}"
        try:
            return asyncio.run(_exchange(url, tls, headers, body, self._config.timeout_s))
        except TimeoutError as error:
            raise OSError(f"{where}: no answer within {self._config.timeout_s:g} s") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise OSError(f"{where}: {_said(error)}") from None

    def _judge(self, status: int, header: Mapping[str, str]) -> None:
        """Raise unless the message was accepted."""
        if 200 <= status < 300:
            return
        url = self._url()
        said = f"{url.scheme}://{url.host}:{url.port}: HTTP {status}{_phrase(status)}"
        if status in WAIT or status >= 500:
            wait_s = _retry_after_s(header.get("retry-after", ""))
            raise RetryLater(said, min(wait_s, self._config.retry_after_max_s))
        if status in MISCONFIGURED:
            raise OSError(f"{said}; {MISCONFIGURED[status]}; picks wait")
        if 400 <= status < 500:
            raise Refused(said)
        raise OSError(f"{said}; redirects are not followed: check url")

    def _url(self) -> URL:
        text = credential("url", self._config.url, None) or ""
        try:
            self._config.check_url(text)
        except ValueError as error:
            raise OSError(f"url: {error}") from None
        if "@" in urlsplit(text).netloc and "authorization" in map(str.lower, self._config.headers):
            raise OSError("url: holds a user name, and headers an Authorization; give one of them")
        try:
            return URL(text, encoded=urlsplit(text).query != "")
        except ValueError:
            # Its message may show parts of the address.
            raise OSError("url: HOST has characters that none can have") from None

    def _headers(self) -> dict[str, str]:
        found = {}
        for key, value in self._config.headers.items():
            text = credential(f"headers.{key}", value, None) or ""
            if not _HEADER_VALUE.fullmatch(text):
                raise OSError(f"headers.{key}: must be printable ASCII")
            found[key] = text
        return found

    def _secrets(self) -> list[bytes]:
        text = credential("secret", self._config.secret, self._config.secret_file)
        try:
            return [] if text is None else secrets_of(text)
        except ValueError as error:
            key = "secret" if self._config.secret_file is None else "secret_file"
            raise OSError(f"{key}: {error}") from None

    def _tls(self) -> ssl.SSLContext | None:
        return None if self._url().scheme == "http" else tls_context(self._config.tls)


async def _exchange(
    url: URL, tls: ssl.SSLContext | None, headers: Mapping[str, str], body: bytes, limit_s: float
) -> tuple[int, Mapping[str, str]]:
    """One request on a connection of its own."""
    options: dict[str, Any] = {"ssl": tls} if tls is not None else {}
    async with (
        asyncio.timeout(limit_s),
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, **options),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        ) as session,
        session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
    ):
        # The body may be endless or slow, and is not needed.
        return answer.status, answer.headers


def _said(error: Exception) -> str:
    """What went wrong, without the addresses in aiohttp's messages, which may hold passwords."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "invalid")
        return f"certificate not accepted: {why}; name its authority in tls.ca_file"
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS failed; does this port speak HTTPS?"
    if isinstance(error, aiohttp.ClientOSError):
        return error.strerror or "connection lost"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "connection closed without an answer"
    return (
        "the answer is not HTTP" if isinstance(error, aiohttp.ClientResponseError) else type(error).__name__
    )


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _retry_after_s(text: str) -> float:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3), a number or a date; 0 for anything else."""
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
