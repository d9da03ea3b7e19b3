"""Streaming equals whole, for picks: any chopping, any place on the window grid, any rate."""

from dataclasses import replace

import numpy as np
import obspy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import resample_poly

from models.weights import weights_path
from tests.conftest import ONSET_TOLERANCE_S, ONSETS_S, Recording
from tests.streams import EARLY, OFFLINE, batch_of, picker_settings_of, picks_of, windows_of
from xiaod.acquisition import Emit
from xiaod.config import Config
from xiaod.domain.types import Channel, Pick, Segment
from xiaod.inference.onnx import OnnxEngine
from xiaod.picking.picker import InstrumentPicker, compute_again
from xiaod.pipeline.offline import ListSink, run_offline
from xiaod.waveform.instrument import BufferSettings

P_S, S_S = 4.73, 5.71
"""Where PhaseNet puts the onsets of the recording, seconds after its start."""


@pytest.fixture(scope="module")
def engine() -> OnnxEngine:
    return OnnxEngine(weights_path("micro"))


def with_noise_before(recording: Recording, seconds: int, shift_samples: int = 0) -> list[Segment]:
    """The event after synthetic noise of the strength of its own first four seconds."""
    rng = np.random.default_rng(3)
    segments = []
    for component, data in recording.components.items():
        quiet = data[:400]
        noise = rng.normal(quiet.mean(), quiet.std(), 100 * seconds)
        start_ns = recording.start_ns + (shift_samples - 100 * seconds) * 10_000_000
        channel = Channel("BW", recording.station, "", "EH" + component)
        segments.append(Segment(channel, start_ns, 100.0, np.concatenate([noise, data])))
    return segments


def in_step(segments: list[Segment]) -> list[Segment]:
    """Records of ten seconds, in order of time."""
    return sorted(
        [piece for segment in segments for piece in segment.pieces()], key=lambda piece: piece.start_ns
    )


@pytest.mark.parametrize("wanted", [OFFLINE, EARLY])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.tuples(*[st.lists(st.integers(1, 500), min_size=1, max_size=30)] * 3))
def test_any_chopping_gives_the_same_picks(
    rjob: Recording, engine: OnnxEngine, wanted: BufferSettings, pieces: tuple[list[int], ...]
) -> None:
    segments = [segment for component in "ZNE" for segment in rjob.segments(component, [])]
    whole = picks_of(segments, engine, wanted)
    chopped = [
        segment
        for component, lengths in zip("ZNE", pieces, strict=True)
        for segment in rjob.segments(component, lengths)
    ]
    chopped.sort(key=lambda segment: segment.start_ns)
    assert [pick.phase for pick in whole] == list(ONSETS_S)
    assert [pick.polarity for pick in whole] == (["down", None] if wanted == OFFLINE else [None, None])
    for pick in whole:
        assert abs((pick.time_ns - rjob.start_ns) / 1e9 - ONSETS_S[pick.phase]) < ONSET_TOLERANCE_S
    assert picks_of(chopped, engine, wanted) == whole


@pytest.mark.parametrize(("wanted", "step"), [(EARLY, 1), (OFFLINE, 8)])
def test_one_p_and_one_s_wherever_the_onset_falls_on_the_grid(
    rjob: Recording, engine: OnnxEngine, wanted: BufferSettings, step: int
) -> None:
    times: dict[str, list[float]] = {"P": [], "S": []}
    for shift in range(0, wanted.hop, step):
        picks = picks_of(with_noise_before(rjob, 20, shift), engine, wanted)
        near: dict[str, list[float]] = {"P": [], "S": []}
        for pick in picks:
            seconds = (pick.time_ns - rjob.start_ns) / 1e9 - shift / 100
            if 3 < seconds < 8:
                near[pick.phase].append(seconds)
        assert len(near["P"]) == 1, (shift, near)
        assert len(near["S"]) == 1, (shift, near)
        times["P"] += near["P"]
        times["S"] += near["S"]
    for phase, expected in (("P", P_S), ("S", S_S)):
        middle = float(np.median(times[phase]))
        assert abs(middle - expected) < 0.06
        assert max(abs(time - middle) for time in times[phase]) < 0.02, phase


OFF_GRID = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


@OFF_GRID
@given(offset_ns=st.integers(-4_999_999, 4_999_999), pieces=st.lists(st.integers(200, 900), max_size=8))
def test_an_onset_between_two_samples_of_the_grid_keeps_its_time(
    rjob: Recording, engine: OnnxEngine, offset_ns: int, pieces: list[int]
) -> None:
    """Samples at 100 Hz are not moved to the grid, so what they are off it is part of the time of each onset, to the nanosecond."""

    def picked(offset_ns: int) -> list[tuple[str, int]]:
        segments = [segment for component in "ZNE" for segment in rjob.segments(component, pieces, offset_ns)]
        segments.sort(key=lambda segment: segment.start_ns)
        return [(pick.phase, pick.time_ns - offset_ns) for pick in picks_of(segments, engine)]

    expected = picked(0)
    assert {phase for phase, _ in expected} == {"P", "S"}
    assert picked(offset_ns) == expected


