"""Parts of the trainer: labels, augmentation, teacher, scores, thresholds, configuration."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import obspy
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from distill.annotators import net_annotator, onnx_annotator, overlapped
from distill.config import ConfigError, LabelSection, TeacherSection, TrainConfig, load_train_config
from distill.corpus import Record, label_record
from distill.evaluate import example_waves
from distill.export import best_threshold
from distill.rates import NEAR_S, continuous_rates, student_picks, unconfirmed
from distill.runs import code_version
from distill.scores import Found, score
from distill.serving import false_rates, picks_per_hour, sample_of, windowed
from distill.stability import sweep
from distill.teachers import OnnxTeacher
from distill.teachers.windows import starts_of
from distill.views import ending, placed_starts
from models.small_phasenet import PRESETS, fresh_net
from models.spec import SpecError
from models.weights import weights_path
from tests.conftest import Recording
from xiaod.config import WindowConfig

SHIPPED_CONFIG = Path(__file__).parents[3] / "distill" / "micro.yaml"


def test_the_shipped_configuration_loads_and_made_the_shipped_weights() -> None:
    config = load_train_config(SHIPPED_CONFIG)
    _, spec = onnx_annotator(weights_path(config.name))
    assert spec.provenance["config_sha256"] == config.sha256
    assert (spec.name, spec.version) == (config.name, config.version)


def test_a_student_is_served_as_the_daemon_looks_where_nothing_else_is_said() -> None:
    daemon = round(WindowConfig().length_s * 100)
    for text in ("", "sampling: {window_samples: 1500}"):
        config = TrainConfig.model_validate({"name": "a", "version": "1.0.0", **(yaml.safe_load(text) or {})})
        assert config.service_samples == daemon
        assert min(config.lengths) <= daemon <= max(config.lengths)
    # Runs of before keep their names where they said what they were trained on.
    assert load_train_config(SHIPPED_CONFIG.with_name("micro-1.yaml")).lengths == (1000, 2000, 2000, 3000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nversion: 1.0.0\nseeed: 1\n", ["train.yaml:3: seeed: unknown key; did you mean 'seed'?"]),
        ("name: a\nversion: 1.0.0\n\noptimizer: {}\n", ["train.yaml:4: ", "did you mean 'optimiser'?"]),
        ("name: a\nversion: 1.0.0\nteacher:\n  kind: onnxx\n", ["train.yaml:4: teacher.kind", "'onnx'"]),
        ("name: a\nversion: 1.0\n", ["version"]),
        ("name: a\nversion: 1.0.0\noptimiser: {steps: many}\n", ["optimiser.steps", "many"]),
        ("name: a\nversion: 1.0.0\naugment: {flip: 1.5}\n", ["augment.flip", "1.5"]),
        ("- a\n", ["train.yaml"]),
        ("a: [\n", ["train.yaml"]),
        ("", ["train.yaml"]),
    ],
)
def test_a_wrong_configuration_is_named(text: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_train_config(path)
    assert all(word in str(caught.value) for word in [*words, "train.yaml"])


def test_an_analysts_pick_takes_the_place_of_the_teachers() -> None:
    position = np.arange(2000)
    taught = np.zeros((3, 2000), np.float16)
    taught[1] = 0.8 * np.exp(-0.5 * ((position - 930) / 10) ** 2)
    taught[2] = 0.6 * np.exp(-0.5 * ((position - 1500) / 10) ** 2)
    taught[0] = 1 - taught[1:].sum(axis=0)
    waves = np.zeros((3, 2000), np.int32)
    record = label_record(
        "a", "XX.A", "event", waves, taught, (900.4, None), LabelSection(analyst_weight=0.7)
    )
    assert record.onsets == ((900, 1), (1500, 2))
    assert abs(int(record.labels[1].argmax()) - 900) <= 1
    assert record.labels[1].max() == pytest.approx(0.7, abs=0.01)
    assert record.labels[2].max() == pytest.approx(0.6, abs=0.01)
    assert np.abs(record.labels.astype(np.float64).sum(axis=0) - 1).max() < 2e-3


@given(length=st.integers(1, 5000), window=st.integers(1, 500), hop=st.integers(1, 500))
def test_the_teachers_windows_cover_a_record(length: int, window: int, hop: int) -> None:
    length = max(length, window)
    starts = starts_of(length, window, min(hop, window))
    assert starts[0] == 0
    assert starts[-1] == length - window
    assert all(0 < later - earlier <= window for earlier, later in pairwise(starts))


def test_a_teacher_annotates_records_of_any_length(rjob: Recording) -> None:
    """With a shipped student in the teacher's place: its file says how it wants to be asked."""
    whole = np.stack([rjob.components[letter] for letter in "ZNE"])
    teacher = OnnxTeacher(
        weights_path("micro"), TeacherSection(window_samples=1000, hop_samples=250), threads=1
    )
    for samples in (700, 1000, 1001, 3000):
        values = teacher.annotate(whole[:, :samples])
        assert values.shape == (3, samples)
        assert np.abs(values.sum(axis=0) - 1).max() < 1e-4
        assert abs(int(values[1].argmax()) - 473) <= 10


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.onnx"):
        OnnxTeacher(tmp_path / "absent.onnx", TeacherSection(), threads=1)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    with pytest.raises(FileNotFoundError, match=r"broken\.onnx"):
        onnx_annotator(path)
    path.write_bytes(b"not a model")
    with pytest.raises(SpecError, match=r"broken\.onnx"):
        onnx_annotator(path)


