"""What installs the program: the script, as far as it runs without changing anything, and the container's files."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from xiaod.acquisition.seedlink import links
from xiaod.config.loader import load_config
from xiaod.config.sinks import SINKS

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
INSTALL = DEPLOY / "install.sh"
MAINTAINER_SCRIPTS = [DEPLOY / "deb" / name for name in ("preinst", "postinst", "prerm", "postrm")]


def install(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [INSTALL, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shell_scripts_are_clean() -> None:
    done = subprocess.run(
        ["shellcheck", INSTALL, ROOT / ".ci" / "run", DEPLOY / "deb" / "build.sh", *MAINTAINER_SCRIPTS],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_package_has_what_a_configuration_may_ask_for() -> None:
    script = (DEPLOY / "deb" / "build.sh").read_text(encoding="utf-8")
    [extras] = re.findall(r"^extras=(.+)$", script, re.MULTILINE)
    kinds = {kind.EXTRA for kind in SINKS} - {""}
    # Pictures of snippets need the plot.
    assert set(extras.split(",")) == kinds | {links.EXTRA, "plot"}


def test_help_names_every_option() -> None:
    done = install("--help")
    assert (done.returncode, done.stderr) == (0, "")
    script = INSTALL.read_text(encoding="utf-8")
    options = set(
        re.findall(r"(?:^ +|\| )(--[a-z-]+)[ )]", script[script.index("arguments()") :], re.MULTILINE)
    )
    assert {"--extras", "--wheels", "--start", "--uninstall", "--purge", "--dry-run"} <= options
    assert [option for option in options if option not in done.stdout] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--frobnicate"], "unknown argument '--frobnicate'"),
        (["--wheels"], "--wheels needs a value"),
        (["--wheels", "/nowhere"], "no xiaod-*.whl in '/nowhere'"),
        (["--extras", "mqtt; reboot"], "must be names with commas between"),
        (["--purge"], "--purge goes with --uninstall"),
    ],
)
def test_wrong_arguments(arguments: list[str], said: str) -> None:
    done = install(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


needs_debian = pytest.mark.skipif(
    not Path("/etc/debian_version").exists() or shutil.which("runuser") is None, reason="this is no Debian"
)


@needs_debian
@pytest.mark.skipif(Path("/opt/xiaod").exists(), reason="xiaod is installed on this machine")
def test_a_dry_run_says_all_and_does_nothing() -> None:
    done = install("--dry-run", "--extras", "mqtt")
    assert done.returncode == 0, done.stderr
    said = done.stdout
    for step in (
        r"\+ python3 -m venv /opt/xiaod/releases/\S+",
        r"pip install .*-c \S+constraints.txt \S+\[mqtt\]",
        r"/bin/xiaod check --config /etc/xiaod/config.yaml",
        r"/etc/systemd/system .*xiaod.service .*xiaod@.service .*xiaod-events.service",
    ):
        assert re.search(step, said), said
    # The configuration is checked before anything that runs is changed.
    assert said.index(" check --config") < said.index("/opt/xiaod/bin")
    assert not Path("/opt/xiaod").exists()


@needs_debian
def test_a_dry_run_of_removal_keeps_what_is_the_users() -> None:
    kept, purged = (
        install("--uninstall", "--dry-run").stdout,
        install("--uninstall", "--purge", "--dry-run").stdout,
    )
    assert "rm -rf /opt/xiaod" in kept
    assert "rm -rf /etc/xiaod" not in kept
    assert "rm -rf /etc/xiaod /var/lib/xiaod" in purged


@needs_debian
def test_wheels_need_neither_network_nor_compiler(tmp_path: Path) -> None:
    (tmp_path / "xiaod-0-py3-none-any.whl").touch()
    said = install("--dry-run", "--wheels", tmp_path).stdout
    assert re.search(rf"pip install .*--no-index --find-links {re.escape(str(tmp_path))} xiaod\n", said), said


@pytest.mark.parametrize("written", ["{}", '"{}"', "'{}'", "{}  ", "{}\r"])
def test_each_instances_configuration_is_checked_with_its_variables(tmp_path: Path, written: str) -> None:
    named = str(tmp_path / "island.yaml")
    (tmp_path / "xiaod.env").write_text(
        "# A comment\nTOKEN=" + written.format("hush") + "\n", encoding="utf-8"
    )
    (tmp_path / "island.env").write_text(
        f"XIAOD_SHARD=\nXIAOD_CONFIG={written.format(named)}\nTOKEN=other words\n", encoding="utf-8"
    )
    script = INSTALL.read_text(encoding="utf-8")
    functions = [
        found.group()
        for name in ("variables", "configurations", "accepted")
        if (found := re.search(rf"^{name}\(\) \{{\n.*?^\}}", script, re.MULTILINE | re.DOTALL))
    ]
    told = """run() { printf '%s|%s\\n' "${@: -1}" "${TOKEN-none}"; }\naccepted"""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join([*functions, told])],
        capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "ETC": str(tmp_path), "ACCOUNT": "a", "STATE": "s", "release": "r"},
    )  # fmt: skip
    assert done.stdout.splitlines() == [f"{tmp_path / 'config.yaml'}|hush", f"{named}|other words"]


def test_a_purge_is_not_held_up_by_what_still_runs_as_the_user() -> None:
    # A shell takes a function before a program: nothing of this machine is touched.
    programs = "rm() { echo rm $*; }; install() { :; }; systemctl() { :; }; id() { :; }"
    script = (DEPLOY / "deb" / "postrm").read_text(encoding="utf-8")

    def purge(userdel: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-c", f"{programs}; userdel() {{ {userdel}; }}\n{script}", "postrm", "purge"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    # As userdel does while a process runs as the user.
    busy, free = purge("return 8"), purge("true")
    assert (busy.returncode, free.returncode) == (0, 0), busy.stderr
    assert "rm -rf /etc/xiaod /var/lib/xiaod" in busy.stdout
    assert "the user xiaod stays" in busy.stderr
    assert free.stderr == ""


def test_units_are_started_again_for_ever() -> None:
    for unit in (ROOT / "systemd").glob("*.service"):
        lines = unit.read_text(encoding="utf-8").splitlines()
        assert {"Restart=on-failure", "StartLimitIntervalSec=0", "RestartPreventExitStatus=2"} <= set(lines)


def test_facts_of_the_image() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    last = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    text = "\n".join(last)
    assert "slim" in last[0]
    [user] = [line for line in last if line.startswith("USER ")]
    assert user.split()[1] not in {"root", "0"}
    assert "HEALTHCHECK" in text
    assert "/healthz" in text
    assert "gcc" not in text
    assert 'ENTRYPOINT ["xiaod"]' in last
    # Everything that is copied is there, and passes the list of what may be seen.
    seen = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists()
                assert f"!{name}" in seen


def test_the_containers_fit_together() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert set(services) == {"xiaod", "prometheus", "grafana"}
    for service in services.values():
        # Whoever runs for months comes back with the machine, and its log does not fill the disk.
        assert service["restart"] == "unless-stopped"
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            here = volume.split(":")[0]
            assert not here.startswith(".") or (DEPLOY / here).is_dir(), here
    assert (DEPLOY / services["xiaod"]["build"]["context"]).resolve() == ROOT
    config = load_config(DEPLOY / "docker" / "config.yaml")
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    [job] = scraped["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"xiaod:{config.http.port}"]
    assert config.http.host == "0.0.0.0"  # noqa: S104  in a container of its own


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_environment_that_was_not_made_is_made_the_next_time(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "deploy").mkdir()
    for name in ("pyproject.toml", "deploy/constraints.txt"):
        (tmp_path / name).touch()
    # As python3 does without the package python3-venv.
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ $1 = -c ] && exec {sys.executable} "$@"\nmkdir -p .venv/bin\nln -s /bin/sh .venv/bin/python\nexit 1\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    for _ in range(2):
        done = subprocess.run(
            ["make", "install", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )  # fmt: skip
        assert done.returncode != 0
        assert f"{python} -m venv .venv" in done.stdout


def python_of(path: Path, version: str, prefix: str) -> Path:
    """A Python that says that it has another version and lies elsewhere."""
    path.write_text(
        f"""#!/bin/sh
