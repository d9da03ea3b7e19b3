"""The sdist and the wheel: they hold all files of the packages, and the program runs from what the wheel holds."""

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from xiaod import __version__

ROOT = Path(__file__).parents[3]
PACKAGES = ("distill", "models", "xiaod")
OTHERS = ("LICENSE", "MANIFEST.in", "README.md", "config.yaml", "pyproject.toml")


def built(kind: str, source: Path, into: Path) -> Path:
    """What setuptools builds of a folder, without asking a network for anything."""
    code = f"import sys; from setuptools.build_meta import build_{kind} as build; print(build(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, into], cwd=source, capture_output=True, text=True, check=False, timeout=120
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from an sdist of a copy: building leaves files in a folder, and takes up those that it finds."""
    folder = tmp_path_factory.mktemp("dist")
    copy = folder / "copy"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in OTHERS:
        shutil.copy(ROOT / name, copy)
    shutil.unpack_archive(built("sdist", copy, folder), folder, filter="data")
    return built("wheel", folder / f"xiaod-{__version__}", folder)


def test_the_wheel_holds_the_files_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == ours
    assert {
        "models/weights/micro.onnx",
        "xiaod/daemon/web/static/page.html",
        "xiaod/domain/pick.schema.json",
        "distill/micro.yaml",
    } <= held


def test_the_daemon_is_installed_without_what_training_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [text] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA")]
        [scripts] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/entry_points.txt")]  # fmt: skip
    wanted = [Requirement(line) for line in message_from_string(text).get_all("Requires-Dist", [])]
    needed = {one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})}
    assert {"numpy", "onnxruntime", "obspy"} <= needed
    assert not needed & {"torch", "seisbench", "pandas", "h5py"}
    entries = configparser.ConfigParser()
    entries.read_string(scripts)
    assert dict(entries["console_scripts"]) == {"xiaod": "xiaod.cli.main:main", "xiao-distill": "distill.cli:main"}  # fmt: skip


def test_the_program_runs_from_what_the_wheel_holds(wheel: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}

    def said(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    for package in PACKAGES:
        found = Path(said("-c", f"import {package}; print({package}.__file__)").strip())
        assert found.is_relative_to(tmp_path / "site")
    said("-m", "xiaod", "init", "replay:example", "--output", "my.yaml")
    assert "passed: P and S arrived" in said("-m", "xiaod", "selftest", "--config", "my.yaml")
