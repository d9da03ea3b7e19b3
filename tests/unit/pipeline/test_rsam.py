"""RSAM is the mean of the filtered vertical over minutes of UTC, however windows come, and gaps are left out."""

import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.signal import butter, sosfilt

from xiaod.config import RsamConfig
from xiaod.domain.timegrid import GRID_NS, NS_PER_S
from xiaod.domain.types import Channel, Instrument, RsamValue, Window
from xiaod.pipeline.rsam import Rsam, Value

A = Instrument("XX", "A", "", "HH")
B = Instrument("XX", "B", "", "HH")
BEGIN = 1_800_000_000 * 100
"""The begin of ten minutes."""
MINUTE = 6000
CONFIG = RsamConfig(enabled=True)


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    slow = 20_000 * np.sin(2 * np.pi * 0.1 * np.arange(samples) / 100)
    made: NDArray[np.float32] = (rng.normal(1e5, 100, (3, samples)) + slow).astype(np.float32)
    return made


def windows(
    samples: NDArray[np.float32], begin: int, hop: int = 400, instrument: Instrument = A
) -> list[Window]:
    return [
        Window(instrument, begin + at, 0, samples[:, at : at + 2000], "ZNE", discontinuous=at == 0)
        for at in range(0, samples.shape[1] - 1999, hop)
    ]


