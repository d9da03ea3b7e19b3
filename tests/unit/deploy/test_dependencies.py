"""What is imported is declared, and what the tests run with is pinned."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from xiaod.config.sinks import SINKS

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OURS = {"xiaod", "models", "distill", "tests"}
OF_TRAINING = {"small_phasenet.py", "streaming.py", "export.py", "windows.py", "others.py"}
"""Outside of ``distill``, what uses its packages where they are installed: networks, comparisons of ``bench``."""

TOOLS = {"pip", "setuptools", "wheel"}
"""What ``pip freeze`` leaves out."""


def texts(extras: Iterable[str]) -> Iterator[str]:
    """What extras install, those that they name themselves included."""
    for extra in extras:
        for text in EXTRAS[extra]:
            one = Requirement(text)
            if one.name == PROJECT["name"]:
                yield from texts(one.extras)
            else:
                yield text


def names(requirements: Iterable[str]) -> set[str]:
    read = [Requirement(text) for text in requirements]
    # nats-py[nkeys] brings nkeys.
    return {canonicalize_name(name) for one in read for name in (one.name, *one.extras)}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        (
            "xiaod",
            {"dask", "events", "pandas", "plot", "seedlink4"}
            | {model.EXTRA for model in SINKS if model.EXTRA},
        ),
        ("models", set()),
        ("distill", {"distill"}),
        ("tests", {"distill", "test"}),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: set[str]) -> None:
    declared = names(PROJECT["dependencies"]) | names(texts(extras))
    owners = packages_distributions()
    for path in sorted((ROOT / folder).rglob("*.py")):
        allowed = set(declared)
        if path.name in OF_TRAINING:
            allowed |= names(EXTRAS["distill"])
        for package in set(imports_of(path)) - sys.stdlib_module_names - OURS:
            found = {canonicalize_name(owner) for owner in owners.get(package, ["nobody"])}
            assert found & allowed, (
                f"{path.relative_to(ROOT)} imports {package}, of {found}: not in pyproject.toml"
            )


def test_what_the_tests_run_with_is_pinned() -> None:
    lines = (ROOT / "deploy" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {}
    for line in lines:
        if not line.startswith("#"):
            name, version = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line).groups()  # type: ignore[union-attr]
            pins[canonicalize_name(name)] = version
    waiting = [Requirement(text) for text in PROJECT["dependencies"]]
    waiting += [Requirement(text) for text in texts(EXTRAS)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            if (wanted.name, extra) in seen or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
                continue
            seen.add((wanted.name, extra))
            if canonicalize_name(wanted.name) in TOOLS:
                continue
            installed = distribution(wanted.name)
            name, version = canonicalize_name(wanted.name), Version(installed.version).public
            assert pins.get(name) == version, f"{name} {version} is not pinned in deploy/constraints.txt"
            for text in installed.requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    needed.marker = None
                    waiting.append(needed)
