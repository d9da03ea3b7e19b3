"""Codes as parts of identifiers, file names and topics. A damaged record may carry any code; a name must not.

>>> safe("HH+/#")
'HH___'
"""

import re

EMPTY_LOCATION = "--"
"""How an empty location code is written where nothing cannot stand."""


def safe(text: str) -> str:
    """Text with an underscore for each character that a resource identifier, a file name or a topic level must not have."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)
