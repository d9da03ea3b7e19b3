"""Decoding of records: every encoding, ObsPy's whole collection of miniSEED files, and what is refused with which reason."""

import io
import struct
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import obspy
import pytest
from numpy.typing import NDArray
from pymseed import DataEncoding, MS3Record, PymseedError

from xiaod.acquisition.miniseed import decode
from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.domain.types import BadRecord, Channel, Segment

OBSPY = Path(obspy.__file__).parent
MAX_RECORDS = 40
"""Records looked at in one file: the longest hold hundreds of the same kind."""
NUMBER_OF_SAMPLES_AT = 30
RATE_FACTOR_AT = 32
"""Bytes in the fixed header of miniSEED 2."""
RAMP = np.arange(-10, 10)
REASONS = {"decode", "integrity", "log", "empty", "rate", "stream", "encoding", "nonfinite"}
FIRST_FRAME_AT = 64
"""Where the frames begin in what ObsPy writes: a word of control, the first sample, the last one, differences."""


def written(
    samples: NDArray[np.generic], encoding: str, order: str = ">", length: int = 512, station: str = "RJOB"
) -> bytes:
    """One record of miniSEED 2 as ObsPy writes it."""
    trace = obspy.Trace(
        samples, {"network": "BW", "station": station, "channel": "EHZ", "sampling_rate": 100.0}
    )
    trace.stats.starttime = obspy.UTCDateTime(2009, 8, 24, 0, 20, 3, 123456)
    content = io.BytesIO()
    trace.write(content, format="MSEED", encoding=encoding, byteorder=order, reclen=length)
    return content.getvalue()


def generated(version: int, rate: float, location: str = "00") -> bytes:
    """One record of miniSEED 2 or 3 as libmseed writes it; a negative rate is a period in seconds."""
    record = MS3Record(reclen=512, encoding=DataEncoding.STEIM2)
    record.sourceid, record.samprate = f"FDSN:BW_RJOB_{location}_E_H_Z", rate
    record.formatversion = version
    record.set_starttime_str("2009-08-24T00:20:03.123456Z")
    (content,) = record.generate(data_samples=RAMP.tolist(), sample_type="i")
    return bytes(content)


def refused(record: bytes) -> BadRecord:
    item = decode(record, "test")
    assert isinstance(item, BadRecord)
    assert (item.source, item.record_bytes) == ("test", len(record))
    return item


def accepted(record: bytes | memoryview) -> Segment:
    item = decode(record, "test", 7, 8)
    assert isinstance(item, Segment), item
    return item


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("length", [256, 512, 4096])
@pytest.mark.parametrize(
    ("encoding", "written_as", "read_as"),
    [
        ("STEIM1", "int32", "int32"), ("STEIM2", "int32", "int32"), ("INT16", "int16", "int32"),
        ("INT32", "int32", "int32"), ("FLOAT32", "float32", "float32"), ("FLOAT64", "float64", "float64"),
    ],
)  # fmt: skip
def test_every_encoding_order_and_length(
    encoding: str, written_as: str, read_as: str, order: str, length: int
) -> None:
    record = written(RAMP.astype(written_as), encoding, order, length)
    assert len(record) == length
    segment = accepted(record)
    assert segment.samples.dtype == np.dtype(read_as)
    np.testing.assert_array_equal(segment.samples, RAMP)
    assert segment.channel == Channel("BW", "RJOB", "", "EHZ")
    assert segment.start_ns == 1_251_073_203_123_456_000
    assert segment.sampling_rate_hz == 100.0
    assert (segment.source, segment.arrived_ns, segment.sequence) == ("test", 7, 8)
    assert segment.record_bytes == length


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("encoding", ["STEIM1", "STEIM2"])
@pytest.mark.parametrize("station", ["RJOB", "A-1"])
def test_frames_that_contradict_themselves_are_damaged(encoding: str, order: str, station: str) -> None:
    samples = np.random.default_rng(1).integers(-90, 90, 150).cumsum().astype(np.int32)
    record = written(samples, encoding, order, station=station)
    last_at = FIRST_FRAME_AT + 8
    assert struct.unpack_from(order + "i", record, last_at) == (samples[-1],)
    # One bit of a difference, somewhere behind; of the last sample itself; and a datalogger that leaves that out.
    for place in (FIRST_FRAME_AT + 4 * 6, FIRST_FRAME_AT + 4 * 12 + 1, last_at + 1):
        damaged = bytearray(record)
        damaged[place] ^= 1
        bad = refused(bytes(damaged))
        assert (bad.reason, bad.stream) == ("integrity", f"FDSN:BW_{station}__E_H_Z")
    bare = bytearray(record)
    struct.pack_into("i", bare, last_at, 0)
    np.testing.assert_array_equal(accepted(bytes(bare)).samples, samples)
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(refused, bytes(damaged)).result().reason == "integrity"
    np.testing.assert_array_equal(accepted(record).samples, samples)


