"""xiaod: a real-time seismic phase picker for small computers.

Data flow through the rooms of this package in one direction: ``acquisition`` yields :class:`~xiaod.domain.types.Segment`, ``waveform``
:class:`~xiaod.domain.types.Window`, ``inference`` :class:`~xiaod.domain.types.Probabilities`, and ``picking``
:class:`~xiaod.domain.types.Pick`, which ``storage`` keeps and ``sinks`` write. ``docs/architecture.md`` describes all rooms.

As a library: ``from xiaod import Picker``, see ``docs/library.md``. It is loaded when it is asked for: the package alone costs next to
nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xiaod.library import Picker, Picks

__all__ = ["Picker", "Picks", "__version__"]

__version__ = "0.2.0.dev0"


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module("xiaod.library"), name)
