"""The webhook sink against real HTTP servers: what is sent, what each answer means, and what a hostile endpoint can do."""

import base64
import hashlib
import hmac
import itertools
import json
import re
import resource
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_sinks import AGENCY, NOW_NS, pick
from tests.endpoint import Answer, Endpoint, RawEndpoint, Request
from xiaod.config.loader import ConfigError, parse_config
from xiaod.config.sinks.webhook import WebhookConfig
from xiaod.config.snippets import SnippetConfig
from xiaod.domain.document import pick_from_document, pick_json
from xiaod.domain.types import Pick
from xiaod.sinks import Refused, RetryLater, attachments
from xiaod.sinks.webhook import WebhookSink

SECRET = b"0123456789abcdef0123456789abcdef"
SECRET_TEXT = "whsec_" + base64.b64encode(SECRET).decode()
OLD = b"an older secret of 32 bytes, gone"
OLD_TEXT = "whsec_" + base64.b64encode(OLD).decode()
HUSH = "hush-hush"


def made(url: str, **keys: Any) -> WebhookSink:
    config = WebhookConfig.model_validate({"kind": "webhook", "url": url, "timeout_s": 30.0, **keys})
    return WebhookSink(config, AGENCY)


def verified(request: Request, secret: bytes) -> bool:
    """As a receiver does it that knows nothing of this program."""
    headers = {key.lower(): value for key, value in request.headers.items()}
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 300
    return any(
        hmac.compare_digest(given, f"v1,{expected}") for given in headers["webhook-signature"].split(" ")
    )


def test_what_is_sent_and_how_it_is_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XIAOD_TOKEN", "Bearer abc")
    path = tmp_path / "secret"
    path.write_text(f"{SECRET_TEXT} {OLD_TEXT}\n")
    with Endpoint() as endpoint:
        sink = made(
            f"{endpoint.url}/picks?key=%2Fa",
            headers={"Authorization": "${XIAOD_TOKEN}", "X-Place": "roof"},
            secret_file=str(path),
        )
        sink.deliver([], NOW_NS)
        assert endpoint.requests == []
        sink.deliver([pick(1)], NOW_NS)
        sink.deliver([pick(1)], NOW_NS)
        # A secret that is replaced is used from the next message on.
        path.write_text(OLD_TEXT)
        sink.deliver([pick(2)], NOW_NS)
        sink.close()
    first, again, other = endpoint.requests
    assert pick_from_document(json.loads(first.body)) == pick(1)
    assert first.path == "/picks?key=%2Fa"
    assert first.headers["Authorization"] == "Bearer abc"
    assert first.headers["X-Place"] == "roof"
    assert first.headers["Content-Type"] == "application/json"
    assert first.headers["User-Agent"].startswith("xiaod/")
    assert verified(first, SECRET)
    assert verified(first, OLD)
    assert not verified(replace(first, body=first.body + b" "), SECRET)
    assert verified(other, OLD)
    assert not verified(other, SECRET)
    assert first.headers["webhook-id"] == again.headers["webhook-id"] != other.headers["webhook-id"]
    assert "." not in first.headers["webhook-id"]


def test_the_example_for_receivers_verifies() -> None:
    text = (Path(__file__).parents[3] / "docs" / "sinks.md").read_text(encoding="utf-8")
    [example] = [
        part for part in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "webhook-signature" in part
    ]
    names: dict[str, Any] = {}
    exec(compile(example, "sinks.md", "exec"), names)  # noqa: S102  it is ours
    with Endpoint() as endpoint:
        made(endpoint.url, secret=SECRET_TEXT).deliver([pick(1)], NOW_NS)
    [request] = endpoint.requests
    headers = {key.lower(): value for key, value in request.headers.items()}
    assert names["verified"](headers, request.body, SECRET_TEXT)
    assert not names["verified"](headers, request.body, OLD_TEXT)
    assert not names["verified"](headers, request.body + b" ", SECRET_TEXT)
    assert not names["verified"]({**headers, "webhook-timestamp": "1700000000"}, request.body, SECRET_TEXT)


