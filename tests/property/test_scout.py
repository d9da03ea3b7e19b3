"""The scout: new samples only, many stations at once, and yet what it would notice in the whole stream."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.weights import shipped, stateful_path, weights_path
from tests.conftest import Recording
from tests.streams import OneInstrument
from xiaod.domain.types import Channel, Instrument, Notice, Segment, StreamBatch, Window
from xiaod.inference.errors import ModelError
from xiaod.inference.scout import Scout
from xiaod.waveform.batches import Streams
from xiaod.waveform.instrument import BufferSettings
from xiaod.waveform.schedule import Cutting, WindowSchedule

[MODEL] = shipped(stateful=True)
THRESHOLD = 0.02
"""A low one, so that there is much to compare."""


def new_scout() -> Scout:
    return Scout(stateful_path(MODEL), threshold=THRESHOLD)


CHUNK, LATE = new_scout().spec.chunk_samples, new_scout().spec.delay_samples


def wave_of(recording: Recording, seed: int = 3) -> NDArray[np.float32]:
    """The event after and before synthetic noise of the strength of its own first four seconds, whole chunks."""
    rng = np.random.default_rng(seed)
    rows = []
    for data in recording.components.values():
        quiet = data[:400]
        noise = [rng.normal(quiet.mean(), quiet.std(), 2000) for _ in range(2)]
        rows.append(np.concatenate([noise[0], data, noise[1]]))
    samples = np.stack(rows).astype(np.float32)
    return samples[:, : samples.shape[1] // CHUNK * CHUNK]


def windows_in(
    samples: NDArray[np.float32], chunks: Sequence[int], station: str = "A", begin: int = 0
) -> list[Window]:
    """A stream in windows of so many chunks, again and again."""
    windows, start, number = [], 0, 0
    while start < samples.shape[1]:
        stop = min(samples.shape[1], start + CHUNK * chunks[number % len(chunks)])
        instrument = Instrument("XX", station, "", "HH")
        window = Window(instrument, begin + start, 0, samples[:, start:stop], "ZNE", discontinuous=start == 0)
        windows.append(window)
        start, number = stop, number + 1
    return windows


def noticed_of(notices: Sequence[Notice], station: str = "A") -> set[int]:
    """The samples of all spans."""
    return {
        index
        for notice in notices
        if notice.instrument.station == station
        for first, last in notice.spans
        for index in (first, last)
    }


def wanted_of(samples: NDArray[np.float32], begin: int = 0) -> set[int]:
    """First and last sample of each chunk that reach the threshold, of the whole stream in one call."""
    [values] = new_scout().values(samples[None])
    found = set()
    for start in range(0, samples.shape[1], CHUNK):
        high = np.flatnonzero(values[start : start + CHUNK] >= THRESHOLD)
        high = high[high + start - LATE >= 0]
        if len(high):
            found |= {begin + start - LATE + int(high[0]), begin + start - LATE + int(high[-1])}
    return found


@settings(max_examples=20)
@given(
    chunks=st.lists(st.integers(1, 30), min_size=1, max_size=6), together=st.integers(1, 5), data=st.data()
)
def test_any_cut_of_any_stations_notices_what_the_whole_shows(
    rjob: Recording, chunks: list[int], together: int, data: st.DataObject
) -> None:
    waves = {"A": wave_of(rjob), "B": wave_of(rjob, seed=4)[:, : 90 * CHUNK]}
    left = {name: windows_in(wave, chunks, name) for name, wave in waves.items()}
    scout, notices = new_scout(), []
    while any(left.values()):
        names = [
            data.draw(st.sampled_from([one for one in left if left[one]]))
            for _ in range(together)
            if any(left.values())
        ]
        batch = [left[name].pop(0) for name in names if left[name]]
        notices += scout.look(StreamBatch(tuple(batch)))
    for name, wave in waves.items():
        assert noticed_of(notices, name) == wanted_of(wave)
        last = max(notice.looked_until for notice in notices if notice.instrument.station == name)
        assert last == wave.shape[1] - LATE
    assert wanted_of(waves["A"])


def test_the_event_is_noticed_in_time(rjob: Recording) -> None:
    """At the threshold of the file: within two seconds of the P, and not in all of the noise."""
    scout = Scout(stateful_path(MODEL))
    notices = scout.look(StreamBatch(tuple(windows_in(wave_of(rjob), [7]))))
    spans = [span for notice in notices for span in notice.spans]
    p_sample = 2000 + 473
    assert any(p_sample - 50 <= first <= p_sample + 200 for first, _ in spans)
    assert sum(last - first for first, last in spans) < 2000


@pytest.mark.parametrize("change", ["discontinuous", "hole", "components"])
def test_what_does_not_join_on_begins_anew(rjob: Recording, change: str) -> None:
    wave = wave_of(rjob)
    scout = new_scout()
    scout.look(StreamBatch(tuple(windows_in(wave, [10])[:12])))
    hole = CHUNK if change == "hole" else 0
    begin = 120 * CHUNK + hole
    rest = windows_in(wave[:, 20 * CHUNK :], [10], begin=begin)
    first = replace(
        rest[0],
        discontinuous=change == "discontinuous",
        components="ZN-" if change == "components" else "ZNE",
    )
    rest = [first, *(replace(one, components=first.components) for one in rest[1:])]
    fresh = [replace(rest[0], discontinuous=True), *rest[1:]]
    assert scout.look(StreamBatch(tuple(rest))) == new_scout().look(StreamBatch(tuple(fresh)))


def test_a_station_that_is_forgotten_disturbs_no_other(rjob: Recording) -> None:
    wave = wave_of(rjob)
    one, other = windows_in(wave, [9], "A"), windows_in(wave, [9], "B")
    alone, scout = new_scout(), new_scout()
    expected = [alone.look(StreamBatch((window,))) for window in other]
    found = []
    for number, (mine, window) in enumerate(zip(one, other, strict=True)):
        if number == 10:
            scout.forget([mine.instrument])
        batch = (mine, window) if number < 10 else (window,)
        found.append(
            [notice for notice in scout.look(StreamBatch(batch)) if notice.instrument.station == "B"]
        )
    assert found == expected
    # Its row is used again, as new.
    scout.look(StreamBatch((replace(one[3], index=0, discontinuous=True),)))
    held = scout.state_bytes
    scout.look(StreamBatch((replace(one[4], index=9 * CHUNK),)))
    assert scout.state_bytes == held


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(40, 700), min_size=1, max_size=6), offset=st.integers(0, 3 * CHUNK))
def test_records_in_any_pieces_give_the_same_streams(rjob: Recording, cuts: list[int], offset: int) -> None:
    """From records to what is noticed: whole chunks at multiples of their length, wherever the data begin."""
    wave = wave_of(rjob)

    def streamed(cuts: list[int]) -> list[Window]:
        buffers = BufferSettings()
        one, streams = OneInstrument(buffers), Streams(most=1000)
        schedule = WindowSchedule(one.channels, Cutting(CHUNK, CHUNK, revised=False, most=20))
        start, number = offset, 0
        while start < wave.shape[1]:
            stop = min(wave.shape[1], start + cuts[number % len(cuts)])
            for letter, row in zip("ZNE", wave, strict=True):
                channel = Channel("XX", "A", "", "HH" + letter)
                one.insert(Segment(channel, start * 10_000_000, 100.0, row[start:stop]), None)
                one.channels.release(None)
                if schedule.is_due(None):
                    list(schedule.cut(None, None, streams))
            start, number = stop, number + 1
        one.channels.release(None, final=True)
        list(schedule.cut(None, None, streams, final=True))
        return [window for batch in streams.take(everything=True) for window in batch.windows]

    found, wanted = streamed(cuts), streamed([400])
    assert all(window.index % CHUNK == 0 and not window.samples.shape[1] % CHUNK for window in found)
    assert np.array_equal(
        np.concatenate([window.samples for window in found], axis=1),
        np.concatenate([window.samples for window in wanted], axis=1),
    )
    assert noticed_of(new_scout().look(StreamBatch(tuple(found)))) == noticed_of(
        new_scout().look(StreamBatch(tuple(wanted)))
    )


def test_a_model_that_does_not_stream_is_refused() -> None:
    with pytest.raises(ModelError, match="stateful"):
        Scout(weights_path("micro"))
