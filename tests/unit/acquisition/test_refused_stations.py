"""When refused stations are requested again."""

from types import SimpleNamespace

import pytest

from xiaod.acquisition.seedlink.refused_stations import RefusedStations


def test_it_is_asked_less_and_less_often_also_when_it_is_accepted_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now_s=0.0)
    monkeypatch.setattr(
        "xiaod.acquisition.seedlink.refused_stations.time", SimpleNamespace(monotonic=lambda: clock.now_s)
    )
    refusals = RefusedStations(first_s=60.0, longest_s=3600.0)
    refusals.note(["BW.A", "BW.B"], ["BW.A"])
    asked_s = []
    for second in range(20_000):
        clock.now_s = float(second)
        if refusals.due():
            asked_s.append(second)
            # Accepted when asked alone, refused with all the others.
            refusals.note(["BW.A", "BW.B"], ["BW.A"])
    assert len(asked_s) <= 10
    waits_s = [later - earlier for earlier, later in zip([0, *asked_s], asked_s, strict=False)]
    assert waits_s == sorted(waits_s)
    assert max(waits_s) <= 3600


def test_what_is_accepted_or_not_asked_for_any_more_is_forgotten() -> None:
    refusals = RefusedStations(first_s=0.0, longest_s=0.0)
    refusals.note(["BW.A", "BW.B"], ["BW.A", "BW.B"])
    assert refusals.due() == ["BW.A", "BW.B"]
    refusals.note(["BW.A"], ["BW.A"])
    assert refusals.due() == ["BW.A"]
    refusals.note(["BW.A"], [])
    assert refusals.due() == []
