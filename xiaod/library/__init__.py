"""xiaod as a library: an ObsPy stream in, picks or probabilities out, by the daemon's own code.

``from xiaod import Picker, Picks`` gives what this room holds; it is imported only then. ``docs/library.md`` shows how it is used.
"""

from xiaod.library.picker import Picker
from xiaod.library.picks import Picks

__all__ = ["Picker", "Picks"]
