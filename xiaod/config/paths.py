"""Paths that cannot be used as they are: missing data to replay, and files where folders belong, or the other way round.

In: a configuration. Out: a text for each such path, with file, line, key and remedy. Missing folders are no problem: they are made.

>>> from xiaod.config import Config
>>> path_problems(Config.model_validate({"sources": [{"server": "replay:nofile"}]}))
['sources[0].server: replay:nofile: no such file or folder; name miniSEED files, a folder, or replay:example']
"""

# ruff: noqa: PTH110, PTH112  those of Path raise where a folder may not be searched
import os.path
from pathlib import Path

from xiaod.config import REPLAY_PREFIX, Config
from xiaod.config.sinks.file import AppendedConfig

EXAMPLE = "example"
"""What :mod:`xiaod.replay` plays when there is no file of this name."""


def path_problems(config: Config) -> list[str]:
    """``FILE:LINE: KEY: PATH: what is wrong; what helps``, for each path that cannot be used."""
    where = config.origin.where
    found = [
        f"{where('sources', number, 'server')}: {source.server}: no such file or folder; name miniSEED files, a folder, "
        f"or {REPLAY_PREFIX}{EXAMPLE}"
        for number, source in enumerate(config.sources)
        if (played := source.replay_input) is not None and played != EXAMPLE and not os.path.exists(played)
    ]
    for number, sink in enumerate(config.sinks):
        if (written := sink.written_to) is None:
            continue
        place = where("sinks", number, sink.DESTINATION)
        if not isinstance(sink, AppendedConfig):
            found += _no_folder(place, written)
        elif os.path.isdir(written):
            found.append(f"{place}: {written}: is a folder; name a file, such as {written / 'picks'}")
        else:
            found += _no_folder(place, written.parent)
    if config.snippets.enabled:
        found += _no_folder(where("snippets", "folder"), config.snippets.folder)
    return found + _no_folder(where("state", "folder"), config.state.folder)


def _no_folder(place: str, path: Path) -> list[str]:
    """What is wrong with a path that is, or is made, a folder."""
    nearest = next(part for part in (path, *path.parents) if os.path.exists(part) or part == part.parent)
    if os.path.isdir(nearest):
        return []
    return [f"{place}: {nearest}: is no folder; name another path, or move what is there"]
