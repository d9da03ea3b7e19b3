r"""Lines of commented YAML: a value on one line, a comment, a key with its comment.

>>> list(key_lines("", "hop_s: 0.5", "Seconds."))
['hop_s: 0.5                        # Seconds.']
>>> scalar_text({"begin": "resume", "name": None})
'{begin: resume, name: null}'
>>> from xiaod.config.tls import TlsConfig
>>> scalar_text(TlsConfig(ca_file="ca.pem"))
'{ca_file: ca.pem}'
>>> scalar_text("one\ntwo")
'"one\\ntwo"'
"""

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import TypeAdapter

COLUMN = 34
"""Where comments begin that stand beside a key."""
WIDTH = 110
"""Letters of a line."""


def key_lines(indent: str, shown: str, said: str) -> Iterator[str]:
    """A key, and what it means: beside it where there is room, above it otherwise."""
    beside = f"{shown.ljust(COLUMN - 1)} # {said}"
    if not said:
        yield shown
    elif len(beside) <= WIDTH:
        yield beside
    else:
        yield from comment_lines(indent, said)
        yield shown


def comment_lines(indent: str, said: str) -> list[str]:
    """A comment, on as many lines as it needs."""
    return textwrap.wrap(
        said, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_long_words=False
    )


def scalar_text(value: Any) -> str:
    """A value on one line; of a part only what is not its default."""
    plain = TypeAdapter(Any).dump_python(value, mode="json", exclude_defaults=True)
    # Only between these quotes a line end is written as such.
    style = '"' if isinstance(plain, str) and "\n" in plain else None
    text: str = yaml.safe_dump(
        plain,
        sort_keys=False,
        default_flow_style=True,
        default_style=style,
        width=1_000_000,
        allow_unicode=True,
    )
    return text.removesuffix("...\n").strip()
