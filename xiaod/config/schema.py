"""The JSON Schema of the configuration file, with which editors complete and check it.

In: the models of :mod:`xiaod.config`, whose docstrings become descriptions. Out: a JSON Schema, draft 2020-12. Rules about several keys,
such as ``early_hop_s`` at most a quarter of ``length_s``, are checked by ``xiaod check`` alone.

>>> config_schema()["$defs"]["WindowConfig"]["properties"]["early_hop_s"]["maximum"]
30
"""

import json
from typing import Any

from xiaod.config import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "Configuration of xiaod"


def config_schema() -> dict[str, Any]:
    """The schema of the whole configuration."""
    schema = Config.model_json_schema()
    cleaned: dict[str, Any] = _cleaned(schema)
    return {"$schema": DIALECT, "title": TITLE, **cleaned}


def schema_text() -> str:
    """The schema as it stands in ``config.schema.json``."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def _cleaned(part: Any) -> Any:
    """The same without noise: titles made from keys, defaults of whole parts, and marks of code."""
    if isinstance(part, list):
        return [_cleaned(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {}
    for key, value in part.items():
        if (key == "title" and isinstance(value, str)) or (key == "default" and isinstance(value, dict)):
            continue
        kept[key] = (
            value.replace("``", "'")
            if key == "description" and isinstance(value, str)
            else value
            if key in {"default", "const", "enum"}
            else _cleaned(value)
        )
    return kept
