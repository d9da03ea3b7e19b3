"""Any miniSEED becomes 512-byte version 2 records with the samples, times and types it had."""

from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from pymseed import DataEncoding, MS3Record

from xiaod.replay.config import ReplayError
from xiaod.replay.example import COUNTS_PER_UNIT
from xiaod.replay.header import rename_station, shift_record
from xiaod.replay.records import Archive, load
from xiaod.replay.schedule import Schedule

MSEED = Path(obspy.__file__).parent / "io" / "mseed" / "tests" / "data"
START_NS = 1_700_000_000_123_456_000


def samples_of(raws: list[bytes]) -> dict[str, list[tuple[int, np.ndarray[Any, Any]]]]:
    """Start times and samples by source."""
    series: dict[str, list[tuple[int, np.ndarray[Any, Any]]]] = {}
    for raw in raws:
        parsed = MS3Record.parse(raw, unpack_data=True)
        series.setdefault(parsed.sourceid, []).append((parsed.starttime, parsed.np_datasamples.copy()))
    return series


def assert_same_samples(archive: Archive, originals: list[bytes]) -> None:
    served = samples_of([record.raw for record in archive.records])
    expected = samples_of(originals)
    assert served.keys() == expected.keys()
    for source, parts in expected.items():
        assert served[source][0][0] == parts[0][0]
        mine = np.concatenate([data for _, data in served[source]])
        theirs = np.concatenate([data for _, data in parts])
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def write(
    path: Path, data: np.ndarray[Any, Any], kind: str, *, version: int, encoding: int, reclen: int
) -> list[bytes]:
    template = MS3Record(reclen=reclen, encoding=encoding)
    template.formatversion = version
    template.sourceid = "FDSN:XX_ABC_00_H_H_Z"
    template.starttime = START_NS
    template.samprate = 100.0
    records = list(template.generate(data, kind))
    path.write_bytes(b"".join(records))
    return records


def test_fitting_records_pass_untouched() -> None:
    path = MSEED / "timingquality.mseed"
    originals = [record.record for record in MS3Record.from_file(str(path))]
    assert {len(raw) for raw in originals} == {512}, "the file is no longer what this test believes"
    assert sorted(record.raw for record in load([path]).records) == sorted(originals)


@pytest.mark.parametrize(
    "name",
    [
        "test.mseed",
        "gaps.mseed",
        "encoding/int16_INT16_bigEndian.mseed",
        "encoding/int16_INT16_littleEndian.mseed",
        "encoding/int32_INT32_bigEndian.mseed",
        "encoding/int32_Steim1_littleEndian.mseed",
        "encoding/int32_Steim2_littleEndian.mseed",
        "encoding/float32_Float32_littleEndian.mseed",
        "encoding/float64_Float64_bigEndian.mseed",
        "CDSN_encoding.mseed",
        "DWWSSN_encoding.mseed",
        "reclen_1024_without_sequence_numbers.mseed",
    ],
)
def test_other_records_are_repacked_without_change(name: str) -> None:
    archive = load([MSEED / name])
    originals = [record.record for record in MS3Record.from_file(str(MSEED / name))]
    assert not archive.problems
    assert {len(record.raw) for record in archive.records} == {512}
    assert {MS3Record.parse(record.raw).formatversion for record in archive.records} == {2}
    assert_same_samples(archive, originals)


