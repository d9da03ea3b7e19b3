"""Decoding never raises, whatever the bytes are, and gives back whatever was encoded."""

import io
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import obspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from obspy.io.mseed import InternalMSEEDError
from pymseed import DataEncoding, MS3Record

from xiaod.acquisition.miniseed import MAX_SAMPLES, decode
from xiaod.domain.types import BadRecord, Channel, Segment

HEADER_BYTES = 64
"""Fixed header and blockettes of a common record: where damage is most telling."""
DATA_OFFSET_AT = 44
"""Where the header of miniSEED 2 tells where samples begin."""


@cache
def real_records() -> list[bytes]:
    """First records of some real files: Steim 1 and 2, integers, floats, text, both byte orders, miniSEED 3."""
    folder = Path(obspy.__file__).parent / "io" / "mseed" / "tests" / "data"
    found = []
    for path in sorted([*folder.glob("encoding/*.mseed"), folder / "BW.BGLD.__.EHE.D.2008.001.first_record",
                        folder / "test.mseed", folder / "blockette300.mseed"]):  # fmt: skip
        content = path.read_bytes()
        found.append(content[: MS3Record.parse(content).reclen])
    return [*found, *encoded(np.arange(100, dtype=np.int32), DataEncoding.STEIM2, 3, 100.0)]


def encoded(samples: np.ndarray, encoding: DataEncoding, version: int, rate: float) -> list[bytes]:
    """Samples as records of 512 bytes, written by libmseed."""
    record = MS3Record(reclen=512, encoding=encoding)
    record.sourceid, record.samprate, record.formatversion = "FDSN:BW_RJOB_00_E_H_Z", rate, version
    record.set_starttime_str("2009-08-24T00:20:03.123456Z")
    kind = {"i4": "i", "f4": "f", "f8": "d"}[samples.dtype.str[1:]]
    return [bytes(part) for part in record.generate(data_samples=samples.tolist(), sample_type=kind)]


def check(record: bytes) -> Segment | BadRecord:
    """Decode, and look whether the answer is well formed."""
    item = decode(record, "test", 1, 2)
    if isinstance(item, BadRecord):
        assert item.reason
        assert item.record_bytes == len(record)
    else:
        assert 0 < item.samples.size <= MAX_SAMPLES
        assert item.samples.ndim == 1
        assert not item.samples.flags.writeable
        assert np.isfinite(item.samples).all()
        assert 0 < item.sampling_rate_hz < np.inf
        assert isinstance(item.start_ns, int)
        assert item.channel.station
        assert item.channel.channel
        assert item.channel.location != "--"
        assert len(str(item.channel).split(".")) == 4
    return item


@given(st.binary(max_size=1024))
def test_random_bytes(content: bytes) -> None:
    assert isinstance(check(content), BadRecord)


@given(st.data(), st.sampled_from([b"MS\x03", b"000001D ", b"000001Q ", b"999999M "]))
def test_random_bytes_behind_a_true_start(data: st.DataObject, start: bytes) -> None:
    check(start + data.draw(st.binary(max_size=512)))


@settings(max_examples=300)
@given(st.data())
def test_real_records_with_flipped_bits_and_cut(data: st.DataObject) -> None:
    record = bytearray(data.draw(st.sampled_from(real_records())))
    anywhere = st.integers(0, len(record) - 1) | st.integers(0, HEADER_BYTES - 1)
    for at, bits in data.draw(st.lists(st.tuples(anywhere, st.integers(1, 255)), max_size=8)):
        record[at] ^= bits
    check(bytes(record))
    check(bytes(record[: data.draw(st.integers(0, len(record)))]))
    check(bytes(record) + data.draw(st.binary(max_size=64)))


def test_every_byte_of_the_header_at_its_extremes() -> None:
    for original in real_records():
        for at in range(min(HEADER_BYTES, len(original))):
            for value in (0x00, 0x7F, 0x80, 0xFF):
                check(original[:at] + bytes([value]) + original[at + 1 :])


INTEGERS = arrays(np.int32, st.integers(1, 600), elements=st.integers(-(2**28), 2**28 - 1))
SMALL_STEPS = INTEGERS.map(lambda values: np.cumsum(values % 31 - 15, dtype=np.int32))


@given(INTEGERS | SMALL_STEPS, st.sampled_from([2, 3]), st.floats(0.5, 1000))
def test_integers_come_back(samples: np.ndarray, version: int, rate: float) -> None:
    for encoding in (DataEncoding.STEIM1, DataEncoding.STEIM2, DataEncoding.INT32):
        # Differences of Steim 2 have 30 bits; these samples differ by at most 29.
        parts = [check(record) for record in encoded(samples, encoding, version, rate)]
        assert all(isinstance(part, Segment) for part in parts)
        segments = [part for part in parts if isinstance(part, Segment)]
        np.testing.assert_array_equal(np.concatenate([part.samples for part in segments]), samples)
        assert {part.channel for part in segments} == {Channel("BW", "RJOB", "00", "EHZ")}
        # Rates of miniSEED 2 are 32-bit floats or fractions.
        assert segments[0].sampling_rate_hz == pytest.approx(rate, rel=1e-4)
        assert segments[0].start_ns == 1_251_073_203_123_456_000


@given(
    arrays(np.float64, st.integers(1, 200), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    st.sampled_from([(np.float32, DataEncoding.FLOAT32), (np.float64, DataEncoding.FLOAT64)]),
    st.sampled_from([2, 3]),
)
def test_floats_come_back(
    values: np.ndarray, kind: tuple[type[np.floating], DataEncoding], version: int
) -> None:
    samples = values.astype(kind[0])
    parts = [check(record) for record in encoded(samples, kind[1], version, 100.0)]
    segments = [part for part in parts if isinstance(part, Segment)]
    assert len(segments) == len(parts)
    np.testing.assert_array_equal(np.concatenate([part.samples for part in segments]), samples)
    assert {part.samples.dtype for part in segments} == {np.dtype(kind[0])}


def read_by_obspy(record: bytes) -> obspy.Stream:
    """What ObsPy makes of a record; empty when it refuses it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return obspy.read(io.BytesIO(record), format="MSEED")
        except InternalMSEEDError:
            return obspy.Stream()


@given(st.data())
def test_damage_to_samples_gives_the_same_as_with_obspy(data: st.DataObject) -> None:
    record = bytearray(data.draw(st.sampled_from(real_records()[:-1])))
    # Below 256 in all of them, so that one of its two bytes is zero, whatever their order.
    first = max(record[DATA_OFFSET_AT : DATA_OFFSET_AT + 2])
    record[data.draw(st.integers(first, len(record) - 1))] ^= data.draw(st.integers(1, 255))
    item = check(bytes(record))
    stream = read_by_obspy(bytes(record))
    if isinstance(item, Segment) and len(stream):
        np.testing.assert_array_equal(item.samples, stream[0].data)
