"""Which picks make an event.

>>> EventConfig().enabled, EventConfig(enabled=True, stations=1).window_s
(False, 15.0)
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xiaod.config.model import NAME_PATTERN, Model, PositiveSeconds

Velocity = Annotated[float, Field(gt=0, le=20)]


class EventConfig(Model):
    """Events from picks."""

    enabled: bool = False
    """Whether events are made: P picks of several stations, or P and S of one, that are taken for those of one earthquake."""
    method: Literal["coincidence"] = "coincidence"
    """How: P picks that come close together in time. It needs no coordinates, and locates nothing."""
    stations: Annotated[int, Field(ge=1, le=1000)] = 4
    """Stations, at least, with a P pick; 1: a station with P and S makes an event, too."""
    window_s: Annotated[float, Field(gt=0, le=120)] = 15.0
    """Seconds within which they pick; further stations join as long as each follows within as many seconds of the one before."""
    wait_s: PositiveSeconds = 30.0
    """Seconds of data by which stations may lag behind the newest one; final events wait for them."""
    max_s_minus_p_s: Annotated[float, Field(gt=0, le=300)] = 30.0
    """Seconds between P and S of a station, at most, for its distance."""
    p_velocity_km_s: Velocity = 5.9
    """Velocity of P in the upper crust, for the distance from S minus P; with the next one, of the IASPEI manual, 8 km a second."""
    s_velocity_km_s: Velocity = 3.4
    """Velocity of S there."""
    velocity_uncertainty: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Standard deviation of the distance that comes of these velocities, relative to it."""

    bus: Annotated[str | None, Field(pattern=NAME_PATTERN)] = None
    """Name of a sink of kind nats, mqtt or kafka, which brings picks to a bus: one more process, xiaod events, reads them there and makes
    the events of all daemons and shards, which then make none; null: each daemon makes events of its own stations."""

    @model_validator(mode="after")
    def _p_is_faster(self) -> "EventConfig":
        if self.s_velocity_km_s >= self.p_velocity_km_s:
            raise ValueError(
                f"s_velocity_km_s is {self.s_velocity_km_s:g}, and P is always faster than S: write less than p_velocity_km_s "
                f"({self.p_velocity_km_s:g})"
            )
        return self
