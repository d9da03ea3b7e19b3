"""Early, final and withdrawn picks are counted apart, in the metrics and in the station table."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from xiaod.domain.onsets import withdrawal
from xiaod.domain.types import Channel, Latency, Pick
from xiaod.pipeline.pick_stage import count
from xiaod.pipeline.station_table import StationTable
from xiaod.process.metrics import Metrics

CHANNEL = Channel("BW", "RJOB", "", "EHZ")
EARLY = Pick(
    "id-early", CHANNEL, "P", 1_251_073_207_731_250_000, 0.1, 0.9, 5.0, 1200.0, "ZNE", "micro-1", "0" * 64,
    latency=Latency(0.5, 0.0, 0.2, 0.0, 0.1), stage="early",
)  # fmt: skip
FINAL = replace(
    EARLY,
    id="id",
    stage="final",
    time_ns=EARLY.time_ns - 200_000_000,
    latency=Latency(4.0, 0.0, 0.2, 0.0, 0.1),
    early_id=EARLY.id,
    outcome="revised",
    moved_s=-0.2,
)


def counted(*picks: Pick) -> dict[str, float]:
    """What the metrics of picks say, without the buckets of histograms, as Prometheus writes a series."""
    metrics = Metrics()
    metrics.expect_phase("P")
    for pick in picks:
        count(pick, metrics)
    return {
        f"{sample.name}{{{','.join(f'{key}={value}' for key, value in sample.labels.items())}}}": sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        if family.name.startswith("xiaod_pick") and not family.name.endswith("_created")
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def test_the_series_of_a_phase_are_there_before_its_first_pick() -> None:
    assert counted() == dict.fromkeys(
        [
            "xiaod_picks_total{phase=P,stage=early}",
            "xiaod_picks_total{phase=P,stage=final}",
            "xiaod_picks_withdrawn_total{phase=P}",
            "xiaod_pick_revision_seconds_count{phase=P}",
            "xiaod_pick_revision_seconds_sum{phase=P}",
            "xiaod_pick_latency_seconds_count{phase=P,stage=early}",
            "xiaod_pick_latency_seconds_sum{phase=P,stage=early}",
            "xiaod_pick_latency_seconds_count{phase=P,stage=final}",
            "xiaod_pick_latency_seconds_sum{phase=P,stage=final}",
        ],
        0.0,
    )


def changed(*picks: Pick) -> dict[str, float]:
    """Those that are not zero."""
    return {name: round(value, 9) for name, value in counted(*picks).items() if value}


def test_an_early_pick_and_the_final_one_of_the_same_onset() -> None:
    assert changed(EARLY, FINAL) == {
        "xiaod_picks_total{phase=P,stage=early}": 1,
        "xiaod_picks_total{phase=P,stage=final}": 1,
        "xiaod_pick_latency_seconds_count{phase=P,stage=early}": 1,
        "xiaod_pick_latency_seconds_sum{phase=P,stage=early}": 0.8,
        "xiaod_pick_latency_seconds_count{phase=P,stage=final}": 1,
        "xiaod_pick_latency_seconds_sum{phase=P,stage=final}": 4.3,
        "xiaod_pick_revision_seconds_count{phase=P}": 1,
        "xiaod_pick_revision_seconds_sum{phase=P}": 0.2,
    }


def test_a_withdrawal_is_no_pick() -> None:
    # Also not a late one, whatever it says of its emission.
    assert changed(replace(withdrawal(EARLY), latency=EARLY.latency)) == {
        "xiaod_picks_withdrawn_total{phase=P}": 1
    }


def test_a_final_pick_without_an_early_one_is_not_revised() -> None:
    assert changed(replace(FINAL, early_id=None, outcome=None, moved_s=None, latency=None)) == {
        "xiaod_picks_total{phase=P,stage=final}": 1
    }


def test_what_is_withdrawn_was_never_the_last_pick_of_a_station() -> None:
    table = StationTable(60 * 10**9)
    table.expect("server", [CHANNEL], now_ns=0)
    [entry] = table
    table.picked(EARLY)
    assert entry.last_pick is None
    table.picked(FINAL)
    later = replace(EARLY, id="later-early")
    table.picked(later)
    table.picked(withdrawal(later))
    assert entry.last_pick == FINAL
    assert (entry.picks, entry.early_picks, entry.withdrawn_picks) == (1, 2, 1)
