"""What the log says of a station that falters: enough, and not a line for each record."""

import json

import numpy as np
import pytest

from xiaod.config import Config
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import BadRecord, Channel, Departed, LinkChange, LinkState, Notice, Segment, Window
from xiaod.pipeline.assemble import Assembler
from xiaod.pipeline.record_reports import STATION_LINES
from xiaod.pipeline.station_table import StationTable
from xiaod.process.logs import configure_logs
from xiaod.process.metrics import Metrics
from xiaod.waveform.data_account import DataAccount
from xiaod.waveform.instrument import BufferSettings, history_of
from xiaod.waveform.schedule import Cutting, Cuttings

RECORDS = 10 * STATION_LINES
LENGTH_NS = 4 * NS_PER_S
CHUNK, LATE = 32, 36
"""Samples of a chunk, and by which a net that follows streams knows of them later."""


def segment(code: str, number: int, station: str = "RJOB") -> Segment:
    samples = np.full(400, number, np.int32)
    return Segment(Channel("BW", station, "", code), number * LENGTH_NS, 100.0, samples, source="here")


def test_a_station_that_falters_does_not_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    station_table, metrics, now_ns = StationTable(60 * NS_PER_S), Metrics(), NS_PER_S
    assembler = Assembler(BufferSettings(length=1000, hop=50), metrics, station_table, lambda: now_ns)
    for number in range(RECORDS):
        now_ns += LENGTH_NS
        # Every other record is lost, and what comes between is from a component that has no row.
        assembler.take(segment("EHU" if number % 2 else "EHZ", number), now_ns)
        assert not any(assembler.expire())
    [entry] = station_table
    assert entry.gaps.count > 2 * STATION_LINES
    assembler.flush_log(everything=True)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["event"]: line["together"] for line in said} == {
        "record.component": STATION_LINES, "station.gap": STATION_LINES,
    }  # fmt: skip
    assert len(said) == 2


def test_a_gap_of_hundreds_of_stations_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    station_table, now_ns = StationTable(60 * NS_PER_S), NS_PER_S
    assembler = Assembler(BufferSettings(length=1000, hop=50), Metrics(), station_table, lambda: now_ns)
    stations = [f"S{number:03}" for number in range(300)]
    for number in (0, 3, 4, 5):
        for station in stations:
            for code in ("EHZ", "EHN", "EHE"):
                assembler.take(segment(code, number, station), now_ns)
        now_ns += LENGTH_NS
        assert not any(assembler.expire())
    # Once for an instrument, whichever of its components report it; the log has a line for each.
    assert {(entry.gaps.count, entry.gaps.total_s) for entry in station_table} == {(1, 8.0)}
    assembler.flush_log(everything=True)
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["gap_s"]) == ("station.gap", 8.0)
    assert (line["together"], line["stations"]) == (900, 300)
    assert {name.split(".")[1] for name in line["some"]} <= set(stations)


