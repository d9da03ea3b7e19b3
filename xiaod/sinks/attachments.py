"""Files of snippets that sinks send along.

In: the name of a snippet. Out: its files, once they are there; what is not there :data:`ATTACH_WAIT_S` after the snippet has its data is
left out.

>>> files_of("20090824.002007.73-P-a", (), SnippetConfig(), None)
{}
"""

import contextlib
import time
from collections.abc import Collection

from xiaod.config.snippets import SnippetConfig
from xiaod.domain.timegrid import NS_PER_S

ATTACH_WAIT_S = 60.0
"""A snippet waits 30 s longer for components that lag, and is written and drawn in some more."""
POLL_S = 0.2
ATTACHED = {"picture": (".png", "image/png"), "miniseed": (".mseed", "application/vnd.fdsn.mseed")}
"""Suffix and type of each kind of file."""


def files_of(
    stem: str, kinds: Collection[str], snippets: SnippetConfig, made_ns: int | None
) -> dict[str, tuple[str, bytes]]:
    """Name and content of files of a snippet, as many as there are once all are there or that takes too long.

    Args:
        stem: name of the snippet, without suffix.
        kinds: of :data:`ATTACHED`.
        snippets: where they are.
        made_ns: host time, ns, at which the pick or event that it belongs to was made; None: long ago.
    """
    paths = {kind: snippets.folder / f"{stem}{ATTACHED[kind][0]}" for kind in kinds}
    longest_s = snippets.after_s + ATTACH_WAIT_S
    # By a clock that nobody sets: the host's may have been ahead when the pick was made.
    until_s = time.monotonic() + min(longest_s, longest_s - (time.time_ns() - (made_ns or 0)) / NS_PER_S)
    found: dict[str, tuple[str, bytes]] = {}
    while True:
        for kind, path in paths.items():
            # A file is written beside its place, and whole when it has its name.
            with contextlib.suppress(OSError):
                found[kind] = path.name, path.read_bytes()
        if len(found) == len(paths) or time.monotonic() > until_s:
            return {kind: found[kind] for kind in paths if kind in found}
        time.sleep(POLL_S)