def test_scores_count_hits_false_picks_and_misses() -> None:
    found = [
        Found("a", (500,), 505.0),
        Found("b", (500, 900), 503.0),
        Found("c", (), 400.0),
        Found("c", (300,), None),
    ]
    close, wide = score(found, 0.04), score(found, 0.1)
    assert (wide["precision"], wide["recall"], wide["labels"]) == (0.5, 0.667, 3)
    assert (close["precision"], close["recall"]) == (0.25, 0.333)
    assert wide["residual_mean_s"] == -0.04


def test_the_threshold_is_the_best_that_is_quiet_enough() -> None:
    scores = {0.3: 0.9, 0.5: 0.8, 0.7: 0.6}
    assert best_threshold(scores, {0.3: 0.5, 0.5: 0.2, 0.7: 0.0}, 0.5) == 0.3
    assert best_threshold({0.3: 0.795, 0.5: 0.8, 0.7: 0.6}, {0.3: 0.5, 0.5: 0.2, 0.7: 0.0}, 0.5) == 0.3
    assert best_threshold(scores, {0.3: 8.0, 0.5: 0.4, 0.7: 0.0}, 0.5) == 0.5
    assert best_threshold(scores, {0.3: 8.0, 0.5: 3.0, 0.7: 2.0}, 0.5) == 0.7


def test_net_and_file_annotate_alike_and_overlapping_windows_agree(rjob: Recording) -> None:
    annotate, _ = onnx_annotator(weights_path("micro"))
    waves = example_waves()
    curves = overlapped(waves, annotate)
    assert curves.shape == waves.shape
    assert abs(int(curves[1].argmax()) - 1200 - 473) <= 10
    assert abs(int(curves[2].argmax()) - 1200 - 571) <= 10
    fresh = net_annotator(fresh_net(PRESETS["nano"], seed=0).eval())
    many = np.random.default_rng(0).normal(size=(300, 3, 1000)).astype(np.float32)
    assert np.allclose(fresh(many)[299], fresh(many[299:])[0], atol=1e-6)


def test_the_example_is_picked_as_in_service_and_stays_where_it_is() -> None:
    annotate, spec = onnx_annotator(weights_path("micro"))
    picks = windowed(annotate, spec.window_samples)(example_waves(), min(spec.thresholds.values()))
    for row, onset in ((1, 473), (2, 571)):
        places = [sample_of(pick) - 1200 for pick in picks if pick.phase == "NPS"[row]]
        near = [place for place in places if abs(place - onset) <= 100]
        assert len(near) == 1, picks
        assert abs(near[0] - onset) <= 10
        threshold = spec.thresholds["NPS"[row]]
        early, middle = (
            sweep(example_waves(), 1200 + onset, row, ends_s, annotate, threshold)
            for ends_s in ((0.5, 1.0), (4.0, 6.0))
        )
        assert early["seen"] > 0.95, early
        assert middle["seen"] > 0.95, middle
        assert abs(early["time_mean_s"] - middle["time_mean_s"]) <= 0.04


def test_windows_are_placed_by_the_records_name() -> None:
    starts = placed_starts("a record", 3000.0, 9000, 1000, (1.5, 7.0))
    assert starts == placed_starts("a record", 3000.0, 9000, 1000, (1.5, 7.0))
    assert starts != placed_starts("another", 3000.0, 9000, 1000, (1.5, 7.0))
    assert all(2300 <= start <= 2850 for start in starts)
    assert set(placed_starts("a record", 50.0, 1000, 1000, (1.5, 7.0))) == {0}