def test_a_record_that_cannot_be_used_is_named_however_many_kinds_there_were(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("info", "json")
    assembler = Assembler(
        BufferSettings(length=1000, hop=50), Metrics(), StationTable(60 * NS_PER_S), lambda: 0
    )
    for number in range(2000):
        assembler.take(BadRecord("here", "decode", "damaged", f"XX.S{number:04}..HHZ"), 0)
    assembler.flush_log(everything=True)
    for _ in range(2):
        assembler.take(BadRecord("here", "decode", "damaged", "XX.NEW..HHZ"), 0)
    assembler.flush_log(everything=True)
    first, last = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (first["together"], first["stations"], first["stream"]) == (2000, 2000, "XX.S0000..HHZ")
    assert (last["stream"], "together" in last) == ("XX.NEW..HHZ", False)


def test_a_header_with_a_wrong_time_is_said_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    station_table, now_ns = StationTable(60 * NS_PER_S), NS_PER_S
    account = DataAccount()
    assembler = Assembler(
        BufferSettings(length=1000, hop=50), Metrics(), station_table, lambda: now_ns, account=account
    )
    for number in range(6):
        came = segment("EHZ", number)
        # One of them is dated a second early; all are held back until the stream has begun.
        early_ns = NS_PER_S if number == 3 else 0
        assembler.take(came._replace(start_ns=came.start_ns - early_ns), now_ns)
    for number in (6, 7):
        now_ns += LENGTH_NS
        assembler.take(segment("EHZ", number), now_ns)
    [entry] = station_table
    assert entry.contradictions == 1
    assembler.flush_log(everything=True)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    [line] = [line for line in said if line["event"] == "record.contradicting"]
    expected = {"stream": "BW.RJOB..EHZ", "start_ns": 11 * NS_PER_S, "overlap_s": 1.0}
    assert {key: line[key] for key in expected} == expected
    [note] = account.anomalies
    assert (note.event, note.stream, note.count) == ("record.contradicting", "BW.RJOB..EHZ", 1)


def test_an_account_knows_what_was_refused_and_what_gave_no_window() -> None:
    account = DataAccount()
    assembler = Assembler(
        BufferSettings(length=1000, hop=50),
        Metrics(),
        StationTable(60 * NS_PER_S),
        lambda: None,
        account=account,
    )
    for number in range(3):
        assembler.take(segment("LHZ", number)._replace(sampling_rate_hz=1.0), None)
        assembler.take(segment("EHZ", number, "FULL"), None)
        if number != 1:
            assembler.take(segment("EHZ", number, "HOLE"), None)
    for _ in assembler.finish():
        pass
    batches = assembler.final.take(everything=True)
    assert {window.instrument.station for batch in batches for window in batch.windows} == {"FULL"}
    assert [
        (note.event, note.stream, note.count, note.facts["sampling_rate_hz"]) for note in account.anomalies
    ] == [("record.rate", "BW.RJOB..LHZ", 3, 1.0)]
    [(instrument, coverage)] = account.unpicked.items()
    assert (instrument.station, coverage.data_s, coverage.longest_s) == ("HOLE", 8.0, 4.0)


def test_a_source_brings_so_many_instruments_at_one_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    station_table, metrics, now_ns = StationTable(60 * NS_PER_S), Metrics(), NS_PER_S
    assembler = Assembler(
        BufferSettings(length=1000, hop=50), metrics, station_table, lambda: now_ns, most={"here": 10}
    )
    for number in range(2):
        for station in range(50):
            assembler.take(segment("EHZ", number, f"S{station}"), now_ns)
    assert [entry.instrument.station for entry in station_table] == [f"S{station}" for station in range(10)]
    labels = {"source": "here", "reason": "over_limit"}
    assert metrics.registry.get_sample_value("xiaod_bad_records_total", labels) == 80
    assembler.flush_log(everything=True)
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["reason"], line["together"]) == ("record.bad", "over_limit", 40)
    # Where some have gone there is room for others; another source has room of its own.
    assembler.forget_silent(now_ns + 1, 0)
    [*_, departed] = assembler.depart(assembler.departing)
    assert isinstance(departed, Departed)
    assert len(departed.instruments) == 10
    assert (len(station_table), assembler.held_bytes) == (0, 0)
    assembler.take(segment("EHZ", 3, "S49"), now_ns)
    assert [entry.instrument.station for entry in station_table] == ["S49"]


def test_a_station_that_was_silent_until_it_was_forgotten_comes_back_with_its_gap() -> None:
    station_table, now_ns = StationTable(60 * NS_PER_S), NS_PER_S
    assembler = Assembler(BufferSettings(length=1000, hop=50), Metrics(), station_table, lambda: now_ns)
    station_table.expect("here", [Channel("BW", "RJOB", "", "EHZ")], now_ns)
    for number in (0, 1, 2, 50):
        assembler.take(segment("EHZ", number), now_ns)
        assembler.forget_silent(now_ns + NS_PER_S, 0 if number == 2 else NS_PER_S)
        list(assembler.depart(assembler.departing))
    [entry] = station_table
    assert (entry.gaps.count, round(entry.gaps.total_s)) == (1, 47 * 4)


@pytest.mark.parametrize("other", [False, True])
def test_a_station_stays_while_another_source_brings_it(other: bool) -> None:
    now_ns = NS_PER_S
    assembler = Assembler(
        BufferSettings(length=1000, hop=50), Metrics(), StationTable(60 * NS_PER_S), lambda: now_ns
    )
    assembler.take(segment("EHZ", 0), now_ns)
    if other:
        assembler.take(segment("EHZ", 1)._replace(source="there"), now_ns)
    assembler.leave("here")
    assert bool(assembler.departing) is not other
    assembler.leave("there")
    assert len(assembler.departing) == 1


