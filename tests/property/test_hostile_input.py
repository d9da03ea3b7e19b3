"""Bytes that nobody should send: 10,000 damaged packets, every file of ObsPy's own tests, and neither may end anything.

These go through the link's framing, the decoder, and the file source: the three doors by which data come in.
"""

import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import obspy
import pytest

from xiaod.acquisition.miniseed import decode
from xiaod.acquisition.miniseed_files import FileSource
from xiaod.acquisition.seedlink.connection import Connection
from xiaod.acquisition.seedlink.framing import LinkError
from xiaod.domain.types import BadRecord, Segment
from xiaod.replay.records import load

INPUTS = 10_000
OBSPY = Path(obspy.__file__).parent
FILES = sorted(path for path in OBSPY.glob("**/tests/data/**/*") if path.is_file())


def damaged(rng: random.Random, records: list[bytes]) -> bytes:
    """Random bytes, or a real record with flipped bytes, cut short, or joined to another."""
    kind = rng.randrange(5)
    record = bytearray(rng.choice(records))
    if kind == 0:
        return rng.randbytes(rng.randrange(600))
    if kind == 1:
        return bytes(record[: rng.randrange(len(record))])
    if kind == 2:
        return bytes(record[:48]) + rng.randbytes(len(record) - 48)
    if kind == 3:
        cut = rng.randrange(len(record))
        return bytes(record[:cut] + rng.choice(records)[cut:])
    for _ in range(rng.randrange(1, 12)):
        record[rng.randrange(len(record))] = rng.randrange(256)
    return bytes(record)


@pytest.fixture(scope="module")
def inputs() -> list[bytes]:
    rng = random.Random(20090824)
    records = [record.raw for record in load(["example"]).records]
    return [damaged(rng, records) for _ in range(INPUTS)]


def test_ten_thousand_damaged_records(inputs: list[bytes]) -> None:
    found = [decode(content, "test") for content in inputs]
    assert {type(item) for item in found} == {Segment, BadRecord}
    # Damage to samples alone cannot be seen, damage to headers is.
    assert sum(isinstance(item, BadRecord) for item in found) > INPUTS // 4


def test_ten_thousand_damaged_packets_on_a_socket(inputs: list[bytes]) -> None:
    rng = random.Random(1)
    ours, theirs = socket.socketpair()
    good = load(["example"]).records[0].raw
    packets = [b"SL%06X" % number + content for number, content in enumerate(inputs)]
    # Between garbage a whole packet now and then, so that the link has no reason to give up.
    for at in range(0, len(packets), 20):
        packets[at] = b"SL%06X" % at + good
    for at in range(7, len(packets), 40):
        packets[at] = rng.randbytes(9) + packets[at]

    def send() -> None:
        theirs.sendall(b"".join(packets))
        theirs.close()

    sender = threading.Thread(target=send)
    sender.start()
    frames = list(frames_of(ours))
    sender.join()
    # A cut record swallows nothing of the packet behind it.
    assert len(frames) > INPUTS // 3
    assert sum(frame == good for frame in frames) > INPUTS // 20 * 9 // 10
    for frame in frames:
        decode(frame, "test")


def frames_of(sock: socket.socket) -> Iterator[bytes]:
    """Records that a link makes of what comes, until the end."""
    sock.setblocking(False)
    link = Connection("localhost:1", 1.0, threading.Event())
    link.socket = sock
    closed = False
    while not closed:
        try:
            for frame in link.frames(0.25):
                yield frame.record
        except LinkError as error:
            # Anything else would mean that it gave up before the end.
            closed = "closed" in str(error)
            if not closed:
                raise
    link.disconnect()


def test_every_file_of_obspys_tests_is_survived() -> None:
    assert len(FILES) > 500
    segments = bad = 0
    for path in FILES:
        items: list[object] = []
        FileSource([path]).run(items.append)
        segments += sum(isinstance(item, Segment) for item in items)
        bad += sum(isinstance(item, BadRecord) for item in items)
        decode(path.read_bytes()[:100_000], "test")
    assert segments > 500
    assert bad > 100


@pytest.mark.parametrize("folder", ["io/mseed/tests/data", "io/mseed/tests/data/encoding"])
def test_every_miniseed_file_of_obspys_tests_comes_to_something(folder: str) -> None:
    for path in sorted((OBSPY / folder).glob("*")):
        if path.is_file() and path.stat().st_size:
            items: list[object] = []
            FileSource([path]).run(items.append)
            assert items, path.name
