"""What a network is: specification, front end, architecture, export and shipped weights.

Nothing here imports the daemon. Only :mod:`models.small_phasenet` and :mod:`models.export` need torch.
"""
