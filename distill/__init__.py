"""xiao-distill: trains the student from a teacher, offline.

The daemon never imports this package.

>>> from distill.config import TrainConfig
>>> TrainConfig(name="example", version="0.0.1").optimiser.batch
64
"""
