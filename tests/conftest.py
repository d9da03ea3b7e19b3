"""Shared parts of the tests: real waveforms, and how they are cut into records."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import obspy
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from structlog import reset_defaults

from xiaod.domain.types import Channel, Segment
from xiaod.process.logs import LibraryHandler


def pytest_configure() -> None:
    """What the programs that tests start inherit."""
    # Some hundred of them would each compile all of xiaod anew, which takes longer than everything else until they are ready.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # They hear SIGINT: what a shell runs in the background ignores it, and so do its children.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says how busy the machine is.
    settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def fresh_logs() -> None:
    """What ran before in this process may have sent the log to a stream that is closed by now."""
    reset_defaults()
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, LibraryHandler)]:
        root.removeHandler(handler)


ONSETS_S = {"P": 4.71, "S": 5.69}
"""Onsets of ObsPy's example, BW.RJOB on 2009-08-24: P at 00:20:07.71 and S at 00:20:08.69, in seconds after its first sample at 00:20:03.

They are known without this program: what compares it with itself is held to them too.
"""
ONSET_TOLERANCE_S = 0.02


@dataclass(frozen=True)
class Recording:
    """Three components of one real event."""

    station: str
    start_ns: int
    sampling_rate_hz: float
    components: dict[str, NDArray[np.float64]]

    def segments(self, component: str, pieces: list[int], offset_ns: int = 0) -> list[Segment]:
        """The component as records of the given numbers of samples; the last takes the rest."""
        data = self.components[component]
        channel = Channel("BW", self.station, "", "EH" + component)
        result, begin = [], 0
        for length in [*pieces, len(data)]:
            samples = data[begin : begin + length]
            if not len(samples):
                break
            start_ns = self.start_ns + offset_ns + round(begin * 1e9 / self.sampling_rate_hz)
            result.append(Segment(channel, start_ns, self.sampling_rate_hz, samples, source="test"))
            begin += length
        return result


@pytest.fixture(scope="session")
def rjob() -> Recording:
    """ObsPy's example event: 30 s at BW.RJOB, 100 Hz, a P at 4.73 s and an S at 5.71 s."""
    stream = obspy.read()
    return Recording(
        "RJOB",
        int(stream[0].stats.starttime.ns),
        float(stream[0].stats.sampling_rate),
        {trace.stats.component: np.asarray(trace.data, np.float64) for trace in stream},
    )


Chop = Callable[[int], list[int]]
