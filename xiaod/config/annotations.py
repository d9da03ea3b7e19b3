"""What the types of the models say: which models, kinds, limits and secrets they contain.

>>> from xiaod.config import Config, WindowConfig
>>> models_in(Config.model_fields["windows"].annotation) == [WindowConfig]
True
>>> field = field_at(Config, ("windows", "early_hop_s"))
>>> [limit.le for limit in constraints(field) if hasattr(limit, "le")]
[30]
"""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from xiaod.config.origin import Place


def parts_of(annotation: Any) -> Iterator[Any]:
    """A type, and all types that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from parts_of(part)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models in a type, without those inside them."""
    return [part for part in parts_of(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def kinds_of(model: type[BaseModel]) -> tuple[str, ...]:
    """What ``kind`` can be in one model of a union."""
    return get_args(model.model_fields["kind"].annotation)


def is_nullable(field: FieldInfo) -> bool:
    """Whether null is allowed."""
    return type(None) in get_args(field.annotation)


def has_secret(field: FieldInfo) -> bool:
    """Whether it holds a secret."""
    return SecretStr in parts_of(field.annotation)


def constraints(field: FieldInfo) -> Iterator[Any]:
    """The limits of a field, also those of a part of a union: objects with attributes such as ``ge`` or ``le``."""
    for metadata in (
        field.metadata,
        *(getattr(part, "__metadata__", ()) for part in parts_of(field.annotation)),
    ):
        for item in metadata:
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)


def model_at(root: type[BaseModel], place: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that checks a place in the configuration; in a union the place names the kind, as pydantic does."""
    model: type[BaseModel] | None = root
    candidates: list[type[BaseModel]] = []
    for part in place:
        if candidates and isinstance(part, str):
            model = next((entry for entry in candidates if part in kinds_of(entry)), None)
            candidates = []
        elif model is not None and isinstance(part, str) and part in model.model_fields:
            found = models_in(model.model_fields[part].annotation)
            model = found[0] if len(found) == 1 else None
            candidates = found if len(found) > 1 else []
    return model


def field_at(root: type[BaseModel], place: Place) -> FieldInfo | None:
    """The field that a place in the configuration is checked by."""
    model = model_at(root, place[:-1])
    return None if model is None or not place else model.model_fields.get(str(place[-1]))
