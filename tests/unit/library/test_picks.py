"""Picks as a sequence, as a table, and as ObsPy has them."""

import io
import math
import sys
from dataclasses import replace

import pandas as pd
import pytest
from obspy import read_events

from xiaod import Picks
from xiaod.config import AgencyConfig
from xiaod.domain.onsets import settled, withdrawal
from xiaod.domain.types import Channel, Pick
from xiaod.process.plugins import MissingExtraError
from xiaod.sinks.file.formats import render

P = Pick(
    "20090824.002007.73-P-BW.RJOB..EH-micro-0.1.0",
    Channel("BW", "RJOB", "", "EHZ"),
    *("P", 1_251_073_207_731_250_123, 0.1, 0.93, 5.0, 1200.0, "ZNE", "micro-0.1.0", "0" * 64),
)
S = replace(
    P, id="20090824.002008.73-S-NA.A..EH-micro-0.1.0", channel=Channel("NA", "A", "", "EHN"), phase="S"
)
S = replace(S, time_ns=P.time_ns + 10**9, snr=math.inf, time_uncertainty_s=math.nan)
EARLY = replace(P, id=f"{P.id}-early", stage="early", time_ns=P.time_ns - 10**7)
LATER = replace(
    EARLY, id="20090824.002107.73-P-BW.RJOB..EH-micro-0.1.0-early", time_ns=P.time_ns + 60 * 10**9
)
ALL = [withdrawal(LATER), S, settled(P, EARLY), LATER, EARLY]


def test_a_sequence_in_order_of_time() -> None:
    picks = Picks(ALL)
    assert list(picks) == sorted(ALL, key=lambda pick: (pick.time_ns, pick.id))
    assert picks[0] == EARLY
    assert picks[1:3] == Picks([settled(P, EARLY), S])
    assert (picks.of("final"), picks.of("withdrawn")) == (
        Picks([settled(P, EARLY), S]),
        Picks([withdrawal(LATER)]),
    )
    assert (len(picks), S in picks, picks == Picks(ALL[1:])) == (5, True, False)
    assert hash(picks) == hash(Picks(reversed(ALL)))
    assert repr(picks) == "<5 picks at 2 stations>"
    assert [line.split()[3] for line in str(picks).splitlines()] == [
        "early",
        "confirmed",
        "final",
        "early",
        "withdrawn",
    ]
    assert str(Picks([])) == ""


def test_a_table_has_the_columns_and_values_of_the_csv() -> None:
    frame = Picks(ALL).to_dataframe()
    written = pd.read_csv(
        io.BytesIO(render("csv", list(Picks(ALL)), AgencyConfig())), dtype=str, keep_default_na=False
    )
    assert list(frame.columns) == list(written.columns)
    assert frame["time"].tolist() == [pd.Timestamp(pick.time_ns, tz="UTC") for pick in Picks(ALL)]
    for name in written.columns.drop(["time", "amplitude"]):
        if frame[name].dtype == float:
            numbers = [float(text) if text else math.nan for text in written[name]]
            pd.testing.assert_series_equal(frame[name], pd.Series(numbers, name=name))
        else:
            assert [text or "" for text in frame[name]] == written[name].tolist()
    # The station NA is not missing.
    assert frame["network"].tolist().count("NA") == 1
    assert frame.loc[frame["stage"] == "final", "outcome"].tolist() == ["confirmed", None]


def test_a_table_without_picks_has_the_same_columns() -> None:
    empty, full = Picks([]).to_dataframe(), Picks(ALL).to_dataframe()
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_without_pandas_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        MissingExtraError, match=r"to_dataframe\(\) needs the package pandas, .* install 'xiaod\[pandas\]'"
    ):
        Picks(ALL).to_dataframe()


def test_obspy_has_what_the_quakeml_has() -> None:
    picks = Picks(ALL)
    assert picks.to_catalog() == read_events(io.BytesIO(render("quakeml", list(picks), AgencyConfig())))
    # Each onset once, as it stands: the early one has its final pick, the later one is withdrawn.
    assert [(one.phase_hint, one.evaluation_status) for one in picks.to_obspy()] == [
        ("P", "confirmed"),
        ("S", "confirmed"),
        ("P", "rejected"),
    ]
    assert len(Picks([]).to_catalog()) == len(Picks([]).to_obspy()) == 0
