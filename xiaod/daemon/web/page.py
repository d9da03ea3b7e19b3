"""The status page: one document, assembled from the files in ``static``.

Its content security policy allows its own script and style only.

>>> "script-src 'sha256-" in Page.load().policy
True
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Self

FOLDER = "static"
SCRIPTS = ("element.js", "trace.js", "picks.js", "stations.js", "page.js")
"""Joined in this order, in one element."""
STYLE_PLACE = "/* page.css */"
SCRIPT_PLACE = "/* scripts */"
POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Page:
    """The page and its content security policy."""

    text: str
    policy: str

    @classmethod
    def load(cls) -> Self:
        """Read the files; the policy names the hashes of the one script and the one style."""
        text = _read("page.html").replace(STYLE_PLACE, _read("page.css"))
        text = text.replace(SCRIPT_PLACE, '"use strict";\n' + "\n".join(map(_read, SCRIPTS)))
        return cls(text, POLICY.format(script=_hash_of("script", text), style=_hash_of("style", text)))


def _read(name: str) -> str:
    return files("xiaod.daemon.web").joinpath(FOLDER, name).read_text(encoding="utf-8")


def _hash_of(tag: str, text: str) -> str:
    [content] = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
