"""Files that are made from the program itself and kept beside it: JSON Schema, shell completion, manual page.

``make generated`` (``python -m xiaod.generated``) writes them; a test compares them with what would be written. Whoever changes a key
of the configuration, a command or an argument runs it.

>>> sorted(path.name for path in TEXTS)
['config.schema.json', 'xiaod.1', 'xiaod.bash', 'xiaod.fish', 'xiaod.zsh']
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from xiaod.config.schema import schema_text
from xiaod.generated.completion import completion
from xiaod.generated.manual import manual

ROOT = Path(__file__).parents[2]
"""The top of the project."""
COMMAND = "make generated"

TEXTS: Mapping[Path, Callable[[], str]] = {
    Path("xiaod/config.schema.json"): schema_text,
    Path("xiaod/completions/xiaod.bash"): lambda: completion("bash"),
    Path("xiaod/completions/xiaod.zsh"): lambda: completion("zsh"),
    Path("xiaod/completions/xiaod.fish"): lambda: completion("fish"),
    Path("deploy/xiaod.1"): manual,
}
"""Each file, from the top of the project, and what makes its text."""


def write_all(root: Path = ROOT) -> list[Path]:
    """Write what has changed; gives these files."""
    changed = []
    for path, text in TEXTS.items():
        file, new = root / path, text()
        if not file.is_file() or file.read_text(encoding="utf-8") != new:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed
