"""xiaod: a real-time seismic phase picker for small computers.

The package is laid out along the flow of data: ``sources`` yield :class:`~xiaod.domain.types.Segment`, ``buffer`` and
``windows`` turn them into :class:`~xiaod.domain.types.Window`, ``engines`` into :class:`~xiaod.domain.types.Probabilities`,
``picker`` into :class:`~xiaod.domain.types.Pick`, which ``sinks`` write down.

>>> from xiaod import __version__
>>> __version__.count(".")
2
"""

__version__ = "0.1.0"
