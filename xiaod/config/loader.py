r"""Reading the configuration file: every problem at once, each with its line.

In: a YAML file. Out: a :class:`~xiaod.config.Config`, or a :class:`ConfigError` whose lines read
``FILE:LINE: KEY.PATH: what is wrong, what is allowed``. The line numbers come from PyYAML's nodes.

The reader accepts the part of YAML that a configuration needs: text, numbers, ``true`` and ``false``, ``null``, lists and mappings. A
time, ``no``, ``0777`` or ``.inf`` is text, and tags are refused. Relative paths are relative to the working directory, not to the file.

>>> parse_config("sources:\n- server: localhost\npicker:\n  treshold_p: 3\n", "config.yaml")
Traceback (most recent call last):
xiaod.config.loader.ConfigError: config.yaml:4: picker.treshold_p: unknown key; did you mean 'threshold_p'? allowed here: ...
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from xiaod.config import Config, Early
from xiaod.config.annotations import (
    constraints,
    field_at,
    has_secret,
    is_nullable,
    kinds_of,
    model_at,
    models_in,
)
from xiaod.config.inventory import StationsError, read_stations
from xiaod.config.model import MAX_S
from xiaod.config.origin import Origin, Place, dotted
from xiaod.config.version_1 import upgraded

MAX_BYTES = 200_000
"""PyYAML reads some 100 kB a second on a small computer."""
MAX_NODES = 100_000
"""Values in a file, an alias counted each time it is used; more is a mistake or an attack."""
MAX_TEXT = 8192
"""Characters of one text or key: twice a path, more than any address or token. Checking longer ones could take minutes."""
MAX_PROBLEMS = 50
"""Problems that are reported for one file."""
MAX_LINE = 1000
"""Characters of one reported problem."""
UNITS = {"_s": "seconds", "_mb": "megabytes", "_hz": "hertz"}
QUOTES = "put text that begins with ! or * in quotes"
LIMITS = (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))

_TAG = "tag:yaml.org,2002:"
_PLAIN = {
    f"{_TAG}null": re.compile(r"(~|null|)\Z"),
    f"{_TAG}bool": re.compile(r"(true|false)\Z"),
    # Longer numbers are mistakes, and slow to read; with a leading zero they are octal to some readers and decimal to others.
    f"{_TAG}int": re.compile(r"[-+]?(0|[1-9][0-9]{0,38})\Z"),
    f"{_TAG}float": re.compile(
        r"(?=.{1,40}\Z)[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,2})?\Z"
    ),
}
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Characters that neither a path nor XML can hold; only an escape such as ``\\0`` brings them into YAML."""
_SCHEME = re.compile(r"\w{1,32}://")

_NO_BLANK = re.compile(r"[a-z_]+:\S")
_QUOTE = re.compile(r"['\"]")
CURES = (
    ("found character '\\t'", "a tab stands where YAML takes blanks only"),
    ("scanning an alias", """put text that begins with * in quotes, for example "*.*.*.*\""""),
    ("got '?'", """put text with ? in quotes within [...], for example ["AM.R0E05.00.EH?"]"""),
    ("got '['", """put text with [ in quotes within [...], for example ["AM.R0E05.00.EH[ZNE]"]"""),
    ("cannot start any token", "put text that begins with it in quotes"),
    ("found unexpected end of stream", "the quote that begins here is not closed"),
    ("'<stream end>'", "the bracket that begins here is not closed"),
    ("unknown escape character", "a backslash in double quotes begins an escape: use single quotes"),
    ("mapping values are not allowed",
     "put text with ': ' in quotes, let the keys of one part begin in one column, and put a blank behind each colon"),
    ("<block end>", "let the keys or entries of one part begin in one column, and put text that begins with [ or { in quotes"),
    ("could not find expected ':'", "write KEY: VALUE, with a blank after the colon"),
    ("sequence entries are not allowed", "write each entry in a line of its own, or all of them as [A, B]"),
)  # fmt: skip
"""Words of PyYAML -> the remedy, for a reader who does not know YAML."""

AnyModel = TypeVar("AnyModel", bound=BaseModel)


class ConfigError(Exception):
    """A configuration cannot be used; the text has a line for each problem."""

    @property
    def problems(self) -> list[str]:
        """One text for each problem: ``FILE:LINE: KEY.PATH: what is wrong, what is allowed``."""
        return str(self).splitlines()


