"""Archives: years of data, cut into chunks. Many processes or machines pick them; finished chunks are kept.

::

    files -> plan -> chunks -> workers (this process, a pool, dask) -> journal -> merger: in order of time -> output

"""