@pytest.mark.parametrize("rate_error", [-3e-4, 3e-4])
def test_an_onset_has_the_time_of_its_record_though_the_clock_drifts(
    rjob: Recording, engine: OnnxEngine, rate_error: float
) -> None:
    """Headers of 100 Hz, and records that begin ever earlier or later than it says."""
    steady = in_step([piece for one in with_noise_before(rjob, 40) for piece in one.pieces()])
    begin_ns = min(one.start_ns for one in steady)

    def drifted(time_ns: int) -> int:
        return begin_ns + round((time_ns - begin_ns) * (1 + rate_error))

    drifting = [one._replace(start_ns=drifted(one.start_ns)) for one in steady]
    expected = {pick.phase: drifted(pick.time_ns) for pick in picks_of(steady, engine)}
    assert expected.keys() == {"P", "S"}
    # Records of ten seconds: 3 ms from end to end. The time is corrected when it is a quarter of a sample off.
    for pick in picks_of(drifting, engine):
        assert abs(pick.time_ns - expected[pick.phase]) < 2_500_000 + 10e9 * abs(rate_error)


def test_an_onset_is_where_the_network_sees_it_in_the_plain_samples(
    rjob: Recording, engine: OnnxEngine
) -> None:
    """Without buffer, grid and picker: one window from the first sample on, and the middle of each peak above half its height."""
    samples = np.stack([rjob.components[letter] for letter in "ZNE"])[:, :2000].astype(np.float32)
    for phase, curve in zip("PS", engine.annotate(samples[None])[0], strict=True):
        peak = int(curve.argmax())
        near = np.arange(peak - 20, peak + 21)
        weight = np.clip(curve[near] - curve[peak] / 2, 0, None)
        seen_s = float((near * weight).sum() / weight.sum()) / 100
        [pick] = [one for one in picks_of(in_step(whole(rjob)), engine) if one.phase == phase]
        assert abs((pick.time_ns - rjob.start_ns) / 1e9 - seen_s) < 1e-4


def whole(recording: Recording) -> list[Segment]:
    return [segment for component in "ZNE" for segment in recording.segments(component, [])]


def at_rate(recording: Recording, rate: float, seconds: int = 20) -> list[Segment]:
    """The recording below 8 Hz, as an instrument of some rate would have given it: interpolated by ObsPy (Lanczos)."""
    segments = []
    for component, data in recording.components.items():
        quiet = np.random.default_rng(4).normal(data[:400].mean(), data[:400].std(), 100 * seconds)
        trace = obspy.Trace(np.concatenate([quiet, data]), {"sampling_rate": 100.0})
        trace.filter("lowpass_cheby_2", freq=8.0)
        if rate != 100.0:
            trace.interpolate(rate, method="lanczos", a=50)
        channel = Channel("BW", recording.station, "", "EH" + component)
        segments.append(Segment(channel, recording.start_ns, rate, np.asarray(trace.data)))
    return segments


@pytest.mark.parametrize("rate", [20.0, 31.25, 40.0, 50.0, 80.0, 99.998, 125.0, 200.0, 250.0, 500.0])
def test_picks_stay_within_five_milliseconds_at_other_rates(
    rjob: Recording, engine: OnnxEngine, rate: float
) -> None:
    def early(picks: list[Pick]) -> list[tuple[str, int]]:
        end_ns = rjob.start_ns + 28_000_000_000
        return [(pick.phase, pick.time_ns) for pick in picks if pick.time_ns < end_ns]

    reference = early(picks_of(at_rate(rjob, 100.0), engine))
    picks = early(picks_of(at_rate(rjob, rate), engine))
    assert "P" in [phase for phase, _ in reference]
    assert [phase for phase, _ in picks] == [phase for phase, _ in reference]
    for (_, given_ns), (_, wanted_ns) in zip(picks, reference, strict=True):
        assert abs(given_ns - wanted_ns) < 5_000_000


