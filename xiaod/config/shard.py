"""Which share of the stations this process picks, among several processes.

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
    """Which shard this process is, 0 to count - 1; null: given by --shard or XIAOD_SHARD, or not needed with one process."""
    count: Annotated[int, Field(ge=1, le=MAX_SHARDS)] = 1
    """Processes in all, the same number for each; stop all of them before you change it."""

    @model_validator(mode="after")
    def _consistent(self) -> "ShardConfig":
        if self.index is not None and self.index >= self.count:
            raise ValueError(f"index must be below count, which is {self.count}; got {self.index}")
        return self
