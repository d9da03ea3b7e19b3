"""A student in SeisBench has the probabilities of the daemon, and its interface is that of SeisBench's own models."""

from binascii import crc32
from pathlib import Path

import numpy as np
import pytest
import torch
from obspy import Stream, Trace, UTCDateTime, read
from seisbench.models import PhaseNet

from distill.waveform_model import XiaoPhaseNet
from models.spec import SpecError
from models.weights import stateful_path, weights_path
from tests.conftest import ONSET_TOLERANCE_S, ONSETS_S
from tests.end_to_end.test_library import network, station
from xiaod import Picker
from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.inference.onnx import OnnxEngine
from xiaod.library.stream_source import segments_of
from xiaod.waveform.resample import converter_for

SAME = 1e-5
"""Difference of probabilities of the same window: torch and ONNX Runtime sum in other orders."""
ELSEWHERE = 0.2
"""The same where windows begin elsewhere, for 999 of 1,000 samples: the others lie on flanks of peaks, which move a little."""
HOP = 400


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def curve(annotations: Stream, phase: str) -> list[Trace]:
    found = [trace for trace in annotations if trace.stats.channel[-1] == phase]
    return sorted(found, key=lambda trace: (trace.id, trace.stats.starttime))


def differences(stream: Stream, model: str) -> list[np.ndarray]:
    """Probabilities in SeisBench minus those of the library, for each phase and stretch of data: they know the same samples."""
    ours = XiaoPhaseNet.from_pretrained(model).annotate(stream)
    theirs = Picker(model).annotate(stream)
    found = []
    for phase in "PS":
        of_model, of_daemon = curve(ours, phase), curve(theirs, phase)
        assert len(of_model) == len(of_daemon) > 0
        for one, other in zip(of_model, of_daemon, strict=True):
            assert (one.stats.network, one.stats.station) == (other.stats.network, other.stats.station)
            begin = max(one.stats.starttime, other.stats.starttime)
            end = min(one.stats.endtime, other.stats.endtime)
            # The daemon's first window begins at a half second of absolute time, and its last may be a step short.
            assert end - begin > one.stats.endtime - one.stats.starttime - 1.1
            first, second = (trace.slice(begin - 0.001, end + 0.001).data for trace in (one, other))
            assert len(first) == len(second)
            found.append(first - second)
    return found


def on_the_daemons_windows(stream: Stream) -> Stream:
    """The stream at a time at which the daemon's windows of final picks begin with its first sample on the grid."""
    [segment] = segments_of(Stream(stream[:1]))
    first, _ = converter_for(segment.sampling_rate_hz, segment.start_ns).push(
        segment.samples.astype(np.float64)
    )
    phase = crc32(segment.channel.instrument.text.encode()) % HOP
    moved_ns = (phase - first) % HOP * GRID_NS
    for trace in stream:
        trace.stats.starttime = UTCDateTime(ns=trace.stats.starttime.ns + moved_ns)
    return stream


def with_a_gap(stream: Stream) -> Stream:
    """Without some seconds in the middle: data go on at a multiple of the hop."""
    begin = stream[0].stats.starttime
    first = stream.slice(begin, begin + 41.37)
    return first + stream.slice(begin + 13 * HOP / 100, begin + 31 * HOP / 100)


@pytest.mark.parametrize("model", ["micro", "small"])
@pytest.mark.parametrize("components", ["ZNE", "Z"])
def test_a_window_has_the_probabilities_of_the_engine(model: str, components: str) -> None:
    engine, ours = OnnxEngine(weights_path(model)), XiaoPhaseNet.from_pretrained(model)
    windows = np.zeros((6, 3, engine.spec.window_samples), np.float32)
    for trace in read():
        if trace.stats.component in components:
            for window, begin in zip(windows, range(0, 1001, 200), strict=True):
                row = "ZNE".index(trace.stats.component)
                window[row] = trace.data[begin : begin + windows.shape[2]]
    with torch.no_grad():
        found = ours(ours.annotate_batch_pre(torch.from_numpy(windows), {})).numpy()
    rows = [ours.labels.index(phase) for phase in "PS"]
    np.testing.assert_allclose(found[:, rows], engine.annotate(windows), atol=SAME)
    assert found[:, rows[0]].max() > 0.5


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(station("THREE", 1), id="three components"),
        pytest.param(station("ALONE", 2, components="Z"), id="vertical"),
        pytest.param(station("SLOW", 3, 50.0), id="50 Hz"),
        pytest.param(station("FAST", 4, 200.0), id="200 Hz"),
        pytest.param(with_a_gap(station("GAPS", 5)), id="gap"),
    ],
)
@pytest.mark.parametrize("model", ["micro", "small"])
def test_on_the_windows_of_the_daemon_probabilities_are_its_own(model: str, stream: Stream) -> None:
    for difference in differences(on_the_daemons_windows(stream.copy()), model):
        assert np.abs(difference).max() < SAME


