"""Signals that stop a process."""

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, signal, sys
from xiaod.daemon import stop_signals

async def body():
    stop_signals.TOGETHER_S = float(sys.argv[1])
    signals = stop_signals.StopSignals(lambda: 30.0)
    signals.hear()
    working = asyncio.create_task(asyncio.sleep(60))
    # The loop stands still meanwhile, and hears of all of them afterwards.
    for _ in range(int(sys.argv[2])):
        os.kill(os.getpid(), signal.SIGTERM)
    await signals.until_stop(working)
    working.cancel()
    print("stopped in order")

asyncio.run(body())
"""


@pytest.mark.parametrize(
    ("together_s", "signals", "status"),
    [
        (0.0, 1, 0),
        # As timeout(1) sends them.
        (30.0, 2, 0),
        (0.0, 2, 130),
    ],
)
def test_signals_that_come_together_are_one_and_a_later_one_ends_at_once(
    together_s: float, signals: int, status: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(together_s), str(signals)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert ("stopped in order" in done.stdout) == (status == 0)
