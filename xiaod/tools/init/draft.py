"""The text of a first configuration: the chosen streams, picks as JSON Lines and on standard output, and defaults for all else."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from xiaod.config import Config
from xiaod.config.loader import parse_config
from xiaod.tools.init.text import commented

HEAD = """\
# Written by "xiaod init {server}". A key behind # has its default: to change it, remove the # before it, and the
# one before the part that it belongs to. Check the file with "xiaod check"; "xiaod selftest" sends a real event through it.

"""


def draft(
    source: Mapping[str, object], streams: Sequence[str], notes: Mapping[str, str], folder: Path
) -> str:
    """The text of the file, after a check that it is read as what it means.

    Args:
        source: ``server``, and how to speak to it, as in the configuration.
        streams: patterns.
        notes: comments beside patterns.
        folder: for state, picks and snippets, which no other configuration may share.

    Raises:
        ValueError: when server or patterns are not valid.
    """
    config = Config.model_validate(
        {
            "sources": [{**source, "streams": list(streams), "begin": "resume"}],
            "sinks": [{"kind": "console"}, {"kind": "jsonl", "path": str(folder / "picks.jsonl")}],
            "snippets": {"folder": str(folder / "snippets")},
            "state": {"folder": str(folder / "state")},
        }
    )
    text = HEAD.format(server=source["server"]) + commented(config, notes)
    assert parse_config(text, "draft") == config  # noqa: S101  the text must be readable
    return text
