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

from xiaod.domain.figure import PHASE_STYLES

FOLDER = "static"
SCRIPTS = (
    "element.js",
    "picks.js",
    "trace.js",
    "stations.js",
    "wall.js",
    "day.js",
    "map.js",
    "events.js",
    "sound.js",
    "page.js",
)
"""Joined in this order, in one element."""
STYLE_PLACE = "/* page.css */"
SCRIPT_PLACE = "/* scripts */"
COLOUR_PLACES = ("/* phases */", "/* phases, dark */")
"""In the style, for a light and a dark background."""
POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src 'self' data:; "
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
        style = _read("page.css")
        for dark, place in enumerate(COLOUR_PLACES):
            style = style.replace(place, _phase_properties(dark=bool(dark)))
        text = _read("page.html").replace(STYLE_PLACE, style)
        text = text.replace(SCRIPT_PLACE, '"use strict";\n' + "\n".join(map(_read, SCRIPTS)))
        return cls(text, POLICY.format(script=_hash_of("script", text), style=_hash_of("style", text)))


def _phase_properties(*, dark: bool) -> str:
    """Colour and dash of each phase as custom properties: ``--p: #0072b2; --p-dash: ;``."""
    return " ".join(
        f"--{phase.lower()}: {style.dark_colour if dark else style.colour}; "
        f"--{phase.lower()}-dash: {' '.join(map(str, style.dash))};"
        for phase, style in PHASE_STYLES.items()
    )


def _read(name: str) -> str:
    return files("xiaod.daemon.web").joinpath(FOLDER, name).read_text(encoding="utf-8")


def _hash_of(tag: str, text: str) -> str:
    [content] = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
