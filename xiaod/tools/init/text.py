"""A configuration as commented YAML: what differs from the default stands there, everything else behind ``#`` with what it means.

In: a :class:`~xiaod.config.Config`. Out: text. Descriptions are those of the JSON Schema. A key that is commented out has no blank after
the ``#``: without it, it is what holds anyhow.

>>> config = Config.model_validate({"sources": [{"server": "rs.local"}], "windows": {"hop_s": 1.0}})
>>> [line.split("#")[0].rstrip() for line in commented(config).splitlines() if "hop_s" in line or line == "windows:"]
['windows:', '  hop_s: 1.0']
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel

from xiaod.config import Config

COLUMN = 34
"""Where comments begin."""


def commented(config: Config, notes: Mapping[str, str] | None = None) -> str:
    """The whole configuration.

    Args:
        config: what to write.
        notes: text beside an entry of a list of texts, such as what is behind a pattern of ``streams``.
    """
    lines: list[str] = []
    for key, field in Config.model_fields.items():
        value = getattr(config, key)
        said = _said(field.description)
        if isinstance(value, BaseModel):
            inner = list(_keys(value, "  ", notes or {}, given=()))
            off = not value.model_fields_set or value == type(value)()
            lines += ["", f"# {said}", f"{'#' if off else ''}{key}:", *inner]
        elif isinstance(value, tuple) and value:
            lines += ["", f"# {said}", f"{key}:"]
            for item in value:
                lines += _entry(item, notes or {})
        else:
            lines += ["", *_plain("", key, value, field.default == value and key != "config_version", said)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _entry(item: BaseModel, notes: Mapping[str, str]) -> Iterator[str]:
    """An entry of a list; its first key is one that is set."""
    lines = list(_keys(item, "    ", notes, given=("kind",)))
    first = next(place for place, line in enumerate(lines) if not line.lstrip().startswith("#"))
    yield "  - " + lines.pop(first)[4:]
    yield from lines


def _keys(model: BaseModel, indent: str, notes: Mapping[str, str], given: Sequence[str]) -> Iterator[str]:
    """The keys of a part; those of ``given`` stand there in any case."""
    for key, field in type(model).model_fields.items():
        value = getattr(model, key)
        is_default = not field.is_required() and field.get_default(call_default_factory=True) == value
        off = is_default and key not in given
        if isinstance(value, tuple) and not off:
            yield f"{indent}{key}:".ljust(COLUMN) + f"# {_said(field.description)}"
            for item in value:
                entry = f"{indent}  - {_scalar(item)}"
                yield entry.ljust(COLUMN) + f"# {notes[item]}" if item in notes else entry
        else:
            yield from _plain(indent, key, value, off, _said(field.description))


def _plain(indent: str, key: str, value: Any, off: bool, said: str) -> Iterator[str]:
    text = f"{indent}{'#' if off else ''}{key}: {_scalar(value)}"
    yield text.ljust(COLUMN - 1) + f" # {said}"


def _scalar(value: Any) -> str:
    """A value on one line."""
    plain = BaseModel.model_dump(_Box(value=value), mode="json")["value"]
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


class _Box(BaseModel):
    value: Any


def _said(description: str | None) -> str:
    return " ".join((description or "").replace("``", "'").split())
