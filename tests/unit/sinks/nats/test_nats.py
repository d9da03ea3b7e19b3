"""The NATS sink against the real nats-server: once each in the stream, whatever the server does meanwhile."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nkeys
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from tests.contract.test_sinks import AGENCY, NOW_NS, STAGES, pick
from tests.end_to_end.harness import wait_until
from tests.natsserver import NatsServer
from xiaod.config.loader import ConfigError, parse_config
from xiaod.config.sinks.nats import NatsConfig
from xiaod.domain.document import pick_from_document
from xiaod.domain.types import Channel, Pick
from xiaod.sinks import Refused
from xiaod.sinks.nats.reader import NatsReader
from xiaod.sinks.nats.sink import NatsSink

HUSH = "hush-hush"


def made(server: str, **keys: Any) -> NatsSink:
    content = {"kind": "nats", "servers": [server], "timeout_s": 30.0, "stream": {"create": True}, **keys}
    return NatsSink(NatsConfig.model_validate(content), AGENCY)


def sent(server: str, *picks: Pick, **keys: Any) -> None:
    """Delivered by a sink of their own."""
    with closing(made(server, **keys)) as sink:
        sink.deliver(picks, NOW_NS)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats", "-js") as running:
        yield running


def test_what_is_in_the_stream(server: NatsServer) -> None:
    sink = made(
        server.server,
        stream={"create": True, "max_age_s": 86400.0, "max_bytes": 1_000_000, "duplicates_s": 60.0},
    )
    sink.deliver([], NOW_NS)
    # A tick opens nothing, and makes no stream.
    assert server.messages() == []
    odd = Channel("B*", ">.X", "", "EHZ")
    sink.deliver([pick(1), pick(2, phase="S")], NOW_NS)
    sink.deliver([], NOW_NS)
    sink.deliver([pick(3, channel=odd), pick(2, phase="S")], NOW_NS)
    sink.close()
    sink.close()
    found = server.messages()
    assert [subject for subject, _ in found] == [
        "xiaod.picks.BW.RJOB.P.final", "xiaod.picks.BW.RJOB.S.final", "xiaod.picks.B_.__X.P.final",
    ]  # fmt: skip
    assert pick_from_document(found[0][1]) == pick(1)
    config = server.info().config
    assert (config.max_age, config.max_bytes, config.duplicate_window) == (86400.0, 1_000_000, 60.0)
    assert (config.subjects, config.num_replicas) == (["xiaod.picks.*.*.*.*"], 1)


def test_early_picks_have_a_subject_of_their_own(server: NatsServer) -> None:
    sink = made(server.server)
    sink.deliver(STAGES, NOW_NS)
    sink.close()
    assert [(subject, document["id"]) for subject, document in server.messages()] == [
        (f"xiaod.picks.BW.RJOB.P.{one.stage}", one.id) for one in STAGES
    ]


def test_a_stream_that_was_made_without_stages_is_told_with_what_helps(server: NatsServer) -> None:
    sent(server.server, pick(1), subject="xiaod.picks.{network}.{station}.{phase}")
    sink = made(server.server)
    with pytest.raises(OSError, match=r"if XIAOD is there, give it that subject with nats stream edit"):
        sink.deliver([pick(2)], NOW_NS)
    sink.close()


def test_killed_and_restarted_in_between_each_is_once_in_the_stream(server: NatsServer) -> None:
    sink = made(server.server)
    sink.deliver([pick(number) for number in range(10)], NOW_NS)
    server.kill()
    for _ in range(2):
        with pytest.raises(OSError, match=r"127\.0\.0\.1.*"):
            sink.deliver([pick(number) for number in range(5, 15)], NOW_NS)
    server.start()
    # Five of these are there already: another process of ours would send them again too.
    sent(server.server, *[pick(number) for number in range(5, 15)])
    sink.deliver([pick(number) for number in range(5, 20)], NOW_NS)
    sink.close()
    assert server.ids() == [pick(number).id for number in range(20)]


def test_what_was_acknowledged_is_not_sent_again_however_late(server: NatsServer) -> None:
    """Longer than the server remembers what it has got."""
    large = pick(2, model="x" * 3000)

    async def small(client: Client) -> None:
        await client.jetstream().add_stream(
            StreamConfig(name="XIAOD", subjects=["xiaod.>"], max_msg_size=2000, duplicate_window=0.1)
        )

    server.ask(small)
    sink = made(server.server)
    with pytest.raises(Refused, match="larger than the stream takes") as told:
        sink.deliver([pick(1), large, pick(3)], NOW_NS)
    assert told.value.picks == {large.id}
    time.sleep(0.5)
    # As the sink_runner does it: those before, then those behind.
    sink.deliver([pick(1)], NOW_NS)
    sink.deliver([pick(3)], NOW_NS)
    with pytest.raises(Refused, match="larger than the server takes"):
        sink.deliver([pick(4, model="x" * 2_000_000)], NOW_NS)
    sink.close()
    assert server.ids() == [pick(1).id, pick(3).id]


def test_a_message_as_large_as_the_server_takes_holds_up_no_reader(server: NatsServer) -> None:
    async def large(client: Client) -> None:
        await client.jetstream().publish("xiaod.picks.XX.A.P.final", b"x" * client.max_payload)

    sent(server.server, pick(1))
    server.ask(large)
    sent(server.server, pick(2))
    config = NatsConfig(kind="nats", servers=(server.server,), timeout_s=30.0)
    with closing(NatsReader(config, {("XIAOD", ""): (0, 0)})) as reader:
        found: list[bytes] = []
        until_s = time.monotonic() + 60
        while len(found) < 3 and time.monotonic() < until_s:
            found += reader.read(10, 1.0).contents
    assert json.loads(found[0])["id"] == pick(1).id
    assert len(found[1]) > 1_000_000
    assert json.loads(found[2])["id"] == pick(2).id


def test_ticks_keep_a_quiet_connection_alive(tmp_path: Path) -> None:
    config = 'jetstream {}\nping_interval: "1s"\nping_max: 2\ndebug: true\n'
    with NatsServer(tmp_path / "nats", config=config) as server, closing(made(server.server)) as sink:
        sink.deliver([pick(1)], NOW_NS)
        until_s = time.monotonic() + 4.5
        while time.monotonic() < until_s:
            sink.deliver([], NOW_NS)
            time.sleep(0.05)
        sink.deliver([pick(2)], NOW_NS)
        assert "Stale Client Connection" not in server.log()
        # Without them it would be dropped, and opened anew when it is needed.
        wait_until(lambda: "Stale Client Connection" in server.log(), "the server's patience to end")
        sink.deliver([pick(3)], NOW_NS)
        assert server.ids() == [pick(number).id for number in (1, 2, 3)]


def test_no_stream_and_another_stream_are_told_with_what_helps(server: NatsServer) -> None:
    sink = made(server.server, stream={"name": "PICKS"})
    with pytest.raises(
        OSError,
        match=r"no stream takes xiaod\.picks\.BW\.RJOB\.P\.final; make it with: nats stream add PICKS",
    ):
        sink.deliver([pick(1)], NOW_NS)

    async def other(client: Client) -> None:
        await client.jetstream().add_stream(StreamConfig(name="OTHER", subjects=["xiaod.>"]))

    server.ask(other)
    with pytest.raises(OSError, match="goes to another stream than PICKS"):
        sink.deliver([pick(1)], NOW_NS)
    with pytest.raises(OSError, match="stream XIAOD cannot be made: subjects overlap"):
        sent(server.server, pick(1))
    sent(server.server, pick(1), stream={"name": "OTHER", "create": True})
    assert server.ids("OTHER") == [pick(1).id]
    sink.close()


def test_a_server_without_jetstream(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as plain:
        with pytest.raises(OSError, match="start nats-server with -js"):
            sent(plain.server, pick(1))
        with pytest.raises(OSError, match="no stream takes"):
            sent(plain.server, pick(1), stream={})
        config = NatsConfig(kind="nats", servers=(plain.server,), timeout_s=30.0)
        with (
            closing(NatsReader(config, {})) as reader,
            pytest.raises(OSError, match="no JetStream there: no answer; start nats-server with -js"),
        ):
            reader.read(10, 1.0)


USERS = """
jetstream {}
authorization {
  users = [
    {user: good, password: "hush-hush"}
    {user: mute, password: "hush-hush", permissions: {publish: ["$JS.API.>"], subscribe: ["_INBOX.>"]}}
    {nkey: KEY}
  ]
}
"""


def test_logging_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)
    (tmp_path / "seed").write_bytes(seed)
    (tmp_path / "password").write_text(HUSH + "\n")
    config = USERS.replace("KEY", nkeys.from_seed(bytearray(seed)).public_key.decode())
    good = {"user": "good", "password": HUSH}
    with NatsServer(tmp_path / "nats", config=config) as server:
        sent(server.server, pick(1), username="good", password_file=str(tmp_path / "password"))
        monkeypatch.setenv("XIAOD_PASSWORD", HUSH)
        sent(server.server, pick(2), username="good", password="${XIAOD_PASSWORD}")  # noqa: S106  a name
        sent(server.server, pick(3), nkey_file=str(tmp_path / "seed"))
        begun_s = time.monotonic()
        wrong: list[tuple[dict[str, Any], str]] = [
            ({}, "Authorization Violation.*check username and password"),
            ({"username": "good", "password": f"not {HUSH}"}, "Authorization Violation.*check username"),
            ({"username": "mute", "password": HUSH}, "Permissions Violation for Publish.*must allow"),
        ]
        for login, said in wrong:
            with pytest.raises(OSError, match=f"(?i){said}") as told:
                sent(server.server, pick(4), **login)
            assert HUSH not in str(told.value)
        # Nobody waits for an answer that was a refusal.
        assert time.monotonic() - begun_s < 30
        assert server.ids(**good) == [pick(number).id for number in (1, 2, 3)]


def token(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, **claims: Any) -> str:
    """A JWT as ``nsc`` makes it (NATS JWT, version 2)."""
    names = {"iss": issuer.public_key.decode(), "sub": subject.public_key.decode()}
    body = {"jti": "x", "iat": int(time.time()), "name": "test", **names, "nats": {"version": 2, **claims}}
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body)
    ]
    signed = base64.urlsafe_b64encode(issuer.sign(b".".join(parts))).rstrip(b"=")
    return b".".join([*parts, signed]).decode()


def test_a_credentials_file(tmp_path: Path) -> None:
    prefixes = (
        nkeys.PREFIX_BYTE_OPERATOR,
        nkeys.PREFIX_BYTE_ACCOUNT,
        nkeys.PREFIX_BYTE_ACCOUNT,
        nkeys.PREFIX_BYTE_USER,
    )
    seeds = [nkeys.encode_seed(bytes([number]) * 32, prefix) for number, prefix in enumerate(prefixes)]
    operator, account, system, user = (nkeys.from_seed(bytearray(seed)) for seed in seeds)
    unlimited = dict.fromkeys(
        ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage", "streams", "consumer"), -1
    )  # fmt: skip
    limits = {**unlimited, "wildcards": True}
    accounts = {
        account.public_key.decode(): token(operator, account, type="account", limits=limits),
        # JetStream is not for the server's own account.
        system.public_key.decode(): token(operator, system, type="account", limits={"subs": -1, "conn": -1}),
    }
    preload = "\n".join(f"  {name}: {text}" for name, text in accounts.items())
    mine = token(account, user, type="user", pub={}, sub={}, subs=-1, data=-1, payload=-1)
    credentials = tmp_path / "me.creds"
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{mine}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seeds[-1].decode()}\n------END USER NKEY SEED------\n"
    )
    config = (
        f"jetstream {{}}\noperator: {token(operator, operator, type='operator')}\nresolver: MEMORY\n"
        f"system_account: {system.public_key.decode()}\nresolver_preload {{\n{preload}\n}}\n"
    )
    with NatsServer(tmp_path / "nats", config=config) as server:
        sent(server.server, pick(1), credentials_file=str(credentials))
        assert server.ids(user_credentials=str(credentials)) == [pick(1).id]
        with pytest.raises(OSError, match=r"(?i)authorization violation"):
            sent(server.server, pick(2))
        credentials.write_text("nothing of the kind")
        with pytest.raises(OSError, match="must hold a user's JWT and key"):
            sent(server.server, pick(2), credentials_file=str(credentials))
        with pytest.raises(OSError, match="must hold the seed of an NKey"):
            sent(server.server, pick(2), nkey_file=str(credentials))


def test_tls_and_token(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    config = f'jetstream {{}}\nauthorization {{token: "{HUSH}"}}\ntls {{cert_file: "{certificate}", key_file: "{key}"}}\n'
    with NatsServer(tmp_path / "nats", config=config) as server:
        sent(server.server, pick(1), token=HUSH, tls={"ca_file": str(certificate)})
        refused: list[dict[str, str] | None] = [{}, None]
        for tls in refused:
            with pytest.raises(OSError, match=r"(?i)certificate|ssl|tls") as told:
                sent(server.server, pick(2), token=HUSH, tls=tls)
            assert HUSH not in str(told.value)


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("there", "nats://there:4222"),
        ("NATS://there:4223/", "nats://there:4223"),
        ("Tls://[::1]", "tls://[::1]:4222"),
    ],
)
def test_addresses_of_servers(server: str, address: str) -> None:
    assert NatsConfig(kind="nats", servers=(server,)).servers == (address,)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (f"servers: ['nats://me:{HUSH}@there']", "must not hold a password"),
        ("servers: ['http://there']", "must be HOST or HOST:PORT"),
        ("servers: ['there:99999']", "must be HOST or HOST:PORT"),
        ("servers: ['nats://there/picks']", "must be HOST or HOST:PORT"),
        (f"username: me\n    password: [{HUSH}]", "must be"),
        (f"token: {HUSH}\n    nkey_file: there", "nkey_file and token are both given"),
        ("subject: 'a..b'", "must be words"),
        ("subject: 'a.{net}'", "{net} is not known; allowed are {network}"),
        ("subject: 'a.>'", "must be words"),
        ("subject: 'a.{stage!r}'", "{stage} must stand alone in its braces, without : or !"),
        ("stream: {max_age_s: 60.0}", "duplicates_s must be at most max_age_s"),
    ],
)
def test_complaints_about_the_file(keys: str, said: str) -> None:
    text = f"sources:\n  - server: there\nsinks:\n  - kind: nats\n    {keys}\n"
    with pytest.raises(ConfigError) as told:
        parse_config(text, "f")
    assert said in str(told.value)
    assert HUSH not in str(told.value)