@pytest.mark.parametrize("model", ["micro", "small"])
def test_on_other_windows_they_are_close_and_the_picks_are_the_same(model: str) -> None:
    stream = network()
    found = np.abs(np.concatenate(differences(stream, model)))
    assert np.percentile(found, 99.9) < ELSEWHERE
    assert found.mean() < 0.002
    theirs = Picker(model).classify(stream)
    ours = XiaoPhaseNet.from_pretrained(model).classify(stream).picks
    rest, alone, times_s, probabilities = list(ours), [], [], []
    for pick in theirs:
        same = [
            one
            for one in rest
            if (one.trace_id, one.phase) == (f"{pick.channel.network}.{pick.channel.station}.", pick.phase)
            and abs(one.peak_time.ns - pick.time_ns) < 150_000_000
        ]
        if not same:
            alone.append(pick)
            continue
        assert len(same) == 1, pick
        times_s.append(abs(same[0].peak_time.ns - pick.time_ns) / NS_PER_S)
        probabilities.append(abs(same[0].peak_value - pick.probability))
        rest.remove(same[0])
    assert np.median(times_s) < 0.02
    assert np.median(probabilities) < 0.05
    assert max(probabilities) < 0.3
    # Where the daemon computes an onset again, in windows placed by it, and finds it too weak, strong enough, or at its other peak.
    assert max(len(rest), len(alone)) <= 2 < len(theirs) / 20
    spec = XiaoPhaseNet.from_pretrained(model).spec
    moved = {(f"{one.channel.network}.{one.channel.station}.", one.phase) for one in alone}
    for other in rest:
        assert (other.trace_id, other.phase) in moved or other.peak_value < spec.thresholds[
            other.phase
        ] + ELSEWHERE


def test_it_is_used_as_phasenet_is() -> None:
    stream = station("BOTH", 2)
    before = stream.copy()
    for model in (PhaseNet(phases="NPS"), XiaoPhaseNet.from_pretrained("micro")):
        name = type(model).__name__
        annotations = model.annotate(stream, batch_size=4)
        assert {trace.id for trace in annotations} == {f"BW.BOTH..{name}_{phase}" for phase in "NPS"}
        output = model.classify(stream, P_threshold=0.5, S_threshold=0.5)
        assert (output.creator, type(output.picks).__name__) == (name, "PickList")
    assert output.picks
    assert {pick.phase for pick in output.picks} == {"P", "S"}
    assert stream == before


def test_times_are_those_of_the_onsets() -> None:
    stream = read()
    picks = XiaoPhaseNet.from_pretrained("small").classify(stream).picks
    assert [pick.phase for pick in picks] == ["P", "S"]
    for pick in picks:
        onset = stream[0].stats.starttime + ONSETS_S[pick.phase]
        assert abs(pick.peak_time - onset) < ONSET_TOLERANCE_S
        assert pick.start_time < pick.peak_time < pick.end_time


