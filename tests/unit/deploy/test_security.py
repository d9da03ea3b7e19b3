"""What an operator relies on without asking: nothing listens beyond this machine unasked, is unpickled, or grows without end."""

import ast
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from models.runtime import TELEMETRY_SWITCH
from tests.scripted import Scripted
from xiaod.acquisition.seedlink import info as discovery
from xiaod.acquisition.seedlink.connection import MAX_REPLY_BYTES, Connection
from xiaod.acquisition.seedlink.framing import FRAME_BYTES, MAX_GARBAGE_BYTES, LinkError
from xiaod.acquisition.seedlink.info import DiscoveryError, discover
from xiaod.config import Config, HttpConfig
from xiaod.replay import ReplayConfig

ROOT = Path(__file__).parents[3]
FORBIDDEN = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
FILES = [path for part in ("xiaod", "models", "distill") for path in sorted((ROOT / part).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {name.name.split(".")[0] for name in node.names} & FORBIDDEN
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in FORBIDDEN
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"torch.load", "torch.save", "eval", "exec", "yaml.load", "yaml.unsafe_load"}
            if called in {"np.load", "numpy.load"}:
                allowed = [word.value for word in node.keywords if word.arg == "allow_pickle"]
                assert [isinstance(value, ast.Constant) and value.value for value in allowed] == [False]


def test_listeners_are_on_loopback_unless_told_otherwise() -> None:
    assert HttpConfig().host == "127.0.0.1"
    assert ReplayConfig(inputs=("example",)).host == "127.0.0.1"
    shipped = (ROOT / "config.yaml").read_text(encoding="utf-8")
    assert "host: 127.0.0.1" in shipped
    assert Config.model_validate({"sources": [{"server": "localhost"}]}).http.host == "127.0.0.1"


def test_the_service_needs_no_root_and_writes_only_to_its_state() -> None:
    unit = (ROOT / "systemd" / "xiaod.service").read_text(encoding="utf-8").splitlines()
    assert {
        "User=xiaod", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "StateDirectory=xiaod",
    } <= set(unit)  # fmt: skip
    assert not [line for line in unit if line.startswith(("ReadWritePaths=", "User=root"))]


def test_onnx_runtime_keeps_no_account_of_its_use(tmp_path: Path) -> None:
    """It would in the home folder, or where XDG_CACHE_HOME says."""
    environment = {name: value for name, value in os.environ.items() if name != TELEMETRY_SWITCH}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "xiaod", "check", "--config", str(ROOT / "config.yaml")],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]
    loading = [path.name for path in FILES if "import onnxruntime\n" in path.read_text(encoding="utf-8")]
    assert loading == ["runtime.py"], "models.runtime.onnx_runtime() loads it"


def link_to(port: int) -> Connection:
    return Connection(f"127.0.0.1:{port}", 2.0, threading.Event())


def test_an_answer_without_end_is_given_up() -> None:
    with Scripted(lambda _: None, {b"HELLO": b"x" * (MAX_REPLY_BYTES * 8)}) as server:
        link = link_to(server.port)
        with pytest.raises(LinkError, match="answers"):
            link.connect()
        link.disconnect()


def test_garbage_without_end_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    link = link_to(1)
    link.socket = ours
    sender = threading.Thread(target=lambda: theirs.sendall(b"x" * (MAX_GARBAGE_BYTES * 4)), daemon=True)
    sender.start()

    def receive() -> None:
        for _ in range(10_000):
            list(link.frames(0.1))

    with pytest.raises(LinkError, match="bytes without a packet"):
        receive()
    link.disconnect()
    theirs.close()


def test_a_list_of_streams_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from xiaod.replay.info import identity, info_packets

    packets = info_packets(identity("s" * 400, "o" * 400, 0), failed=False)
    # Marked as one that is followed by more, again and again.
    first = b"SLINFO *" + packets[8:FRAME_BYTES]
    monkeypatch.setattr(discovery, "MAX_INFO_BYTES", 10_000)
    with (
        Scripted(lambda _: None, {b"INFO": first * 200}) as server,
        pytest.raises(DiscoveryError, match="longer than 10000"),
    ):
        discover(f"127.0.0.1:{server.port}", 5.0)


def test_a_request_with_a_large_body_is_refused() -> None:
    import asyncio

    from aiohttp import ClientSession

    from xiaod.daemon.web.web_server import WebServer

    async def body() -> tuple[int, int]:
        server = WebServer("127.0.0.1", 0, lambda: asyncio.sleep(0, b""), lambda: (True, {}))
        await server.start()
        try:
            async with ClientSession() as session:
                url = f"http://127.0.0.1:{server.port}/metrics"
                async with session.post(url, data=b"x" * 100_000) as posted, session.get(url) as got:
                    return posted.status, got.status
        finally:
            await server.stop()

    assert asyncio.run(body()) == (405, 200)
