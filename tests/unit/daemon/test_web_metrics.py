"""The metrics of thousands of stations, or of a disk that hangs, hold up nothing else."""

import asyncio
import socket
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession

from models.weights import weights_path
from xiaod.config import Config
from xiaod.daemon.web.http_service import HttpService
from xiaod.inference.onnx import OnnxEngine
from xiaod.pipeline.pipeline import LiveRun, Pipeline
from xiaod.process.metrics import Metrics


def test_a_disk_that_hangs_holds_up_metrics_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, gate = threading.Event(), threading.Event()

    def hanging(_: Metrics, __: Path) -> None:
        asked.set()
        assert gate.wait(60)

    monkeypatch.setattr(Metrics, "update_disk", hanging)

    async def body() -> tuple[int, int, str]:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        config = Config.model_validate(
            {"sources": [{"server": "localhost"}], "http": {"port": port, "page": False}}
        )
        metrics = Metrics()
        pipeline = Pipeline(config, OnnxEngine(weights_path("micro")), [], [], metrics, LiveRun())
        http = HttpService(config, pipeline, "micro", metrics, None)
        async with AsyncExitStack() as stack, ClientSession() as session:
            await http.open(stack)
            slow = asyncio.create_task(session.get(f"{url}/metrics"))
            await asyncio.to_thread(asked.wait)
            async with session.get(f"{url}/healthz") as health:
                alive = health.status
            assert not slow.done()
            gate.set()
            answer = await slow
            found = alive, answer.status, (await answer.text())
        pipeline.release_threads()
        return found

    alive, status, text = asyncio.run(body())
    assert (alive, status) == (200, 200)
    assert "xiaod_queue_limit" in text
