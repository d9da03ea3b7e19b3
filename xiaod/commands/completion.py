"""``xiaod completion``: print the completion script of a shell.

>>> parser = argparse.ArgumentParser()
>>> arguments(parser)
>>> options = parser.parse_args(['bash'])
>>> options.shell
'bash'
"""

import argparse

HELP = "print the completion script of a shell"
SHELLS = ("bash", "zsh", "fish")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    parser.add_argument("shell", choices=SHELLS, help="for which shell")


def run(options: argparse.Namespace) -> int:
    """Print the script that is shipped."""
    from importlib.resources import files

    from xiaod.exitcode import ExitCode

    script = files("xiaod") / "completions" / f"xiaod.{options.shell}"
    print(script.read_text(encoding="utf-8"), end="")
    return ExitCode.OK
