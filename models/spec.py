"""The specification of a model: input, output, and provenance.

It is stored in the metadata of the weights file, so that the file describes its own input. It carries a version;
a reader refuses unknown versions.

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
from typing import Any, Literal

from models.calibration import Calibration
from models.conventions import COMPONENTS, FRONT_ENDS, NOISE, PHASES, RATE_HZ, STANDARDISE

SPEC_VERSION = 4
READ_VERSIONS = frozenset({1, 2, 3, 4})
"""Version 2 added lengths, lookahead, form and what belongs to it, and calibration; version 3 vertical_thresholds; version 4
early_thresholds and early_vertical_thresholds."""
FORMS = ("windows", "tail", "stateful")
METADATA_KEY = "xiao_spec"


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
    "lookahead_samples": int,
    "lengths": tuple,
    "form": str,
    "tail_samples": int,
    "chunk_samples": int,
    "delay_samples": int,
    "state_size": int,
    "calibration": Mapping,
    "thresholds": Mapping,
    "vertical_thresholds": Mapping,
    "early_thresholds": Mapping,
    "early_vertical_thresholds": Mapping,
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
    sampling_rate_hz: float = RATE_HZ
    components: str = COMPONENTS
    """Rows of the input."""
    window_samples: int = 1000
    phases: tuple[str, ...] = (NOISE, *PHASES)
    """Rows of the output; ``N`` is noise."""
    front_end: str = STANDARDISE
    """Of :data:`models.conventions.FRONT_ENDS`, which says what a network behind it gives."""
    receptive_field_samples: int = 0
    """Input samples that one output sample can depend on."""
    lookahead_samples: int = 0
    """Of these, how many may lie after it."""
    lengths: tuple[int, ...] = ()
    """Lengths of windows it was trained for; empty: ``window_samples`` alone."""
    form: str = "windows"
    """``windows``: takes windows that stand alone. ``tail``: takes the same windows, and gives as many of their last samples as are wanted.
    ``stateful``: takes chunks and state, see :mod:`models.streaming`."""
    tail_samples: int = 0
    """Of the form ``tail``: last samples of a window that it gives, at most."""
    chunk_samples: int = 0
    """Of the stateful form: samples that it takes at a time."""
    delay_samples: int = 0
    """Of the stateful form: what comes with a sample is said of the one so many before it."""
    state_size: int = 0
    """Of the stateful form: numbers in one station's state."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """What makes probabilities and time uncertainties honest, see :mod:`models.calibration`; empty: not calibrated."""
    thresholds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.3))
    """Probability above which a peak is a final pick, with 4 s or more of data after it, for each phase, chosen on training data. Of
    the stateful form: from which an onset is noticed, the only one."""
    vertical_thresholds: Mapping[str, float] = field(default_factory=dict)
    """The same where both horizontals are missing; empty: no others."""
    early_thresholds: Mapping[str, float] = field(default_factory=dict)
    """The same as ``thresholds`` for an early pick, with 0.5 s of data after it; empty: those of final picks, here and without
    horizontals."""
    early_vertical_thresholds: Mapping[str, float] = field(default_factory=dict)
    """Those of early picks where both horizontals are missing; empty: no others."""
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
        if self.components != COMPONENTS or self.sampling_rate_hz != RATE_HZ:
            raise SpecError(
                f"takes {self.components} at {self.sampling_rate_hz:g} Hz; only {COMPONENTS} at {RATE_HZ:g} Hz can be served"
            )
        phases = FRONT_ENDS[self.front_end].phases
        if len(self.phases) != len(phases) or set(map(str, self.phases)) != set(phases):
            raise SpecError(
                f"gives phases {list(self.phases)}; with {self.front_end} needed are {' and '.join(phases)} in any order"
            )
        if self.window_samples < 1 or self.receptive_field_samples < 0:
            raise SpecError(
                f"window_samples must be at least 1 and receptive_field_samples at least 0; "
                f"got {self.window_samples} and {self.receptive_field_samples}"
            )
        self._check_form()
        for name, thresholds in (
            ("thresholds", self.thresholds),
            ("vertical_thresholds", self.vertical_thresholds or self.thresholds),
            ("early_thresholds", self.early_thresholds or self.thresholds),
            ("early_vertical_thresholds", self.early_vertical_thresholds or self.thresholds),
        ):
            if set(thresholds) != {*phases} - {NOISE} or not all(
                isinstance(value, int | float) and 0 < value < 1 for value in thresholds.values()
            ):
                named = " and ".join(phase for phase in phases if phase != NOISE)
                raise SpecError(f"{name} must be numbers between 0 and 1 for {named}; got {dict(thresholds)}")

    def _check_form(self) -> None:
        try:
            Calibration.from_spec(self.calibration)
        except ValueError as error:
            raise SpecError(str(error)) from error
        if not all(isinstance(length, int) and length > 0 for length in self.lengths):
            raise SpecError(f"lengths must be whole numbers above 0; got {list(self.lengths)}")
        if self.form not in FORMS:
            raise SpecError(f"form {self.form!r} is not known; known are {', '.join(FORMS)}")
        if self.form == "tail" and not 0 < self.tail_samples <= self.window_samples:
            raise SpecError(
                f"the form tail needs tail_samples from 1 to window_samples; got {self.tail_samples} of {self.window_samples}"
            )
        block = FRONT_ENDS[self.front_end].block
        if self.form == "stateful" and not (
            self.chunk_samples > 0
            and self.chunk_samples % block == 0
            and self.state_size > 0
            and self.delay_samples >= 0
        ):
            raise SpecError(
                f"a stateful form needs chunk_samples, a multiple of {block}, state_size and delay_samples; "
                f"got {self.chunk_samples}, {self.state_size} and {self.delay_samples}"
            )

    def thresholds_of(
        self, stage: Literal["early", "final"], vertical_alone: bool = False
    ) -> Mapping[str, float]:
        """Thresholds of P and S for picks of a stage.

        >>> spec = ModelSpec("example", "1.0.0", thresholds={"P": 0.3, "S": 0.4}, early_thresholds={"P": 0.5, "S": 0.7})
        >>> spec.thresholds_of("early"), spec.thresholds_of("final")["S"]
        ({'P': 0.5, 'S': 0.7}, 0.4)
        """
        if stage == "early" and self.early_thresholds:
            return (vertical_alone and self.early_vertical_thresholds) or self.early_thresholds
        return (vertical_alone and self.vertical_thresholds) or self.thresholds

    @property
    def label(self) -> str:
        """``NAME-VERSION``, as picks carry it."""
        return f"{self.name}-{self.version}"

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
        if not isinstance(version, int) or version not in READ_VERSIONS:
            known = " and ".join(map(str, sorted(READ_VERSIONS)))
            raise SpecError(f"specification version {version} is not known; this program knows {known}")
        unknown = set(content) - {entry.name for entry in fields(cls)}
        if unknown:
            raise SpecError(f"its {METADATA_KEY!r} has unknown keys: {', '.join(sorted(unknown))}")
        for key in ("phases", "lengths"):
            if isinstance(content.get(key), list):
                content[key] = tuple(content[key])
        try:
            return cls(**content)
        except TypeError as error:
            raise SpecError(f"its {METADATA_KEY!r} is damaged: {error}") from error
