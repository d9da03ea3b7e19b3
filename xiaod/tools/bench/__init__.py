"""``xiaod bench``: the CPU time and memory of the program on this machine.

It is made for a Raspberry Pi 5 and works on any machine. :mod:`~xiaod.tools.bench.hardware` describes the machine,
:mod:`~xiaod.tools.bench.stages` times each part alone, :mod:`~xiaod.tools.bench.load` runs the daemon against the replay server with
an increasing number of stations, quiet and with an event at all of them at once, :mod:`~xiaod.tools.bench.offline` picks a day of one
station and :mod:`~xiaod.tools.bench.early` counts the data that an early pick needs, and :mod:`~xiaod.tools.bench.table` writes the
results. Every number is measured anew.

"""
