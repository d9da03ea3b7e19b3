"""``xiaod schema``: print the JSON Schema of the configuration, for editors."""

import argparse

HELP = "print the JSON Schema of the configuration, for editors"


def arguments(_: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(_: argparse.Namespace) -> int:
    """Print the schema."""
    from xiaod.config.schema import schema_text
    from xiaod.process.exit_status import ExitCode

    print(schema_text(), end="")
    return ExitCode.OK
