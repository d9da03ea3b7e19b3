"""Imports go down only, and the daemon never loads what belongs to training."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = {
    0: (
        "records",
        "timebase",
        "timeliness",
        "quota",
        "logs",
        "grouping",
        "notify",
        "metrics",
        "components",
        "config",
        "credential",
        "exitcode",
        "standardoutput",
        "folders",
        "filetree",
        "tables",
        "shard",
        "lock",
        "turns",
    ),
    1: (
        "account",
        "resample",
        "run",
        "waiting",
        "recent",
        "refill",
        "delivery",
        "track",
        "buffer",
        "onsets",
        "reported",
        "picker",
        "streampicker",
        "trace",
        "unpicked",
    ),
    2: (
        "sources",
        "engines",
        "sinks",
        "storedpicks",
        "store",
        "replay",
        "configfile",
        "exposed",
        "board",
        "reload",
        "placement",
        "stations",
    ),
    3: (
        "assembler",
        "bridge",
        "backlog",
        "ledger",
        "outlet",
        "stages",
        "monitor",
        "pipeline",
        "web",
        "estate",
        "inheritance",
        "equipment",
        "state",
        "intake",
        "watch",
    ),
    4: (
        "grace",
        "service",
        "offline",
        "archive",
        "offers",
        "inquiry",
        "bench",
        "soak",
        "selftest",
        "starter",
        "plot",
        "commands",
        "cli",
        "__main__",
    ),
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
PURE = {"asyncio", "threading", "socket", "time", "logging", "structlog", "os"}
"""What floor 1 has no use for: it has no clock, no input or output, and no log."""


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "xiaod"}
    return names


FILES = sorted((ROOT / "xiaod").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    part = path.relative_to(ROOT / "xiaod").parts[0].removesuffix(".py")
    if part == "__init__":
        return
    floor = FLOOR_OF[part]
    for name in imports_of(path):
        assert not name.startswith("distill"), name
        if name.startswith("xiaod.") and (other := name.split(".")[1]) in FLOOR_OF:
            assert FLOOR_OF[other] <= floor, (
                f"{path.name} (floor {floor}) imports {name} (floor {FLOOR_OF[other]})"
            )
    if floor == 1:
        assert not imports_of(path) & PURE


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.py")), ids=lambda path: path.name)
def test_models_import_nothing_of_ours_but_models(path: Path) -> None:
    assert not [name for name in imports_of(path) if name.startswith(("xiaod", "distill"))]


def loaded_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"]
    return set(
        subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
        ).stdout.split()
    )


def test_the_daemon_loads_neither_torch_nor_seisbench() -> None:
    code = """
from pathlib import Path
from xiaod.configfile import load_config
from xiaod.equipment import open_engine, open_sinks
from xiaod.service import Service
from xiaod.sources.seedlink import SeedLinkSource
from xiaod.sources import link
import xiaod.replay, xiaod.offline
config = load_config(Path("config.yaml"))
open_engine(config)
open_sinks(config)
"""
    assert not loaded_after(code) & {"torch", "seisbench", "h5py", "pandas", "onnx"}


def test_help_loads_next_to_nothing() -> None:
    assert not loaded_after("from xiaod.cli import build_parser; build_parser().format_help()") & {
        "numpy", "obspy", "onnxruntime", "aiohttp", "pydantic", "yaml",
    }  # fmt: skip
