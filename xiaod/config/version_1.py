"""A configuration file of version 1: what to write instead, line by line.

In version 1 a pick was said once, half a second after its onset. Those are the early picks of version 2, so their hop and lookahead go
on as ``windows.early_hop_s`` and ``picker.early_lookahead_s``; one who had chosen long ones to get better picks gets final picks with them.

In: the content of a file, which is changed to version 2 in place, so that the rest is checked as it will be. Out: a line and a text for
each change. Without any, the file is of version 2.

>>> content = {"config_version": 1, "windows": {"hop_s": 1.0}}
>>> for line, text in upgraded(content, {("config_version",): 1, ("windows",): 2, ("windows", "hop_s"): 3}):
...     print(line, text)
1 config_version: is 1, a file of an earlier xiaod; write config_version: 2 and change it as said here
3 windows.hop_s: is of version 1; write windows.early_hop_s: 1.0
>>> content
{'config_version': 2, 'windows': {'early_hop_s': 1.0}}
"""

from collections.abc import Iterator, MutableMapping
from typing import Any

from xiaod.config import EngineConfig, PickerConfig
from xiaod.config.origin import Place, dotted

STAGED = (("windows", "hop_s", 0.0), ("picker", "lookahead_s", PickerConfig().final_lookahead_s))
"""Keys of version 1 of which version 2 has one for each stage, and the least value that goes on as that of final picks."""
EARLY_S = 2.0
"""Longest hop or lookahead of version 1 that goes on as that of early picks: with two such, these still come before the final ones."""
THRESHOLDS = ("threshold_p", "threshold_s")
"""Keys whose meaning is another one in version 2."""
STREAMING = "micro-stream"
"""The shipped model of version 1 that streams; another one has taken its place."""
NOTICING = EngineConfig().scout
PICKING = "micro"
"""The model to pick with instead of one that streams."""

Change = tuple[int, str]
"""Line of the file, and what to do there."""


def upgraded(content: MutableMapping[str, Any], lines: MutableMapping[Place, int]) -> list[Change]:
    """Change a file of version 1 to version 2.

    Args:
        content: keys and values of the file, of any version; changed in place.
        lines: line of each place in the file; new places get the line of the old.

    Returns:
        All that was changed; empty for a file of version 2.
    """
    changes = [*_staged(content, lines), *_engine(content, lines)]
    if content.get("config_version") == 1 and type(content["config_version"]) is int:
        content["config_version"] = 2
        text = "config_version: is 1, a file of an earlier xiaod; write config_version: 2"
        told = [*changes, *_thresholds(content, lines)]
        changes = [
            (lines[("config_version",)], text + (" and change it as said here" if told else "")),
            *told,
        ]
    return changes


def _staged(content: MutableMapping[str, Any], lines: MutableMapping[Place, int]) -> Iterator[Change]:
    for section, key, least in STAGED:
        part = content.get(section)
        if not isinstance(part, dict) or key not in part:
            continue
        value = part.pop(key)
        final = isinstance(value, int | float) and value > EARLY_S
        value = max(value, least) if final else value
        new = f"{'final' if final else 'early'}_{key}"
        line = lines[(section, key)]
        said = f"{dotted((section, key))}: is of version 1; "
        if new in part:
            yield line, f"{said}delete it, {section}.{new} is in line {lines[(section, new)]}"
        else:
            part[new] = value
            lines[(section, new)] = line
            yield line, f"{said}write {section}.{new}{_value(value)}"


def _engine(content: MutableMapping[str, Any], lines: MutableMapping[Place, int]) -> Iterator[Change]:
    part = content.get("engine")
    if not isinstance(part, dict):
        return
    kind = part.get("kind")
    if "kind" in part:
        del part["kind"]
        yield lines[("engine", "kind")], "engine.kind: is of version 1; delete it"
    if "model" in part and (kind == "stateful" or part["model"] == STREAMING):
        line, named = lines[("engine", "model")], part["model"]
        part.setdefault("scout", NOTICING if part["model"] == STREAMING else part["model"])
        part["model"] = PICKING
        lines.setdefault(("engine", "scout"), line)
        said = (
            f"{STREAMING} has gone; engine.scout: {NOTICING}, the default, notices onsets in its place; write"
            if named == STREAMING
            else "a model that streams no longer picks, it notices onsets; move it to engine.scout, and write"
        )
        yield line, f"engine.model: {said} engine.model: {PICKING}"


def _thresholds(content: MutableMapping[str, Any], lines: MutableMapping[Place, int]) -> Iterator[Change]:
    """Thresholds keep their keys, and hold for final picks only."""
    picker = content.get("picker")
    stations = picker.get("stations") if isinstance(picker, dict) else None
    places: list[tuple[Place, Any]] = [(("picker",), picker)]
    if isinstance(stations, dict):
        places += [(("picker", "stations", str(name)), part) for name, part in stations.items()]
    for place, part in places:
        for key in THRESHOLDS:
            if isinstance(part, dict) and part.get(key) is not None and f"early_{key}" not in part:
                yield (
                    lines[(*place, key)],
                    f"{dotted((*place, key))}: holds for final picks only; write early_{key} beside it, for early picks",
                )


def _value(given: object) -> str:
    """A number as a message shows it behind its key; other things are wrong, which is said elsewhere."""
    return f": {given}" if type(given) in (int, float) else ""