def test_a_station_is_down_while_no_source_that_brings_it_has_a_connection() -> None:
    station_table, now_ns = StationTable(60 * NS_PER_S), NS_PER_S
    assembler = Assembler(BufferSettings(length=1000, hop=50), Metrics(), station_table, lambda: now_ns)
    for number, source in enumerate(("here", "there")):
        assembler.take(segment("EHZ", number)._replace(source=source), now_ns)
    [entry] = station_table

    def state_after(source: str, link: LinkState) -> str:
        assembler.take(LinkChange(source, link, now_ns), now_ns)
        return assembler.condition(entry, now_ns).state

    assert state_after("here", "streaming") == "filling"
    # Another one still brings it.
    assert state_after("here", "disconnected") == "filling"
    assert state_after("there", "disconnected") == "down"
    assert state_after("there", "connecting") == "down"
    assert state_after("there", "streaming") == "filling"
    assert state_after("there", "ended") == "down"


def test_a_station_that_is_found_silent_again_while_it_departs_goes_once() -> None:
    now_ns = NS_PER_S
    assembler = Assembler(
        BufferSettings(length=1000, hop=50), Metrics(), StationTable(60 * NS_PER_S), lambda: now_ns
    )
    assembler.take(segment("EHZ", 0), now_ns)
    assembler.forget_silent(now_ns + 1, 0)
    gone = assembler.departing
    # Its last samples are looked at meanwhile, which may take seconds.
    assert list(assembler.finish_streams(gone)) == []
    assembler.forget_silent(now_ns + 2, 0)
    *_, departed = assembler.depart(gone)
    assert departed == Departed(gone)
    assert not assembler.departing


def test_a_station_that_is_back_before_it_is_gone_stays() -> None:
    now_ns = NS_PER_S
    assembler = Assembler(
        BufferSettings(length=1000, hop=50), Metrics(), StationTable(60 * NS_PER_S), lambda: now_ns
    )
    assembler.take(segment("EHZ", 0), now_ns)
    assembler.forget_silent(now_ns + 1, 0)
    assert len(assembler.departing) == 1
    assembler.take(segment("EHZ", 1), now_ns + 1)
    assert not assembler.departing


@pytest.mark.parametrize("samples", [1, 900, 1010])
def test_a_station_with_a_gap_before_each_window_is_full_takes_no_more_memory(samples: int) -> None:
    """The longest pieces would hold a window if they began on the grid."""
    now_ns = NS_PER_S
    assembler = Assembler(
        BufferSettings(length=1000, hop=400), Metrics(), StationTable(60 * NS_PER_S), lambda: now_ns
    )
    held = []
    for number in range(40):
        now_ns += 20 * NS_PER_S
        start_ns = number * 20 * NS_PER_S + NS_PER_S // 10
        wave = np.zeros(samples, np.int32)
        assembler.take(segment("EHZ", 0)._replace(start_ns=start_ns, samples=wave), now_ns)
        list(assembler.expire())
        held.append(assembler.held_bytes)
    assert not assembler.final
    assert max(held) == max(held[:5])


def following(early: bool) -> Assembler:
    """An assembler with a net that follows streams, or with final windows alone."""
    settings = BufferSettings(length=1000, hop=50)
    cuttings = Cuttings(
        Cutting(1000, 50, history_of(50)),
        Cutting(1000, 50, history_of(50), revised=False, stage="early") if early else None,
        Cutting(CHUNK, CHUNK, revised=False, most=20) if early else None,
        ahead=50,
        max_batch=4000,
    )
    return Assembler(settings, Metrics(), StationTable(60 * NS_PER_S), lambda: NS_PER_S, cuttings=cuttings)


def looked(assembler: Assembler, spans: tuple[tuple[int, int], ...] = ()) -> None:
    """A net has looked at all new samples of the one instrument, and has noticed these spans."""
    for batch in assembler.streams.take(everything=True):
        stop = batch.windows[-1].stop
        assembler.noticed(Notice(batch.windows[-1].instrument, stop - LATE, spans))


def test_a_station_where_nothing_is_noticed_takes_no_more_memory_with_gaps() -> None:
    held = []
    for early in (False, True):
        assembler, now_ns = following(early), NS_PER_S
        for number in range(120):
            now_ns += LENGTH_NS
            # Every tenth record is lost.
            if number % 10:
                assembler.take(segment("EHZ", number), now_ns)
                looked(assembler)
            list(assembler.expire())
        held.append(assembler.held_bytes)
    assert held[0] == held[1]


def test_what_is_noticed_first_after_a_clock_was_set_back_has_its_windows() -> None:
    assembler, now_ns = following(early=True), NS_PER_S
    for number in (*range(1000, 1010), *range(20)):
        now_ns += LENGTH_NS
        assembler.take(segment("EHZ", number), now_ns)
        if number == 1005:
            # Wanted when the clock is set back.
            looked(assembler, ((402_200, 402_210),))
        elif number == 15:
            looked(assembler, ((6_000, 6_010),))
        else:
            looked(assembler)
    early = [window for batch in assembler.early.take(everything=True) for window in batch.windows]
    assert [window.stop for window in early if window.stop < 400_000] == list(range(6_050, 6_251, 50))


