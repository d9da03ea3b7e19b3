"""The ``webhook`` sink: picks to an HTTP endpoint.

Values that may contain a password or a token, the address among them, are secrets: neither logs nor errors show them.

>>> WebhookConfig(kind="webhook", url="https://example.org/picks?key=hush").url
SecretStr('**********')
>>> WebhookConfig.check_url("ftp://example.org")
Traceback (most recent call last):
ValueError: must be http://HOST[:PORT]/PATH or https://...
"""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from xiaod.config.model import PositiveSeconds
from xiaod.config.redact import is_variable
from xiaod.config.sinks.kind import SinkModel, SinkName, SinkOf, SinkStages
from xiaod.config.tls import TlsConfig

Attachment = Literal["picture", "miniseed"]
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token in the sense of HTTP (RFC 9110, 5.6.2)."""
_OWN_HEADERS = {"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent"}


def _check_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[\s\x00-\x1f\x7f]", text) or parts.fragment:
        raise ValueError("must be http://HOST[:PORT]/PATH or https://...")


def _url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not is_variable(text):
        _check_url(text)
    return secret


def _headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name in headers:
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("names must be those of HTTP headers, for example Authorization")
        if name.lower() in _OWN_HEADERS or name.lower().startswith("webhook-"):
            raise ValueError(f"{name} is set by this program")
    return headers


class WebhookConfig(SinkModel):
    """Picks as HTTP requests."""

    EXAMPLE: ClassVar = {"url": "https://example.org/picks"}
    CODE = "xiaod.sinks.webhook:WebhookSink"
    ATTACHING = True
    DESTINATION = "url"
    READERS = "web services"
    DELIVERED = "answered 2xx within `timeout_s`"
    REPEATED = "when the answer was lost, and after a crash: with the same `webhook-id`"

    kind: Literal["webhook"]
    """One HTTP POST for each pick, or for several picks together."""
    name: SinkName = "webhook"
    stage: SinkStages = "all"
    of: SinkOf = "picks"
    url: Annotated[SecretStr, AfterValidator(_url)]
    """Address, or "${NAME}" for the environment variable of that name; only scheme, host and port are ever logged."""
    headers: Annotated[dict[str, SecretStr], AfterValidator(_headers)] = Field(default_factory=dict)
    """More headers, for example {Authorization: "${XIAOD_TOKEN}"}."""
    secret: SecretStr | None = None
    """Signs each message (Standard Webhooks): whsec_ and 24 to 64 bytes in base64, or "${NAME}"; several, separated by blanks, while one is
    replaced. To make one: echo whsec_$(openssl rand -base64 32)"""
    secret_file: Path | None = Field(default=None, strict=False)
    """File with the secret in its first line; read at each message."""
    batch: Annotated[int, Field(ge=1, le=256)] = 1
    """Picks in one message at most. 1: the body is the pick; more: {"picks": [...]}."""
    attach: Annotated[tuple[Attachment, ...], Field(strict=False)] = ()
    """Files of snippets that are sent with each final pick: [picture], [miniseed] or both; the pick waits for them, some 30 s. The body is
    then a form (multipart/form-data) whose part pick is the document. Needs snippets.enabled, stage: final and batch: 1."""
    timeout_s: PositiveSeconds = 10.0
    """Seconds for one message at most: connecting, sending and the answer together."""
    retry_after_max_s: PositiveSeconds = 300.0
    """Seconds; longest pause that the endpoint can ask for with Retry-After."""
    tls: TlsConfig = TlsConfig()
    """How the connection is encrypted with https."""

    @model_validator(mode="after")
    def _consistent(self) -> "WebhookConfig":
        if self.attach and (self.stage != "final" or self.batch != 1):
            raise ValueError(
                "attach: needs stage: final and batch: 1, because each final pick has files of its own"
            )
        return self

    @staticmethod
    def check_url(text: str) -> None:
        """Refuse a text that is no HTTP address.

        Raises:
            ValueError: without the text, which may be secret.
        """
        _check_url(text)
