"""Which part of the stations a process picks.

>>> ShardConfig(index=1, count=4).index
1
"""

from typing import Annotated

from pydantic import Field, model_validator

from xiaod.config.model import Model

MAX_SHARDS = 1024


class ShardConfig(Model):
    """The stations are shared among ``count`` processes, each with an ``index`` of its own."""

    index: Annotated[int, Field(ge=0, lt=MAX_SHARDS)] | None = None
    """0 to ``count`` - 1; null: given by ``--shard`` or the environment, and not needed when there is one process only."""
    count: Annotated[int, Field(ge=1, le=MAX_SHARDS)] = 1
    """Processes; all of them need the same number. 1: this one picks everything."""

    @model_validator(mode="after")
    def _consistent(self) -> "ShardConfig":
        if self.index is not None and self.index >= self.count:
            raise ValueError(f"index must be below count, which is {self.count}; got {self.index}")
        return self
