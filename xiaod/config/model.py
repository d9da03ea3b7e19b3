"""What all parts of the configuration share: strictness, and the types of numbers.

>>> class Part(Model):
...     wait_s: Seconds = 1.0
>>> Part(wait_s=2.0).wait_s
2.0
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z0-9_-]{1,32}$"
"""Names of sinks: labels in logs and metrics."""
MAX_PORT = 65_535

MAX_S = 1e9
"""Thirty years. The system refuses waits of some hundred years: its time-outs count nanoseconds in 64 bits."""
Seconds = Annotated[float, Field(ge=0, le=MAX_S)]
PositiveSeconds = Annotated[float, Field(gt=0, le=MAX_S)]
Probability = Annotated[float, Field(gt=0, lt=1)]


class Model(BaseModel):
    """Base of all parts: strict types, unknown keys refused, immutable; the docstring under a key describes it in the JSON Schema."""

    EXAMPLE: ClassVar[Mapping[str, Any]] = {}
    """Values that ``config.yaml`` shows where there is no default."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