def load_config(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: with every problem in it.
    """
    return parse_config(_text(path, "; give a file; xiaod init SERVER writes one"), str(path))


def parse_config(text: str, name: str) -> Config:
    """Read a configuration from text; ``name`` stands for the file in errors.

    Raises:
        ConfigError: with every problem in it.
    """
    config, lines = _parsed(text, name, Config)
    return config.read_from(Origin(name, lines))


def with_early(config: Config, early: Early) -> Config:
    """The same configuration with early picks made in another way.

    Raises:
        ConfigError: when other values do not fit it.
    """
    changed = config.model_copy(update={"early": early}).read_from(config.origin)
    try:
        Config.model_validate(dict(changed))
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{config.origin.beginning('early')}early: {early} does not fit: {said}") from error
    return changed


def with_stations(config: Config) -> Config:
    """The same configuration with the stations of its ``stations_file``.

    Raises:
        ConfigError: when that cannot be used; it names file and line of the configuration, and of the stations.
    """
    if config.stations_file is None:
        return config
    try:
        return config.located(read_stations(config.stations_file))
    except StationsError as error:
        raise ConfigError(f"{config.origin.where('stations_file')}: {error}") from error


def with_thresholds(config: Config, thresholds: Mapping[str, float]) -> Config:
    """The same configuration with other thresholds for all stations that have none of their own, by their keys in ``picker``.

    Raises:
        ConfigError: when one is wrong.
    """
    try:
        picker = type(config.picker).model_validate({**config.picker.model_dump(), **thresholds})
    except ValidationError as error:
        problem = error.errors()[0]
        [name] = problem["loc"]
        said = _said(problem, str(name), field_at(Config, ("picker", name)), secret=False)
        raise ConfigError(f"{name}: {said}") from error
    return config.model_copy(update={"picker": picker}).read_from(config.origin)


def load_as(path: Path, root: type[AnyModel]) -> AnyModel:
    """Read a YAML file that another model describes.

    Raises:
        ConfigError: with every problem in it.
    """
    return parse_as(_text(path), str(path), root)


def parse_as(text: str, name: str, root: type[AnyModel]) -> AnyModel:
    """Read text that another model describes; ``name`` stands for the file in errors.

    Raises:
        ConfigError: with every problem in it.
    """
    return _parsed(text, name, root)[0]


def _text(path: Path, advice: str = "") -> str:
    """The content of a file; ``advice`` says what helps where there is none."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        # ValueError: a NUL in the path.
        remedy = advice if isinstance(error, FileNotFoundError | IsADirectoryError) else ""
        said = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {said}{remedy}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: more than {MAX_BYTES} bytes: not a configuration of this program")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text: byte {content[error.start]:#04x}") from error
    return text


def _parsed(text: str, name: str, root: type[AnyModel]) -> tuple[AnyModel, Mapping[Place, int]]:
    """The content of a text, and the line of each value."""
    reader = _Reader(name, root)
    content = reader.read(text)
    if reader.problems:
        raise _error(name, reader.problems)
    changes = upgraded(content, reader.lines) if root is Config else []
    try:
        model = root.model_validate(content)
    except ValidationError as error:
        found = error.errors()
        # A list whose entries are wrong is not also reported as empty.
        inner = {
            place[:length] for problem in found if (place := problem["loc"]) for length in range(len(place))
        }
        problems = {
            reader.describe(problem)
            for problem in found
            if problem["type"] != "too_short" or problem["loc"] not in inner
        }
        raise _error(name, problems.union(changes)) from error
    if changes:
        raise _error(name, changes)
    return model, reader.lines


def _error(name: str, problems: Iterable[tuple[int, str]]) -> ConfigError:
    ordered = [f"{name}:{line}: {_shortened(text, MAX_LINE)}" for line, text in sorted(problems)]
    if len(ordered) > MAX_PROBLEMS:
        ordered[MAX_PROBLEMS:] = [f"{name}: and {len(ordered) - MAX_PROBLEMS} more"]
    return ConfigError("\n".join(ordered))


class _Loader(yaml.SafeLoader):
    """Resolves only the scalars of the configuration, whatever their first character."""

    yaml_implicit_resolvers: dict[Any, Any] = {None: list(_PLAIN.items())}  # noqa: RUF012 - as PyYAML declares it