case $1 in
    -c) exec {sys.executable} -c "import sys; sys.version_info = {version}; sys.base_prefix = '{prefix}'; $2" ;;
    -m) mkdir -p $3/bin && cp $0 $3/bin/python && touch $3/made-by-$(basename $0) ;;
esac
""",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_environment_of_another_python_is_made_anew_when_that_is_asked_for(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    old = python_of(tmp_path / "old", "(3, 9, 1)", "/old")
    good = python_of(tmp_path / "good", "(3, 11, 2)", "/good")
    better = python_of(tmp_path / "better", "(3, 12, 0)", "/better")

    def made_by(*arguments: str, python3: Path = good) -> str:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / "python3").unlink(missing_ok=True)
        (tmp_path / "bin" / "python3").symlink_to(python3)
        environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        environment.pop("PYTHON", None)
        done = subprocess.run(
            ["make", "environment", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60, env=environment
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return ", ".join(sorted(path.name for path in (tmp_path / ".venv").glob("made-by-*")))

    assert made_by() == "made-by-python3"
    # Nobody asks for another one.
    assert made_by(python3=better) == made_by(python3=old) == "made-by-python3"
    assert made_by(f"PYTHON={better}") == made_by(f"PYTHON={better}") == "made-by-better"
    assert made_by(python3=good) == "made-by-better"
    # What an installation with an older Python has left.
    shutil.copy(old, tmp_path / ".venv" / "bin" / "python")  # a file, since no real one was made
    assert made_by() == "made-by-python3"
    (tmp_path / ".venv" / "bin" / "python").unlink()
    with pytest.raises(
        AssertionError, match=r"Python 3\.11 or newer is needed, and .* is 3\.9: make run PYTHON="
    ):
        made_by(f"PYTHON={old}")


def test_integration_runs_what_a_developer_runs() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").strip().splitlines()
    assert lines[-1] == "exec make test"
