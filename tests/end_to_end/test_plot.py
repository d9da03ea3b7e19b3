"""Pictures of real picks: they are PNGs, and show what they claim to."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tests.certificates import certificate
from tests.end_to_end.harness import Server
from xiaod.acquisition.miniseed_files import FileSource
from xiaod.cli.main import main
from xiaod.config import Config
from xiaod.domain.figure import PHASE_STYLES, OnsetFigure, PickLine, Waveforms
from xiaod.domain.timegrid import NS_PER_S, ns_from_iso
from xiaod.domain.types import Instrument
from xiaod.picking.band import RUN_IN, SETTLE, band_passed
from xiaod.pipeline.factory import open_engine
from xiaod.pipeline.offline import ListSink, offline_config, picks_of, run_offline
from xiaod.pipeline.recording import RecordedSpan, RecordingEngine
from xiaod.pipeline.settings import picker_settings
from xiaod.replay import ReplayConfig
from xiaod.tools.plot.plots import BATCH, PlotRequest, figure_of, instruments_of, make_plots
from xiaod.tools.plot.png import drawn, write_png
from xiaod.tools.soak.data import event_records

ONSET = "2009-08-24T00:20:07.7Z"
RJOB = Instrument("BW", "RJOB", "", "EH")


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute with an event, in a folder as of an archive, beside a file that is none."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "2009" / "BW").mkdir(parents=True)
    (folder / "2009" / "BW" / "day").write_bytes(b"".join(event_records(60)))
    (folder / "notes.txt").write_text("not data", encoding="utf-8")
    return folder


def colours(path: Path) -> set[tuple[int, ...]]:
    pixels = (imread(path)[..., :3] * 255).round().astype(int).reshape(-1, 3)
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    return {tuple(value) for value, count in zip(values.tolist(), counts, strict=True) if count > 50}


BLUE, ORANGE = (tuple(bytes.fromhex(PHASE_STYLES[phase].colour[1:])) for phase in "PS")


def test_plot_draws_both_picks(event: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "a.png"
    arguments = ["plot", "BW.*.*.EH?", ONSET, "--input", str(event), "--output", str(path)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert {BLUE, ORANGE, (0, 0, 0)} <= colours(path)


def test_samples_are_drawn_in_the_band_of_onsets_or_raw(event: Path, tmp_path: Path) -> None:
    config = offline_config(None, "micro")
    engine, figures = open_engine(config), {}
    for raw in (False, True):
        span = RecordedSpan(RJOB, ns_from_iso(ONSET) - 8 * NS_PER_S, ns_from_iso(ONSET) + 5 * NS_PER_S)
        spans = {RJOB: [span]}
        recording = RecordingEngine(engine, picker_settings(config, engine, RJOB, "final"), spans.__getitem__)
        run_offline(config, recording, FileSource([event]), sink := ListSink())
        figures[raw] = figure_of("title", span, sink.picks, config, engine, raw)
    waves = {raw: figure.waveforms.low for raw, figure in figures.items()}
    np.testing.assert_array_equal(waves[True], span.samples[:, RUN_IN:])
    # Data begin just before the onset: what there is is shown from a second later on.
    begin = int(np.isfinite(span.samples[0]).argmax()) - RUN_IN
    assert 0 <= begin < 400
    assert np.isfinite(waves[False][:, begin + SETTLE :]).all()
    assert np.isnan(waves[False][:, : begin + SETTLE]).all()
    np.testing.assert_array_equal(waves[False], band_passed(span.samples)[:, RUN_IN:])
    assert [figure.unit for figure in figures.values()] == ["counts\n2–20 Hz", "counts, raw"]
    assert [pick.phase for pick in figures[False].picks] == ["P", "S"]
    assert figures[False].picks[0].at_s == pytest.approx(5.0, abs=0.2)
    for raw in (False, True):
        path = tmp_path / f"{raw}.png"
        option = ["--raw"] if raw else []
        assert main(["plot", "BW.*.*.EH?", ONSET, "--input", str(event), "--output", str(path), *option]) == 0
        write_png(figures[raw], path)
    assert not np.array_equal(imread(tmp_path / "False.png"), imread(tmp_path / "True.png"))


@pytest.mark.parametrize("count", [1, 2, 7, 12, 40])
def test_labels_of_picks_never_overlap_and_stay_inside(count: int) -> None:
    waves = np.zeros((3, 3000))
    picks = [
        PickLine("PS"[n % 2], 12 + n / 10, 0.05, 0.98, time="00:20:07.73", snr=12.34, stage="final")
        for n in range(count)
    ]
    picture = drawn(OnsetFigure("title", Waveforms(0, 1, waves, waves, np.zeros((2, 3000)), "Z--"), picks))
    picture.draw_without_rendering()
    texts = picture.axes[0].texts
    assert len(texts) == count
    boxes = [text.get_window_extent() for text in texts]
    for left, right in pairwise(boxes):
        assert left.x1 <= right.x0
    assert boxes[0].x0 >= 0
    assert boxes[-1].x1 <= picture.bbox.width
    if count <= 7:
        assert texts[0].get_text() == "P 00:20:07.73\n0.98  ±0.05 s\nsnr 12.3  final"


def test_what_cannot_be_drawn_is_said(
    event: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--input", str(event), "--output", str(tmp_path / "a.png")]
    assert main(["plot", "XX.*.*.*", ONSET, *common]) == 1
    assert "matches nothing" in capsys.readouterr().err
    assert main(["plot", "BW.*.*.*", "2010-01-01T00:00:00Z", *common]) == 1
    assert "matches nothing" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_a_ring_is_asked(event: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    with Server(ReplayConfig(inputs=(event / "2009",), port=0, speed="max")) as server:
        common = ["--server", f"127.0.0.1:{server.port}", "--output", str(path)]
        assert main(["plot", "BW.*.*.EH?", ONSET, "--after", "8", *common]) == 0
        assert {BLUE, ORANGE, (0, 0, 0)} <= colours(path)
        assert main(["plot", "XX.*.*.*", ONSET, *common]) == 1
        assert "has no stream that matches XX.*.*.*" in capsys.readouterr().err
    assert main(["plot", "BW.*.*.EH?", ONSET, *common]) == 1
    assert "Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["3", "4"])
def test_a_ring_behind_tls_is_asked(
    protocol: str, event: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    pem, key = certificate(tmp_path)
    config = ReplayConfig(inputs=(event / "2009",), port=0, speed="max", tls_certificate=pem, tls_key=key)
    with Server(config) as server:
        common = ["plot", "BW.*.*.EH?", ONSET, "--after", "8", "--server", f"127.0.0.1:{server.port}"]
        common += ["--output", str(path), "--protocol", protocol]
        assert main(common) == 1
        assert "option --tls" in capsys.readouterr().err
        assert main([*common, "--ca-file", str(tmp_path / "none.pem")]) == 1
        assert "ca_file" in capsys.readouterr().err
        assert main([*common, "--ca-file", str(pem)]) == 0
        assert {BLUE, ORANGE, (0, 0, 0)} <= colours(path)


@pytest.mark.parametrize("early", [False, True])
def test_spans_hold_what_the_engine_says_and_the_files_hold(event: Path, early: bool) -> None:
    config: Config = offline_config(None, None, early)
    engine = open_engine(config)
    begin_ns = ns_from_iso(ONSET)
    span = RecordedSpan(RJOB, begin_ns - 3 * NS_PER_S, begin_ns + 5 * NS_PER_S)
    recording = RecordingEngine(
        engine,
        picker_settings(config, engine, RJOB, "final"),
        lambda instrument: [span] if instrument == RJOB else [],
    )
    sink = ListSink()
    run_offline(config, recording, FileSource([event]), sink)
    # Recording changes nothing.
    assert sink.picks == picks_of([event], config)
    assert span.components == "ZNE"
    assert np.isfinite(span.samples).all()
    assert early == any(pick.stage == "early" for pick in sink.picks)
    final = [pick for pick in sink.picks if pick.stage == "final"]
    for row, pick in enumerate(sorted(final, key=lambda pick: pick.time_ns)):
        place = round((pick.time_ns - span.start_ns) / (NS_PER_S / 100))
        curve = span.waveforms.probabilities[row]
        assert abs(int(np.nanargmax(curve)) - place) <= 5
        assert abs(float(np.nanmax(curve)) - pick.probability) < 0.15
    if early:
        alone = RecordedSpan(RJOB, span.start_ns, span.stop_ns)
        run_offline(
            offline_config(None, None),
            RecordingEngine(engine, picker_settings(config, engine, RJOB, "final"), lambda _: [alone]),
            FileSource([event]),
            ListSink(),
        )
        # Those of early picks leave no trace in the curves.
        assert np.array_equal(alone.waveforms.probabilities, span.waveforms.probabilities, equal_nan=True)


def test_every_pick_has_a_plot(event: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "xiaod",
        "pick",
        str(event),
        "--no-progress",
        "--plots",
        str(tmp_path / "plots"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done
    ids = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert len(ids) == 2
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {f"{one}.png" for one in ids}
    assert "2 plot(s)" in done.stderr


def test_more_than_a_batch_and_what_has_no_data(
    event: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xiaod.tools.plot.plots.BATCH", 2)
    assert BATCH > 2
    config = offline_config(None, "micro")
    at_ns = ns_from_iso(ONSET)
    requests = [
        PlotRequest(RJOB, at_ns + number * NS_PER_S, str(number), tmp_path / f"{number}.png")
        for number in range(3)
    ]
    requests.append(PlotRequest(Instrument("XX", "NONE", "", "HH"), at_ns, "none", tmp_path / "none.png"))
    made = make_plots([event], config, open_engine(config), requests)
    assert made == requests[:3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png", "2.png"]
    assert instruments_of([event], "BW.RJOB..EHZ", at_ns) == [RJOB]


def test_a_missing_package_is_named(
    event: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What Python does when a package is not there.
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["plot", "BW.*.*.*", ONSET, "--input", str(event)]) == 2
    assert f"{sys.executable} -m pip install 'xiaod[plot]'" in capsys.readouterr().err
    assert main(["pick", str(event), "--plots", str(tmp_path / "never")]) == 2
    assert f"{sys.executable} -m pip install 'xiaod[plot]'" in capsys.readouterr().err
