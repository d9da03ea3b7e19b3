"""Every dataset in the table gives the same waveforms of the same recording, and says when it cannot."""

from pathlib import Path

import h5py
import numpy as np
import obspy
import pandas as pd
import pytest
from obspy.core.event import Catalog, Event, Pick, WaveformStreamID

from distill.cache import TeacherCache
from distill.config import ConfigError, DataSection, SourceSection, TrainConfig
from distill.corpus import Corpus, hours_of, load_corpus, summary
from distill.datasets import DATASETS, Waveform, open_dataset
from tests.conftest import Recording

P_S, S_S = 4.73, 5.71

STORED = sorted(set(DATASETS) - {"example"})
"""Those that are read from a folder."""


class QuietTeacher:
    """Says noise, and counts how often it is asked."""

    fingerprint, description = "quiet", "quiet"

    def __init__(self) -> None:
        self.asked = 0

    def annotate(self, record: np.ndarray) -> np.ndarray:
        self.asked += 1
        return np.stack([np.ones(record.shape[1]), *np.zeros((2, record.shape[1]))]).astype(np.float32)


def write_corpus(folder: Path, waves: np.ndarray) -> None:
    folder.mkdir()
    row = {"trace_name": "a", "network": "BW", "station": "RJOB", "kind": "event", "event": "quake"}
    row |= {"p_sample": P_S * 100, "s_sample": S_S * 100, "trace_polarity": "negative"}  # type: ignore[dict-item]
    pd.DataFrame([row]).to_csv(folder / "metadata.csv", index=False)
    with h5py.File(folder / "waveforms.hdf5", "w") as file:
        file["data/a"] = waves


def write_seisbench(folder: Path, waves: np.ndarray) -> None:
    import seisbench.data

    folder.mkdir()
    with seisbench.data.WaveformDataWriter(folder / "metadata.csv", folder / "waveforms.hdf5") as writer:
        writer.data_format = {"dimension_order": "CW", "component_order": "ENZ", "sampling_rate": 100}
        row = {"station_network_code": "BW", "station_code": "RJOB", "source_id": "quake", "split": "train"}
        row |= {"trace_Pg_arrival_sample": P_S * 100, "trace_S_arrival_sample": S_S * 100}  # type: ignore[dict-item]
        row["trace_polarity"] = "negative"
        writer.add_trace(row, waves[::-1].astype(np.float32))


def write_miniseed(folder: Path, start: obspy.UTCDateTime) -> None:
    folder.mkdir()
    stream = obspy.read()
    for trace in stream:
        trace.data = trace.data.astype(np.float32)
    stream.select(component="Z").write(str(folder / "z.mseed"), format="MSEED")
    stream.select(component="[NE]").write(str(folder / "ne.mseed"), format="MSEED")
    (folder / "notes.txt").write_text("not a waveform")
    event = Event(
        picks=[
            Pick(
                time=start + offset,
                phase_hint=phase,
                polarity="negative" if phase == "Pg" else "undecidable",
                waveform_id=WaveformStreamID(network_code="BW", station_code="RJOB"),
            )
            for offset, phase in ((P_S, "Pg"), (S_S, "S"), (S_S + 0.4, "AML"))
        ]
    )
    Catalog([event]).write(str(folder / "picks.xml"), format="QUAKEML")


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, SourceSection]:
    stream = obspy.read()
    waves = np.stack([stream.select(component=letter)[0].data for letter in "ZNE"]).astype(np.float32)
    write_corpus(tmp_path / "corpus", waves)
    write_seisbench(tmp_path / "seisbench", waves)
    write_miniseed(tmp_path / "miniseed", stream[0].stats.starttime)
    return {kind: SourceSection.model_validate({"kind": kind, "path": kind}) for kind in STORED}


@pytest.mark.parametrize("kind", STORED)
def test_the_same_recording(
    kind: str, sources: dict[str, SourceSection], tmp_path: Path, rjob: Recording
) -> None:
    dataset = open_dataset(sources[kind], tmp_path)
    assert len(dataset) == 1
    [waveform] = list(dataset)
    assert isinstance(waveform, Waveform)
    assert (waveform.station, waveform.kind) == ("BW.RJOB", "event")
    assert waveform.event
    assert waveform.polarity == "down"
    for row, letter in enumerate("ZNE"):
        np.testing.assert_allclose(waveform.waves[row], rjob.components[letter], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(np.array(waveform.analyst, float), (P_S * 100, S_S * 100), atol=1e-3)
    assert open_dataset(sources[kind], tmp_path).fingerprint == dataset.fingerprint


@pytest.mark.parametrize("kind", STORED)
def test_what_is_not_there_is_named(kind: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, FileNotFoundError), match="absent"):
        open_dataset(SourceSection.model_validate({"kind": kind, "path": "absent"}), tmp_path)


