"""``xiaod selftest``: a real event through source, engine and every sink of a configuration, and a report of what arrived where.

::

    soak.data   ObsPy's example event, followed by quiet data
    event       replay server -> socket -> source -> buffers -> engine -> picker: picks
    sinks       the same picks to each configured sink, each in its own thread, with a time limit
    report      the result, for people and programs

"""