def filtered(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Amplitudes by another implementation of the same filter."""
    raw = samples[0].astype(np.float64)
    high, low = (
        butter(4, 1.0, "highpass", fs=100, output="sos"),
        butter(4, 20.0, "lowpass", fs=100, output="sos"),
    )
    amplitudes: NDArray[np.float64] = np.abs(sosfilt(low, sosfilt(high, raw - raw[0])))
    return amplitudes


def newest(rsam: Rsam, instrument: Instrument = A) -> dict[int, Value]:
    return {minutes: value for one, minutes, value in rsam.values() if one == instrument}


def test_a_sine_has_the_mean_of_its_absolute_value() -> None:
    times = np.arange(2 * MINUTE + 400) / 100
    wave = np.tile(1000 * np.sin(2 * np.pi * 5 * times) + 50_000, (3, 1)).astype(np.float32)
    rsam = Rsam(CONFIG)
    rsam.take(windows(wave, BEGIN))
    value = newest(rsam)[1]
    assert value.stop == BEGIN + 2 * MINUTE
    assert value.counts == pytest.approx(1000 * 2 / np.pi, rel=0.005)


@settings(max_examples=15)
@given(
    offset=st.integers(0, 3 * MINUTE),
    together=st.integers(1, 40),
    hop=st.sampled_from([100, 400, 1999]),
    seed=st.integers(0, 100),
)
def test_means_are_those_of_the_whole_record(offset: int, together: int, hop: int, seed: int) -> None:
    samples = noise(13 * MINUTE, seed)
    begin = BEGIN + offset
    rsam = Rsam(CONFIG)
    cut, others = windows(samples, begin, hop), windows(noise(3 * MINUTE, seed + 1), begin, hop, B)
    for at in range(0, len(cut), together):
        some = cut[at : at + together]
        # Windows of other stations and stages come in the same batch, and a late component brings a window again.
        early = [replace(one, stage="early") for one in some]
        rsam.take([*others[at : at + together], *some, *early, replace(some[-1], revision=1)])
    seen, amplitudes = cut[-1].stop, filtered(samples)
    for minutes, value in newest(rsam).items():
        length = minutes * MINUTE
        assert value.stop == seen // length * length
        first = max(value.stop - length - begin, 200)
        assert value.counts == pytest.approx(float(amplitudes[first : value.stop - begin].mean()), rel=1e-6)
    assert set(newest(rsam)) >= {1}
    assert newest(rsam, B)[1] != newest(rsam)[1]


@settings(max_examples=10)
@given(
    offset=st.integers(0, MINUTE), together=st.integers(1, 40), hop=st.sampled_from([100, 400]), seed=st.integers(0, 9)
)  # fmt: skip
def test_each_mean_is_made_once_and_whole_minutes_are_those_of_the_record(
    offset: int, together: int, hop: int, seed: int
) -> None:
    samples = noise(13 * MINUTE, seed)
    begin = BEGIN - 2 * MINUTE + offset
    rsam = Rsam(CONFIG)
    cut = windows(samples, begin, hop)
    made: list[RsamValue] = []
    for at in range(0, len(cut), together):
        made += rsam.take([*cut[at : at + together], replace(cut[at], revision=1)])
    amplitudes, stop = filtered(samples), cut[-1].stop
    expected = [
        (minutes, first)
        for minutes in (1, 10)
        for first in range(BEGIN - 20 * MINUTE, stop, minutes * MINUTE)
        if first + minutes * MINUTE <= stop
        and first + minutes * MINUTE - max(first, begin + 200) >= minutes * MINUTE / 2
    ]
    assert sorted((one.minutes, one.time_ns // GRID_NS) for one in made) == sorted(expected)
    assert len({one.id for one in made}) == len(made)
    for one in made:
        first, length = one.time_ns // GRID_NS, one.minutes * MINUTE
        there = max(first, begin + 200)
        assert one.channel == Channel("XX", "A", "", "HHZ")
        assert one.share == pytest.approx((first + length - there) / length)
        whole = amplitudes[there - begin : first + length - begin]
        assert one.counts == pytest.approx(float(whole.mean()), rel=1e-6)


def test_the_minutes_in_which_a_station_goes_are_told_when_it_has_gone() -> None:
    rsam = Rsam(CONFIG)
    made = rsam.take(windows(noise(MINUTE + 4000), BEGIN))
    assert [one.minutes for one in made] == [1]
    assert made[0].share == pytest.approx(1 - 200 / MINUTE)
    [last] = rsam.forget([A, B])
    assert (last.id, last.share) == ("20270115.0801-rsam1-XX.A..HHZ", 4000 / MINUTE)
    assert rsam.forget([A]) == []


def test_behind_a_gap_the_mean_is_that_of_the_samples_that_there_are() -> None:
    before, after = noise(4000, 1), noise(2 * MINUTE, 2)
    after += 70_000
    # The first minute: what came before the gap, less two seconds, and behind it, less two seconds again.
    rsam = Rsam(CONFIG)
    rsam.take([*windows(before, BEGIN), *windows(after[:, :2400], BEGIN + 4500)])
    expected = np.concatenate([filtered(before)[200:], filtered(after)[200:1500]])
    assert newest(rsam)[1].stop == BEGIN + MINUTE
    assert newest(rsam)[1].counts == pytest.approx(float(expected.mean()), rel=1e-6)


def test_less_than_half_of_a_minute_is_no_value() -> None:
    rsam = Rsam(CONFIG)
    rsam.take(windows(noise(3000), BEGIN))
    rsam.take(windows(noise(2400), BEGIN + 2 * MINUTE + 5000))
    # Of the first minute there are 28 s, of the third 8.
    assert newest(rsam) == {}
    rsam.take(windows(noise(6400), BEGIN + 4 * MINUTE))
    assert newest(rsam)[1].stop == BEGIN + 5 * MINUTE


def test_an_instrument_without_a_vertical_has_none_until_it_comes() -> None:
    rsam = Rsam(CONFIG)
    cut = windows(noise(2 * MINUTE), BEGIN)
    for window in cut[:20]:
        rsam.take([replace(window, components="-NE")])
    assert newest(rsam) == {}
    rsam.take(cut)
    assert newest(rsam)[1].stop == BEGIN + 2 * MINUTE


def test_a_clock_that_is_set_back_ends_nothing() -> None:
    rsam = Rsam(CONFIG)
    rsam.take(windows(noise(2 * MINUTE), BEGIN + 10_000 * MINUTE))
    rsam.take(windows(noise(2 * MINUTE), BEGIN))
    assert newest(rsam)[1].stop == BEGIN + 2 * MINUTE


def test_a_silent_station_is_shown_no_longer_and_one_that_has_gone_is_forgotten() -> None:
    rsam = Rsam(CONFIG)
    rsam.take(windows(noise(11 * MINUTE), BEGIN))
    end_ns = (BEGIN + 11 * MINUTE) * GRID_NS

    def shown(later_s: int) -> set[int]:
        return {minutes for _, minutes, _ in rsam.shown(end_ns + later_s * NS_PER_S)}

    assert shown(0) == shown(180) == {1, 10}
    assert shown(181) == {10}
    assert shown(660) == {10}
    assert shown(661) == set()
    rsam.forget([A, B])
    assert rsam.values() == []


def test_memory_does_not_grow_with_time() -> None:
    rsam = Rsam(CONFIG)
    stations = [replace(A, station=f"S{number}") for number in range(20)]
    samples = noise(12 * MINUTE)

    def take(samples: NDArray[np.float32], begin: int) -> None:
        for together in zip(*(windows(samples, begin, instrument=one) for one in stations), strict=True):
            rsam.take(together)
        gc.collect()

    tracemalloc.start()
    take(samples, BEGIN)
    before, _ = tracemalloc.get_traced_memory()
    take(samples, BEGIN + 12 * MINUTE)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert newest(rsam, stations[0])[10].stop == BEGIN + 20 * MINUTE
    # The filter's matrix is made once, for all; a row of twelve minutes is 288 kB.
    assert before < 20 * 1000 + 500_000
    assert after - before < 20 * 100


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"low_hz": 15.0}, "high_hz must be at least twice low_hz, 30 Hz"), ({"low_hz": 0.1}, "low_hz")],
)
def test_a_band_that_is_none_is_refused(keys: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RsamConfig.model_validate(keys)
