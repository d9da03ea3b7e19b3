"""Pictures of what the picker sees: waveforms, probabilities and picks, as PNG.

::

    scene    a span of one instrument: samples and merged probabilities, as the windows bring them
    tap      an engine that lets scenes watch
    figure   a scene and its picks -> a PNG (matplotlib)
    ring     a server's ring -> the records around a moment
    album    files and what to show -> many PNGs
"""