def test_the_example_is_that_recording_too_after_quiet(rjob: Recording) -> None:
    [waveform] = list(open_dataset(SourceSection(kind="example"), Path()))
    assert (waveform.station, waveform.kind, bool(waveform.event)) == ("BW.RJOB", "event", True)
    quiet = waveform.waves.shape[1] - 3000
    assert quiet > 1500  # P may stand at 15 s in a window
    for row, letter in enumerate("ZNE"):
        np.testing.assert_allclose(
            waveform.waves[row, quiet:], rjob.components[letter] * 10, rtol=1e-4, atol=0.1
        )
    np.testing.assert_allclose(np.array(waveform.analyst, float) - quiet, (P_S * 100, S_S * 100), atol=1.0)


def test_other_rates_and_gaps_of_miniseed(tmp_path: Path) -> None:
    long = obspy.read()
    for trace in long:
        trace.data = np.tile(trace.data, 4).astype(np.float32)
    long.resample(50.0)
    later = long.copy()
    for trace in long + later:
        trace.data = trace.data.astype(np.float32)
    for trace in later:
        trace.stats.starttime += 200
    (tmp_path / "folder").mkdir()
    long.write(str(tmp_path / "folder/a.mseed"), format="MSEED")
    later.write(str(tmp_path / "folder/b.mseed"), format="MSEED")
    found = list(open_dataset(SourceSection(kind="miniseed", path="folder"), tmp_path))
    assert [waveform.waves.shape for waveform in found] == [(3, 12000), (3, 12000)]
    assert {waveform.kind for waveform in found} == {"continuous"}
    assert all(waveform.waves.any(axis=1).all() for waveform in found)


def test_what_is_no_number_in_miniseed_is_a_gap(tmp_path: Path) -> None:
    stream = obspy.read()
    for trace in stream:
        trace.data = np.tile(trace.data, 4).astype(np.float64)
        if trace.stats.component == "Z":
            trace.data[4000:4003] = np.nan, np.inf, 1.0
    (tmp_path / "float").mkdir()
    stream.write(str(tmp_path / "float" / "all.mseed"), format="MSEED", encoding="FLOAT64")
    waveforms = list(open_dataset(SourceSection(kind="miniseed", path="float"), tmp_path))
    assert [waveform.waves.shape[1] for waveform in waveforms] == [4000, 12_000 - 4002]
    assert all(np.isfinite(waveform.waves).all() for waveform in waveforms)
    for waveform, start in zip(waveforms, (0, 4002), strict=True):
        stop = start + waveform.waves.shape[1]
        for row, letter in enumerate("ZNE"):
            [trace] = stream.select(component=letter)
            np.testing.assert_allclose(waveform.waves[row], trace.data[start:stop], rtol=1e-6)


def test_a_corpus_of_many_sources_is_labelled_once(sources: dict[str, SourceSection], tmp_path: Path) -> None:
    config = TrainConfig(
        name="many",
        version="0.0.1",
        data=DataSection(sources=tuple(sources.values()), validation_fraction=0.0),
    )
    teacher = QuietTeacher()
    first = load_corpus(tmp_path, config, teacher, tmp_path / "cache")
    assert teacher.asked == len(sources)
    second = load_corpus(tmp_path, config, teacher, tmp_path / "cache")
    assert teacher.asked == len(sources)
    assert first.sha256 == second.sha256
    assert summary(first)["training"] == summary(second)["training"]
    assert summary(first)["training"]["analysts"] == len(sources)
    assert len({record.onsets for record in first.training}) == 1