@pytest.mark.parametrize("order", ["NEZ", "ZNE", "EZN"])
def test_components_that_begin_one_after_the_other_are_picked_together(
    rjob: Recording, engine: OnnxEngine, order: str
) -> None:
    """As after a start or a gap: the first record of each begins when it was full."""
    whole = with_noise_before(rjob, 12)

    def begun(after_s: dict[str, float]) -> list[Segment]:
        return in_step([behind(one, after_s[one.channel.component]) for one in whole])

    picks = picks_of(begun(dict(zip(order, (0.0, 2.3, 6.1), strict=True))), engine)
    expected = picks_of(begun(dict.fromkeys("ZNE", 6.1)), engine)
    assert {pick.phase for pick in expected} == {"P", "S"}
    settled_ns = whole[0].start_ns + 8_000_000_000
    assert [pick for pick in picks if pick.time_ns > settled_ns] == expected


def test_what_only_a_part_of_the_components_has_seen_is_picked(rjob: Recording, engine: OnnxEngine) -> None:
    segments = [
        behind(one, 7.0 if one.channel.component == "E" else 0.0) for one in with_noise_before(rjob, 0)
    ]
    picks = picks_of(in_step(segments), engine)
    assert {(pick.phase, pick.components) for pick in picks} >= {("P", "ZN-"), ("S", "ZN-")}
    late_ns = rjob.start_ns + 8_000_000_000
    assert {pick.components for pick in picks if pick.time_ns > late_ns} <= {"ZNE"}


def behind(segment: Segment, seconds: float) -> Segment:
    """What is left of a record without its first seconds."""
    cut = round(100 * seconds)
    return segment._replace(start_ns=segment.start_ns + cut * 10_000_000, samples=segment.samples[cut:])


@pytest.mark.parametrize("rate", [50, 100])
@pytest.mark.parametrize(
    ("place", "count", "reading"),
    [
        pytest.param(0, 1, 2.0**31 - 1, id="first sample"),
        pytest.param(0, 1, -(2.0**25), id="first sample, less odd"),
        pytest.param(0, 300, 2.0**31 - 1, id="first seconds"),
        pytest.param(700, 1, 1e30, id="one sample"),
        pytest.param(700, 150, -(2.0**31), id="a second or more"),
    ],
)
def test_an_odd_reading_costs_picks_only_while_it_lies_in_the_window(
    rjob: Recording, engine: OnnxEngine, rate: int, place: int, count: int, reading: float
) -> None:
    clean = [
        segment._replace(sampling_rate_hz=rate, samples=resample_poly(segment.samples, rate, 100))
        for segment in with_noise_before(rjob, 40)
    ]
    spoilt = [segment._replace(samples=segment.samples.copy()) for segment in clean]
    for segment in spoilt:
        segment.samples[place : place + count] = reading
    clean, spoilt = in_step(clean), in_step(spoilt)
    gone_ns = clean[0].start_ns + round((place + count) / rate * 1e9) + 23_000_000_000

    def late(picks: list[Pick]) -> list[Pick]:
        return [pick for pick in picks if pick.time_ns > gone_ns]

    expected = late(picks_of(clean, engine))
    assert {pick.phase for pick in expected} == {"P", "S"}
    assert late(picks_of(spoilt, engine)) == expected


@pytest.mark.parametrize("names", ["ZNE", "Z12", "Z23", "123"])
def test_component_names_make_no_difference(rjob: Recording, engine: OnnxEngine, names: str) -> None:
    def renamed(letters: str) -> list[Segment]:
        segments = []
        for letter, component in zip(letters, "ZNE", strict=True):
            [segment] = rjob.segments(component, [])
            segments.append(
                Segment(Channel("BW", "RJOB", "", "EH" + letter), segment.start_ns, 100.0, segment.samples)
            )
        return segments

    expected = [(pick.phase, pick.time_ns, pick.probability) for pick in picks_of(renamed("ZNE"), engine)]
    picks = picks_of(renamed(names), engine)
    assert [(pick.phase, pick.time_ns, pick.probability) for pick in picks] == expected
    assert {pick.components for pick in picks} == {names}
    assert all(pick.channel.component == names[0] for pick in picks if pick.phase == "P")
    assert all(pick.channel.component in names[1:] for pick in picks if pick.phase == "S")


def test_a_vertical_alone_is_picked_and_says_so(rjob: Recording, engine: OnnxEngine) -> None:
    picks = picks_of(rjob.segments("Z", []), engine)
    assert "P" in {pick.phase for pick in picks}
    assert {pick.components for pick in picks} == {"Z--"}
    assert {pick.channel.channel for pick in picks} == {"EHZ"}


@pytest.mark.parametrize("before", [0, 10, 30, 49])
def test_nothing_is_picked_while_a_new_run_settles(rjob: Recording, engine: OnnxEngine, before: int) -> None:
    """Data that begin just before the onset: whatever is picked lies at least ``settle_s`` behind their beginning."""
    begin = round(P_S * 100) - before
    segments = [
        Segment(
            Channel("BW", "RJOB", "", "EH" + component),
            rjob.start_ns + begin * 10_000_000,
            100.0,
            rjob.components[component][begin:],
        )
        for component in "ZNE"
    ]
    for pick in picks_of(segments, engine):
        assert pick.time_ns >= segments[0].start_ns + 450_000_000


