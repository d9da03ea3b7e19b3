r"""Reading the configuration file: every problem at once, each with its line.

In: a YAML file. Out: a :class:`~xiaod.config.Config`, or a :class:`ConfigError` whose lines read
``FILE:LINE: KEY.PATH: what is wrong, what is allowed``. Lines come from PyYAML's nodes. Only what the configuration needs of YAML is understood: text, numbers, ``true`` and ``false``,
``null``, lists and mappings; a time or ``no`` is text. Relative paths in it are relative to the working directory.

>>> parse_config("sources:\n- server: localhost\npicker:\n  treshold_p: 3\n", "config.yaml")
Traceback (most recent call last):
xiaod.configfile.ConfigError: config.yaml:4: picker.treshold_p: unknown key; did you mean 'threshold_p'? allowed here: ...
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from xiaod.config import Config

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
"""Values in a file, aliases counted as often as they stand; more is a mistake or an attack."""
UNITS = {"_s": "seconds", "_mb": "megabytes", "_hz": "hertz"}

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")

Path_ = tuple[str | int, ...]


class ConfigError(Exception):
    """A configuration cannot be used; the text has a line for each problem."""


def load_config(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: with every problem in it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: more than {MAX_BYTES} bytes: not a configuration of this program")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text: byte {content[error.start]:#04x}") from error
    return parse_config(text, str(path))


def parse_config(text: str, name: str) -> Config:
    """Read a configuration from text; ``name`` stands for the file in errors.

    Raises:
        ConfigError: with every problem in it.
    """
    reader = _Reader(name)
    content = reader.read(text)
    if reader.problems:
        raise ConfigError("\n".join(reader.problems))
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        found = [dict(problem) for problem in error.errors()]
        # A list whose entries are wrong is not said to be empty as well.
        inner = {place[:length] for problem in found if (place := problem["loc"]) for length in range(len(place))}
        problems = sorted(
            {
                reader.describe(problem)
                for problem in found
                if problem["type"] != "too_short" or problem["loc"] not in inner
            }
        )
        raise ConfigError("\n".join(text for _, text in problems)) from error


class _Reader:
    """Values of a YAML document, and the line of each."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: dict[Path_, int] = {}
        self._nodes = 0
        self.problems: list[str] = []

    def read(self, text: str) -> Any:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self._syntax(error)
            return None
        if not isinstance(node, yaml.MappingNode):
            self.problems.append(f"{self._name}:1: must be a mapping with at least the key 'sources'")
            return None
        try:
            return self._value(node, ())
        except RecursionError:
            self.problems.append(f"{self._name}:1: nested too deeply, or an alias that holds itself")
            return None

    def describe(self, problem: Mapping[str, Any]) -> tuple[int, str]:
        """Line and text of a problem that pydantic found."""
        place = tuple(problem["loc"])
        known = self._known(place)
        kind = problem["type"]
        line = self._lines.get(known, 1)
        shown = _dotted(known)
        if kind == "missing":
            shown = _dotted((*known, place[-1]))
            said = "is missing"
        elif kind == "extra_forbidden":
            said = _unknown(str(place[-1]), _model_at(place[:-1]))
        else:
            said = _said(kind, problem, str(known[-1]) if known else "")
        return line, f"{self._name}:{line}: {shown + ': ' if shown else ''}{said}"

    def _known(self, place: Path_) -> Path_:
        """The place without what pydantic adds, such as the kind of a union, and without what is not in the file."""
        known: Path_ = ()
        for part in place:
            if (*known, part) in self._lines:
                known = (*known, part)
        return known

    def _value(self, node: yaml.Node, place: Path_) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self.problems.append(f"{self._name}:{node.start_mark.line + 1}: more than {MAX_NODES} values")
            return None
        self._lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*place, index)) for index, item in enumerate(node.value)]
        return _scalar(node) if isinstance(node, yaml.ScalarNode) else None

    def _mapping(self, node: yaml.MappingNode, place: Path_) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(f"{self._name}:{line}: a key must be a word")
                continue
            key = key_node.value
            here = (*place, key)
            if key in values:
                first = self._lines[here]
                self.problems.append(
                    f"{self._name}:{line}: {_dotted(here)}: given twice, first in line {first}"
                )
                continue
            self._lines[here] = line
            values[key] = self._value(value_node, here)
        return values

    def _syntax(self, error: Exception) -> None:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = 1 if mark is None else mark.line + 1
        said = getattr(error, "problem", None) or str(error).replace("\n", " ") or type(error).__name__
        self.problems.append(f"{self._name}:{line}: not valid YAML: {said}")


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text: str = node.value
    if node.style in {"'", '"', "|", ">"}:
        return text
    if text in {"", "~", "null"}:
        return None
    if text in {"true", "false"}:
        return text == "true"
    # Longer numbers are mistakes, and slow to read.
    if len(text) < 40 and _INTEGER.fullmatch(text):
        return int(text)
    if len(text) < 40 and _FLOAT.fullmatch(text):
        return float(text)
    return text


def _said(kind: str, problem: Mapping[str, Any], key: str) -> str:
    given = problem["input"]
    context = problem.get("ctx", {})
    if kind in {"value_error", "assertion_error"}:
        said = str(context.get("error", problem["msg"]))
        return said if isinstance(given, Mapping) else f"{said}; got {_shown(given)}"
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        allowed = str(context.get("expected_tags", "'jsonl', 'quakeml', 'console'"))
        tag = f"; got {context['tag']!r}" if "tag" in context else ""
        return f"kind must be one of {allowed}{tag}"
    if kind == "literal_error":
        return f"must be {context['expected']}; got {_shown(given)}"
    limits = [
        f"{word} {context[name]}"
        for name, word in (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))
        if name in context
    ]
    unit = next((f" {unit}" for ending, unit in UNITS.items() if key.endswith(ending)), "")
    if limits:
        return f"must be {' and '.join(limits)}{unit}; got {_shown(given)}"
    wanted = {
        "float_type": f"a number{' of' + unit if unit else ''}",
        "int_type": "a whole number",
        "bool_type": "true or false",
        "string_type": "text (put it in quotes)",
        "path_type": "a path",
        "tuple_type": "a list",
        "model_type": "a mapping of keys",
        "model_attributes_type": "a mapping of keys",
        "dict_type": "a mapping",
        "finite_number": "a finite number",
    }.get(kind)
    if wanted is not None:
        return f"must be {wanted}; got {_shown(given)}"
    if kind == "too_short":
        return "must have at least one entry"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}; got {_shown(given)}"
    return f"{problem['msg']}; got {_shown(given)}"


def _unknown(key: str, model: type[BaseModel] | None) -> str:
    allowed = sorted(model.model_fields) if model is not None else []
    near = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown key{hint} allowed here: {', '.join(allowed)}"


def _model_at(place: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that a place in the configuration is checked by."""
    model: type[BaseModel] | None = Config
    candidates: list[type[BaseModel]] = []
    for part in place:
        if candidates and isinstance(part, str):
            # Within a union pydantic names the kind.
            model = next(
                (entry for entry in candidates if part in get_args(entry.model_fields["kind"].annotation)),
                None,
            )
            candidates = []
        elif model is not None and isinstance(part, str) and part in model.model_fields:
            found = _models_in(model.model_fields[part].annotation)
            model = found[0] if len(found) == 1 else None
            candidates = found if len(found) > 1 else []
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _dotted(place: Path_) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
