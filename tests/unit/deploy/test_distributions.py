"""The sdist and the wheel: they hold all files of the packages, and the program runs from what the wheel holds."""

import configparser
import gzip
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from xiaod import __version__
from xiaod.cli.commands import COMMANDS
from xiaod.cli.main import main
from xiaod.cli.manual import manual
from xiaod.process.exit_status import ExitCode

ROOT = Path(__file__).parents[3]
PACKAGES = ("distill", "models", "xiaod")
OTHERS = ("LICENSE", "README.md", "pyproject.toml")


def built(kind: str, source: Path, into: Path) -> Path:
    """What setuptools builds of a folder, without asking a network for anything."""
    code = f"import sys; from setuptools.build_meta import build_{kind} as build; print(build(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, into], cwd=source, capture_output=True, text=True, check=False, timeout=120
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1]


DEB = ROOT / "deploy" / "deb"


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


def packaged(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [DEB / "build.sh", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, **environment},
    )


@pytest.mark.skipif(
    shutil.which("dpkg-deb") is None or not Path("/usr/bin/python3").exists(), reason="this is no Debian"
)
def test_the_debian_package_holds_program_unit_user_configuration_and_manual(
    wheel: Path, tmp_path: Path
) -> None:
    if subprocess.run(
        ["/usr/bin/python3", "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"], check=False
    ).returncode:
        pytest.skip("needs python3-venv, of Python 3.11 or newer (apt install python3-venv)")
    # The libraries would have to be fetched.
    done = packaged("--add", "events", "--output", tmp_path, wheel, PIP_NO_DEPS="1", PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    [package] = tmp_path.glob("xiaod_*.deb")
    root = tmp_path / "root"
    subprocess.run(["dpkg-deb", "-R", package, root], check=True, timeout=60)
    control = message_from_string((root / "DEBIAN" / "control").read_text(encoding="utf-8"))
    assert control["Version"] == __version__.replace(".dev", "~dev")
    assert (root / "usr/bin/xiaod").readlink() == Path("/opt/xiaod/bin/xiaod")
    assert (root / "opt/xiaod/bin/python").readlink() == Path(
        "/usr/bin", control["Depends"].partition(",")[0]
    )
    for ours, there in (
        ("systemd/xiaod.service", "usr/lib/systemd/system/xiaod.service"),
        ("systemd/xiaod@.service", "usr/lib/systemd/system/xiaod@.service"),
        ("systemd/xiaod-events.service", "usr/lib/systemd/system/xiaod-events.service"),
        ("systemd/sysusers.d/xiaod.conf", "usr/lib/sysusers.d/xiaod.conf"),
        ("systemd/tmpfiles.d/xiaod.conf", "usr/lib/tmpfiles.d/xiaod.conf"),
        ("config.yaml", "usr/share/xiaod/config.yaml"),
        ("deploy/deb/postinst", "DEBIAN/postinst"),
    ):
        assert (root / there).read_bytes() == (ROOT / ours).read_bytes(), there
    # What a unit starts is in the package, and Python has nothing to write when it runs.
    assert "ExecStart=/opt/xiaod/bin/xiaod " in (ROOT / "systemd/xiaod.service").read_text(encoding="utf-8")
    assert os.access(root / "opt/xiaod/bin/xiaod", os.X_OK)
    [site] = (root / "opt/xiaod/lib").glob("python3.*/site-packages")
    sources = sorted(site.rglob("*.py"))
    assert sources
    assert [
        path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
    ] == []
    with gzip.open(root / "usr/share/man/man1/xiaod.1.gz", "rt", encoding="utf-8") as page:
        assert page.read() == manual()
    sums = (root / "DEBIAN" / "md5sums").read_text(encoding="utf-8")
    assert f"  opt/xiaod/lib/{site.parent.name}/site-packages/models/weights/micro.onnx\n" in sums


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "'' is no wheel of xiaod"),
        (["--arch"], "--arch needs a value"),
        (["--frobnicate"], "unknown argument '--frobnicate'"),
    ],
)
def test_wrong_arguments_of_the_packager(arguments: list[str], said: str) -> None:
    done = packaged(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="this is no Debian")
@pytest.mark.parametrize("option", ["--extras", "--add"])
@pytest.mark.parametrize("wrong", ["event", "mqtt nats", "mqtt,,nats"])
def test_an_optional_part_that_is_none_is_no_part_of_a_package(
    wheel: Path, tmp_path: Path, option: str, wrong: str
) -> None:
    done = packaged(option, wrong, "--output", tmp_path, wheel)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert re.search(r"xiaod has no optional part '(event|mqtt nats|)'; it has: .*events, ", done.stderr)


def test_the_manual_names_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    page = manual().replace("\\-", "-")
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        options = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) - {"--help"}
        [section] = re.findall(rf"^\.SS xiaod {name}\n(.*?)^\.S[SH]", page, re.MULTILINE | re.DOTALL)
        assert [option for option in options if option not in section] == []
    for code in ExitCode:
        assert f"\n.B {code.value}\n{code.meaning}\n" in page


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_the_manual_is_read_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "xiaod.1"
    path.write_text(manual(), encoding="utf-8")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True, check=False)  # fmt: skip
    # That it has no date is meant: it is that of the version.
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []
