"""Files as a source: order of time, every sample once, damage named with its file, and an orderly stop."""

import io
import os
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import obspy
import pytest

from xiaod.acquisition import Source
from xiaod.acquisition.miniseed import decode
from xiaod.acquisition.miniseed_files import MAX_OPEN_FILES, FileSource
from xiaod.domain.seedlink import RECORD_BYTES
from xiaod.domain.types import BadRecord, Channel, Segment, SourceItem


def encoded(stream: obspy.Stream, record_bytes: int = RECORD_BYTES) -> list[bytes]:
    """A stream as records of miniSEED 2."""
    content = io.BytesIO()
    for trace in stream:
        trace.data = trace.data.astype("int32")
    stream.write(content, format="MSEED", encoding="STEIM2", reclen=record_bytes)
    whole = content.getvalue()
    return [whole[at : at + record_bytes] for at in range(0, len(whole), record_bytes)]


@pytest.fixture(scope="module")
def event() -> list[bytes]:
    """ObsPy's example: three components, one after the other."""
    return encoded(obspy.read())


def run(*inputs: Path) -> tuple[list[Segment], list[BadRecord]]:
    items: list[SourceItem] = []
    source = FileSource(inputs)
    source.run(items.append)
    segments = [item for item in items if isinstance(item, Segment)]
    bad = [item for item in items if isinstance(item, BadRecord)]
    assert len(segments) + len(bad) == len(items)
    assert source.records == sum(not segment.continues for segment in segments)
    return segments, bad


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def joined(segments: list[Segment]) -> dict[Channel, np.ndarray]:
    parts = defaultdict(list)
    for segment in segments:
        parts[segment.channel].append(segment.samples)
    return {channel: np.concatenate(samples) for channel, samples in parts.items()}


def test_is_a_source() -> None:
    source: Source = FileSource([])
    assert source.name == "files"
    source.run(lambda item: pytest.fail(f"{item} out of nothing"))


def test_channels_of_one_file_come_merged_by_time(tmp_path: Path, event: list[bytes]) -> None:
    segments, bad = run(write(tmp_path / "event.mseed", b"".join(event)))
    assert not bad
    assert len(segments) == len(event)
    starts = [segment.start_ns for segment in segments]
    assert starts == sorted(starts)
    assert [segment.channel.component for segment in segments[:3]] == ["Z", "N", "E"]
    assert {(one.source, one.arrived_ns, one.sequence, one.record_bytes) for one in segments} == {
        ("files", None, None, RECORD_BYTES)
    }
    found = joined(segments)
    for trace in obspy.read():
        np.testing.assert_array_equal(
            found[Channel("BW", "RJOB", "", trace.stats.channel)], trace.data.astype("int32")
        )


def test_any_spread_over_files_and_folders_gives_the_same(tmp_path: Path, event: list[bytes]) -> None:
    expected, _ = run(write(tmp_path / "whole.mseed", b"".join(event)))
    shuffled = random.Random(1).sample(event, len(event))
    for number, record in enumerate(shuffled):
        write(tmp_path / "archive" / f"{number % 4}" / "deep" / f"{number % 7}.{number % 3}", record)
        with (tmp_path / "appended").open("ab") as file:
            file.write(record)
    for inputs in ([tmp_path / "archive"], [tmp_path / "appended"]):
        segments, bad = run(*inputs)
        assert not bad
        assert [one.start_ns for one in segments] == [one.start_ns for one in expected]
        for channel, samples in joined(expected).items():
            np.testing.assert_array_equal(joined(segments)[channel], samples)


def test_inputs_may_be_files_and_folders_together(tmp_path: Path, event: list[bytes]) -> None:
    half = len(event) // 2
    first = write(tmp_path / "first.mseed", b"".join(event[:half]))
    write(tmp_path / "folder" / "second.mseed", b"".join(event[half:]))
    segments, bad = run(tmp_path / "folder", first)
    assert not bad
    assert len(segments) == len(event)
    starts = [segment.start_ns for segment in segments]
    assert starts == sorted(starts)


def test_more_files_than_may_be_open(tmp_path: Path) -> None:
    (trace, *_) = obspy.read()
    count = MAX_OPEN_FILES + 20
    step = trace.stats.npts // count
    for number in range(count):
        begin = trace.stats.starttime + number * step * trace.stats.delta
        piece = trace.slice(begin, begin + (step - 1) * trace.stats.delta)
        (record,) = encoded(obspy.Stream([piece.copy()]))
        write(tmp_path / f"{count - number:04}.mseed", record)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    most = 0

    def emit(item: SourceItem) -> None:
        nonlocal most
        items.append(item)
        most = max(most, len(os.listdir("/proc/self/fd")) - before)  # noqa: PTH208

    items: list[SourceItem] = []
    FileSource([tmp_path]).run(emit)
    segments = [item for item in items if isinstance(item, Segment)]
    assert len(segments) == len(items) == count
    (samples,) = joined(segments).values()
    np.testing.assert_array_equal(samples, trace.data.astype("int32")[: count * step])
    assert most <= MAX_OPEN_FILES + 1  # and the listing itself
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_records_of_several_lengths_and_encodings_in_one_file(tmp_path: Path) -> None:
    folder = Path(obspy.__file__).parent / "io" / "mseed" / "tests" / "data"
    parts = [
        folder / "encoding" / "float64_Float64_littleEndian.mseed",  # 512 bytes
        folder / "encoding" / "int32_Steim1_bigEndian.mseed",  # 256
        folder / "test.mseed",  # 4096
        folder / "BW.BGLD.__.EHE.D.2008.001.first_10_records",  # 512
    ]
    segments, bad = run(write(tmp_path / "mixed", b"".join(part.read_bytes() for part in parts)))
    lengths = {segment.record_bytes for segment in segments if not segment.continues}
    assert lengths == {256, 512, 4096}
    assert not bad
    assert sum(segment.record_bytes for segment in segments) == sum(part.stat().st_size for part in parts)
    for part in parts:
        for trace in obspy.read(part):
            # Two of the files have the same channel, but one has integers and the other has not.
            near = [
                one
                for one in segments
                if str(one.channel) == trace.id and one.samples.dtype == trace.data.dtype
            ]
            np.testing.assert_array_equal(np.concatenate([one.samples for one in near]), trace.data)


