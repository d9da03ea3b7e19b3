"""The mean amplitude of the ground's motion, for volcano observatories.

>>> RsamConfig().enabled, RsamConfig(enabled=True, low_hz=2.0).high_hz
(False, 20.0)
"""

from typing import Annotated

from pydantic import Field, model_validator

from xiaod.config.model import Model


class RsamConfig(Model):
    """RSAM: the mean amplitude of each vertical."""

    enabled: bool = False
    """Whether it is measured; it is shown as xiaod_station_rsam_counts."""
    low_hz: Annotated[float, Field(ge=0.5, le=20)] = 1.0
    """Lower corner of the band, a Butterworth filter of order four."""
    high_hz: Annotated[float, Field(ge=1, le=45)] = 20.0
    """Upper corner, another one."""

    @model_validator(mode="after")
    def _consistent(self) -> "RsamConfig":
        if self.high_hz < 2 * self.low_hz:
            raise ValueError(
                f"high_hz must be at least twice low_hz, {2 * self.low_hz:g} Hz, so that there is a band; it is {self.high_hz:g} Hz"
            )
        return self
