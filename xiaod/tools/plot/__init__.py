"""PNG of waveforms, probabilities and picks.

::

    server_records   a server's ring -> the records around a moment
    recording        samples and merged probabilities of a span of time, recorded from the engine
    plots            files and requests -> figures -> PNGs
    png              a figure (:class:`xiaod.domain.figure.OnsetFigure`) -> matplotlib
"""
