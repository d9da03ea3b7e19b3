"""What is said where a package is missing."""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODE = (
    "from xiaod.process.plugins import MissingExtraError, imported\n"
    "try:\n"
    "    imported('nothing_of_this_name:Client', 'method pyocto', 'events')\n"
    "except MissingExtraError as error:\n"
    "    print(error)\n"
)


def said_by(python: Path) -> str:
    done = subprocess.run(
        [python, "-c", CODE], capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pip_is_named_only_where_there_is_one(tmp_path: Path) -> None:
    said = said_by(Path(sys.executable))
    assert said.endswith(f"which is not installed: {sys.executable} -m pip install 'xiaod[events]'\n")
    # The Debian package brings none.
    venv.create(tmp_path, with_pip=False)
    said = said_by(tmp_path / "bin" / "python")
    assert said.startswith("method pyocto needs the package nothing_of_this_name, which is not installed: ")
    assert f"{tmp_path} has no pip" in said
    assert "make deb DEB='--add events'" in said
    assert "-m pip install" not in said
