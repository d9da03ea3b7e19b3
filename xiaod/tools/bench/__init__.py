"""``xiaod bench``: what the program costs on this machine.

Made for a Raspberry Pi 5, works anywhere. :mod:`~xiaod.tools.bench.hardware` describes the machine, :mod:`~xiaod.tools.bench.stages` times
each part alone, :mod:`~xiaod.tools.bench.load` runs the daemon against the replay server with more and more stations,
:mod:`~xiaod.tools.bench.table` writes the results. Every number is measured in this run.

"""
