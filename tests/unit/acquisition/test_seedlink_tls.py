"""Sources over TLS, with and without a login, against the replay server."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.certificates import certificate
from tests.end_to_end.harness import Server, wait_until, write_event
from tests.scripted import Scripted
from tests.unit.acquisition.test_seedlink_source import Run, contents, source
from xiaod.acquisition.seedlink.connection import Connection
from xiaod.acquisition.seedlink.framing import LinkError
from xiaod.acquisition.seedlink.info import discover
from xiaod.acquisition.seedlink.links import connector
from xiaod.cli.main import main
from xiaod.config import SeedLinkConfig
from xiaod.replay import Faults, ReplayConfig, ReplayError

LOGINS = (("USERPASS", "me", "opensesame"), ("JWT", "t" * 600))


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    path = tmp_path_factory.mktemp("data") / "event.mseed"
    return path, write_event(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def guarded(event: tuple[Path, int], made: tuple[Path, Path]) -> Iterator[Server]:
    """A server that wants a login."""
    config = ReplayConfig(
        inputs=(event[0],), port=0, speed="max", tls_certificate=made[0], tls_key=made[1], logins=LOGINS
    )
    with Server(config) as server:
        yield server


def _has_some(run: Run) -> bool:
    return len(run.segments) > 50


def secret(folder: Path, text: str) -> str:
    path = folder / "secret"
    path.write_text(text + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("protocol", [3, 4, "auto"])
def test_everything_a_server_has_arrives_once(
    event: tuple[Path, int], made: tuple[Path, Path], protocol: object
) -> None:
    path, count = event
    config = ReplayConfig(
        inputs=(path,), port=0, speed="max", tls_certificate=made[0], tls_key=made[1], copies=20
    )
    keys: dict[str, Any] = {"protocol": protocol, "tls": {"ca_file": str(made[0])}, "streams": ["BW.*.*.*"]}
    with Server(config) as server, Run(source(server.port, **keys)) as run:
        wait_until(lambda: len(run.segments) >= 20 * count, "all records")
        assert len(set(contents(run.segments))) == len(run.segments) == 20 * count
        assert len(run.changes("streaming")[0].channels) == 60


@pytest.mark.parametrize("protocol", [3, 4])
def test_cuts_lose_nothing(event: tuple[Path, int], made: tuple[Path, Path], protocol: int) -> None:
    path, count = event
    faults = Faults(cut_after_packets=9, cut_connections=3)
    config = ReplayConfig(
        inputs=(path,), port=0, speed=40.0, faults=faults, tls_certificate=made[0], tls_key=made[1]
    )
    with (
        Server(config) as server,
        Run(source(server.port, protocol=protocol, tls={"ca_file": str(made[0])})) as run,
    ):
        wait_until(lambda: len(set(contents(run.segments))) >= count, "all records")
        assert len(run.changes("disconnected")) == 3


def test_a_certificate_that_nobody_trusts_is_refused_with_a_remedy(guarded: Server) -> None:
    with Run(source(guarded.port, tls={})) as run:
        detail = run.wait_for("connect_failed", 2)[0].detail
    assert "certificate not accepted: self-signed certificate" in detail
    assert "tls.ca_file" in detail
    assert not run.segments


def test_a_certificate_of_another_name_is_refused(event: tuple[Path, int], made: tuple[Path, Path]) -> None:
    config = ReplayConfig(
        inputs=(event[0],), port=0, host="127.0.0.2", tls_certificate=made[0], tls_key=made[1]
    )
    with Server(config) as server:
        address = f"127.0.0.2:{server.port}"
        with Run(source(server.port, server=address, tls={"ca_file": str(made[0])})) as run:
            assert "IP address mismatch" in run.wait_for("connect_failed")[0].detail


def test_the_file_of_an_authority_that_cannot_be_read_is_named(guarded: Server, tmp_path: Path) -> None:
    with Run(source(guarded.port, tls={"ca_file": str(tmp_path / "absent.pem")})) as run:
        detail = run.wait_for("connect_failed", 2)[0].detail
    assert "tls.ca_file" in detail
    assert "absent.pem" in detail


def test_an_insecure_connection_looks_at_nothing(event: tuple[Path, int], made: tuple[Path, Path]) -> None:
    config = ReplayConfig(inputs=(event[0],), port=0, speed="max", tls_certificate=made[0], tls_key=made[1])
    with Server(config) as server, Run(source(server.port, tls={"insecure": True})) as run:
        wait_until(lambda: len(run.segments) >= event[1], "all records")


def test_a_server_without_tls_is_told_apart() -> None:
    with (
        Scripted(lambda sock: None) as server,
        Run(source(server.port, tls={}, connect_timeout_s=1.0)) as run,
    ):
        detail = run.wait_for("connect_failed")[0].detail
    assert "18500 by custom" in detail or "no TLS handshake within 1 s" in detail
    with socket.create_server(("127.0.0.1", 0)) as talker:

        def talk() -> None:
            sock, _ = talker.accept()
            sock.sendall(b"SSH-2.0-something\r\n")
            sock.recv(1000)
            sock.close()

        threading.Thread(target=talk, daemon=True).start()
        link = Connection(
            f"127.0.0.1:{talker.getsockname()[1]}", 5.0, threading.Event(), ssl.create_default_context
        )
        with pytest.raises(LinkError, match="no TLS at 127"):
            link.connect()
        link.disconnect()


def test_a_plain_source_is_told_of_tls(event: tuple[Path, int], made: tuple[Path, Path]) -> None:
    config = ReplayConfig(inputs=(event[0],), port=0, tls_certificate=made[0], tls_key=made[1])
    with Server(config) as server, Run(source(server.port, connect_timeout_s=2.0)) as run:
        assert "write 'tls: {}'" in run.wait_for("connect_failed")[0].detail


def test_a_handshake_that_comes_byte_by_byte_has_a_time_limit(made: tuple[Path, Path]) -> None:
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            # The header of a handshake record of 16 kB, and its bytes one by one.
            for byte in b"\x16\x03\x03\x40\x00" + b"\x02\x00\x00\x4d" + bytes(100):
                if done.wait(0.05):
                    break
                sock.sendall(bytes([byte]))
            sock.close()

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        config = SeedLinkConfig.model_validate({"server": "localhost", "tls": {"ca_file": str(made[0])}})
        link = connector(config)(f"127.0.0.1:{listener.getsockname()[1]}", 1.0, threading.Event())
        with pytest.raises(LinkError, match="no TLS handshake within 1 s"):
            link.connect()
        done.set()
        link.disconnect()
        serving.join()


def test_a_server_that_wants_a_certificate_is_told(made: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*made)
    context.load_verify_locations(made[0])
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = threading.Event()

        def serve() -> None:
            raw, _ = listener.accept()
            with context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False) as sock:
                with contextlib.suppress(ssl.SSLError):
                    sock.do_handshake()
                told.wait(10)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        config = SeedLinkConfig.model_validate({"server": "localhost", "tls": {"ca_file": str(made[0])}})
        link = connector(config)(f"127.0.0.1:{listener.getsockname()[1]}", 5.0, threading.Event())
        with pytest.raises(LinkError, match=r"\(TLSV13_ALERT_CERTIFICATE_REQUIRED\).*tls\.cert_file"):
            link.connect()
        link.disconnect()
        told.set()
        serving.join()


def test_a_stop_is_heard_within_a_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with Run(source(silent.getsockname()[1], tls={}, connect_timeout_s=60.0)):
            sock, _ = silent.accept()
            sock.recv(1)
        sock.close()


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_stop_is_heard_among_packets(
    event: tuple[Path, int], made: tuple[Path, Path], protocol: int
) -> None:
    config = ReplayConfig(
        inputs=(event[0],), port=0, speed="max", loop=True, tls_certificate=made[0], tls_key=made[1]
    )
    keys: dict[str, Any] = {"protocol": protocol, "tls": {"ca_file": str(made[0])}}
    with Server(config) as server:
        for _ in range(3):
            with Run(source(server.port, **keys)) as run:
                wait_until(partial(_has_some, run), "records")
            assert not run.changes("disconnected")


@pytest.mark.parametrize("protocol", [4, "auto"])
@pytest.mark.parametrize("by_token", [False, True])
def test_a_login_lets_in(
    guarded: Server,
    made: tuple[Path, Path],
    event: tuple[Path, int],
    tmp_path: Path,
    protocol: object,
    by_token: bool,
) -> None:
    login: dict[str, object] = (
        {"token_file": secret(tmp_path, "t" * 600)}
        if by_token
        else {"username": "me", "password_file": secret(tmp_path, "opensesame")}
    )
    keys: dict[str, Any] = {
        "protocol": protocol,
        "tls": {"ca_file": str(made[0])},
        "streams": ["*.*.*.*"],
        **login,
    }
    with Run(source(guarded.port, **keys)) as run:
        wait_until(lambda: len(run.segments) >= event[1], "all records")
    config = SeedLinkConfig.model_validate({"server": f"127.0.0.1:{guarded.port}", **keys})
    assert len(discover(config.server, 10.0, connect=connector(config)).streams) == 3


def test_without_a_login_nothing_comes(guarded: Server, made: tuple[Path, Path]) -> None:
    for protocol, said in ((3, "no stations accepted"), (4, "ERROR UNAUTHORIZED log in first")):
        with Run(source(guarded.port, protocol=protocol, tls={"ca_file": str(made[0])})) as run:
            assert said in run.wait_for("connect_failed")[0].detail


@pytest.mark.parametrize("text", ["wrong", "two words", "", "pässword"])
def test_a_login_that_is_refused_is_tried_again_and_never_shown(
    guarded: Server, made: tuple[Path, Path], tmp_path: Path, text: str
) -> None:
    path = secret(tmp_path, text)
    keys: dict[str, Any] = {
        "protocol": 4,
        "tls": {"ca_file": str(made[0])},
        "username": "me",
        "password_file": path,
    }
    with Run(source(guarded.port, **keys)) as run:
        detail = run.wait_for("connect_failed", 2)[0].detail
        expected = "refuses the login: ERROR AUTH" if text == "wrong" else "password_file: "
        assert expected in detail
        assert not text or text not in detail.replace("password", "")
        # The file is read at each connection.
        secret(tmp_path, "opensesame")
        wait_until(lambda: run.segments, "records")


def test_a_secret_is_not_shown_when_a_server_does_not_answer_it(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*made)
    config = SeedLinkConfig.model_validate(
        {
            "server": "localhost",
            "protocol": 4,
            "tls": {"ca_file": str(made[0])},
            "token_file": secret(tmp_path, "hush"),
        }
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock = context.wrap_socket(listener.accept()[0], server_side=True)
            for answer in (b"SeedLink v4.0 (x) :: SLPROTO:4.0\r\ny\r\n", b"OK\r\n", b"OK\r\n"):
                sock.recv(1000)
                sock.sendall(answer)
            sock.recv(1000)
            time.sleep(3)

        threading.Thread(target=serve, daemon=True).start()
        link = connector(config)(f"127.0.0.1:{listener.getsockname()[1]}", 1.0, threading.Event())
        with pytest.raises(LinkError, match="no answer to 'AUTH' within 1 s"):
            link.connect()
        link.disconnect()


def test_a_secret_is_not_shown_when_a_server_repeats_it(made: tuple[Path, Path], tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*made)
    keys = {"protocol": 4, "tls": {"ca_file": str(made[0])}, "token_file": secret(tmp_path, "hush")}
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock = context.wrap_socket(listener.accept()[0], server_side=True)
            for answer in (b"SeedLink v4.0 (x) :: SLPROTO:4.0\r\ny\r\n", b"OK\r\n", b"OK\r\n"):
                sock.recv(1000)
                sock.sendall(answer)
            sock.sendall(b"ERROR UNSUPPORTED " + sock.recv(1000).strip() + b"\r\n")
            sock.recv(1000)

        threading.Thread(target=serve, daemon=True).start()
        config = SeedLinkConfig.model_validate({"server": "localhost", **keys})
        link = connector(config)(f"127.0.0.1:{listener.getsockname()[1]}", 5.0, threading.Event())
        with pytest.raises(LinkError, match=r"refuses the login: ERROR UNSUPPORTED AUTH JWT \*\*\*$"):
            link.connect()
        link.disconnect()


def test_a_server_of_version_3_takes_no_login(made: tuple[Path, Path], tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*made)
    keys = {"protocol": "auto", "tls": {"ca_file": str(made[0])}, "token_file": secret(tmp_path, "hush")}
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock = context.wrap_socket(listener.accept()[0], server_side=True)
            sock.recv(1000)
            sock.sendall(b"SeedLink v3.1 (x) :: SLPROTO:3.1\r\ny\r\n")
            sock.recv(1000)

        threading.Thread(target=serve, daemon=True).start()
        config = SeedLinkConfig.model_validate({"server": "localhost", **keys})
        link = connector(config)(f"127.0.0.1:{listener.getsockname()[1]}", 5.0, threading.Event())
        with pytest.raises(LinkError, match="SeedLink 3, which has no login"):
            link.connect()
        link.disconnect()


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"protocol": 4, "username": "me", "tls": {}}, "belong together"),
        ({"protocol": 4, "password_file": "a", "tls": {}}, "belong together"),
        (
            {"protocol": 4, "username": "me", "password_file": "a", "token_file": "b", "tls": {}},
            "one way to log in",
        ),
        ({"protocol": 4, "token_file": "b"}, "need tls"),
        ({"token_file": "b", "tls": {}}, "SeedLink 3 has no login"),
        ({"server": "replay:example", "tls": {}}, "not for replay"),
        ({"protocol": 4, "username": "two words", "password_file": "a", "tls": {}}, "username"),
        ({"protocol": 5}, "protocol"),
    ],
)
def test_keys_that_do_not_fit_together_are_refused(keys: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        SeedLinkConfig.model_validate({"server": "localhost", **keys})


def test_a_replay_server_takes_no_secret_in_the_clear() -> None:
    with pytest.raises(ReplayError, match="logins need tls_certificate"):
        ReplayConfig(inputs=("example",), logins=LOGINS)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("tls: {ca_file: absent.pem}", "tls.ca_file: absent.pem: cannot be used"),
        ("protocol: 4\n    tls: {}\n    token_file: absent", "token_file: absent: cannot be read"),
        ("protocol: 4\n    tls: {}", ""),
    ],
)
def test_check_looks_at_what_a_source_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: str, complaint: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"config_version: 2\nsources:\n  - server: localhost\n    {keys}\n", encoding="utf-8")
    assert (main(["check", "--config", str(path)]) == 0) is not bool(complaint)
    assert f"{path}:3: sources[0]: {complaint}" in capsys.readouterr().err or not complaint
