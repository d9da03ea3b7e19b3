"""Notebooks and examples in the documentation, run without a kernel.

``make notebook`` writes the outputs of ``docs/library.ipynb`` into it.
"""

import ast
import contextlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOK = DOCS / "library.ipynb"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(cell: str, names: dict[str, Any]) -> tuple[str, str]:
    """What a cell prints, and the value of its last line as text; empty where it has none."""
    body = ast.parse(cell).body
    value = None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "cell", "exec"), names)  # noqa: S102  our own documentation
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # noqa: S307  the same
    return printed.getvalue(), "" if value is None else repr(value)


def shown(cell: dict[str, Any]) -> tuple[str, str]:
    """What a notebook says that a cell prints and gives."""
    printed = value = ""
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            printed += "".join(output["text"])
        else:
            value = "".join(output["data"]["text/plain"])
    return printed, value


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def examples(text: str, language: str = "python") -> list[tuple[str, str]]:
    """Examples of a language in a text in Markdown, each with the output that follows it; empty where none does."""
    found: Sequence[tuple[str, str]] = _FENCE.findall(text)
    return [
        (code, found[number + 1][1] if number + 1 < len(found) and not found[number + 1][0] else "")
        for number, (kind, code) in enumerate(found)
        if kind == language
    ]


def masked(text: str) -> str:
    """Without digits, which depend on the processor, and the blanks at the ends of lines."""
    return "\n".join(re.sub(r"\d", "0", line).rstrip() for line in text.strip().splitlines())


def main() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for number, cell in enumerate(code_cells(notebook), 1):
        printed, value = run("".join(cell["source"]), names)
        cell["execution_count"] = number
        cell["outputs"] = []
        if printed:
            lines = printed.splitlines(keepends=True)
            cell["outputs"].append({"output_type": "stream", "name": "stdout", "text": lines})
        if value:
            data = {"text/plain": value.splitlines(keepends=True)}
            cell["outputs"].append(
                {"output_type": "execute_result", "execution_count": number, "data": data, "metadata": {}}
            )
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
