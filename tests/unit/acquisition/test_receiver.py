"""What a source remembers of channels: no longer than a connection whether they are picked, and nothing of what it refuses."""

import time

import numpy as np
import pytest
from pymseed import DataEncoding, MS3Record

from xiaod.acquisition.patterns import Subscription
from xiaod.acquisition.seedlink import receiver as module
from xiaod.acquisition.seedlink.framing import Frame
from xiaod.acquisition.seedlink.positions import Positions
from xiaod.acquisition.seedlink.receiver import Receiver
from xiaod.config import SeedLinkConfig
from xiaod.domain.sharding import ALONE
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.timeliness import TimeLimits
from xiaod.domain.types import BadRecord, Segment, SourceItem

RECORD_S = 2
NOW_S = 1_700_000_000


def frame(station: str, number: int, start_s: int) -> Frame:
    record = MS3Record(reclen=512, encoding=DataEncoding.STEIM2)
    record.sourceid, record.samprate, record.formatversion = f"FDSN:XX_{station}__H_H_Z", 100.0, 2
    record.starttime = start_s * NS_PER_S
    samples = np.arange(RECORD_S * 100) % 7
    (content,) = record.generate(data_samples=samples.tolist(), sample_type="i")
    return Frame(b"SL%06X" % number, bytes(content))


def asked(*stations: str) -> list[Subscription]:
    return [Subscription("XX", station, ("HHZ.D",)) for station in stations]


def receiver_of(*streams: str) -> Receiver:
    config = SeedLinkConfig(server="localhost:18000", name="example", streams=streams)
    return Receiver(config, ALONE, Positions({}), None, TimeLimits.from_s(None, 60.0))


def test_each_connection_decides_anew_which_channels_are_picked() -> None:
    receiver = receiver_of("XX.A..HHZ", "XX.B..HHZ")
    found: list[SourceItem] = []
    for number, stations in enumerate([("A", "B"), ("B",), ("A", "B")]):
        receiver.begin(asked(*stations))
        receiver.losses.begins(0.0)
        for index, station in enumerate("AB"):
            receiver.frame(frame(station, 2 * number + index, NOW_S + RECORD_S * number), found.append)
    assert [isinstance(item, Segment) for item in found] == [True, True, False, True, True, True]
    assert isinstance(found[2], BadRecord)
    assert found[2].reason == "unasked"


def test_of_channels_that_no_pattern_matches_each_packet_is_counted() -> None:
    receiver = receiver_of("XX.A..HHE")
    receiver.begin(asked("A"))
    found: list[SourceItem] = []
    for number in range(3):
        receiver.frame(frame("A", number, NOW_S + RECORD_S * number), found.append)
    assert not found
    assert receiver.counts() == {"received": 3, "unselected": 3, "repeated": 0}


def test_stations_that_are_refused_make_it_forget_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHANNELS", 3)
    receiver = receiver_of("XX.A..HHZ")
    receiver.begin(asked("A"))
    found: list[SourceItem] = []
    monkeypatch.setattr(time, "time_ns", lambda: NOW_S * NS_PER_S)
    receiver.frame(frame("A", 0, NOW_S), found.append)
    for number in range(1, 9):
        receiver.frame(frame(f"N{number}", number, NOW_S), found.append)
    # The host's clock is set back by an hour: a stream that goes on where it was is right.
    monkeypatch.setattr(time, "time_ns", lambda: (NOW_S - 3600) * NS_PER_S)
    receiver.frame(frame("A", 9, NOW_S + RECORD_S), found.append)
    assert sum(isinstance(item, Segment) for item in found) == 2
    needed_ns = (NOW_S + 10) * NS_PER_S
    assert receiver.positions.resumable({("XX", "A"): needed_ns}) == {
        ("XX", "A"): (9, (NOW_S + RECORD_S) * NS_PER_S)
    }