@pytest.mark.parametrize("components", ["ZNE", "Z"])
def test_thresholds_are_those_in_the_file_unless_they_are_given(components: str) -> None:
    model = XiaoPhaseNet.from_pretrained("small")
    assert model.spec.thresholds != model.spec.vertical_thresholds
    own = model.spec.thresholds_of("final", vertical_alone=components == "Z")
    flat = Trace(np.full(100, 0.0), {"channel": "XiaoPhaseNet_P", "components": components.ljust(3, "-")})
    for value, options, count in (
        (own["P"] + 0.01, {}, 1),
        (own["P"] - 0.01, {}, 0),
        (own["P"] - 0.01, {"P_threshold": own["P"] - 0.02}, 1),
        (own["P"] + 0.01, {"P_threshold": own["P"] + 0.02}, 0),
    ):
        flat.data[40:60] = value
        assert len(model.classify_aggregate(Stream([flat]), options).picks) == count


def test_what_it_says_of_components() -> None:
    model = XiaoPhaseNet.from_pretrained("micro")
    stream = read()
    assert {trace.stats.components for trace in model.annotate(stream)} == {"ZNE"}
    numbered = stream.copy()
    for trace, letter in zip(numbered, "Z12", strict=True):
        trace.stats.channel = "HH" + letter
    assert {trace.stats.components for trace in model.annotate(numbered)} == {"Z12"}
    for one, other in zip(model.annotate(stream), model.annotate(numbered), strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    # A sensor that is dead is missing, as in the daemon.
    for trace in stream[1:]:
        trace.data[:] = 7
    assert {trace.stats.components for trace in model.annotate(stream)} == {"Z--"}


def test_instruments_of_one_location_are_annotated_apart() -> None:
    model = XiaoPhaseNet.from_pretrained("micro")
    high, low = read(), read()
    for trace in low:
        trace.stats.channel = "HN" + trace.stats.channel[-1]
        trace.data = trace.data[::-1].copy()
    alone = [model.annotate(stream) for stream in (high, low)]
    together = model.annotate(high + low)
    for one, other in zip(together, alone[0] + alone[1], strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_masked_samples_are_a_gap() -> None:
    apart = with_a_gap(station("MASK", 3))
    masked = apart.copy().merge()
    assert isinstance(masked[0].data, np.ma.MaskedArray)
    model = XiaoPhaseNet.from_pretrained("micro")
    found = [sorted(model.annotate(stream), key=str) for stream in (apart, masked)]
    assert len(found[0]) == 6
    for one, other in zip(*found, strict=True):
        assert one.stats.starttime == other.stats.starttime
        np.testing.assert_array_equal(one.data, other.data)


def test_it_is_named_by_model_path_or_seisbench_file(tmp_path: Path) -> None:
    assert XiaoPhaseNet.list_pretrained() == ["micro", "small"]
    details = XiaoPhaseNet.list_pretrained(details=True)
    wanted = XiaoPhaseNet.from_pretrained("small")
    assert isinstance(details, dict)
    assert details["small"] == wanted.spec.label == f"small-{wanted.weights_version}"
    stream = read()
    expected = wanted.annotate(stream)
    wanted.save(tmp_path / "saved")
    path = weights_path("small")
    for model in (
        XiaoPhaseNet.from_pretrained(path),
        XiaoPhaseNet.from_pretrained(path.with_suffix(".safetensors")),
        XiaoPhaseNet.load(tmp_path / "saved"),
    ):
        assert model.spec == wanted.spec
        for one, other in zip(model.annotate(stream), expected, strict=True):
            np.testing.assert_array_equal(one.data, other.data)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nobody: neither a shipped model"):
        XiaoPhaseNet.from_pretrained("nobody")
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors"):
        XiaoPhaseNet.from_pretrained(tmp_path / "absent.safetensors")
    scout = stateful_path("scout").with_name("scout.safetensors")
    with pytest.raises(SpecError, match="notices onsets and picks none"):
        XiaoPhaseNet.from_pretrained(scout)
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(SpecError, match=r"other\.safetensors: not a safetensors file"):
        XiaoPhaseNet.from_pretrained(tmp_path / "other.safetensors")
    stream = read()
    for trace in stream:
        trace.stats.sampling_rate = 10.0
    with pytest.raises(
        ValueError, match=r"trace BW\.RJOB\.\.EHE: sampling rate must be 20 to 500 Hz; got 10"
    ):
        XiaoPhaseNet.from_pretrained("micro").annotate(stream)
