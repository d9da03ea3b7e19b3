"""What the daemon and its help never load: what belongs to training, and what only takes time."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


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
from xiaod.config.loader import load_config
from xiaod.pipeline.factory import open_engine, open_sinks
from xiaod.daemon.service import Service
from xiaod.acquisition.seedlink.source import SeedLinkSource
from xiaod.acquisition.seedlink import connection as link
import xiaod.replay, xiaod.pipeline.offline
config = load_config(Path("config.yaml"))
open_engine(config)
open_sinks(config)
"""
    assert not loaded_after(code) & {"torch", "seisbench", "h5py", "pandas", "onnx"}


def test_help_loads_next_to_nothing() -> None:
    assert not loaded_after("from xiaod.cli.main import build_parser; build_parser().format_help()") & {
        "numpy", "obspy", "onnxruntime", "aiohttp", "pydantic", "yaml",
    }  # fmt: skip


def test_who_asks_a_daemon_by_its_address_loads_neither_arrays_nor_the_configuration() -> None:
    assert not loaded_after(
        "from xiaod.cli.main import main; main(['status', '--url', 'http://127.0.0.1:1'])"
    ) & {
        "numpy", "obspy", "onnxruntime", "aiohttp", "pydantic", "yaml",
    }  # fmt: skip


def test_the_package_costs_nothing_until_its_library_is_asked_for() -> None:
    assert {name.partition(".")[0] for name in loaded_after("import xiaod")} & {
        "numpy", "scipy", "obspy", "onnxruntime", "pydantic", "structlog", "models", "asyncio",
    } == set()  # fmt: skip
    library = loaded_after("from xiaod import Picker; Picker('small')")
    assert "xiaod.library" in library
    assert not library & {"torch", "seisbench", "h5py", "pandas", "onnx", "matplotlib", "aiohttp"}


def test_the_package_has_what_it_says() -> None:
    code = """
import xiaod
assert {type(getattr(xiaod, name)).__name__ for name in xiaod.__all__} == {"type", "ABCMeta", "str"}
try:
    xiaod.Pickers
except AttributeError as error:
    assert str(error) == "module 'xiaod' has no attribute 'Pickers'"
else:
    raise AssertionError
"""
    loaded_after(code)