def test_samples_are_a_copy_that_cannot_be_written() -> None:
    received = bytearray(written(RAMP.astype("int32"), "INT32"))
    segment = accepted(memoryview(received))
    assert segment.samples.flags.owndata
    received[:] = bytes(len(received))
    np.testing.assert_array_equal(segment.samples, RAMP)
    with pytest.raises(ValueError, match="read-only"):
        segment.samples[0] = 1


def told(record: bytes) -> tuple[object, ...]:
    """All that is decoded of a record, or why it is refused."""
    item = decode(record, "test")
    if isinstance(item, BadRecord):
        return item.reason, item.detail, item.stream
    samples = item.samples
    return item.channel, item.start_ns, item.sampling_rate_hz, samples.dtype, samples.tobytes()


def test_a_record_takes_nothing_from_those_before_it_in_any_thread() -> None:
    long = np.random.default_rng(2).integers(-90, 90, 450).cumsum()
    good = [
        written(samples.astype(kind), encoding, order, 4096)
        for samples in (RAMP, long)
        for encoding, kind in (
            ("STEIM1", "int32"),
            ("STEIM2", "int32"),
            ("INT16", "int16"),
            ("FLOAT64", "float64"),
        )
        for order in "<>"
    ] + [generated(version, 100.0) for version in (2, 3)]
    damaged = bytearray(good[0])
    damaged[FIRST_FRAME_AT + 4 * 6] ^= 1
    records = [*good, bytes(damaged), generated(3, 0.0), generated(3, 1.0)[:-1], b"", b"no record"]
    expected = [told(record) for record in records]
    assert [len(one) == 5 for one in expected] == [True] * len(good) + [False] * 5

    def read(seed: int) -> None:
        for index in np.random.default_rng(seed).integers(0, len(records), 500):
            # It leaves a message that nobody has read.
            MS3Record.parse(bytes(damaged), unpack_data=True)
            assert told(records[index]) == expected[index]

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(read, range(6)))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("rate", "expected_hz"), [(100.0, 100.0), (0.5, 0.5), (-10.0, 0.1)])
def test_rates_and_periods(version: int, rate: float, expected_hz: float) -> None:
    segment = accepted(generated(version, rate))
    assert segment.sampling_rate_hz == pytest.approx(expected_hz, rel=1e-12)
    assert segment.channel == Channel("BW", "RJOB", "00", "EHZ")
    assert segment.start_ns == 1_251_073_203_123_456_000
    np.testing.assert_array_equal(segment.samples, RAMP)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("location", ["", "--"])
def test_empty_location_has_one_form(version: int, location: str) -> None:
    assert accepted(generated(version, 100.0, location)).channel == Channel("BW", "RJOB", "", "EHZ")


@pytest.mark.parametrize("version", [2, 3])
def test_rate_of_zero_is_refused(version: int) -> None:
    bad = refused(generated(version, 0.0))
    assert (bad.reason, bad.stream) == ("rate", "FDSN:BW_RJOB_00_E_H_Z")


@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_rate_that_is_no_number_is_refused(rate: float) -> None:
    assert refused(generated(3, rate)).reason in {"rate", "decode"}


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(kind: str, value: float) -> None:
    samples = RAMP.astype(kind)
    accepted(written(samples, kind.upper()))
    samples[-1] = value
    bad = refused(written(samples, kind.upper()))
    assert (bad.reason, bad.stream) == ("nonfinite", "FDSN:BW_RJOB__E_H_Z")


def patched(at: int, value: int) -> bytes:
    """A good record with another number in its header."""
    record = bytearray(written(RAMP.astype("int32"), "STEIM2"))
    record[at : at + 2] = struct.pack(">h", value)
    return bytes(record)


