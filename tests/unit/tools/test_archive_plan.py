"""The plan of an archive, and the order of its picks."""

import shutil
from dataclasses import replace
from pathlib import Path

import obspy
import pytest

from tests.archives import MIDNIGHT, sds_path, write_archive
from tests.contract.test_sinks import pick
from xiaod.domain.onsets import withdrawal
from xiaod.domain.types import Channel, Instrument
from xiaod.tools.archive.chunk import EDGE_NS
from xiaod.tools.archive.merger import Merger
from xiaod.tools.archive.plan import DAY_NS, Chunk, Selection, patterns_of, plan
from xiaod.tools.archive.sds import sds_name

SECOND_NS = 1_000_000_000
FIRST_DAY = int(MIDNIGHT.timestamp) // 86_400 - 1


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "channel", "day"),
    [
        ("BW.RJOB..EHZ.D.1970.001", Channel("BW", "RJOB", "", "EHZ"), 0),
        ("BW.RJOB..EHZ.D.1969.365", Channel("BW", "RJOB", "", "EHZ"), -1),
        ("XX.AB-1.0-1.EHZ.D.1970.002", Channel("XX", "AB-1", "0-1", "EHZ"), 1),
        ("GE.APE.00.BHN.D.2020.366", Channel("GE", "APE", "00", "BHN"), 18_627),
        ("GE.APE.--.BHN.D.2021.001", Channel("GE", "APE", "", "BHN"), 18_628),
    ],
)
def test_names_of_sds(name: str, channel: Channel, day: int) -> None:
    found = sds_name(name)
    assert found is not None
    assert (found.channel, found.day) == (channel, day)


@pytest.mark.parametrize(
    "name",
    [
        "BW.RJOB..EHZ.L.2020.001",
        "BW.RJOB..EHZ.D.2020.367",
        "BW.RJOB..EHZ.D.2020.000",
        "x.D.2020.001",
        "BW.RJOB..EHZ.D.0000.001",
        "",
    ],
)
def test_other_names(name: str) -> None:
    assert sds_name(name) is None


def test_each_moment_of_an_instrument_belongs_to_one_piece(archive: Path) -> None:
    chunks = plan([archive], Selection()).chunks
    assert [chunk.start_ns for chunk in chunks] == sorted(chunk.start_ns for chunk in chunks)
    for station in ("RJOB", "SLOW"):
        own = [chunk for chunk in chunks if chunk.instrument.station == station]
        assert [chunk.stop_ns for chunk in own[:-1]] == [chunk.start_ns for chunk in own[1:]]
        # Half a day more at both ends, for records that lie across midnight.
        assert own[0].start_ns == FIRST_DAY * DAY_NS - DAY_NS // 2
        assert own[-1].stop_ns == (FIRST_DAY + 3) * DAY_NS + DAY_NS // 2
        assert [len(chunk.files) for chunk in own] == [6, 9, 6]
        assert [chunk.letters for chunk in own] == ["", "ENZ", "ENZ"]
    assert chunks[1:3] == [chunks[1], chunks[2]]


def test_a_day_before_1970_is_a_day(tmp_path: Path) -> None:
    """As one flipped bit in a year makes it."""
    for year, letter in ((1961, "Z"), (1969, "N"), (1970, "E"), (2009, "Z")):
        [trace] = obspy.read().select(component=letter)
        trace.stats.starttime = obspy.UTCDateTime(year, 1, 1, 12)
        trace.write(str(tmp_path / f"{year}.mseed"), format="MSEED")
    chunks = plan([tmp_path], Selection()).chunks
    assert [chunk.label[-10:-6] for chunk in chunks] == ["1961", "1969", "1970", "2009"]
    assert [chunk.letters for chunk in chunks] == ["", "Z", "ZN", "ZNE"]


def test_a_part_needs_only_files_of_that_part(archive: Path) -> None:
    since_ns = (FIRST_DAY + 2) * DAY_NS + 5
    chunks = plan([archive], Selection(since_ns, since_ns + SECOND_NS, patterns_of("BW.SLOW"))).chunks
    [chunk] = chunks
    assert (chunk.start_ns, chunk.stop_ns) == (since_ns, since_ns + SECOND_NS)
    assert {Path(part.path).name[:7] for part in chunk.files} == {"BW.SLOW"}


