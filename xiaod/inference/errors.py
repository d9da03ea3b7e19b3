"""The error of a model that cannot be used."""


class ModelError(Exception):
    """A model cannot be used; the message names the file and what is wrong with it."""

    def __init__(self, message: str, key: str = "model") -> None:
        """Args: what is wrong, and the key of ``engine`` in the configuration to change."""
        super().__init__(message)
        self.key = key