def test_a_batch_is_one_message_and_nothing_is_signed_without_a_secret() -> None:
    with Endpoint() as endpoint:
        sink = made(f"http://me:{HUSH}@127.0.0.1:{endpoint.port}/", batch=3)
        assert sink.portion == 3
        sink.deliver([pick(1), pick(2), pick(3)], NOW_NS)
        sink.deliver([pick(4)], NOW_NS)
    assert [request.ids for request in endpoint.requests] == [
        [pick(number).id for number in (1, 2, 3)],
        [pick(4).id],
    ]
    assert list(json.loads(endpoint.requests[1].body)) == ["picks"]
    assert "webhook-signature" not in endpoint.requests[0].headers
    credentials = base64.b64encode(f"me:{HUSH}".encode()).decode()
    assert endpoint.requests[0].headers["Authorization"] == f"Basic {credentials}"


def failure(sink: WebhookSink) -> OSError | None:
    try:
        sink.deliver([pick(1)], NOW_NS)
    except OSError as error:
        return error
    return None


def test_what_each_answer_means() -> None:
    statuses = [
        200,
        201,
        204,
        299,
        301,
        302,
        307,
        400,
        401,
        403,
        404,
        408,
        410,
        413,
        418,
        422,
        425,
        429,
        500,
        503,
        599,
    ]
    found: dict[str, list[int]] = {}
    with Endpoint([Answer(status, {"Location": "/elsewhere"}) for status in statuses]) as endpoint:
        sink = made(f"http://me:{HUSH}@127.0.0.1:{endpoint.port}/{HUSH}?key={HUSH}", secret=SECRET_TEXT)
        for status in statuses:
            error = failure(sink)
            found.setdefault("" if error is None else type(error).__name__, []).append(status)
            if error is not None:
                assert f"http://127.0.0.1:{endpoint.port}: HTTP {status}" in str(error)
                assert HUSH not in str(error)
        assert len(endpoint.requests) == len(statuses)
    assert found == {
        "": [200, 201, 204, 299],
        # A wrong address or password costs no pick, and where a redirect leads nobody goes.
        "OSError": [301, 302, 307, 401, 403, 404, 410],
        "Refused": [400, 413, 418, 422],
        "RetryLater": [408, 425, 429, 500, 503, 599],
    }


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("7", 7, 7),
        ("100000", 300, 300),
        ("+200", 100, 201),
        ("-200", 0, 0),
        ("soon", 0, 0),
        ("9" * 40, 0, 0),
    ],
)
def test_how_long_it_is_left_alone(text: str, low: float, high: float) -> None:
    if text[0] in "+-":
        # A date so many seconds from now.
        text = formatdate(time.time() + int(text), usegmt=True)
    with Endpoint([Answer(503, {"Retry-After": text})]) as endpoint, pytest.raises(RetryLater) as told:
        made(endpoint.url).deliver([pick(1)], NOW_NS)
    assert low <= told.value.retry_s <= high


