"""Archives: years of data, cut into pieces that are picked by many processes or machines, and kept as they are finished.

::

    files -> plan -> pieces -> crew (this process, a pool, dask) -> journal -> merged in order of time -> output
"""
