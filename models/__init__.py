"""Networks: specification, front end, architecture, export and shipped weights.

Nothing here imports the daemon. Only :mod:`models.small_phasenet`, :mod:`models.windows`, :mod:`models.streaming` and
:mod:`models.export` need torch.

"""