def record_of(samples: int, label: float | None = None) -> Record:
    waves = np.tile(np.arange(samples, dtype=np.float32), (3, 1))
    return Record(f"{samples}", "XX.A", "noise", waves, np.zeros((3, 0), np.float16), (), (label, None))


def test_rates_on_short_noise_are_by_its_exact_length() -> None:
    def annotate(windows: np.ndarray) -> np.ndarray:
        curve = np.exp(-0.5 * ((windows[:, :1] - 1500) / 10) ** 2)
        return np.concatenate([1 - curve, curve, 0 * curve], axis=1)

    # 20 and 30 s: one pick in each
    for samples, rate in ((2000, 180.0), (3000, 120.0)):
        noise = [record_of(samples)]
        assert false_rates(windowed(annotate), noise, (0.3,))["P"][0.3] == rate
        assert picks_per_hour(windowed(annotate), noise, {"P": 0.3, "S": 0.3})["P"] == rate
    assert false_rates(windowed(annotate), [], (0.3,)) == {"P": {0.3: 0.0}, "S": {0.3: 0.0}}


def test_windows_of_all_lengths_and_ends_are_on_the_same_onsets() -> None:
    records = [record_of(6000, label) for label in (1500.0, 2500.0, 3000.0, 4000.0, 4500.0, None)]
    seen = {
        (window, after_s): [
            round(one.label or 0)
            for one in ending(
                records, lambda waves: {"P": [waves[0, 0]], "S": []}, window, after_s, room=(3000, 1500)
            )["P"]
        ]
        for window in (2000, 3000)
        for after_s in (0.5, 15.0)
    }
    assert {len(labels) for labels in seen.values()} == {3}
    assert seen[2000, 0.5] == [1950] * 3
    assert len(ending(records, lambda waves: {"P": [], "S": []}, 2000, 0.5)["P"]) == 4


def test_what_a_run_writes_does_not_make_its_code_another(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip

    (tmp_path / "code.py").write_text("1")
    (tmp_path / "weights.onnx").write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    clean = code_version(tmp_path)
    assert re.fullmatch("[0-9a-f]{7,}", clean)
    (tmp_path / "weights.onnx").write_text("2")
    (tmp_path / "card.md").write_text("2")
    assert code_version(tmp_path) == clean
    (tmp_path / "code.py").write_text("2")
    assert code_version(tmp_path) == f"{clean}-dirty"


class Silent:
    """A SeisBench model that picks nothing, and remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def classify(self, stream: obspy.Stream, **thresholds: float) -> SimpleNamespace:
        self.shown = sorted(trace.id for trace in stream)
        return SimpleNamespace(picks=[])


def test_continuous_data_may_have_other_files_beside_them(tmp_path: Path) -> None:
    """Tables of picks, catalogues: what is no miniSEED is no reason to end after all the work before."""
    data = tmp_path / "event"
    data.mkdir()
    example_waveforms().write(str(data / "all.mseed"), format="MSEED")
    (data / "catalog.csv").write_text("time,magnitude\n")
    (tmp_path / "index.csv").write_text("name,stations,channels,channel_hours\nevent,1,3,0.025\n")
    model = Silent()
    found = continuous_rates(
        tmp_path, {"micro": lambda folder: student_picks(folder, weights_path("micro"))}, model
    )
    assert model.shown == ["BW.RJOB..EHE", "BW.RJOB..EHN", "BW.RJOB..EHZ"]
    assert found["event"]["micro"]["P"]["student"] == 1
    assert found["event"]["micro"]["P"]["student_unconfirmed"] == 1


@given(
    picks=st.lists(st.integers(0, 40), max_size=8),
    others=st.lists(st.integers(0, 40), max_size=8),
)
def test_a_pick_is_confirmed_by_any_that_is_near(picks: list[int], others: list[int]) -> None:
    alone = [one for one in picks if all(abs(one - other) / 4 > NEAR_S for other in others)]
    assert unconfirmed([one / 4 for one in picks], [other / 4 for other in others]) == len(alone)


@pytest.mark.parametrize("picks", [(300.0, 503.0, 700.0), (503.0, 700.0), (700.0, 503.0)])
def test_the_pick_nearest_to_a_label_is_compared_with_it(picks: tuple[float, ...]) -> None:
    found = score([Found("a", picks, 500.0)], tolerance_s=0.1)
    assert (found["hits"], found["false"], found["residual_mean_s"]) == (1, len(picks) - 1, 0.03)


def example_waveforms() -> obspy.Stream:
    stream = obspy.read()
    for trace in stream:
        trace.data = (trace.data * 10).astype(np.int32)
    return stream
