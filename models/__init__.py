"""What a network is: specification, front end, architecture, export and shipped weights.

Nothing here imports the daemon. Only :mod:`models.small_phasenet` and :mod:`models.export` need torch.

>>> from models.spec import ModelSpec
>>> ModelSpec(name="example", version="1.0.0").components
'ZNE'
"""
