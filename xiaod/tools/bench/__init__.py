"""``xiaod bench``: what the program costs on the machine it runs on.

Made for a Raspberry Pi 5, works anywhere. :mod:`~xiaod.tools.bench.hardware` names the machine, :mod:`~xiaod.tools.bench.stages` times
each part alone, :mod:`~xiaod.tools.bench.load` runs the daemon against the replay server with more and more stations,
:mod:`~xiaod.tools.bench.table` writes what was found. Nothing here is known beforehand: every number was measured in this run.
"""
