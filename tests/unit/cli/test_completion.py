"""What a shell offers behind a line: the scripts that shtab makes, in the shells themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

from xiaod.cli.commands.completion import SHELLS
from xiaod.cli.main import main

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=SHELLS)
def script(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The script of a shell that is installed, in a file named after it."""
    shell: str = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell} (apt install {shell})")
    assert main(["completion", shell]) == 0
    path = tmp_path / shell
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    return path


def offered(script: Path, line: str) -> set[str]:
    """What the shell offers behind a line; zsh completes only at a terminal, so it says whether it knows the command."""
    words = line.split(" ")
    code = {
        "bash": f"source '{script}'; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        "$(complete -p xiaod | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\"",
        "fish": f"source '{script}'; complete -C '{line}'",
        "zsh": f'autoload -Uz compinit; compinit -D -u; eval "$(cat \'{script}\')"; print -r -- "${{_comps[xiaod]}}"',
    }[script.name]
    command = {"bash": ["bash", "-c"], "fish": ["fish", "--no-config", "-c"], "zsh": ["zsh", "-fc"]}[
        script.name
    ]
    done = subprocess.run([*command, code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    assert done.stderr == ""
    return {text.split("\t")[0] for text in done.stdout.splitlines()}


def test_commands_options_choices_and_files_are_offered(script: Path) -> None:
    if script.name == "zsh":
        assert offered(script, "xiaod") == {"_shtab_xiaod"}
        return
    assert {"stations", "status"} <= offered(script, "xiaod sta")
    assert "--format" in offered(script, "xiaod pick --form")
    assert "quakeml" in offered(script, "xiaod pick --format quakem")
    assert "config.yaml" in offered(script, "xiaod check --config conf")
