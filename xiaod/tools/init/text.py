"""A configuration as commented YAML: each key with its value, and the description of the JSON Schema beside or above it.

:func:`commented` writes a given configuration: a key that has its default stands behind ``#``, without a blank, because that value holds
in any case. :func:`reference` writes ``config.yaml``: every key with its default, and the sinks that it does not use behind ``#``.

>>> config = Config.model_validate({"sources": [{"server": "rs.local"}], "windows": {"early_hop_s": 1.0}})
>>> [line for line in commented(config).splitlines() if "early_hop_s:" in line or line == "windows:"]
['windows:', '  early_hop_s: 1.0']
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from xiaod.config import Config
from xiaod.config.annotations import constraints, kinds_of, models_in, parts_of
from xiaod.config.model import MAX_S, Model
from xiaod.tools.init.commented_yaml import COLUMN, comment_lines, key_lines, scalar_text

USED = ("console", "jsonl", "quakeml")
"""Kinds of sink that ``config.yaml`` uses."""
HEAD = """\
# yaml-language-server: $schema=xiaod/config/config.schema.json
# Every key with its default, which is also that of a key that is left out, in the order in which data flow.
# "make generated" writes this file from the models in xiaod/config. Copy it, and check your copy with
#   xiaod check --config my.yaml
# xiaod reads its configuration at the start, and again at SIGHUP (systemctl reload xiaod).
# Server, name, streams, sinks, paths and addresses are examples. A key is explained where it occurs first.
"""


def commented(config: Config, notes: Mapping[str, str] | None = None) -> str:
    """A configuration, with the keys that have their defaults behind ``#``.

    Args:
        config: what to write.
        notes: comments beside entries of lists, such as the components behind a pattern of ``streams``.
    """
    lines: list[str] = []
    for key, field in Config.model_fields.items():
        value = getattr(config, key)
        said = _said(field)
        if isinstance(value, BaseModel):
            off = value == type(value)()
            lines += [
                "",
                *comment_lines("", said),
                f"{'#' if off else ''}{key}:",
                *_given_keys(value, "  ", {}),
            ]
        elif isinstance(value, tuple) and value:
            lines += ["", *comment_lines("", said), f"{key}:"]
            for item in value:
                lines += _given_entry(item, notes or {})
        else:
            off = field.default == value and key != "config_version"
            lines += ["", *key_lines("", f"{'#' if off else ''}{key}: {scalar_text(value)}", said)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _given_entry(item: BaseModel, notes: Mapping[str, str]) -> Iterator[str]:
    """An entry of a list, beginning with its kind."""
    _, *others = _given_keys(item, "    ", notes)
    yield from key_lines(
        "    ", f"  - kind: {item.model_dump()['kind']}", _said(type(item).model_fields["kind"])
    )
    yield from others


def _given_keys(model: BaseModel, indent: str, notes: Mapping[str, str]) -> Iterator[str]:
    """The keys of a part."""
    for key, field in type(model).model_fields.items():
        value = getattr(model, key)
        off = not field.is_required() and _default(field) == value
        if isinstance(value, tuple) and not off:
            yield from key_lines(indent, f"{indent}{key}:", _said(field))
            for item in value:
                entry = f"{indent}  - {scalar_text(item)}"
                yield entry.ljust(COLUMN) + f"# {notes[item]}" if item in notes else entry
        else:
            yield from key_lines(
                indent, f"{indent}{'#' if off else ''}{key}: {scalar_text(value)}", _said(field)
            )


def reference() -> str:
    """The text of ``config.yaml``."""
    return "\n".join([HEAD.rstrip("\n"), *_Reference().lines()]) + "\n"


class _Reference:
    """Every key of the models; a description stands where it occurs first."""

    def __init__(self) -> None:
        self._told: set[object] = set()

    def lines(self) -> Iterator[str]:
        for key, field in Config.model_fields.items():
            yield ""
            models = models_in(field.annotation)
            if not models:
                yield from key_lines("", f"{key}: {scalar_text(field.default)}", _said(field))
                continue
            yield from comment_lines("", _said(field))
            yield f"{key}:"
            if isinstance(field.default, BaseModel):
                yield from self._keys("  ", models[0], {})
            else:
                yield from self._entries(models)

    def _entries(self, models: Sequence[type[BaseModel]]) -> Iterator[str]:
        """A list with an entry for each kind."""
        kinds = {kinds_of(model)[0]: model for model in models}
        for kind in [kind for kind in USED if kind in kinds] or list(kinds):
            yield from self._entry("  ", kinds.pop(kind))
        for model in kinds.values():
            yield "  #"
            yield from self._entry("  # ", model)

    def _entry(self, indent: str, model: type[BaseModel]) -> Iterator[str]:
        """An entry of a list: the example of its model."""
        assert issubclass(model, Model)  # noqa: S101  all parts are
        given = {"kind": kinds_of(model)[0], **model.EXAMPLE}
        first, *others = self._keys(f"{indent}  ", model, given)
        yield f"{indent}- {first.removeprefix(f'{indent}  ')}"
        yield from others

    def _keys(self, indent: str, model: type[BaseModel], given: Mapping[str, Any]) -> Iterator[str]:
        """The keys of a model, with the values given or else their defaults."""
        for key, field in model.model_fields.items():
            said = _said(field)
            said = said if self._first((key, said)) else ""
            value = given[key] if key in given else _default(field)
            inner = models_in(field.annotation)
            if isinstance(value, BaseModel):
                yield from key_lines(indent, f"{indent}{key}:", said)
                yield from self._keys(f"{indent}  ", type(value), {})
                continue
            yield from key_lines(indent, f"{indent}{key}: {scalar_text(value)}", said)
            if value is None and inner and self._first(inner[0]):
                yield f"{indent}# {key}:"
                yield from self._keys(f"{indent}#   ", inner[0], {})

    def _first(self, told: object) -> bool:
        if told in self._told:
            return False
        self._told.add(told)
        return True


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _said(field: FieldInfo) -> str:
    """What a key means, with its limits and choices."""
    said = " ".join((field.description or "").replace("``", "'").split())
    allowed = _allowed(field)
    return f"{said.removesuffix('.')} ({allowed})." if allowed else said


def _allowed(field: FieldInfo) -> str:
    """The limits of a number that has both, or the choices of a text that the description does not name."""
    low, high = (
        next((getattr(limit, name) for limit in constraints(field) if hasattr(limit, name)), None)
        for name in ("ge", "le")
    )
    if low is not None and high is not None and high != MAX_S:
        return f"{low:g} to {high:g}"
    choices = [
        choice
        for part in parts_of(field.annotation)
        if get_origin(part) is Literal
        for choice in get_args(part)
    ]
    named = all(re.search(rf"\b{re.escape(str(choice))}\b", field.description or "") for choice in choices)
    return "" if named or len(choices) == 1 else ", ".join(map(str, choices))


if __name__ == "__main__":
    sys.stdout.write(reference())
