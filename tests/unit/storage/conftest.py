"""A place for a store, and the connections to it."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "picks.sqlite"


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections that are opened from now on, for limits that SQLite has for each of them."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def noted(*arguments: Any, **keys: Any) -> sqlite3.Connection:
        opened.append(connect(*arguments, **keys))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", noted)
    return opened
