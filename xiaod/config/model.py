"""What all parts of the configuration have in common: strictness, and the types of numbers.

>>> class Part(Model):
...     wait_s: Seconds = 1.0
>>> Part(wait_s=2.0).wait_s
2.0
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z0-9_-]{1,32}$"
"""Names of sources and sinks: labels in logs and metrics."""

MAX_S = 1e9
"""Thirty years; the system takes no waits of more than some hundred (its time-outs count nanoseconds in 64 bits)."""
Seconds = Annotated[float, Field(ge=0, le=MAX_S)]
PositiveSeconds = Annotated[float, Field(gt=0, le=MAX_S)]
Probability = Annotated[float, Field(gt=0, lt=1)]


class Model(BaseModel):
    """Base of all parts: strict types, unknown keys refused, immutable; the docstring under a key describes it in the JSON Schema."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
