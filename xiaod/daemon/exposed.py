"""The warning of files with secrets that others may read."""

from xiaod.config import Config
from xiaod.config.exposed_secrets import exposed_files
from xiaod.process.logs import get_logger


def warn_of_exposed_files(config: Config) -> None:
    """Log each, with the command that closes it."""
    for one in exposed_files(config):
        get_logger("service").warning(
            "secret.exposed", key=one.key, file=str(one.file), mode=f"{one.mode:04o}", remedy=one.remedy
        )