class _Reader:
    """Values of a YAML document, and the line of each."""

    def __init__(self, name: str, root: type[BaseModel]) -> None:
        self._name = name
        self._root = root
        self.lines: dict[Place, int] = {}
        self._nodes = 0
        self.problems: list[tuple[int, str]] = []

    def read(self, text: str) -> Any:
        try:
            node = yaml.compose(text, Loader=_Loader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self._syntax(error, text)
            return None
        if not isinstance(node, yaml.MappingNode):
            what = "is empty" if node is None else "is not a mapping"
            line = 1 if node is None else node.start_mark.line + 1
            needed = [repr(key) for key, field in self._root.model_fields.items() if field.is_required()]
            self.problems.append((line, f"{what}; must be a mapping of keys, at least {', '.join(needed)}"))
            return None
        try:
            return self._value(node, ())
        except RecursionError:
            deepest = max(self.lines.values())
            self.problems.append((deepest, "nested too deeply, or an alias that holds itself"))
            return None

    def describe(self, problem: Mapping[str, Any]) -> tuple[int, str]:
        """Line and text of a problem that pydantic found."""
        place = tuple(problem["loc"])
        if problem["type"] in {"union_tag_invalid", "union_tag_not_found"}:
            place = (*place, "kind")
        known = self._known(place)
        line = self.lines.get(known, 1)
        shown = dotted(known)
        if problem["type"] == "missing":
            shown = dotted((*known, place[-1]))
            example = getattr(model_at(self._root, place[:-1]), "EXAMPLE", {}).get(place[-1])
            said = "is missing" if example is None else f"is missing; for example {place[-1]}: {example}"
        elif problem["type"] == "extra_forbidden":
            said = _unknown(str(place[-1]), model_at(self._root, place[:-1]))
        else:
            field, secret = field_at(self._root, place), _is_secret(self._root, place)
            said = _said(problem, str(known[-1]) if known else "", field, secret)
            if problem["type"] == "union_tag_not_found":
                shown = dotted((*known, "kind"))
            elif isinstance(problem["input"], Mapping):
                # A check of several keys: the text begins with the one to change.
                named = said.split(" ")[0].rstrip(":").split(".")
                # The key of a station has a dot within.
                places = ((*known, *named), (*known, named[0], ".".join(named[1:])))
                line = self.lines.get(max(map(self._known, places), key=len), line)
                model = model_at(self._root, place)
                if known and model is not None and named[0] in model.model_fields:
                    return line, f"{shown}.{said}"
        return line, f"{shown + ': ' if shown else ''}{said}"

    def _known(self, place: Place) -> Place:
        """The place without the parts that pydantic adds, such as the kind of a union, or that are not in the file."""
        known: Place = ()
        for part in place:
            if (*known, part) in self.lines:
                known = (*known, part)
        return known

    def _value(self, node: yaml.Node, place: Place) -> Any:
        self._nodes += 1
        line = node.start_mark.line + 1
        if self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self.problems.append((line, f"more than {MAX_NODES} values"))
            return None
        self.lines.setdefault(place, line)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self._value(item, (*place, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in {f"{_TAG}str", *_PLAIN}:
            return self._scalar(node, place)
        # It may be the beginning of a password.
        self.problems.append((line, f"{dotted(place)}: tags are not used here; {QUOTES}"))
        return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or _UNWRITABLE.search(key_node.value):
                self.problems.append((line, "a key must be a word"))
                continue
            key = key_node.value
            if len(key) > MAX_TEXT:
                self.problems.append((line, f"a key of {len(key)} letters; at most {MAX_TEXT} are read"))
                continue
            here = (*place, key)
            if key in values:
                first = self.lines[here]
                self.problems.append((line, f"{dotted(here)}: given twice, first in line {first}"))
                continue
            self.lines[here] = line
            values[key] = self._value(value_node, here)
        return values

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> str | int | float | bool | None:
        text: str = node.value
        line = node.start_mark.line + 1
        kind = node.tag.removeprefix(_TAG)
        if len(text) > MAX_TEXT:
            # Reported without the text: it may be a secret.
            self.problems.append(
                (line, f"{dotted(place)}: text of {len(text)} letters; at most {MAX_TEXT} are read")
            )
            return None
        if kind == "str":
            if unwritable := _UNWRITABLE.search(text):
                self.problems.append(
                    (line, f"{dotted(place)}: must not hold the character {unwritable.group()!r}")
                )
            return text
        if not _PLAIN[node.tag].match(text):
            self.problems.append((line, f"{dotted(place)}: {_shown(text)} is not what !!{kind} stands for"))
            return None
        if kind == "null":
            return None
        return text == "true" if kind == "bool" else int(text) if kind == "int" else float(text)

    def _syntax(self, error: Exception, text: str) -> None:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error).replace("\n", " ") or type(error).__name__
        if ("end" in said and "stream" in said) or said.startswith("could not find expected"):
            # The mark stands after the bracket, quote or key that is at fault.
            mark = None
        mark = mark or getattr(error, "context_mark", None)
        line = 1 if mark is None else mark.line + 1
        whole = f"{getattr(error, 'context', None)}: {said}"
        if isinstance(error, yaml.reader.ReaderError):
            line = text.count("\n", 0, error.position) + 1
            said = f"the character {text[error.position]!r} is not allowed"
        elif isinstance(error, RecursionError):
            said = "nested too deeply"
        elif said.startswith("found undefined"):
            # The name of an alias or a tag may be the beginning of a password.
            said = f"{_QUOTE.split(said)[0].strip()}; {QUOTES}"
        elif cure := next((cure for words, cure in CURES if words in whole), None):
            said = f"{said}; {cure}"
        self.problems.append((line, f"not valid YAML: {said}"))


def _said(problem: Mapping[str, Any], key: str, field: FieldInfo | None, secret: bool) -> str:
    kind = problem["type"]
    given = problem["input"]
    if secret and not isinstance(given, Mapping):
        given = SecretStr("")
    context = problem.get("ctx", {})
    if kind in {"value_error", "assertion_error"}:
        said = str(context.get("error", problem["msg"]))
        return said if isinstance(given, Mapping) else f"{said}; got {_shown(given)}"
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        kinds = [kinds_of(model)[0] for model in models_in(Config.model_fields["sinks"].annotation)]
        tag = f"; got {context['tag']!r}" if "tag" in context else ""
        return f"must be one of {', '.join(kinds)}{tag}"
    if kind == "literal_error":
        return f"must be {context['expected']}; got {_shown(given)}"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}; got {_shown(given)}"
    if kind == "too_short":
        return "must have at least one entry"
    wanted = {
        "float_type": "a number",
        "finite_number": "a finite number",
        "greater_than": "a number",
        "greater_than_equal": "a number",
        "less_than": "a number",
        "less_than_equal": "a number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "bool_type": "true or false",
        "string_type": "text (put it in quotes)",
        "path_type": "a path",
        "tuple_type": "a list",
        "model_type": "a mapping of keys",
        "model_attributes_type": "a mapping of keys",
        "dict_type": "a mapping of keys",
    }.get(kind)
    if wanted is None:
        return f"{problem['msg']}; got {_shown(given)}"
    found = [] if field is None else list(constraints(field))
    limits = " and ".join(
        f"{word} {getattr(constraint, name):g}"
        for name, word in LIMITS
        for constraint in found
        if getattr(constraint, name, None) is not None
        # A bound far from any sensible value is named only when it was passed.
        and (getattr(constraint, name) != MAX_S or kind == "less_than_equal")
    )
    if wanted.endswith("number"):
        unit = next((f" {unit}" for ending, unit in UNITS.items() if key.endswith(ending)), "")
        wanted = f"{wanted} {limits}{unit}" if limits else f"{wanted}{' of' + unit if unit else ''}"
    if field is not None and is_nullable(field):
        wanted += ", or null"
    return f"must be {wanted}; got {_shown(given)}{_remedy(wanted, given, field)}"


def _remedy(wanted: str, given: object, field: FieldInfo | None) -> str:
    """What to write where the mistake can be seen; empty elsewhere."""
    text = given if isinstance(given, str) else ""
    # Without quotes it would not be text.
    quoted = {kind.removeprefix(_TAG) for kind, form in _PLAIN.items() if form.match(text)}
    if ("number" in wanted and quoted & {"int", "float"}) or (wanted == "true or false" and "bool" in quoted):
        return "; remove the quotes"
    if wanted == "a list" and field is not None and models_in(field.annotation):
        return '; begin each entry with "- "'
    if wanted == "a list" and text:
        return f"; write [{_shown(text)}]"
    if wanted == "a mapping of keys" and _NO_BLANK.match(text):
        return "; put a blank behind the colon"
    return ""


def _is_secret(root: type[BaseModel], place: Place) -> bool:
    """Whether a place, or a part that contains it, holds a secret."""
    fields = (field_at(root, place[: length + 1]) for length in range(len(place)))
    return any(field is not None and has_secret(field) for field in fields)


def _unknown(key: str, model: type[BaseModel] | None) -> str:
    allowed = sorted(model.model_fields) if model is not None else []
    near = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown key{hint} allowed here: {', '.join(allowed)}"


def _shown(value: object) -> str:
    """A value as the file would show it, shortened; a secret is hidden."""
    if isinstance(value, SecretStr):
        return "something else"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, Mapping | list):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    text = repr(_without_user(value) if isinstance(value, str) else value)
    return _shortened(text, 60)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def _without_user(text: str) -> str:
    """Hide all before the last @ but the scheme: an address under any key may contain a password."""
    before, at, after = text.rpartition("@")
    scheme = _SCHEME.match(before)
    return f"{scheme.group() if scheme else ''}***@{after}" if at else text


def yaml_text(document: Mapping[str, Any]) -> str:
    """A configuration as YAML that :func:`parse_config` reads as the same configuration."""
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10_000)
    return text
