"""``xiao-distill report`` from end to end on a corpus of one real event, and what its parts must not get wrong."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from distill.cli import main
from distill.corpus import Corpus, Record
from distill.evaluate import EXAMPLE_OFFSET, example_waves
from distill.report.config import ReportConfig
from distill.report.contenders import LEVELS, Contender, network_peaks
from distill.report.evaluation import noise_for
from distill.report.latency import trade_offs
from distill.report.scoring import Looked, accuracy, best_f1, by_origin, calibration, precision_recall
from distill.report.stages import stage_numbers
from distill.report.trials import DAMAGES, close_pairs, pair_recall
from distill.report.windows import LabelledWindow, signal_to_noise_db
from models.weights import weights_path

CONFIG = """
title: A <small> comparison
window_samples: 2500
tolerances_s: [0.1, 0.5]
training: training.yaml
contenders:
  - {name: micro, kind: student, model: micro}
  - {name: taught, kind: teacher, teacher: {onnx: teacher.onnx, window_samples: 1000, hop_samples: 250}}
  - {name: own, kind: onnx, model: teacher.onnx, components: ZNE}
  - {name: classic, kind: classic}
continuous: nowhere
latency: {model: micro, lookaheads_s: [0.5], hops_s: [0.5]}
lengths_samples: [1000, 2000]
"""
TRAINING = """
name: tiny
version: 0.0.1
data: {validation_fraction: 0.5}
teacher: {onnx: teacher.onnx, window_samples: 1000, hop_samples: 250}
"""


class Page(HTMLParser):
    """What a page refers to, and its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.cells = 0
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.sources += [value for key in ("src", "href") if (value := given.get(key))]
        self.cells += tag == "td"
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_report_is_a_folder_that_needs_nothing_beside_it(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XIAO_SHARED", str(shared))
    monkeypatch.setattr("distill.report.evaluation.COST_RUNS", 1)
    monkeypatch.setattr("distill.cost.LEAST_S", 0.0)
    monkeypatch.setattr("distill.baselines.STA_S", (0.5, 1.0))
    monkeypatch.setattr("distill.baselines.BANDS_HZ", ((2.0, 15.0),))
    (tmp_path / "training.yaml").write_text(TRAINING)
    (tmp_path / "report.yaml").write_text(CONFIG)
    output = tmp_path / "out"
    command = ["report", "--config", str(tmp_path / "report.yaml"), "--runs", str(tmp_path / "runs")]
    assert main([*command, "--output", str(output)]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(output / "report.html")
    # Nothing that takes long is silent.
    stages = ("tuning AR-AIC", "micro", "taught", "own", "delay", "sizes", "cost, batch 128", "drawing")
    assert all(stage in said.err for stage in stages)
    text = (output / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.cells > 200
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "A &lt;small&gt; comparison" in text
    assert "nowhere" in text  # what was left out is said
    with (output / "numbers.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {row["contender"] for row in rows}
    assert names == {"micro", "taught", "own", "recursive STA/LTA", "classic STA/LTA", "Z-detect", "AR-AIC"}
    assert all(row["count"].isdigit() for row in rows)
    found = {
        (row["contender"], row["phase"]): float(row["value"])
        for row in rows
        if (row["table"], row["condition"], row["metric"]) == ("accuracy", "0.5 s", "recall")
    }
    # The event is one of micro's easiest, three times the same.
    assert found["micro", "P"] == found["taught", "P"] == 1.0
    tex = (output / "latex" / "accuracy.tex").read_text(encoding="utf-8")
    assert tex.count("{") == tex.count("}")
    assert "95 \\%" in tex
    assert {path.suffix for path in (output / "figures").iterdir()} == {".png", ".pdf"}
    provenance = json.loads((output / "provenance.json").read_text(encoding="utf-8"))
    assert "xiao-distill report --config" in provenance["command"]
    # What it took is said there and at the end.
    used = r"\d+ s, \d+ s of CPU, at most (\d+) MB of memory"
    match = re.fullmatch(used, provenance["took"])
    assert match is not None
    assert 50 < int(match.group(1)) < 8000
    assert re.fullmatch(f"report: {used}", said.err.splitlines()[-1])
    assert main([*command, "--output", str(output), "--no-progress", "--data", "data/none"]) == 2
    said = capsys.readouterr()
    assert "data/none: not there" in said.err
    assert "reading" not in said.err


def bell(place: float, height: float = 1.0) -> NDArray[np.float64]:
    return np.asarray(height * np.exp(-0.5 * ((np.arange(3000) - place) / 10) ** 2))


def window_of(label: float, name: str = "a", waves: NDArray[np.float64] | None = None) -> LabelledWindow:
    held = np.zeros((3, 3000)) if waves is None else waves
    return LabelledWindow(name, name, 0, held, {"P": label, "S": None}, 20.0, None)


CONTENDER = Contender("c", "", np.copy, network_peaks, {"P": 0.3, "S": 0.3}, LEVELS, "")


def test_numbers_are_what_they_say() -> None:
    windows = [window_of(500, "a"), window_of(900, "b"), window_of(1500, "c")]
    curves = [bell(504), bell(900, 0.2), bell(1502) + bell(2500, 0.6)]
    looked = Looked(windows, [np.stack([curve, 0 * curve]) for curve in curves])
    found = {
        (one.condition, one.metric): (one.value, one.count)
        for one in accuracy(CONTENDER, looked, (0.1, 0.03))
        if one.phase == "P" and one.table == "accuracy"
    }
    assert found["0.1 s", "precision"] == (0.667, 3)
    assert found["0.1 s", "recall"] == (0.667, 3)
    assert found["0.1 s", "residual_mean_s"] == (0.03, 2)
    assert found["0.03 s", "recall"] == (0.333, 3)
    [curve] = [
        one for one in precision_recall(CONTENDER, looked) if (one.phase, one.tolerance_s) == ("P", 0.1)
    ]
    assert best_f1(curve)[0] == 0.857  # a threshold of 0.2 or less: three hits and a false pick
    right = {one.condition: one.value for one in calibration(CONTENDER, looked) if one.metric == "right"}
    assert right == {"0.2 to 0.3": 1.0, "0.6 to 0.7": 0.0, "0.9 to 1": 1.0}


def test_origins_are_scored_alone_and_left_out() -> None:
    """Right at 12 events of A, wrong at two of the three of B."""
    windows, curves = [], []
    for number in range(15):
        origin = "A" if number < 12 else "B"
        windows.append(replace(window_of(500, f"event {number}"), origin=origin))
        curves.append(np.stack([bell(900 if number >= 13 else 500), bell(0, 0.0)]))
    found = {one.condition: one for one in by_origin(CONTENDER, Looked(windows, curves)) if one.phase == "P"}
    scores = {condition: (one.value, one.count) for condition, one in found.items()}
    assert scores == {
        f"{part}, {tolerance} s": score
        for tolerance in (0.1, 0.5)
        for part, score in {
            "all": (0.867, 15),
            "A": (1.0, 12),
            "B": (0.333, 3),
            "without A": (0.333, 3),
            "without B": (1.0, 12),
        }.items()
    }
    # What is known of other origins is less than what is known of other events of these two.
    every = found["all, 0.5 s"]
    assert every.low is not None
    assert every.low <= 0.34
    assert every.high == 1.0
    alone = Looked(windows[:12], curves[:12])
    assert not list(by_origin(CONTENDER, alone))


def test_both_stages_are_scored_as_the_daemon_picks_them() -> None:
    """ObsPy's example event, which micro picks, twice: the second label of P is 0.3 s from the onset."""
    waves, none = example_waves().astype(np.float32), np.zeros((3, 0), np.float16)
    onset, s_onset = EXAMPLE_OFFSET + 473.0, EXAMPLE_OFFSET + 571.0
    right = Record("a", "XX.A", "event", waves, none, (), (onset, s_onset), "one", origin="here")
    wrong = replace(right, name="b", analyst=(onset + 30, s_onset), event="two", origin="there")
    found = {
        (one.phase, one.condition): (one.value, one.count)
        for one in stage_numbers("micro", weights_path("micro"), [right, wrong])
    }
    for stage in ("final", "early"):
        assert found["P", f"{stage}, all, 0.1 s"] == (0.5, 2)
        assert found["P", f"{stage}, all, 0.5 s"] == (1.0, 2)
        assert found["P", f"{stage}, here, 0.1 s"] == found["P", f"{stage}, without there, 0.1 s"] == (1.0, 1)
        assert found["P", f"{stage}, there, 0.1 s"] == (0.0, 1)
    assert found["S", "final, all, 0.1 s"] == (1.0, 2)


def test_noise_too_short_for_a_network_is_left_out() -> None:
    none = np.zeros((3, 0), np.float16)
    long, short = (
        Record(name, "XX.A", "noise", np.zeros((3, samples), np.float32), none, (), (None, None))
        for name, samples in (("long", 3001), ("short", 2900))
    )
    corpus = Corpus((long, short), (), "")
    contenders = [
        {"name": "a", "kind": "teacher", "teacher": {"window_samples": samples}} for samples in (2900, 3001)
    ]
    for count, wanted in ((0, [long, short]), (1, [long, short]), (2, [long])):
        config = ReportConfig.model_validate(
            {"contenders": [{**one, "name": str(at)} for at, one in enumerate(contenders[:count])]}
        )
        assert noise_for(config, corpus) == wanted


def test_signal_to_noise_is_measured_around_the_onset() -> None:
    rng = np.random.default_rng(1)
    wave = rng.normal(1000, 1, 3000)
    wave[1500:] += rng.normal(0, 10, 1500)
    assert abs(signal_to_noise_db(wave, 1500) - 20) < 2


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_leaves_the_shape_and_other_windows_alone(name: str) -> None:
    waves = np.random.default_rng(2).normal(1e4, 100, (3, 3001))
    kept = waves.copy()
    damaged = DAMAGES[name](waves, 1000.0)
    assert damaged.shape == waves.shape
    assert np.isfinite(damaged).all()
    assert np.array_equal(waves, kept)
    assert (name == "as recorded") == np.array_equal(damaged, waves)


def test_close_pairs_hold_both_events_where_they_say() -> None:
    first, second = np.zeros((3, 3000)), np.zeros((3, 3000))
    first[:, 400] = 5.0
    second[:, 700] = 50.0
    pairs = close_pairs([window_of(400, "a", first), window_of(700, "b", second)])
    waves, places = pairs[3.0][0]
    assert places == (400, 700)
    assert np.allclose(waves[0, 700] / waves[0, 400], 1, atol=0.01)

    def curves(waves: NDArray[np.generic]) -> NDArray[np.float64]:
        return np.stack([bell(700), bell(0, 0.0)])

    blind = Contender("c", "", curves, network_peaks, {"P": 0.3, "S": 0.3}, LEVELS, "")
    seen = {one.metric: one.value for one in pair_recall(blind, {3.0: pairs[3.0][:1]})}
    assert seen == {"first": 0.0, "second": 1.0, "both": 0.0}


def test_more_lookahead_is_more_delay() -> None:
    def annotate(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        curve = np.exp(-0.5 * ((windows[:, :1] - 3000) / 10) ** 2)  # these samples hold their own index
        return np.concatenate([1 - curve, curve, 0 * curve], axis=1)

    waves = np.tile(np.arange(5000, dtype=np.float32), (3, 1))
    record = Record("a", "XX.A", "event", waves, np.zeros((3, 5000), np.float16), (), (3000.0, None))
    lookaheads = dict.fromkeys((0.25, 1.0, 2.0), (0.3, 0.3))
    found = trade_offs(annotate, [record], 1000, lookaheads, 0.5)
    assert [(one.lookahead_s, one.phase) for one in found] == [
        (lookahead_s, phase) for lookahead_s in lookaheads for phase in "PS"
    ]
    for p, s in zip(found[::2], found[1::2], strict=True):
        assert (p.f1_05, p.labels, s.labels) == (1.0, 1, 0)
        assert p.lookahead_s <= p.delay_median_s <= p.lookahead_s + 0.5
        # With others or alone: the same.
        assert trade_offs(annotate, [record], 1000, {p.lookahead_s: (0.3, 0.3)}, 0.5) == [p, s]
    delays = [one.delay_median_s for one in found[::2]]
    assert delays == sorted(delays)


def test_delay_does_not_follow_where_records_begin() -> None:
    def annotate(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        curve = np.exp(-0.5 * ((windows[:, :1] - 3000) / 10) ** 2)  # these samples hold their own index
        return np.concatenate([1 - curve, curve, 0 * curve], axis=1)

    waves, none = np.tile(np.arange(5000, dtype=np.float32), (3, 1)), np.zeros((3, 0), np.float16)
    # In all of them the onset stands on the grid.
    records = [Record(f"{name}", "XX.A", "event", waves, none, (), (3000.0, None)) for name in range(60)]
    [p, _] = trade_offs(annotate, records, 1000, {0.5: (0.3, 0.3)}, hop_s=0.5)
    assert p.picked == 60
    assert 0.65 < p.delay_median_s < 0.85
    assert p.delay_p95_s > 0.9
