"""The first configuration itself: sources from what was chosen, picks as JSON Lines and on standard output, everything else as it is."""

from collections.abc import Mapping, Sequence

from xiaod.config import Config
from xiaod.config.loader import parse_config
from xiaod.tools.init.text import commented

HEAD = """\
# Written by "xiaod init {server}". A key behind # has the value that holds anyhow: take the # away to change it, and also that
# before the part that it belongs to. Check with "xiaod check"; "xiaod selftest" sends a real event through all of it.

"""


def draft(server: str, streams: Sequence[str], notes: Mapping[str, str]) -> str:
    """The text of the file; what is written has been read again and is the same.

    Args:
        server: as in the configuration.
        streams: patterns.
        notes: what is behind a pattern.

    Raises:
        ValueError: when server or patterns are none.
    """
    config = Config.model_validate(
        {
            "sources": [{"server": server, "streams": list(streams), "begin": "resume"}],
            "sinks": [{"kind": "console"}, {"kind": "jsonl", "path": "var/picks.jsonl"}],
        }
    )
    text = HEAD.format(server=server) + commented(config, notes)
    assert parse_config(text, "draft") == config  # noqa: S101  what we write we must be able to read
    return text