def test_no_event_is_in_both_parts(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    rows = []
    with h5py.File(tmp_path / "corpus/waveforms.hdf5", "w") as file:
        for number in range(12):
            rows.append(
                {
                    "trace_name": f"t{number}",
                    "network": "XX",
                    "station": f"S{number % 4}",
                    "kind": "event",
                    "event": f"e{number // 4}" if number < 8 else "",
                    "p_sample": 100,
                    "s_sample": "",
                }
            )
            file[f"data/t{number}"] = np.ones((3, 400), np.int32)
    pd.DataFrame(rows).to_csv(tmp_path / "corpus/metadata.csv", index=False)
    source = SourceSection(path="corpus")
    for split_events, wanted in ((False, 9), (True, 3)):
        data = DataSection(sources=(source,), validation_fraction=0.25, split_events=split_events)
        config = TrainConfig(name="split", version="0.0.1", data=data)
        corpus = load_corpus(tmp_path, config, QuietTeacher(), tmp_path / "cache")
        assert len(corpus.training) == wanted
        stations = [{record.station for record in part} for part in (corpus.training, corpus.validation)]
        assert not stations[0] & stations[1]


def corpus_of(folder: Path, rows: list[tuple[str, str, str]]) -> SourceSection:
    """A corpus of records of 36 s each: station, kind, and where it was published."""
    folder.mkdir()
    columns = ("station", "kind", "source")
    with h5py.File(folder / "waveforms.hdf5", "w") as file:
        for number in range(len(rows)):
            file[f"data/t{number}"] = np.ones((3, 3600), np.int32)
    table = pd.DataFrame([dict(zip(columns, row, strict=True)) for row in rows])
    table["trace_name"] = [f"t{number}" for number in range(len(rows))]
    table = table.assign(network="XX", p_sample="", s_sample="")
    table.to_csv(folder / "metadata.csv", index=False)
    return SourceSection(path=folder.name)


def test_noise_is_set_apart_by_station_and_of_every_origin(tmp_path: Path) -> None:
    quiet = [
        (f"{origin}{number}", kind, origin)
        for origin in "AB"
        for number in range(10)
        for kind in ("noise", "event")
    ]
    source = corpus_of(tmp_path / "many", [*quiet, ("ALONE", "noise", "C")])
    teacher, cache = QuietTeacher(), tmp_path / "cache"

    def loaded(*sources: SourceSection) -> Corpus:
        data = DataSection(sources=sources, validation_fraction=0.2)
        return load_corpus(tmp_path, TrainConfig(name="apart", version="0.0.1", data=data), teacher, cache)

    corpus = loaded(source.model_copy(update={"noise_apart_h": 0.05}))
    stations = [
        {record.station for record in part} for part in (corpus.training, corpus.validation, corpus.noise)
    ]
    assert not stations[0] & stations[1] | stations[0] & stations[2] | stations[1] & stations[2]
    assert {record.kind for record in corpus.noise} == {"noise"}
    assert 0.05 <= hours_of(corpus.noise) <= 0.08
    assert {record.origin for record in corpus.noise} == {"A", "B"}
    assert summary(corpus)["noise set apart"]["records"] == len(corpus.noise)
    with pytest.raises(ConfigError, match=r"noise_apart_h: 9: .* have 0\.\d h without a known earthquake"):
        loaded(source.model_copy(update={"noise_apart_h": 9.0}))
    assert loaded(source).noise == ()


def test_stations_can_be_left_out(tmp_path: Path) -> None:
    source = corpus_of(tmp_path / "some", [(f"A{number}", "noise", "") for number in range(4)])
    for without, wanted in (((), 4), (("XX.A1", "XX.A3"), 2)):
        data = DataSection(sources=(source.model_copy(update={"without": without}),), validation_fraction=0.0)
        config = TrainConfig(name="some", version="0.0.1", data=data)
        corpus = load_corpus(tmp_path, config, QuietTeacher(), tmp_path / "cache")
        assert len(corpus.training) == wanted
        assert not {record.station for record in corpus.training} & set(without)
    data = DataSection(sources=(source.model_copy(update={"without": ("XX.B",)}),))
    with pytest.raises(ConfigError, match=r"some: without: no such station: XX\.B"):
        load_corpus(
            tmp_path, TrainConfig(name="some", version="0.0.1", data=data), QuietTeacher(), tmp_path / "cache"
        )


def test_another_source_leaves_the_stations_of_the_first_where_they_are(tmp_path: Path) -> None:
    first = corpus_of(tmp_path / "first", [(f"A{number}", "event", "") for number in range(20)])
    # A station of the first source has records in the second too.
    second = corpus_of(
        tmp_path / "second", [(f"B{number}", "event", "") for number in range(19)] + [("A3", "event", "")]
    )
    held = []
    for sources in ((first,), (first, second)):
        data = DataSection(sources=sources, validation_fraction=0.3)
        config = TrainConfig(name="two", version="0.0.1", data=data)
        corpus = load_corpus(tmp_path, config, QuietTeacher(), tmp_path / "cache")
        held.append({record.station for record in corpus.validation})
        assert not held[-1] & {record.station for record in corpus.training}
    assert {station for station in held[1] if station.startswith("XX.A")} == held[0]
    assert len(held[1]) == 12


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    cache = TeacherCache(tmp_path, "a", "b", "c")
    cache.put("x", np.zeros((3, 5), np.float16))
    cache.save()
    cache.path.write_bytes(cache.path.read_bytes()[:40])
    again = TeacherCache(tmp_path, "a", "b", "c")
    assert len(again) == 0
    again.put("x", np.ones((3, 5), np.float16))
    again.save()
    assert TeacherCache(tmp_path, "a", "b", "c").get("x") is not None
    assert TeacherCache(tmp_path, "other", "b", "c").get("x") is None