def silent(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


def dribble(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nX-Drop: ")
    while True:
        sock.sendall(b"x")
        time.sleep(0.05)


def headers_without_end(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        sock.sendall(b"X-%d: %s\r\n" % (number, b"y" * 4000))


def a_line_without_end(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        sock.sendall(b"y" * 65536)


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (silent, "no answer within 1 s"),
        (dribble, "no answer within 1 s"),
        (headers_without_end, "the answer is not HTTP"),
        (a_line_without_end, "the answer is not HTTP"),
        (lambda sock: sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "the answer is not HTTP"),
        (lambda sock: sock.shutdown(socket.SHUT_RDWR), "connection closed without an answer"),
    ],
    ids=["silent", "dribbling", "headers without end", "a line without end", "not HTTP", "hangs up"],
)
def test_a_hostile_endpoint_gains_nothing(happens: Callable[[socket.socket], Any], said: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with RawEndpoint(happens) as endpoint:
        sink = made(endpoint.url.replace("//", f"//me:{HUSH}@") + f"/{HUSH}", timeout_s=1.0)
        with pytest.raises(OSError, match=said) as told:
            sink.deliver([pick(1)], NOW_NS)
        assert not isinstance(told.value, Refused)
        assert HUSH not in str(told.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_body_without_end_is_not_read() -> None:
    sent = 0

    def flood(sock: socket.socket) -> None:
        nonlocal sent
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            sent += sock.send(b"10000\r\n" + b"z" * 0x10000 + b"\r\n")

    with RawEndpoint(flood) as endpoint:
        made(endpoint.url).deliver([pick(1)], NOW_NS)
    # What fits into buffers on the way.
    assert sent < 30e6


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that only who is told of it trusts, and a server's context with it."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return certificate, context


def test_a_certificate_is_looked_at(authority: tuple[Path, ssl.SSLContext]) -> None:
    certificate, context = authority
    with Endpoint(tls=context) as endpoint:
        made(endpoint.url, tls={"ca_file": str(certificate)}).deliver([pick(1)], NOW_NS)
        with pytest.raises(OSError, match=r"certificate not accepted: self.signed certificate.*tls\.ca_file"):
            made(endpoint.url).deliver([pick(2)], NOW_NS)
        with pytest.raises(OSError, match=r"connection closed without an answer|connection lost|reset"):
            made(endpoint.url.replace("https", "http")).deliver([pick(3)], NOW_NS)
    assert endpoint.taken == [pick(1).id]
    with Endpoint() as plain, pytest.raises(OSError, match="TLS failed; does this port speak HTTPS"):
        made(plain.url.replace("http", "https")).deliver([pick(1)], NOW_NS)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OSError, match=f"http://127.0.0.1:{port}: Connect call failed|Connection refused"):
        made(f"http://127.0.0.1:{port}/{HUSH}").deliver([pick(1)], NOW_NS)


@pytest.mark.parametrize(
    "keys",
    [
        f"url: ftp://me:{HUSH}@there",
        f"url: https://me:{HUSH}@there:port/",
        f"url: [https://{HUSH}]",
        f"url: https://there\n    secret: [{HUSH}]",
        f"url: https://there\n    secret: whsec_{HUSH}\n    secret_file: there",
        f"url: https://there\n    headers: 'Authorization: {HUSH}'",
        f"url: https://there\n    headers: {{A: [{HUSH}]}}",
        f"url: https://there\n    headers: {{Webhook-Signature: {HUSH}}}",
        f"url: https://there\n    headers: {{'a b': {HUSH}}}",
        f"url: https://there\n    name: https://me:{HUSH}@there",
        f"url: https://there\n    name: me:{HUSH}@there",
        f"url: https://there\n    name: [me:{HUSH}@there]",
        f"url: https://there\n    name: https://me:a/{HUSH} b@there",
        f"url: https://there\n    secret: !{HUSH} a",
    ],
)
def test_complaints_about_the_file_do_not_tell_secrets(keys: str) -> None:
    text = f"sources:\n  - server: there\nsinks:\n  - kind: webhook\n    {keys}\n"
    with pytest.raises(ConfigError) as told:
        parse_config(text, "f")
    assert "sinks[0]" in str(told.value)
    assert HUSH not in str(told.value)


@pytest.mark.parametrize(
    "sink",
    [
        f"kind: mqtt, server: 'me:{HUSH}@there'",
        f"kind: nats, servers: ['me:{HUSH}@there']",
        f"kind: nats, servers: ['nats://me:a/{HUSH}@there']",
        f"kind: nats, servers: me:{HUSH}@there",
        f"kind: mqtt, server: there, username: me, password: *{HUSH}",
        f"kind: mqtt, server: there, username: me, password: !{HUSH}!a",
    ],
)
def test_nor_do_complaints_about_other_sinks(sink: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_config(f"sources:\n  - server: there\nsinks:\n  - {{{sink}}}\n", "f")
    assert str(told.value).startswith("f:4: ")
    assert HUSH not in str(told.value)


def with_snippet(number: int, created_s: float) -> Pick:
    one = pick(number)
    return replace(one, snippet=f"/api/snippets/{one.id}.mseed", created_ns=round(created_s * 1e9))


def test_a_pick_waits_for_its_files_and_repetitions_are_the_same(tmp_path: Path) -> None:
    snippets = SnippetConfig(enabled=True, folder=tmp_path, after_s=20.0)
    one = with_snippet(1, time.time())
    written = (
        (tmp_path / f"{one.id}.png", b"\x89PNG\r\n--pick\x00"),
        (tmp_path / f"{one.id}.mseed", b"samples"),
    )

    def write() -> None:
        for path, content in written:
            time.sleep(0.3)
            # As the daemon does it: the name is there with the content.
            partial = path.with_suffix(".partial")
            partial.write_bytes(content)
            partial.replace(path)

    with Endpoint() as endpoint:
        config = {"kind": "webhook", "url": endpoint.url, "stage": "final", "attach": ["picture", "miniseed"]}
        sink = WebhookSink(WebhookConfig.model_validate(config), AGENCY, snippets)
        writing = threading.Thread(target=write)
        writing.start()
        sink.deliver([one], NOW_NS)
        writing.join()
        sink.deliver([one], NOW_NS)
        # Of a pick of yesterday what is not there never comes; one without snippets has none.
        old = with_snippet(2, time.time() - 86_400)
        (tmp_path / f"{old.id}.mseed").write_bytes(b"other samples")
        sink.deliver([old, pick(3)], NOW_NS)
    first, again, third, last = endpoint.requests
    assert first.parts == {
        "pick": pick_json(one, AGENCY).encode(),
        "picture": written[0][1],
        "miniseed": b"samples",
    }
    assert (first.body, first.headers["webhook-id"]) == (again.body, again.headers["webhook-id"])
    assert f'filename="{one.id}.png"'.encode() in first.body
    assert third.parts == {"pick": pick_json(old, AGENCY).encode(), "miniseed": b"other samples"}
    assert list(last.parts) == ["pick"]


def test_a_pick_of_a_clock_that_was_ahead_waits_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "ATTACH_WAIT_S", 0.5)
    snippets = SnippetConfig(enabled=True, folder=tmp_path, after_s=0.0)
    with Endpoint() as endpoint:
        config = {"kind": "webhook", "url": endpoint.url, "stage": "final", "attach": ["miniseed"]}
        sink = WebhookSink(WebhookConfig.model_validate(config), AGENCY, snippets)
        sink.deliver([with_snippet(1, time.time() + 30 * 86_400)], NOW_NS)
    [message] = endpoint.requests
    assert list(message.parts) == ["pick"]


@pytest.mark.parametrize(
    ("sink", "snippets", "said"),
    [
        ("attach: [picture]", "{enabled: true}", "attach: needs stage: final and batch: 1"),
        ("attach: [picture], stage: final, batch: 2", "{enabled: true}", "attach: needs stage: final and batch: 1"),
        ("attach: [picture], stage: final", "{}", r"sinks: webhook: attach: .*write snippets: \{enabled: true\}"),
        ("attach: [picture], stage: final", "{enabled: true, pictures: false}", r"write attach: \[miniseed\]"),
        ("attach: [plot], stage: final", "{enabled: true}", r"sinks\[0\]\.attach\[0\]: .*'picture' or 'miniseed'"),
    ],
)  # fmt: skip
def test_files_that_cannot_come_are_refused(sink: str, snippets: str, said: str) -> None:
    text = (
        "config_version: 2\nsources: [{server: a}]\nsinks:\n"
        f"  - {{kind: webhook, url: 'https://a', {sink}}}\nsnippets: {snippets}\n"
    )
    with pytest.raises(ConfigError, match=said):
        parse_config(text, "f")
