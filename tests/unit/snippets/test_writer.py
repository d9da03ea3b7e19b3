"""What the writer says of its failures, and when it stops saying it."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.contract.test_sinks import pick
from xiaod.config.inventory import NO_STATIONS
from xiaod.config.snippets import SnippetConfig
from xiaod.domain.types import Segment
from xiaod.process.metrics import Metrics
from xiaod.snippets import writer as writer_module
from xiaod.snippets.gather import Snippet
from xiaod.snippets.writer import SnippetWriter

LIMIT_S = 60.0


def waited_for(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_a_failure_is_said_until_a_file_could_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no pick comes any more."""
    monkeypatch.setattr(writer_module, "TICK_S", 0.02)
    folder, metrics = tmp_path / "snippets", Metrics()
    writer = SnippetWriter(SnippetConfig(enabled=True, folder=folder, pictures=False), NO_STATIONS, metrics)

    def snippet(number: int) -> Snippet:
        one = pick(number)
        start_ns = one.time_ns - 10**9
        segment = Segment(one.channel, start_ns, 100.0, np.arange(300, dtype=np.int32))
        return Snippet(one, start_ns, start_ns + 2 * 10**9, (segment,), (one,))

    writer.put(snippet(1))
    waited_for(lambda: folder.is_dir() and any(folder.glob("*.mseed")) and writer.idle)
    assert not writer.complaint
    shutil.rmtree(folder)
    folder.write_text("in the way")
    writer.put(snippet(2))
    waited_for(lambda: "miniseed: " in writer.complaint)
    assert str(folder) in writer.complaint
    folder.unlink()
    waited_for(lambda: not writer.complaint)
    assert list(folder.iterdir()) == []
    writer.close()
