"""The specification of a model: what goes in, what comes out, and how it was made.

It travels in the metadata of the weights file, so that a file says by itself how it must be fed. The version
of the specification is in it too; a reader refuses one that it does not know.

>>> spec = ModelSpec(name="example", version="1.0.0")
>>> ModelSpec.from_metadata(spec.to_metadata()) == spec
True
>>> ModelSpec.from_metadata({})
Traceback (most recent call last):
models.spec.SpecError: carries no 'xiao_spec': not a model of this project, ...
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

SPEC_VERSION = 1
METADATA_KEY = "xiao_spec"
FRONT_ENDS = frozenset({"standardise-1"})
"""Front ends that :mod:`models.frontend` has; the number is raised when one changes what it gives."""


KIND_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    int | float: "a number",
    tuple: "a list",
    Mapping: "a table",
}
KINDS: Mapping[str, Any] = {
    "name": str,
    "version": str,
    "sampling_rate_hz": int | float,
    "components": str,
    "window_samples": int,
    "phases": tuple,
    "front_end": str,
    "receptive_field_samples": int,
    "thresholds": Mapping,
    "net": Mapping,
    "provenance": Mapping,
}
"""Type of each key: the text in a file can hold anything."""


class SpecError(ValueError):
    """A specification is missing, damaged, or of a kind that this version does not know."""


@dataclass(frozen=True)
class ModelSpec:
    """What a model expects and gives."""

    name: str
    version: str
    """Semantic version of the weights."""
    sampling_rate_hz: float = 100.0
    components: str = "ZNE"
    """Rows of the input."""
    window_samples: int = 1000
    phases: tuple[str, ...] = ("N", "P", "S")
    """Rows of the output; ``N`` is noise."""
    front_end: str = "standardise-1"
    receptive_field_samples: int = 0
    """Input samples that one output sample can depend on."""
    thresholds: Mapping[str, float] = field(default_factory=lambda: {"P": 0.3, "S": 0.3})
    """Probability above which a peak is a pick, for each phase, chosen on training data."""
    net: Mapping[str, Any] = field(default_factory=dict)
    """Hyper-parameters of the network."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Teacher, data, configuration hash, code version, time."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, kind = getattr(self, entry.name), KINDS[entry.name]
            # True is an int to Python, but not to anyone else.
            if not isinstance(value, kind) or isinstance(value, bool):
                raise SpecError(f"{entry.name} must be {KIND_WORDS[kind]}; got {value!r}")
        if self.front_end not in FRONT_ENDS:
            raise SpecError(
                f"front end {self.front_end!r} is not known; known are {', '.join(sorted(FRONT_ENDS))}"
            )
        if self.components != "ZNE" or self.sampling_rate_hz != 100.0:
            raise SpecError(
                f"takes {self.components} at {self.sampling_rate_hz:g} Hz; only ZNE at 100 Hz can be served"
            )
        if len(self.phases) != 3 or set(map(str, self.phases)) != {"N", "P", "S"}:
            raise SpecError(f"gives phases {list(self.phases)}; needed are N, P and S in any order")
        if self.window_samples < 1 or self.receptive_field_samples < 0:
            raise SpecError(
                f"window_samples must be at least 1 and receptive_field_samples at least 0; "
                f"got {self.window_samples} and {self.receptive_field_samples}"
            )
        if set(self.thresholds) != {"P", "S"} or not all(
            isinstance(value, int | float) and 0 < value < 1 for value in self.thresholds.values()
        ):
            raise SpecError(
                f"thresholds must be numbers between 0 and 1 for P and S; got {dict(self.thresholds)}"
            )

    def to_metadata(self) -> dict[str, str]:
        """Text for a weights file's metadata."""
        return {METADATA_KEY: json.dumps({"spec_version": SPEC_VERSION, **asdict(self)}, sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "ModelSpec":
        """Read the specification from a weights file's metadata.

        Raises:
            SpecError: when there is none, or it is damaged or unknown.
        """
        text = metadata.get(METADATA_KEY)
        if text is None:
            raise SpecError(
                f"carries no {METADATA_KEY!r}: not a model of this project, "
                "or exported without its specification"
            )
        try:
            content = json.loads(text)
            version = content.pop("spec_version")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise SpecError(f"its {METADATA_KEY!r} is damaged: {error}") from error
        if version != SPEC_VERSION:
            raise SpecError(
                f"specification version {version} is not known; this program knows {SPEC_VERSION}"
            )
        unknown = set(content) - {entry.name for entry in fields(cls)}
        if unknown:
            raise SpecError(f"its {METADATA_KEY!r} has unknown keys: {', '.join(sorted(unknown))}")
        if isinstance(content.get("phases"), list):
            content["phases"] = tuple(content["phases"])
        try:
            return cls(**content)
        except TypeError as error:
            raise SpecError(f"its {METADATA_KEY!r} is damaged: {error}") from error