def test_other_formats_are_refused_by_name_and_the_rest_is_read(tmp_path: Path, event: list[bytes]) -> None:
    other = Path(obspy.__file__).parent / "io" / "gse2" / "tests" / "data" / "loc_RJOB20050831023349.z"
    write(tmp_path / "event.gse2", other.read_bytes())
    write(tmp_path / "notes.txt", b"not data\n")
    write(tmp_path / "nothing", b"")
    write(tmp_path / "event.mseed", b"".join(event))
    segments, bad = run(tmp_path)
    assert len(segments) == len(event)
    assert [one.reason for one in bad] == ["not_miniseed"] * 2
    assert [name for name in ("event.gse2", "notes.txt") if any(name in one.detail for one in bad)] == [
        "event.gse2",
        "notes.txt",
    ]


@pytest.mark.parametrize("tail", [b"x", b"x" * RECORD_BYTES, bytes(RECORD_BYTES), b"000001D "])
def test_records_before_damage_are_used(tmp_path: Path, event: list[bytes], tail: bytes) -> None:
    path = write(tmp_path / "event.mseed", b"".join(event) + tail)
    segments, (bad,) = run(path)
    assert len(segments) == len(event)
    assert bad.reason == "decode"
    assert f"{path}: byte {len(event) * RECORD_BYTES}: " in bad.detail


def test_file_cut_in_the_middle_of_a_record(tmp_path: Path, event: list[bytes]) -> None:
    segments, (bad,) = run(write(tmp_path / "event.mseed", b"".join(event)[:-100]))
    assert len(segments) == len(event) - 1
    assert bad.reason == "decode"


def test_record_with_damaged_samples_costs_only_itself(tmp_path: Path, event: list[bytes]) -> None:
    damaged = bytearray(event[1])
    damaged[64:128] = b"\xff" * 64
    assert isinstance(decode(bytes(damaged), "test"), BadRecord)
    path = write(tmp_path / "event.mseed", b"".join([event[0], bytes(damaged), *event[2:]]))
    segments, (bad,) = run(path)
    assert len(segments) == len(event) - 1
    assert bad.detail.startswith(f"{path}: byte {RECORD_BYTES}: ")
    assert bad.record_bytes == RECORD_BYTES


def test_missing_input_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.mseed: no such file or folder"):
        run(tmp_path / "absent.mseed")


def test_folder_with_a_link_to_nowhere(tmp_path: Path, event: list[bytes]) -> None:
    write(tmp_path / "event.mseed", b"".join(event))
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    segments, bad = run(tmp_path)
    assert len(segments) == len(event)
    [named] = bad
    assert (named.reason, named.file) == ("not_miniseed", str(tmp_path / "link"))


def test_odd_file_names(tmp_path: Path, event: list[bytes]) -> None:
    # libmseed knows names with byte ranges and addresses; here a name is a name.
    for name in ("range@0-511", "http:x", "with blank", "-", "ä%s", os.fsdecode(b"\xff")):
        write(tmp_path / name, b"".join(event))
    segments, bad = run(tmp_path)
    assert (len(segments), bad) == (6 * len(event), [])


@pytest.mark.parametrize("components", ["ZNE", "Z"])
def test_progress_counts_the_hours_of_an_instrument_once(tmp_path: Path, components: str) -> None:
    stream = obspy.Stream([trace for trace in obspy.read() if trace.stats.component in components])
    path = tmp_path / "event.mseed"
    stream.write(str(path), format="MSEED", reclen=512)
    # What cannot be decoded is done too, and an odd rate is of no length.
    broken = bytearray(path.read_bytes()[:512])
    broken[100:400] = bytes(300)
    path.write_bytes(path.read_bytes() + broken)
    steps: list[tuple[float, float]] = []
    FileSource([path], lambda done, total: steps.append((done, total))).run(lambda item: None)
    total = steps[0][1]
    assert total == pytest.approx(30 / 3600, rel=0.2)
    assert {total for _, total in steps} == {total}
    done = [done for done, _ in steps]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(total)


def test_stop_ends_the_run(tmp_path: Path, event: list[bytes]) -> None:
    items: list[SourceItem] = []

    def emit(item: SourceItem) -> None:
        items.append(item)
        if len(items) == 5:
            source.stop()
            source.stop()

    source = FileSource([write(tmp_path / "event.mseed", b"".join(event))])
    source.run(emit)
    assert len(items) == 5 < len(event)


def test_long_records_come_piece_by_piece_in_order_of_time(tmp_path: Path) -> None:
    stream = obspy.read()
    for trace in stream:
        trace.data = np.arange(12_000, dtype=np.int32) % 3
    content = b"".join(encoded(stream, 8192))
    path = write(tmp_path / "long.mseed", content)
    segments, bad = run(path)
    assert not bad
    assert [segment.start_ns for segment in segments] == sorted(segment.start_ns for segment in segments)
    assert max(segment.samples.size for segment in segments) <= 1000
    assert sum(not segment.continues for segment in segments) == len(content) // 8192 < len(segments)
    assert sum(segment.record_bytes for segment in segments) == len(content)
    whole = joined(segments)
    assert all(np.array_equal(whole[channel], stream[0].data) for channel in whole)
    assert len(whole) == 3
