"""``xiaod selftest``: a real event through source, engine and every sink of a configuration, and what arrived where.

::

    rounds of the soak   ObsPy's example event, and quiet behind it
    stages               replay server -> socket -> source -> buffers -> engine -> picker: picks
    trials               the same picks to each configured sink, each in a thread of its own and for a limited time
    outcome              what a person or a program reads of it
"""
