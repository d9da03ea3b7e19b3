"""Snippets: the waveforms around final picks, as files.

::

    gather     records that the picker got, and picks -> the records around each pick
    miniseed   records -> miniSEED, with their own samples, rates and times
    folder     the files: written once, bounded in days and megabytes, the oldest go first
    writer     the threads that write, so that nothing else waits for a disk or a picture

Whatever goes wrong here costs snippets, never picks: it is counted, and logged once.
"""
