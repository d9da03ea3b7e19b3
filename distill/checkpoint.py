"""The state of a training in one safetensors file: tensors by name, everything else as JSON in its header; no pickle.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "checkpoint.safetensors"
...     save(path, {"net": {"weight": torch.ones(2)}, "optimiser": {"state": {0: {"step": torch.tensor(3.0)}}}}, {"step": 3})
...     tensors, plain = load(path)
>>> tensors["net"]["weight"].tolist(), tensors["optimiser"]["state"]["0"]["step"].item(), plain
([1.0, 1.0], 3.0, {'step': 3})
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.files import put_in_place

SEPARATOR = "/"
"""Between the keys that lead to a tensor; names of parameters contain dots."""
HEADER = "plain"


def save(path: Path, tensors: Mapping[str, Any], plain: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: of the file.
        tensors: nested mappings whose leaves are tensors.
        plain: everything else, as JSON can hold it.
    """
    # Clones: safetensors refuses tensors that share memory.
    flat = {name: value.detach().cpu().clone().contiguous() for name, value in _flat(tensors)}
    partial = path.with_name(path.name + ".partial")
    save_file(flat, partial, metadata={HEADER: json.dumps(plain)})
    put_in_place(partial, path)


def load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a checkpoint: the tensors as they were nested, all keys as text, and the rest.

    Raises:
        safetensors.SafetensorError: when the file is not a checkpoint.
    """
    nested: dict[str, Any] = {}
    with safe_open(path, framework="pt") as file:
        plain: dict[str, Any] = json.loads((file.metadata() or {})[HEADER])
        for name in file.keys():  # noqa: SIM118  not a mapping
            *way, last = name.split(SEPARATOR)
            place = nested
            for key in way:
                place = place.setdefault(key, {})
            place[last] = file.get_tensor(name)
    return nested, plain


def optimiser_parts(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An optimiser's tensors and its plain settings."""
    content = optimiser.state_dict()
    return content["state"], content["param_groups"]


def restore_optimiser(
    optimiser: torch.optim.Optimizer, state: Mapping[str, Any], groups: list[dict[str, Any]]
) -> None:
    """Put back what :func:`optimiser_parts` gave."""
    optimiser.load_state_dict(
        {"state": {int(number): dict(values) for number, values in state.items()}, "param_groups": groups}
    )


def _flat(tensors: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    for key, value in tensors.items():
        name = f"{before}{key}"
        if isinstance(value, torch.Tensor):
            yield name, value
        else:
            yield from _flat(value, name + SEPARATOR)
