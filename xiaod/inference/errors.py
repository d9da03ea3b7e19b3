"""The error of a model that cannot be used."""


class ModelError(Exception):
    """A model cannot be used; the message names the file and what is wrong with it."""
