"""The stateful engine: new samples only, many stations at once, and yet the probabilities of the whole stream."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from models.export import export_onnx
from models.geometry import NetConfig
from models.small_phasenet import SmallPhaseNet
from models.spec import ModelSpec
from models.weights import stateful_path, weights_path
from tests.conftest import Recording
from tests.streams import batch_of, picks_of, windows_of
from xiaod.domain.types import Channel, Instrument, Probabilities, Segment, Window
from xiaod.inference.errors import ModelError
from xiaod.inference.onnx import OnnxEngine
from xiaod.inference.stateful import StatefulEngine
from xiaod.waveform.instrument import BufferSettings

MODEL = "scout"
P_S, S_S = 4.73, 5.71
"""Where PhaseNet puts the onsets of the recording, seconds after its start."""


@pytest.fixture
def engine() -> StatefulEngine:
    return StatefulEngine(stateful_path(MODEL))


def follow(engine: StatefulEngine, windows: Sequence[Window]) -> list[Probabilities]:
    return engine.follow(batch_of(windows))


def day(
    recording: Recording, seconds: int = 40, times: int = 2, shift: int = 0, cuts: tuple[int, ...] = (400,)
) -> list[Segment]:
    """The event after synthetic noise of the strength of its own first four seconds, perhaps more than once, in records."""
    rng = np.random.default_rng(3)
    segments = []
    for component, data in recording.components.items():
        quiet = data[:400]
        pieces = []
        for _ in range(times):
            pieces += [rng.normal(quiet.mean(), quiet.std(), 100 * seconds), data]
        samples, start = np.concatenate(pieces), 0
        channel = Channel("BW", recording.station, "", "EH" + component)
        for cut in itertools.cycle(cuts):
            if start >= len(samples):
                break
            begin_ns = recording.start_ns + (shift + start) * 10_000_000
            segments.append(Segment(channel, begin_ns, 100.0, samples[start : start + cut]))
            start += cut
    return sorted(segments, key=lambda segment: segment.start_ns)


def curve_of(windows: list[Window], engine: StatefulEngine) -> dict[int, np.ndarray]:
    """Probabilities by grid index, as they become known."""
    found: dict[int, np.ndarray] = {}
    for window in windows:
        [result] = follow(engine, [window])
        assert result.valid is not None
        for place in range(*result.valid):
            found[window.index + place] = result.values[:, place]
    return found


@pytest.mark.parametrize("hop", [10, 50, 77, 200])
def test_windows_of_a_stream_give_the_whole(hop: int, rjob: Recording, engine: StatefulEngine) -> None:
    windows = windows_of(day(rjob), BufferSettings(length=2000, hop=hop))
    found = curve_of(windows, engine)
    chunk = engine.spec.chunk_samples
    begin = -(-windows[0].index // chunk) * chunk
    samples = np.concatenate(
        [windows[0].samples] + [window.samples[:, -hop:] for window in windows[1:-1]], axis=1
    )
    whole = engine.annotate(samples[None, :, begin - windows[0].index :])[0]
    # The last window may lie off the multiples of the hop.
    last = max(found) - hop
    places = [place for place in sorted(found) if begin <= place < last]
    assert len(places) > 10_000
    given = np.stack([found[place] for place in places], axis=1)
    np.testing.assert_allclose(given, whole[:, : given.shape[1]], atol=1e-5)


def test_many_stations_in_one_call_do_not_mix(rjob: Recording, engine: StatefulEngine) -> None:
    windows = windows_of(day(rjob, times=1))
    alone = [follow(engine, [window])[0].values for window in windows]
    engine = StatefulEngine(stateful_path(MODEL))
    rng = np.random.default_rng(0)
    others = [Instrument("XX", f"S{number}", "", "HH") for number in range(40)]
    for window, wanted in zip(windows, alone, strict=True):
        noise = [
            Window(
                other,
                window.index,
                0,
                rng.normal(size=(3, 2000)).astype(np.float32),
                "ZNE",
                discontinuous=True,
            )
            for other in others
        ]
        results = follow(engine, [*noise[:20], window, *noise[20:]])
        np.testing.assert_allclose(results[20].values, wanted, atol=1e-6)


def test_a_station_that_is_forgotten_disturbs_no_other(rjob: Recording, engine: StatefulEngine) -> None:
    windows = windows_of(day(rjob, times=1))
    alone = [follow(engine, [window])[0].values for window in windows]
    engine = StatefulEngine(stateful_path(MODEL))
    others = [Instrument("XX", f"S{number}", "", "HH") for number in range(40)]
    small = engine.state_bytes
    for number, (window, wanted) in enumerate(zip(windows, alone, strict=True)):
        if others:
            follow(engine, [replace(window, instrument=other, discontinuous=True) for other in others])
        np.testing.assert_allclose(follow(engine, [window])[0].values, wanted, atol=1e-6)
        if number % 10 == 9:
            engine.forget(others[:12])
            del others[:12]
    assert not others
    assert engine.state_bytes == small
    engine.forget([windows[0].instrument])
    begun_anew = follow(StatefulEngine(stateful_path(MODEL)), [windows[5]])[0].values
    np.testing.assert_allclose(follow(engine, [windows[5]])[0].values, begun_anew, atol=1e-6)


def test_windows_of_one_station_in_one_call_are_taken_in_order(
    rjob: Recording, engine: StatefulEngine
) -> None:
    windows = windows_of(day(rjob, times=1))
    one_by_one = [follow(engine, [window])[0] for window in windows]
    together = follow(StatefulEngine(stateful_path(MODEL)), windows)
    for left, right in zip(one_by_one, together, strict=True):
        assert left.valid == right.valid
        np.testing.assert_allclose(left.values, right.values, atol=1e-6)


def highest_s(
    segments: list[Segment], recording: Recording, seconds: int, shift: int = 0
) -> list[tuple[float, float]]:
    """Of P and S: seconds after the onset of the first event at which the probability near it is highest, and how high it is."""
    found = curve_of(windows_of(segments), StatefulEngine(stateful_path(MODEL)))
    start = round(recording.start_ns / 1e7) + 100 * seconds + shift
    highest = []
    for phase, onset_s in enumerate((P_S, S_S)):
        onset = start + round(100 * onset_s)
        heights = [float(found[place][phase]) for place in range(onset - 50, onset + 50)]
        height = max(heights)
        highest.append(((onset - 50 + heights.index(height) - start) / 100 - onset_s, height))
    return highest


def test_the_event_is_noticed_wherever_it_falls_between_chunks(rjob: Recording) -> None:
    for shift in range(0, 48, 3):
        (p_s, p_height), (s_s, s_height) = highest_s(day(rjob, times=1, shift=shift), rjob, 40, shift)
        assert abs(p_s) < 0.15
        assert abs(s_s) < 0.2
        assert min(p_height, s_height) > 0.5


@pytest.fixture(scope="module")
def unchopped(rjob: Recording) -> dict[int, np.ndarray]:
    """Probabilities of the event in records of one length."""
    return curve_of(windows_of(day(rjob, times=1)), StatefulEngine(stateful_path(MODEL)))


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 1500), min_size=1, max_size=40))
def test_any_chopping_gives_the_same_probabilities(
    cuts: list[int], rjob: Recording, unchopped: dict[int, np.ndarray]
) -> None:
    chopped = windows_of(day(rjob, times=1, cuts=tuple(cuts)))
    found = curve_of(chopped, StatefulEngine(stateful_path(MODEL)))
    assert found.keys() == unchopped.keys()
    for place, values in found.items():
        assert np.array_equal(values, unchopped[place])


def in_windows(folder: Path) -> Path:
    """The form for windows of the same network, which is not shipped."""
    with safe_open(weights_path(MODEL).with_suffix(".safetensors"), "numpy") as file:
        spec = ModelSpec.from_metadata(file.metadata())
    net = SmallPhaseNet(config=NetConfig.from_dict(dict(spec.net))).eval()
    net.load_state_dict(load_file(weights_path(MODEL).with_suffix(".safetensors")))
    return export_onnx(net, spec, folder / "windows.onnx")


def test_overlapping_windows_pick_what_the_stream_notices_where_their_context_suffices(
    rjob: Recording, tmp_path: Path
) -> None:
    """Windows of 30 s hold all that the network looks at; only the front end's memory is shorter in them."""
    stream = day(rjob)
    picks = picks_of(stream, OnnxEngine(in_windows(tmp_path)), BufferSettings(length=3000))
    for phase, onset_s, (moved_s, _) in zip("PS", (P_S, S_S), highest_s(stream, rjob, 40), strict=True):
        onset_ns = rjob.start_ns + (40 + onset_s) * 1e9
        [near] = [
            pick for pick in picks if pick.phase == phase and abs(pick.time_ns - onset_ns) < 2_000_000_000
        ]
        assert abs((near.time_ns - onset_ns) / 1e9 - moved_s) < 0.1


