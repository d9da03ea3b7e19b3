"""Record bytes to segments: everything ObsPy ships, every encoding, and anything at all."""

import io
from pathlib import Path

import numpy as np
import obspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xiaod.records import BadRecord, Segment
from xiaod.replay.records import load
from xiaod.sources.miniseed import decode

SHIPPED = sorted((Path(obspy.__file__).parent / "io" / "mseed" / "tests" / "data").rglob("*.mseed"))
RECORD = load(["example"]).records[3].raw


def encoded(data: np.ndarray, encoding: str, order: str, reclen: int) -> list[bytes]:
    trace = obspy.Trace(data, {"network": "XX", "station": "TEST", "channel": "HHZ", "sampling_rate": 100.0})
    file = io.BytesIO()
    trace.write(file, format="MSEED", encoding=encoding, byteorder=order, reclen=reclen)
    content = file.getvalue()
    return [content[place : place + reclen] for place in range(0, len(content), reclen)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("reclen", [256, 512, 4096])
@pytest.mark.parametrize(
    ("encoding", "kind"),
    [
        ("STEIM1", "i4"),
        ("STEIM2", "i4"),
        ("INT16", "i2"),
        ("INT32", "i4"),
        ("FLOAT32", "f4"),
        ("FLOAT64", "f8"),
    ],
)
def test_every_encoding_comes_back_exactly(encoding: str, kind: str, order: str, reclen: int) -> None:
    data = np.cumsum(np.random.default_rng(1).integers(-300, 300, 3000)).clip(-30_000, 30_000).astype(kind)
    samples = []
    expected_ns = None
    for record in encoded(data, encoding, order, reclen):
        segment = decode(record, "test")
        assert isinstance(segment, Segment)
        assert str(segment.channel) == "XX.TEST..HHZ"
        assert not segment.samples.flags.writeable
        assert segment.record_bytes == reclen
        if expected_ns is not None:
            assert abs(segment.start_ns - expected_ns) <= 50_000
        expected_ns = segment.next_ns
        samples.append(segment.samples)
    np.testing.assert_array_equal(np.concatenate(samples), data)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_obspy_ships_is_read_as_obspy_reads_it_or_refused(path: Path) -> None:
    content = path.read_bytes()[:65_536]
    for length in (256, 512, 4096):
        for place in range(0, len(content), length):
            item = decode(content[place : place + length], "test")
            if not isinstance(item, Segment):
                assert item.reason
                continue
            try:
                [trace] = obspy.read(io.BytesIO(content[place : place + item.record_bytes]), format="MSEED")
            except Exception:  # noqa: BLE001, S112  what ObsPy cannot read is no measure
                continue
            if trace.stats.npts == len(item.samples):
                np.testing.assert_array_equal(np.asarray(trace.data, float), item.samples.astype(float))
                assert trace.id == str(item.channel)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_are_refused_in_words(content: bytes) -> None:
    item = decode(content, "test")
    assert isinstance(item, BadRecord)
    assert item.reason


@settings(max_examples=1000, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), min_size=1, max_size=12),
    length=st.integers(0, 512),
)
def test_damaged_records_never_raise(flips: list[tuple[int, int]], length: int) -> None:
    damaged = bytearray(RECORD)
    for place, value in flips:
        damaged[place] = value
    for content in (bytes(damaged), bytes(damaged[:length])):
        item = decode(content, "test")
        if isinstance(item, Segment):
            assert np.isfinite(item.samples).all()
            assert len(item.samples) > 0
            assert item.sampling_rate_hz > 0


def test_samples_that_are_no_numbers_are_refused() -> None:
    data = np.array([1.0, np.nan, 2.0], np.float32)
    [record] = encoded(data, "FLOAT32", ">", 512)
    item = decode(record, "test")
    assert isinstance(item, BadRecord)
    assert item.reason == "nonfinite"