def test_damaged_headers_are_refused_with_their_reason() -> None:
    assert refused(patched(NUMBER_OF_SAMPLES_AT, 0)).reason == "empty"
    assert refused(patched(NUMBER_OF_SAMPLES_AT, 30_000)).reason == "decode"
    assert refused(patched(RATE_FACTOR_AT, 0)).reason == "rate"
    assert refused(written(RAMP.astype("int32"), "STEIM2", station="A_B")).reason == "stream"
    assert refused(written(RAMP.astype("int32"), "STEIM2", station="")).reason == "stream"


def test_every_length_but_that_of_the_header_is_refused() -> None:
    record = written(RAMP.astype("int32"), "STEIM2")
    for length in range(len(record)):
        assert refused(record[:length]).reason == "decode"
    np.testing.assert_array_equal(accepted(record).samples, RAMP)
    # More would be the beginning of another record, and lost with it.
    for more in (b"more", record):
        bad = refused(record + more)
        assert (bad.reason, bad.stream) == ("decode", "FDSN:BW_RJOB__E_H_Z")
        assert bad.detail == f"{512 + len(more)} bytes, the header says 512"


def is_miniseed(path: Path) -> bool:
    head = path.open("rb").read(8)
    return head[:3] == b"MS\x03" or (len(head) == 8 and head[:6].strip().isdigit() and head[6:7] in b"DRQM")


COLLECTION = sorted(path for path in OBSPY.glob("**/tests/data/**/*") if path.is_file() and is_miniseed(path))


def records(path: Path) -> Iterator[bytes]:
    """The file in records of the length their headers tell; of 512 bytes where they do not."""
    content, offset = path.read_bytes(), 0
    for _ in range(MAX_RECORDS):
        if offset >= len(content):
            return
        try:
            length = MS3Record.parse(content[offset:]).reclen
        except (PymseedError, ValueError):
            length = RECORD_BYTES
        yield content[offset : offset + length]
        offset += length


def read_by_obspy(record: bytes) -> obspy.Trace | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            stream = obspy.read(io.BytesIO(record), format="MSEED")
        except Exception:  # noqa: BLE001 - ObsPy's own tests expect many kinds; here it only counts that it refuses
            return None
    return stream[0] if len(stream) else None


def test_collection_is_there() -> None:
    assert len(COLLECTION) >= 80


@pytest.mark.parametrize("path", COLLECTION, ids=lambda path: path.name)
def test_obspys_files_give_the_same_as_obspy(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for record in records(path):
        item = decode(record, "test")
        if isinstance(item, BadRecord):
            assert item.reason in REASONS
            assert item.detail
            continue
        trace = read_by_obspy(record)
        assert trace is not None
        # ObsPy drops bytes beyond ASCII from a code, libmseed the whole rest of the code.
        if record[8:20].isascii():
            assert str(item.channel) == trace.id
        assert item.start_ns == trace.stats.starttime.ns
        assert item.sampling_rate_hz == pytest.approx(trace.stats.sampling_rate, rel=1e-9)
        np.testing.assert_array_equal(item.samples, trace.data)
    assert capfd.readouterr() == ("", "")


REFUSED = {
    "smallASCII_bigEndian.mseed": {"log"},
    "fullASCII_littleEndian.mseed": {"log"},
    "rt130_sr0_cropped.mseed": {"log"},
    "nan_float32.mseed": {"stream"},
    "nan_float64.mseed": {"stream"},
    "three_records_zero_data_in_middle.mseed": {"empty"},
    "mseed_data_offset_0.mseed": {"empty"},
    "brokenlastrecord.mseed": {"decode"},
    "single_record_plus_noise_record.mseed": {"decode"},
    "corrupt_one_extra_byte_at_end.mseed": {"decode"},
    "infinite-loop.mseed": {"decode", "integrity"},
    # ObsPy reads these, libmseed does not: 10000 tenths of a millisecond, and no blockette 1000.
    "microsecond_wrap.mseed": {"decode"},
    "mseed_no_blkt_1000.mseed": {"decode"},
    "mseed_not_a_single_blkt_48byte_data_offset.mseed": {"decode"},
}


def test_of_obspys_files_only_these_have_records_that_are_refused() -> None:
    found: dict[str, set[str]] = {}
    for path in COLLECTION:
        for record in records(path):
            item = decode(record, "test")
            if isinstance(item, BadRecord):
                found.setdefault(path.name, set()).add(item.reason)
    others = {"fullASCII_bigEndian.mseed": {"log"}, "smallASCII_littleEndian.mseed": {"log"}}
    assert found == REFUSED | others
