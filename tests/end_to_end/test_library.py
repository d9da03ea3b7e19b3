"""The library gives what ``xiaod pick`` gives of the same data, and curves that fit its picks."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from obspy import Stream, Trace, read

from xiaod import Picker, Picks
from xiaod.acquisition.miniseed_files import FileSource
from xiaod.config import AgencyConfig
from xiaod.config.loader import ConfigError
from xiaod.domain.document import pick_document
from xiaod.domain.timegrid import NS_PER_S
from xiaod.domain.types import Instrument
from xiaod.inference.errors import ModelError
from xiaod.pipeline.factory import open_engine
from xiaod.pipeline.offline import ListSink, offline_config, run_offline
from xiaod.pipeline.recording import RecordedSpan, RecordingEngine
from xiaod.pipeline.settings import picker_settings

EVENTS, EVERY_S = 6, 45


def station(code: str, seed: int, rate_hz: float = 100.0, components: str = "ZNE") -> Stream:
    """Some minutes of noise with the example event in it again and again, as one station records it."""
    event, rng = read(), np.random.default_rng(seed)
    stream = Stream()
    for trace in event:
        if trace.stats.component not in components:
            continue
        quiet = trace.data[:400]
        data = rng.normal(quiet.mean(), quiet.std(), EVENTS * EVERY_S * 100)
        for number in range(EVENTS):
            begin = number * EVERY_S * 100 + 800 + 137 * seed
            data[begin : begin + len(trace.data)] += trace.data * 2.0 ** -(number % 3)
        header = {"network": "BW", "station": code, "channel": trace.stats.channel, "sampling_rate": 100.0}
        made = Trace(data * 10, {**header, "starttime": trace.stats.starttime + 0.0031 * seed})
        if rate_hz != 100.0:
            made.resample(rate_hz)
        made.data = np.round(made.data).astype(np.int32)
        stream.append(made)
    return stream


def network() -> Stream:
    """Stations of several rates, one with the vertical alone, one with gaps of which one is in the middle of an event."""
    stream = (
        station("FULL", 1)
        + station("SLOW", 2, 50.0)
        + station("FAST", 3, 200.0)
        + station("VERT", 4, components="Z")
    )
    gaps = station("GAPS", 5)
    begin = gaps[0].stats.starttime
    for trace in gaps:
        for start, end in ((0, 61.3), (64.1, 102.0), (102.6, 1000)):
            stream += trace.slice(begin + start, begin + end, nearest_sample=False)
    return stream


def documents_of(picks: Sequence[Any]) -> list[dict[str, Any]]:
    return sorted((pick_document(pick, AgencyConfig()) for pick in picks), key=lambda one: one["id"])


def by_the_command(folder: Path, stream: Stream, *options: str) -> list[dict[str, Any]]:
    path = folder / "network.mseed"
    stream.write(str(path), format="MSEED", encoding="STEIM2")
    command = [
        sys.executable,
        "-m",
        "xiaod",
        "pick",
        str(path),
        "--no-progress",
        "--format",
        "jsonl",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    return sorted(map(json.loads, done.stdout.splitlines()), key=lambda one: one["id"])


@pytest.mark.parametrize(("model", "early"), [("micro", True), ("small", False)])
def test_the_same_picks_as_the_command(tmp_path: Path, model: str, early: bool) -> None:
    stream = network()
    expected = by_the_command(tmp_path, stream, "--model", model, *(["--early"] if early else []))
    assert {one["station"] for one in expected} == {"FULL", "SLOW", "FAST", "VERT", "GAPS"}
    assert {one["stage"] for one in expected} >= ({"early", "final"} if early else {"final"})
    before = stream.copy()
    picker = Picker(model, early=early)
    assert documents_of(picker.classify(stream)) == expected
    assert stream == before
    # Merged, with masks over the gaps; in another order; as other numbers; and once more with the same picker.
    merged = stream.copy().merge()
    assert any(np.ma.is_masked(trace.data) for trace in merged)
    backwards = Stream(stream[::-1])
    for trace in backwards:
        trace.data = trace.data.astype(np.float64)
    for other in (merged, backwards):
        assert documents_of(picker.classify(other)) == expected


def test_a_configuration_and_thresholds_are_those_of_the_command(tmp_path: Path) -> None:
    stream, config = network(), tmp_path / "config.yaml"
    config.write_text(
        "config_version: 2\nsources: [{server: localhost}]\nengine: {model: small}\n"
        "picker: {threshold_p: 0.9, stations: {BW.VERT: {threshold_p: 0.2}}}\nwindows: {final_hop_s: 2}\n"
    )
    expected = by_the_command(tmp_path, stream, "--config", str(config))
    assert documents_of(Picker(config=config).classify(stream)) == expected
    config.write_text(config.read_text().replace("threshold_p: 0.9", "threshold_s: 0.97"))
    changed = by_the_command(tmp_path, stream, "--config", str(config))
    assert changed != expected
    assert documents_of(Picker(threshold_s=0.97, config=config).classify(stream)) == changed


def test_thresholds_of_each_stage() -> None:
    stream = station("FULL", 1) + station("VERT", 4, components="Z")
    usual = Picker("small", early=True).classify(stream)
    # Of a phase and stage there are fewer; all others are the same.
    for number, picker in enumerate(
        (
            Picker("small", early=True, threshold_p=0.985),
            Picker("small", early=True, threshold_s=0.985),
            Picker("small", early=True, early_threshold_p=0.985),
            Picker("small", early=True, early_threshold_s=0.985),
        )
    ):
        changed, stage, phase = picker.classify(stream), ("final", "early")[number // 2], "PS"[number % 2]

        def times(picks: Picks, stage: str, phase: str) -> list[int]:
            return [pick.time_ns for pick in picks if (pick.stage, pick.phase) == (stage, phase)]

        assert len(times(changed, stage, phase)) < len(times(usual, stage, phase))
        for other in {("final", "P"), ("final", "S"), ("early", "P"), ("early", "S")} - {(stage, phase)}:
            assert times(changed, *other) == times(usual, *other)
    assert not Picker("small").classify(stream).of("early")


def test_curves_fit_the_picks_and_lie_where_data_are() -> None:
    stream, picker = network(), Picker("small")
    before, picks, curves = stream.copy(), picker.classify(stream), picker.annotate(stream)
    assert stream == before
    assert {trace.id for trace in curves} == {
        f"BW.{code}..EH{phase}" for code in ("FULL", "SLOW", "FAST", "VERT", "GAPS") for phase in "PS"
    }
    assert {trace.stats.sampling_rate for trace in curves} == {100.0}
    assert all(np.isfinite(trace.data).all() and trace.data.min() >= 0 for trace in curves)
    for pick in picks:
        channel = pick.channel
        [curve] = [
            trace
            for trace in curves.select(station=channel.station, channel=f"EH{pick.phase}")
            if trace.stats.starttime.ns <= pick.time_ns <= trace.stats.endtime.ns
        ]
        begin = (pick.time_ns - curve.stats.starttime.ns) / NS_PER_S * 100
        near = curve.data[max(0, round(begin) - 20) : round(begin) + 21]
        # The windows of a curve lie on a grid, those that decide a pick by the onset.
        assert near.max() > 0.1
        if pick.probability > 0.5:
            assert near.max() > 0.35
        if pick.probability > 0.8:
            assert near.max() > 0.6
            assert near[min(20, round(begin))] > 0.9 * near.max()
    # None where there are no data: three parts, with 2.8 s and 0.6 s between them.
    for phase in "PS":
        parts = sorted(
            curves.select(station="GAPS", channel=f"EH{phase}"), key=lambda trace: trace.stats.starttime
        )
        begin = stream.select(station="GAPS")[0].stats.starttime
        assert len(parts) == 3
        for part, (start, end) in zip(
            parts, ((0, 61.3), (64.1, 102.0), (102.6, EVENTS * EVERY_S)), strict=True
        ):
            assert part.stats.starttime >= begin + start - 0.011
            assert part.stats.endtime <= begin + end + 0.011
            assert part.stats.endtime - part.stats.starttime > end - start - 1.5


def test_curves_are_those_of_the_plots(tmp_path: Path) -> None:
    stream, path = network(), tmp_path / "network.mseed"
    stream.write(str(path), format="MSEED", encoding="STEIM2")
    config = offline_config(None, "small")
    engine = open_engine(config)
    begin, end = stream[0].stats.starttime, stream[0].stats.endtime
    spans = {
        instrument: RecordedSpan(instrument, begin.ns - NS_PER_S, end.ns + NS_PER_S)
        for instrument in (
            Instrument("BW", code, "", "EH") for code in ("FULL", "SLOW", "FAST", "VERT", "GAPS")
        )
    }
    settings = picker_settings(config, engine, next(iter(spans)), "final")
    recording = RecordingEngine(engine, settings, lambda instrument: [spans[instrument]])
    run_offline(config, recording, FileSource([path]), ListSink())
    known = 0
    for curve in Picker("small").annotate(stream):
        span = spans[Instrument("BW", curve.stats.station, "", "EH")]
        first = round((curve.stats.starttime.ns - span.start_ns) / NS_PER_S * 100)
        drawn = span.probabilities["PS".index(curve.stats.channel[-1]), first : first + len(curve.data)]
        np.testing.assert_allclose(curve.data, drawn, atol=2e-5)
        known += len(curve.data)
    assert known == sum(np.isfinite(span.probabilities).sum() for span in spans.values())


def test_a_stream_with_data_years_apart(tmp_path: Path) -> None:
    stream = station("FULL", 1)
    later = stream.copy()
    for trace in later:
        trace.stats.starttime += 20 * 365 * 86_400
    both = Stream(later.traces + stream.traces)
    assert documents_of(Picker().classify(both)) == by_the_command(tmp_path, both)
    curves, alone = Picker().annotate(both), Picker().annotate(stream)
    assert len(curves) == 2 * len(alone) == 4
    assert np.array_equal(curves.select(channel="EHP")[0].data, alone.select(channel="EHP")[0].data)


def test_in_a_notebook_whose_loop_runs() -> None:
    async def cell() -> tuple[Picks, Stream]:
        picker = Picker()
        return picker.classify(read()), picker.annotate(read())

    picks, curves = asyncio.run(cell())
    assert picks == Picker().classify(read())
    assert (len(picks), len(curves)) == (2, 2)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (
            {"threshold_p": 1.5},
            ConfigError,
            "threshold_p: must be a number above 0 and below 1, or null; got 1.5",
        ),
        ({"model": "large"}, ModelError, "model: large: neither a shipped model (micro, small) nor"),
        ({"model": "scout"}, ModelError, "model: scout: "),
        ({"config": "nowhere.yaml"}, ConfigError, "nowhere.yaml: "),
    ],
)
def test_what_is_wrong_is_said_at_once(given: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error) as raised:
        Picker(**given)
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    ("changes", "data", "said"),
    [
        ({"station": ""}, np.zeros(9), "trace BW...EHZ: must have a station code"),
        (
            {"channel": ""},
            np.zeros(9),
            "trace BW.A..: must have a station code, and a channel code of three letters",
        ),
        ({"station": "A B"}, np.zeros(9), "trace BW.A B..EHZ: must have a station code"),
        ({"sampling_rate": 1e9}, np.zeros(9), "trace BW.A..EHZ: a sampling rate of 1e+09 Hz"),
        ({}, np.zeros(9, complex), "trace BW.A..EHZ: samples of type complex128"),
    ],
)
def test_a_trace_that_cannot_be_used_is_named(changes: dict[str, Any], data: Any, said: str) -> None:
    header = {"network": "BW", "station": "A", "channel": "EHZ", "sampling_rate": 100.0}
    with pytest.raises(ValueError, match="^" + said.replace(".", r"\.").replace("+", r"\+")):
        Picker().classify(Stream([Trace(data, {**header, **changes})]))


def test_nothing_and_too_little_give_no_picks_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    picker = Picker()
    assert list(picker.classify(Stream())) == list(picker.annotate(Stream())) == []
    assert list(picker.classify(Stream([Trace(np.zeros(0), {"station": "A", "channel": "HHZ"})]))) == []
    assert not caplog.records
    event = read()
    short = event.slice(endtime=event[0].stats.starttime + 12)
    slow = station("SLOW", 1).resample(10)
    for stream, said in ((short, "event=pick.too_little_data"), (slow, "event=record.rate")):
        assert list(picker.classify(stream)) == list(picker.annotate(stream)) == []
        lines = [record for record in caplog.records if record.message.startswith(said)]
        assert {(record.name, record.levelname in ("WARNING", "ERROR")) for record in lines} == {
            ("xiaod", True)
        }
        caplog.clear()


def test_integers_of_any_size_and_numbers_that_are_none() -> None:
    stream = station("FULL", 1)
    expected = documents_of(Picker().classify(stream))
    for kind in (np.int64, np.float32, ">i4"):
        other = stream.copy()
        for trace in other:
            trace.data = trace.data.astype(kind)
        assert documents_of(Picker().classify(other)) == expected
    gap, wrong, infinite = (stream.copy() for _ in range(3))
    for trace in gap:
        trace.data = np.ma.masked_array(trace.data, mask=False)
        trace.data[5000:5300] = np.ma.masked
    for other, nothing in ((wrong, np.nan), (infinite, np.inf)):
        for trace in other:
            trace.data = trace.data.astype(np.float64)
            trace.data[5000:5300] = nothing
        assert documents_of(Picker().classify(other)) == documents_of(Picker().classify(gap))


def test_a_program_that_imports_it_sees_nothing_on_standard_output() -> None:
    code = "from obspy import read; from xiaod import Picker; s = read(); Picker().classify(s.slice(s[0].stats.starttime + 15))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""
    assert "pick.too_little_data" in done.stderr
