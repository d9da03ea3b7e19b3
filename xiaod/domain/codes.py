"""Codes as parts of names: a damaged record can carry any code, a name cannot.

>>> safe("HH+/#")
'HH___'
"""

import re

EMPTY_LOCATION = "--"
"""How an empty location code is written where nothing cannot stand."""


def safe(text: str) -> str:
    """Text with nothing that a resource identifier, a file name or a topic level could not carry."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)