def test_a_notice_of_data_before_a_clock_was_set_back_is_of_no_use() -> None:
    assembler, now_ns = following(early=True), NS_PER_S
    for number in range(1000, 1010):
        now_ns += LENGTH_NS
        assembler.take(segment("EHZ", number), now_ns)
    [late] = assembler.streams.take(everything=True)
    for number in range(20):
        now_ns += LENGTH_NS
        assembler.take(segment("EHZ", number), now_ns)
        looked(assembler, ((6_000, 6_010),) if number == 15 else ())
        if number == 15:
            stop = late.windows[-1].stop
            assembler.noticed(Notice(late.windows[-1].instrument, stop - LATE, ((stop - 100, stop - 90),)))
    early = [window for batch in assembler.early.take(everything=True) for window in batch.windows]
    assert [window.stop for window in early] == list(range(6_050, 6_251, 50))


def test_an_early_window_that_is_noticed_last_waits_no_longer_for_a_component() -> None:
    assembler, now_ns = following(early=True), NS_PER_S
    for number in range(4):
        now_ns += LENGTH_NS
        for code in ("EHZ", "EHN"):
            came = segment(code, number)
            # The last record of one component is a little shorter, and then the station is gone.
            last = {"EHZ": 360, "EHN": 340}[code] if number == 3 else 400
            assembler.take(came._replace(samples=came.samples[:last]), now_ns)
    looked(assembler, ((1_400, 1_499),))
    assert [window.stop for window in early_windows(assembler)] == [1_450, 1_500]
    for number in range(4, 8):
        now_ns += LENGTH_NS
        assembler.take(segment("EHZ", number, "OTHER"), now_ns)
        list(assembler.expire())
    assert [window.stop for window in early_windows(assembler) if window.instrument.station == "RJOB"] == [
        1_550
    ]


def test_a_notice_ends_no_wait_of_a_final_window_for_a_component() -> None:
    assembler, now_ns = following(early=True), NS_PER_S
    for number in range(8):
        now_ns += LENGTH_NS
        for code in ("EHZ", "EHN"):
            # One component lags, and then the station is gone.
            if number < 7 or code == "EHZ":
                assembler.take(segment(code, number), now_ns)
    looked(assembler, ((2_000, 2_010),))
    assert {window.components for window in final_windows(assembler)} == {"ZN-"}
    for number in range(8, 12):
        now_ns += LENGTH_NS
        assembler.take(segment("EHZ", number, "OTHER"), now_ns)
        list(assembler.expire())
    last = [window for window in final_windows(assembler) if window.instrument.station == "RJOB"]
    assert {window.components for window in last} == {"Z--"}
    assert 3_150 < last[-1].stop <= 3_200


def test_early_windows_end_later_after_onsets_when_a_reload_asks_for_more_data() -> None:
    assembler, now_ns = following(early=True), NS_PER_S
    sources = {"sources": [{"server": "localhost:18000"}]}
    for number in range(8):
        now_ns += LENGTH_NS
        if number == 4:
            late = {"early_lookahead_s": 5.0, "final_lookahead_s": 6.0}
            assembler.reconfigure(Config.model_validate({**sources, "picker": late}))
        for station in ("RJOB", "OTHER") if number >= 4 else ("RJOB",):
            assembler.take(segment("EHZ", number, station), now_ns)
        for batch in assembler.streams.take(everything=True):
            stops = {window.instrument: window.stop for window in batch.windows}
            for instrument, stop in stops.items():
                assembler.noticed(Notice(instrument, stop - LATE, ((2_000, 2_010),) if number == 7 else ()))
    cut: dict[str, list[int]] = {"RJOB": [], "OTHER": []}
    for window in early_windows(assembler):
        cut[window.instrument.station].append(window.stop)
    # 5.3 s after what was noticed, then on the grid. The data of the other one begin a window before 2,600.
    assert cut == {"RJOB": [2_530, *range(2_550, 2_701, 50)], "OTHER": list(range(2_600, 2_701, 50))}


def early_windows(assembler: Assembler) -> list[Window]:
    return [window for batch in assembler.early.take(everything=True) for window in batch.windows]


def final_windows(assembler: Assembler) -> list[Window]:
    return [window for batch in assembler.final.take(everything=True) for window in batch.windows]