def test_a_fresh_window_begins_anew(rjob: Recording, engine: StatefulEngine) -> None:
    [first, *_] = windows_of(day(rjob, times=1))
    [wanted] = follow(StatefulEngine(stateful_path(MODEL)), [first])
    loud = Window(first.instrument, first.index - 100, 0, 1000 * first.samples, "ZNE", discontinuous=True)
    follow(engine, [loud])
    [given] = follow(engine, [first])
    assert first.discontinuous
    assert given.valid == wanted.valid
    np.testing.assert_allclose(given.values, wanted.values, atol=1e-6)


@pytest.mark.parametrize("change", ["hole", "components"])
def test_what_does_not_join_on_begins_anew(change: str, rjob: Recording, engine: StatefulEngine) -> None:
    windows = windows_of(day(rjob, times=1))
    follow(engine, windows[:10])
    later = windows[10] if change == "components" else windows[80]
    components = "Z--" if change == "components" else "ZNE"
    window = Window(later.instrument, later.index, 0, later.samples, components)
    [given] = follow(engine, [window])
    [wanted] = follow(StatefulEngine(stateful_path(MODEL)), [window])
    np.testing.assert_allclose(given.values, wanted.values, atol=1e-6)


def test_the_wrong_form_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"NAME\.stateful\.onnx"):
        StatefulEngine(weights_path("micro"))
    with pytest.raises(ModelError, match=r"engine\.scout takes it"):
        OnnxEngine(stateful_path(MODEL))
