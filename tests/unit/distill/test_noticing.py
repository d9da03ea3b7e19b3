"""What counts as noticed, what a candidate is, and that a stateful file is measured as the network that it holds."""

import numpy as np
import pytest

from distill.annotators import net_annotator
from distill.config import TrainConfig
from distill.corpus import Record
from distill.evaluate import Student, example_waves
from distill.export import noticing_thresholds
from distill.noticing import Scout, candidates, candidates_per_hour, noticed, open_scout, scout_in_training
from distill.trainee import exported_net
from models.conventions import ONSET
from models.spec import SpecError
from models.weights import shipped, stateful_path, weights_path

THRESHOLD = 0.1


def record_of(curve: np.ndarray, p_pick: float | None = None, name: str = "a") -> Record:
    """A record whose vertical component is the curve that :func:`scout` sees."""
    waves = np.stack([curve, 0 * curve, 0 * curve]).astype(np.float32)
    return Record(name, "XX.A", "event", waves, np.zeros((3, 0), np.float16), (), (p_pick, None))


def scout(delay_samples: int = 40, chunk_samples: int = 32) -> Scout:
    return Scout("made-up", lambda waves: waves[0].astype(np.float32), delay_samples, chunk_samples)


def reaching(samples: int, *spans: tuple[int, int]) -> np.ndarray:
    curve = np.zeros(samples)
    for begin, end in spans:
        curve[begin:end] = 0.5
    return curve


@pytest.mark.parametrize(
    ("spans", "delay_samples", "share"),
    [
        ([(480, 520)], 40, 1.0),
        ([(520, 540)], 40, 1.0),
        ([(530, 540)], 80, 0.0),  # known too late
        ([(300, 440)], 40, 0.0),  # too early to be this onset
        ([(560, 600)], 10, 0.0),  # too far from it
        ([], 40, 0.0),
    ],
)
def test_an_onset_is_noticed_near_it_and_in_time(
    spans: list[tuple[int, int]], delay_samples: int, share: float
) -> None:
    record = record_of(reaching(1000, *spans), p_pick=500.0)
    assert noticed(scout(delay_samples), [record], THRESHOLD)["P"].share == share


def test_output_comes_with_the_chunk_that_completes_it() -> None:
    delays: set[float] = set()
    for name in map(str, range(200)):
        found = noticed(scout(), [record_of(reaching(1000, (500, 510)), 500.0, name)], THRESHOLD)["P"]
        delays.update(found.delays_s)
    # 40 samples late, and up to a chunk of 32 more, in steps of four.
    assert min(delays) == pytest.approx(0.44)
    assert max(delays) == pytest.approx(0.72)
    assert len(delays) == 8


def test_an_onset_at_the_end_of_its_record_counts_for_nothing() -> None:
    found = noticed(scout(), [record_of(reaching(550), p_pick=500.0)], THRESHOLD)
    assert (found["P"].labels, found["P"].share, found["S"].labels) == (0, 0.0, 0)


def test_candidates_are_half_a_second_apart() -> None:
    curve = reaching(1000, (0, 2), (100, 110), (140, 150), (400, 500))
    assert candidates(curve, 0.1) == [0, 100, 400]
    assert candidates(curve, 0.6) == []
    hour = record_of(np.tile(reaching(36_000, (100, 110)), 10))
    assert candidates_per_hour(scout(), [hour], (0.1, 0.6)) == {0.1: 10.0, 0.6: 0.0}
    assert candidates_per_hour(scout(), [], (0.1,)) == {0.1: 0.0}


def test_the_threshold_is_the_lowest_that_calls_seldom_enough() -> None:
    config = TrainConfig(name="made-up", version="0.0.1")
    # Sixteen candidates an hour of 0.11 and eight of 0.3.
    curve = np.zeros(360_000)
    curve[1000:17_000:1000] = 0.11
    curve[101_000:109_000:1000] = 0.3
    assert noticing_thresholds(config, scout(), [record_of(curve)]) == {ONSET: 0.12}
    assert noticing_thresholds(config, scout(), [record_of(0 * curve)]) == {ONSET: 0.02}


@pytest.mark.parametrize("name", sorted(shipped(stateful=True)))
def test_a_stateful_file_notices_the_example(name: str) -> None:
    found, spec = open_scout(stateful_path(name))
    curve = found.curve(example_waves())
    assert curve.shape == example_waves().shape[1:]
    assert not curve[-spec.delay_samples :].any()
    for onset in (1200 + 473, 1200 + 571):
        assert curve[onset - 50 : onset + 50].max() >= spec.thresholds[ONSET]


def test_a_network_in_training_streams_as_its_file_will() -> None:
    def annotate(windows: np.ndarray) -> np.ndarray:
        return np.full((len(windows), 2, windows.shape[2] // 4), 0.5, np.float32)

    # Three chunks of 32 samples; what is known at their end is of 40 samples before.
    curve = scout_in_training("made-up", annotate, 40, 32).curve(np.zeros((3, 100), np.float32))
    assert (curve[: 96 - 40] == 0.5).all()
    assert not curve[96 - 40 :].any()


@pytest.mark.parametrize("name", sorted(shipped(stateful=True)))
def test_a_file_notices_what_its_network_would(name: str) -> None:
    path = weights_path(name).with_suffix(".safetensors")
    found, spec = open_scout(stateful_path(name))
    annotate = net_annotator(exported_net("path", str(path)), spec.front_end)
    again = scout_in_training(name, annotate, spec.delay_samples, spec.chunk_samples)
    waves = example_waves()[:, :3001]
    np.testing.assert_allclose(again.curve(waves), found.curve(waves), atol=1e-5)


def test_who_notices_does_not_pick_and_who_picks_does_not_notice() -> None:
    with pytest.raises(SpecError, match="of the form windows"):
        open_scout(weights_path("micro"))
    for name in shipped(stateful=True):
        with pytest.raises(SpecError, match="picks none"):
            Student.load(stateful_path(name), 1)