@pytest.mark.parametrize(
    ("kind", "dtype", "encoding", "served"),
    [
        ("i", np.int32, DataEncoding.STEIM1, DataEncoding.STEIM2),
        ("i", np.int32, DataEncoding.INT16, DataEncoding.STEIM2),
        ("f", np.float32, DataEncoding.FLOAT32, DataEncoding.FLOAT32),
        ("d", np.float64, DataEncoding.FLOAT64, DataEncoding.FLOAT64),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_types_are_kept(
    tmp_path: Path, version: int, kind: str, dtype: Any, encoding: int, served: int
) -> None:
    data = np.round(np.random.default_rng(1).normal(0, 300, 5000)).astype(dtype)
    originals = write(tmp_path / "a.mseed", data, kind, version=version, encoding=encoding, reclen=4096)
    archive = load([tmp_path])
    assert {MS3Record.parse(record.raw).encoding for record in archive.records} == {served}
    assert_same_samples(archive, originals)


def test_differences_beyond_steim2_become_plain_integers(tmp_path: Path) -> None:
    data = np.array([0, 2**31 - 1, -(2**31), 7] * 100, dtype=np.int32)
    originals = write(tmp_path / "a.mseed", data, "i", version=3, encoding=DataEncoding.INT32, reclen=4096)
    archive = load([tmp_path / "a.mseed"])
    assert {MS3Record.parse(record.raw).encoding for record in archive.records} == {DataEncoding.INT32}
    assert_same_samples(archive, originals)


def test_missing_blockette_1000_even_in_the_last_record() -> None:
    archive = load([MSEED / "bizarre" / "mseed_no_blkt_1000.mseed"])
    trace = obspy.read(MSEED / "bizarre" / "mseed_no_blkt_1000.mseed")
    assert not archive.problems
    assert sum(MS3Record.parse(record.raw).samplecnt for record in archive.records) == sum(map(len, trace))


def test_repacked_records_are_full_though_read_from_small_ones(tmp_path: Path) -> None:
    data = np.round(np.random.default_rng(1).normal(0, 300, 5000)).astype(np.int32)
    write(tmp_path / "a.mseed", data, "i", version=3, encoding=DataEncoding.STEIM2, reclen=200)
    served = [record.raw[8:] for record in load([tmp_path]).records]
    whole = write(tmp_path / "b.mseed", data, "i", version=2, encoding=DataEncoding.STEIM2, reclen=512)
    # The same records as if they had been packed from the samples at once, sequence numbers aside.
    assert [raw[8:] for raw in whole] == served


def test_damage_is_named_and_the_rest_is_served(tmp_path: Path) -> None:
    good = (MSEED / "timingquality.mseed").read_bytes()
    half = len(good) // 1024 * 512
    (tmp_path / "a.mseed").write_bytes(good[:half] + b"\xff" * 700 + good[half:] + good[:100])
    (tmp_path / "notes.txt").write_text("no miniSEED at all")
    archive = load([tmp_path])
    assert sorted(record.raw for record in archive.records) == sorted(
        good[i : i + 512] for i in range(0, len(good), 512)
    )
    where = [(Path(problem.path).name, problem.offset) for problem in archive.problems]
    assert where == [("a.mseed", half), ("a.mseed", len(good) + 700), ("notes.txt", 0)]


def test_nothing_readable_names_file_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no miniSEED at all")
    with pytest.raises(ReplayError, match=r"notes\.txt: byte 0: .*Name miniSEED files or 'example'"):
        load([tmp_path])
    with pytest.raises(ReplayError, match=r"nowhere: no such file or folder"):
        load([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReplayError, match="no files found"):
        load([tmp_path / "empty"])


def test_codes_that_version_2_cannot_hold_are_named(tmp_path: Path) -> None:
    template = MS3Record(reclen=4096, encoding=DataEncoding.STEIM2)
    template.formatversion = 3
    template.sourceid = "FDSN:NETWORK_STATION9_00_H_H_Z"
    template.starttime = START_NS
    template.samprate = 100.0
    (tmp_path / "a.mseed").write_bytes(b"".join(template.generate(np.arange(100, dtype=np.int32), "i")))
    with pytest.raises(ReplayError, match="cannot become 512-byte miniSEED 2 records"):
        load([tmp_path])


def test_example_is_the_shipped_event_in_counts() -> None:
    served = samples_of([record.raw for record in load(["example"]).records])
    for trace in obspy.read():
        parts = served[f"FDSN:BW_RJOB__E_H_{trace.stats.component}"]
        assert parts[0][0] == trace.stats.starttime.ns
        counts = np.concatenate([data for _, data in parts])
        assert counts.dtype == np.int32
        np.testing.assert_allclose(counts / COUNTS_PER_UNIT, trace.data, rtol=0, atol=0.5 / COUNTS_PER_UNIT)


def test_shift_keeps_all_but_the_time() -> None:
    for name in ("timingquality.mseed", "encoding/int32_Steim2_littleEndian.mseed", "qualityflags.mseed"):
        for record in load([MSEED / name]).records:
            before = MS3Record.parse(record.raw, unpack_data=True)
            after = MS3Record.parse(
                shift_record(record.raw, 86_400_000_000_000 * 400 + 700_000), unpack_data=True
            )
            assert after.starttime - before.starttime == 86_400_000_000_000 * 400 + 700_000
            np.testing.assert_array_equal(before.np_datasamples, after.np_datasamples)


def test_shift_finer_than_the_header_is_refused() -> None:
    raw = load(["example"]).records[0].raw
    with pytest.raises(ValueError, match="multiple of 100000 ns"):
        shift_record(raw, 1)
    with pytest.raises(ValueError, match="up to 5 characters"):
        rename_station(raw, "LONGER")
    assert MS3Record.parse(rename_station(raw, "AB")).sourceid == "FDSN:BW_AB__E_H_E"


def test_a_loop_ends_before_the_years_of_miniseed_2() -> None:
    schedule = Schedule(load(["example"]), loop=True)
    cycles = (4_102_444_800_000_000_000 - schedule.first_ns) // schedule.period_ns
    last = cycles * schedule.size - 1
    ((_, _, body),) = schedule.payloads(last, last + 10, 0)
    assert MS3Record.parse(body).starttime // 1_000_000_000 > 4_102_444_800 - 2 * 35
    assert schedule.due_ns(last + 1) is None


def test_a_schedule_serves_what_shift_and_rename_would_write() -> None:
    archive = load(["example"])
    schedule = Schedule(archive, copies=40, loop=True)
    assert len({stream.name for stream in schedule.streams}) == 3 * 40
    shift_ns = 123_000_000_000
    begin = schedule.size - 50  # across the end of a cycle
    for index, stream, body in schedule.payloads(begin, begin + 100, shift_ns):
        record = schedule.packet(index).record
        assert record is not None
        moved = shift_record(record.raw, shift_ns + schedule.cycle_of(index) * schedule.period_ns)
        assert body == rename_station(moved, schedule.streams[stream].station)
    assert schedule.period_ns == 35_000_000_000
    assert schedule.due_ns(schedule.size) == schedule.period_ns + (schedule.due_ns(0) or 0)
