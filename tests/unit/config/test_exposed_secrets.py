"""Secrets that everybody on the machine can read are told of; what is made here is not such a file."""

import os
import signal
from pathlib import Path

import pytest

from tests.end_to_end.harness import Daemon
from xiaod.cli.main import main
from xiaod.config.events_process import load_events, with_bus
from xiaod.config.exposed_secrets import exposed_files
from xiaod.config.loader import load_config
from xiaod.domain.sharding import ALONE
from xiaod.storage.folder_lock import FolderLock
from xiaod.storage.pick_store import STORE, PickStore

SOURCES = "sources: [{server: 'replay:example'}]\n"


@pytest.fixture(autouse=True)
def usual_umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("sink", "named"),
    [
        ("{kind: mqtt, server: a, username: b, password: hush}", "config.yaml"),
        ("{kind: webhook, url: 'https://a', headers: {Authorization: hush}}", "config.yaml"),
        ("{kind: webhook, url: 'https://a?key=hush'}", "config.yaml"),
        ("{kind: nats, token: hush}", "config.yaml"),
        ("{kind: mqtt, server: a, username: b, password: '${HUSH}'}", None),
        ("{kind: webhook, url: 'https://a/b'}", None),
        ("{kind: mqtt, server: a, username: b, password_file: secret}", "secret"),
        ("{kind: mqtt, server: a, tls: {cert_file: c, key_file: secret}}", "secret"),
        ("{kind: webhook, url: 'https://a', secret_file: secret}", "secret"),
        ("{kind: nats, token_file: secret}", "secret"),
        ("{kind: nats, nkey_file: secret}", "secret"),
        ("{kind: nats, credentials_file: secret}", "secret"),
        ("{kind: kafka, username: a, password: hush}", "config.yaml"),
        ("{kind: kafka, username: a, password_file: secret}", "secret"),
        ("{kind: nats, tls: {ca_file: secret}}", None),
        ("{kind: anss, path: p, stations_file: secret}", None),
    ],
)
def test_who_can_read_a_secret_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sink: str, named: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret").write_text("hush\n")
    Path("config.yaml").write_text(f"{SOURCES}sinks:\n- {sink}\n")
    for mode, exposed in ((0o644, True), (0o640, False), (0o600, False)):
        Path("secret").chmod(mode)
        Path("config.yaml").chmod(mode)
        told = exposed_files(load_config(Path("config.yaml")))
        assert [str(one.file) for one in told] == ([named] if exposed and named else [])
        if told:
            assert str(told[0]).startswith("config.yaml:3: sinks[0].")
            assert "hush" not in str(told[0])


@pytest.mark.parametrize("of", ["picks", "all"])
def test_the_login_of_the_bus_counts_where_events_are_made(
    of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret").write_text("hush\n")
    Path("config.yaml").write_text(
        f"{SOURCES}events: {{enabled: true, bus: nats}}\nsinks:\n- {{kind: console}}\n"
        f"- {{kind: nats, token_file: secret, of: {of}}}\n- {{kind: jsonl, path: p, of: events}}\n"
    )
    [told] = exposed_files(with_bus(*load_events(Path("config.yaml"))))
    assert str(told.file) == "secret"
    assert told.key.startswith("config.yaml:5: sinks[")


def test_check_tells_it_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret").write_text("hush\n")
    sink = "{kind: webhook, url: 'https://a', headers: {A: '${HUSH}'}, secret_file: secret}"
    monkeypatch.setenv("HUSH", "hush")
    Path("secret").write_text("whsec_" + "QUJD" * 8 + "\n")
    Path("config.yaml").write_text(f"{SOURCES}sinks:\n- {sink}\n")
    assert main(["check"]) == 0
    told = capsys.readouterr()
    assert told.err == (
        "config.yaml:3: sinks[0].secret_file: everybody on this machine can read secret (mode 0644); chmod o= secret\n"
    )
    assert "valid" in told.out


def test_the_daemon_warns_at_the_start_and_at_a_reload(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_" + "QUJD" * 8 + "\n")
    sink = {"kind": "webhook", "url": "http://127.0.0.1:1/", "secret_file": str(secret), "timeout_s": 0.5}
    with Daemon(
        tmp_path / "run", sources=[{"server": "127.0.0.1:1", "reconnect_min_s": 30.0}], sinks=[sink]
    ) as daemon:
        [told] = daemon.wait_for("secret.exposed")
        assert (told["level"], told["file"], told["mode"]) == ("warning", str(secret), "0644")
        assert told["key"].endswith("sinks[0].secret_file")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("reload.done")
        assert len(daemon.wait_for("secret.exposed", 2)) == 2


def test_what_is_made_here_is_not_for_everybody(tmp_path: Path) -> None:
    FolderLock(tmp_path / "var" / "state", ALONE).release()
    PickStore(tmp_path / "var" / "other" / STORE).close()
    for name in ("state", "other"):
        assert (tmp_path / "var" / name).stat().st_mode & 0o777 == 0o750
    path = tmp_path / "config.yaml"
    assert main(["init", "replay:example", "--output", str(path)]) == 0
    assert path.stat().st_mode & 0o777 == 0o640
    # One that is there keeps what its owner has given it.
    path.chmod(0o604)
    assert main(["init", "replay:example", "--output", str(path), "--force"]) == 0
    assert path.stat().st_mode & 0o777 == 0o604
