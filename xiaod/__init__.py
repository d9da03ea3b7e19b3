"""xiaod: a real-time seismic phase picker for small computers.

Data flow through the rooms of this package in one direction: ``acquisition`` yields :class:`~xiaod.domain.types.Segment`, ``waveform``
:class:`~xiaod.domain.types.Window`, ``inference`` :class:`~xiaod.domain.types.Probabilities`, and ``picking``
:class:`~xiaod.domain.types.Pick`, which ``storage`` keeps and ``sinks`` write. ``docs/architecture.md`` describes all rooms.
"""

__version__ = "0.2.0.dev0"
