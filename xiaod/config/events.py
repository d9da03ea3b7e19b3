"""Which picks make an event, and the crust in which it is located.

A file of layers has a line for each: the depth of its top in km, and the velocities of P and S in km/s, separated by blanks or commas.
Empty lines, and what follows a ``#``, say nothing; so does a first line of names.

>>> EventConfig().enabled, EventConfig(enabled=True, stations=1).window_s
(False, 15.0)
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from xiaod.config.model import NAME_PATTERN, Model, PositiveSeconds

Velocity = Annotated[float, Field(gt=0, le=20)]


class LayerConfig(Model):
    """A layer of the crust."""

    top_km: Annotated[float, Field(ge=0, le=700)]
    """Depth of its top below sea level, km; 0 for the first one, which also holds above sea level."""
    p_km_s: Annotated[float, Field(gt=0, le=20)]
    """Velocity of P, km/s."""
    s_km_s: Annotated[float, Field(gt=0, le=20)]
    """Velocity of S, km/s."""


IASP91 = (
    LayerConfig(top_km=0.0, p_km_s=5.8, s_km_s=3.36),
    LayerConfig(top_km=20.0, p_km_s=6.5, s_km_s=3.75),
    LayerConfig(top_km=35.0, p_km_s=8.04, s_km_s=4.47),
    LayerConfig(top_km=77.5, p_km_s=8.045, s_km_s=4.485),
)
"""Crust and uppermost mantle of iasp91, a mean of the continents (Kennett and Engdahl 1991, Geophys. J. Int. 105, 429-465)."""
MAX_LAYERS = 100


class VelocityError(ValueError):
    """A file of layers cannot be used; the message names file, line and problem."""


class EventConfig(Model):
    """Events from picks."""

    enabled: bool = False
    """Whether events are made: P picks of several stations, or P and S of one, that are taken for those of one earthquake."""
    method: Literal["coincidence", "pyocto"] = "coincidence"
    """How. coincidence: P picks that come close together in time. It needs no coordinates, and locates nothing. pyocto: P and S picks
    whose times fit one place and time in layers of rock, with time, place, depth and, where amplitudes are known, magnitude. It needs
    ``stations_file`` and the extra events (pip install 'xiaod[events]')."""
    stations: Annotated[int, Field(ge=1, le=1000)] = 4
    """Stations, at least, with a P pick; with coincidence, 1: a station with P and S makes an event, too. At least 3 with pyocto."""
    window_s: Annotated[float, Field(gt=0, le=120)] = 15.0
    """Seconds within which they pick; further stations join as long as each follows within as many seconds of the one before."""
    wait_s: PositiveSeconds = 30.0
    """Seconds of data by which stations may lag behind the newest one; final events wait for them."""
    silent_s: PositiveSeconds = 600.0
    """Seconds, by the clock of this machine, in which no station sends data, after which an announced event is settled by the final picks
    that there are, or withdrawn. A restart begins them anew."""
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
    min_picks: Annotated[int, Field(ge=4, le=1000)] = 8
    """With pyocto: P and S picks together, at least."""
    tolerance_s: Annotated[float, Field(ge=0.1, le=10)] = 1.5
    """With pyocto: seconds by which a pick may differ from what the layers give."""
    max_distance_km: Annotated[float, Field(ge=10, le=1000)] = 200.0
    """With pyocto: distance from the epicentre to a station that counts, at most. Final events wait until a wave has crossed it: in a small
    network they come sooner with less."""
    max_depth_km: Annotated[float, Field(ge=5, le=700)] = 60.0
    """With pyocto: depth of an earthquake, at most."""
    margin_km: Annotated[float, Field(ge=0, le=500)] = 50.0
    """With pyocto: how far outside of the rectangle of the stations that have picks an earthquake may be."""
    velocity_model: Annotated[tuple[LayerConfig, ...], Field(max_length=MAX_LAYERS, strict=False)] = ()
    """With pyocto: layers from the surface down, such as [{top_km: 0, p_km_s: 5.5, s_km_s: 3.2}, ...]. A model of your region locates
    better than none, which is the crust of iasp91, a mean of the continents."""
    velocity_model_file: Path | None = Field(default=None, strict=False)
    """With pyocto: a file of layers instead, a line for each: depth of its top (km), velocity of P, velocity of S (km/s). null: those of
    ``velocity_model``."""

    @model_validator(mode="after")
    def _one_model(self) -> "EventConfig":
        if self.velocity_model_file is not None and self.velocity_model:
            raise ValueError("velocity_model and velocity_model_file are both given; remove one of them")
        for number, layer in enumerate(self.velocity_model):
            above = self.velocity_model[number - 1] if number else None
            if problem := _problem(layer, above):
                raise ValueError(f"velocity_model[{number}]: {problem}")
        return self

    @model_validator(mode="after")
    def _located_by_enough(self) -> "EventConfig":
        if self.method == "pyocto" and self.stations < 3:
            raise ValueError(
                f"stations is {self.stations}, and fewer than 3 stations locate nothing; write at least 3, or method: coincidence"
            )
        if self.method == "pyocto" and self.min_picks < self.stations:
            raise ValueError(
                f"min_picks is {self.min_picks}, less than stations ({self.stations}), each of which has a P; write at least as many"
            )
        return self

    @model_validator(mode="after")
    def _p_is_faster(self) -> "EventConfig":
        if self.s_velocity_km_s >= self.p_velocity_km_s:
            raise ValueError(
                f"s_velocity_km_s is {self.s_velocity_km_s:g}, and P is always faster than S: write less than p_velocity_km_s "
                f"({self.p_velocity_km_s:g})"
            )
        return self


def _problem(layer: LayerConfig, above: LayerConfig | None) -> str:
    """What is wrong with a layer below another one; empty: nothing."""
    if above is None and layer.top_km != 0:
        return f"the first layer begins at {layer.top_km:g} km; it must begin at 0"
    if above is not None and layer.top_km <= above.top_km:
        return f"its top, {layer.top_km:g} km, is not below that of the layer before, {above.top_km:g} km; order them by depth"
    if layer.s_km_s >= layer.p_km_s:
        return f"S has {layer.s_km_s:g} km/s and P {layer.p_km_s:g}, and P is always faster; write depth, P, S in this order"
    return ""


def read_layers(path: Path) -> tuple[LayerConfig, ...]:
    """Read a file of layers.

    Raises:
        VelocityError: when it cannot be read, or a line is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise VelocityError(
            f"{path}: cannot be read: {error.strerror or error}; name a file with a line for each layer: depth, P, S"
        ) from error
    except UnicodeDecodeError as error:
        raise VelocityError(f"{path}: no UTF-8 text; save it as UTF-8") from error
    layers: list[LayerConfig] = []
    begun = False
    for number, line in enumerate(lines, 1):
        fields = line.partition("#")[0].replace(",", " ").split()
        if not fields:
            continue
        header = not begun and not any(map(_is_number, fields))
        begun = True
        if header:
            continue
        layer = _layer(fields, f"{path}:{number}")
        if problem := _problem(layer, layers[-1] if layers else None):
            raise VelocityError(f"{path}:{number}: {problem}")
        layers.append(layer)
        if len(layers) > MAX_LAYERS:
            raise VelocityError(f"{path}:{number}: more than {MAX_LAYERS} layers; join those that are thin")
    if not layers:
        raise VelocityError(
            f"{path}: holds no layer; write a line for each: depth of its top (km), P, S (km/s)"
        )
    return tuple(layers)


def _layer(fields: Sequence[str], where: str) -> LayerConfig:
    names = tuple(LayerConfig.model_fields)
    if len(fields) != len(names):
        raise VelocityError(
            f"{where}: {len(fields)} values; a layer has 3: depth of its top (km), velocity of P, velocity of S (km/s)"
        )
    values: dict[str, float] = {}
    for name, text in zip(names, fields, strict=True):
        most = 700 if name == "top_km" else 20
        value = float(text) if _is_number(text) else math.nan
        if not 0 <= value <= most or (value == 0 and name != "top_km"):
            raise VelocityError(f"{where}: {name}: must be a number up to {most}; got {text!r}")
        values[name] = value
    return LayerConfig(**values)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