def test_of_a_file_with_everything_a_piece_reads_a_part(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "all.mseed"
    with path.open("wb") as file:
        for name in sorted(archive.rglob("BW.*")):
            file.write(name.read_bytes())
    chunks = plan([tmp_path], Selection()).chunks
    assert len(chunks) == 6
    for chunk in chunks:
        [part] = chunk.files
        assert part.stop is not None
        assert part.stop - part.begin < path.stat().st_size * 2 / 3


def test_a_name_that_lies_is_not_believed(archive: Path, tmp_path: Path) -> None:
    lies = sds_path(tmp_path, "OTHER", "HHZ", MIDNIGHT)
    lies.parent.mkdir(parents=True)
    shutil.copy(sds_path(archive, "RJOB", "EHZ", MIDNIGHT), lies)
    found = plan([tmp_path], Selection())
    assert {str(chunk.instrument) for chunk in found.chunks} == {"BW.RJOB..EH"}
    assert not found.damaged


@pytest.mark.parametrize("text", ["RJOB", "BW.RJOB.EHZ", "", "BW.RJOB,", "BW RJOB.X"])
def test_patterns_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"--stations: .*: must be NET.STA or NET.STA.LOC.CHA"):
        patterns_of(text)


def test_picks_come_in_order_of_time_and_once_where_pieces_meet() -> None:
    instrument = Instrument("BW", "RJOB", "", "EH")
    other = Instrument("BW", "SLOW", "", "EH")
    base = pick()

    def at(time_ns: int, name: str) -> object:
        return replace(base, time_ns=time_ns, id=name)

    merger = Merger(SECOND_NS)
    given = []
    for chunk, picks in [
        (Chunk(instrument, 0, DAY_NS, ()), [at(DAY_NS - 1000, "a"), at(7, "b")]),
        (Chunk(other, 0, DAY_NS, ()), [at(5, "c"), at(DAY_NS - SECOND_NS, "d")]),
        # The same onset once more, on this side of midnight; and another one.
        (Chunk(instrument, DAY_NS, 2 * DAY_NS, ()), [at(DAY_NS + 1000, "e"), at(DAY_NS + SECOND_NS, "f")]),
        # Only this side has seen it.
        (Chunk(other, DAY_NS, 2 * DAY_NS, ()), [at(DAY_NS - EDGE_NS // 2, "g")]),
    ]:
        given += [found.id for found in merger.add(chunk, picks)]  # type: ignore[arg-type]
    assert given == ["c", "b", "d"]
    assert [found.id for found in merger.finish()] == ["g", "a", "f"]


def test_an_early_pick_on_one_side_of_midnight_does_not_hide_the_final_one_on_the_other() -> None:
    instrument = Instrument("BW", "RJOB", "", "EH")
    early = replace(pick(), time_ns=DAY_NS - 1000, id="a-early", stage="early")
    final = replace(pick(), time_ns=DAY_NS + SECOND_NS // 5, id="a", early_id="a-early", outcome="revised")
    merger = Merger(SECOND_NS)
    given = list(merger.add(Chunk(instrument, 0, DAY_NS, ()), [early]))
    # Once more, as it lies at the edge.
    given += merger.add(Chunk(instrument, DAY_NS, 2 * DAY_NS, ()), [early, final])
    assert [*given, *merger.finish()] == [early, final]


def test_a_withdrawal_beside_midnight_comes_or_goes_with_its_early_pick() -> None:
    instrument = Instrument("BW", "RJOB", "", "EH")
    early = replace(pick(), time_ns=DAY_NS - 1000, id="a-early", stage="early")
    again = replace(early, time_ns=DAY_NS + 1000, id="b-early")
    merger = Merger(SECOND_NS)
    given = list(merger.add(Chunk(instrument, 0, DAY_NS, ()), [early, withdrawal(early)]))
    given += merger.add(Chunk(instrument, DAY_NS, 2 * DAY_NS, ()), [again, withdrawal(again)])
    assert [*given, *merger.finish()] == [early, withdrawal(early)]
