"""Days of data at high speed, with everything that goes wrong in months: ``xiaod soak``.

>>> from xiaod.tools.soak.outcome import Sample, slope_of
>>> round(slope_of([Sample(0.0, 0.0, 100.0, 8, 9), Sample(10.0, 86400.0, 101.0, 8, 9)]), 3)
1.0
"""