@pytest.mark.parametrize(
    ("dead", "rate_hz", "reading"),
    [
        ("NE", 100.0, 7),
        ("NE", 20.0, 0.1),
        ("N", 250.0, 2**31 - 1),
        ("Z", 50.0, -8_388_608),
        ("ZNE", 100.0, 7),
    ],
)
def test_a_component_that_never_moves_is_as_one_that_is_not_there(
    rjob: Recording, engine: OnnxEngine, dead: str, rate_hz: float, reading: float
) -> None:
    """Not plugged in, broken, or at its stop."""
    quicker = [
        segment._replace(
            sampling_rate_hz=rate_hz,
            samples=resample_poly(segment.samples, round(rate_hz), 100, padtype="line"),
        )
        for segment in with_noise_before(rjob, 20)
    ]
    there = [segment for segment in quicker if segment.channel.component not in dead]
    constant = [
        segment._replace(samples=np.full(len(segment.samples), reading))
        for segment in quicker
        if segment.channel.component in dead
    ]
    expected = picks_of(in_step(there), engine) if there else []
    assert bool(expected) == bool(there)
    assert picks_of(in_step(there + constant), engine) == expected


def test_a_component_that_has_died_before_the_onset_measures_nothing(
    rjob: Recording, engine: OnnxEngine
) -> None:
    segments = []
    for segment in with_noise_before(rjob, 20):
        samples = segment.samples.copy()
        if segment.channel.component != "Z":
            samples[2000:] = samples[2000]
        segments.append(segment._replace(samples=samples))
    picks = picks_of(in_step(segments), engine)
    assert {pick.phase for pick in picks} == {"P", "S"}
    assert {pick.channel.component for pick in picks} == {"Z"}
    assert all(1 < pick.snr < 1000 for pick in picks)


def test_picks_come_in_one_order_however_windows_are_batched(rjob: Recording, engine: OnnxEngine) -> None:
    """Three stations, in batches of one, of five, and of as many as there are."""

    class Stations:
        name = "stations"

        def run(self, emit: Emit) -> None:
            for station in ("A", "B", "C"):
                for segment in in_step(with_noise_before(rjob, 60)):
                    emit(
                        segment._replace(channel=replace(segment.channel, station=station), source=self.name)
                    )

        def stop(self) -> None: ...

    def picked(max_batch: int) -> list[Pick]:
        config = Config.model_validate(
            {
                "sources": [{"server": "localhost"}],
                "engine": {"max_batch": max_batch},
                "early": "off",
            }
        )
        sink = ListSink()
        run_offline(config, engine, Stations(), sink)
        return sink.picks

    alone = picked(1)
    assert len(alone) >= 6
    for max_batch in (5, 4096):
        assert [pick.id for pick in picked(max_batch)] == [pick.id for pick in alone]


@pytest.mark.parametrize("wanted", [EARLY, OFFLINE])
def test_onsets_are_the_same_when_only_the_ends_of_windows_are_computed(
    rjob: Recording, engine: OnnxEngine, wanted: BufferSettings
) -> None:
    settings = picker_settings_of(engine, wanted)
    whole, ends = InstrumentPicker(settings), InstrumentPicker(settings)
    sizes = set()

    def annotate_end(samples: NDArray[np.float32], read: int) -> NDArray[np.float32]:
        values = engine.annotate_end(samples, read)
        assert values.shape[2] >= read
        sizes.add(values.shape[2])
        return values

    made = []
    for window in windows_of(with_noise_before(rjob, 40), wanted):
        [result] = engine.follow(batch_of([window]))
        candidates = whole.notice(result)
        assert ends.notice(result) == candidates
        for one, other in zip(
            compute_again(candidates, engine.annotate),
            compute_again(candidates, engine.annotate, annotate_end),
            strict=True,
        ):
            pick, same = whole.confirm(one), ends.confirm(other)
            assert (pick is None) == (same is None)
            if pick is not None and same is not None:
                assert same.id == pick.id
                # The last digits of a network depend on how much of a window it computes.
                assert abs(same.time_ns - pick.time_ns) < 10_000
                assert same.probability == pytest.approx(pick.probability, abs=1e-5)
                made.append(pick)
    assert made
    # A part of the windows, and no more of it than needed.
    assert sizes
    assert max(sizes) < wanted.length
    assert min(sizes) == (200 if wanted is EARLY else 500)
