"""What each kind of sink declares, in one place: its keys, its code, what it needs, and its line in the manual.

A kind is a model derived from :class:`SinkModel`. Everything else that treats kinds alike goes through
:data:`xiaod.config.sinks.SINKS`: the factory, shards, the self-test, the JSON Schema, the reference in ``config.yaml``, the table in
``docs/sinks.md``, and the contract tests.

>>> from typing import Literal
>>> class PigeonConfig(SinkModel):
...     CODE = "xiaod.sinks.pigeon:PigeonSink"
...     kind: Literal["pigeon"]
...     name: SinkName = "pigeon"
...     stage: SinkStages = "all"
>>> PigeonConfig.kind_name(), PigeonConfig(kind="pigeon").written_to
('pigeon', None)
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from xiaod.config.annotations import kinds_of
from xiaod.config.model import NAME_PATTERN, Model
from xiaod.domain.types import Stages, Wanted

SHARD = "shard"
"""Name, between braces in a path or a template, of the index of this process among several."""
TEMPLATE_FIELDS = ("network", "station", "location", "channel", "phase", "stage", SHARD)
"""Names that can stand between braces in the topic or subject of a pick."""
EVENT_FIELDS = ("stage", SHARD)
"""... and of an event."""

SinkName = Annotated[
    str,
    Field(pattern=NAME_PATTERN, description="Label in logs, metrics and store; different for each sink."),
]
SinkStages = Annotated[
    Stages,
    Field(description="Which picks it takes: final ones, early ones and what withdraws them, or all."),
]
"""Each kind has its default: files, which are read later, take final picks; what people and programs watch takes all."""
SinkOf = Annotated[
    Literal["picks", "events", "all"],
    Field(
        description="Whether it takes picks, events (see 'events' below), or both; 'stage' holds for both."
    ),
]
"""Of the kinds that can take events."""
SinkOfAll = Annotated[
    Wanted,
    Field(
        description="Whether it takes picks, events (see 'events' below), or both; 'stage' holds for both. rsam: means of the "
        "amplitude instead (see 'rsam' below)."
    ),
]
"""Of those that can take RSAM, too."""


class SinkModel(Model):
    """Base of the kinds: keys are fields, and what the program must know about the kind is a class variable."""

    CODE: ClassVar[str]
    """``module:Class`` of the sink; a text, because ``config`` imports nothing from above. Its constructor takes the model and the
    :class:`~xiaod.config.AgencyConfig`."""
    EXTRA: ClassVar[str] = ""
    """Extra of ``pyproject.toml`` that installs the packages it needs; empty: none."""
    LOCATED: ClassVar[bool] = False
    """Whether its constructor also takes the stations of ``stations_file``, for their coordinates; it is made anew when these change."""
    ATTACHING: ClassVar[bool] = False
    """Whether its constructor also takes the configuration of snippets, whose files it may send along."""
    READER: ClassVar[str] = ""
    """``module:Class`` that reads picks back from where the sink brings them, for ``events.bus``; empty: nothing does."""
    DESTINATION: ClassVar[str] = ""
    """Key that says where picks go; empty: standard output. A path there is written to, so no two sinks may share it."""
    TEMPLATES: ClassVar[tuple[str, ...]] = ()
    """Keys whose text holds names between braces, ``{shard}`` among them. In any other text a brace is a brace."""
    READERS: ClassVar[str]
    """Who reads what it writes, for the manual."""
    DELIVERED: ClassVar[str]
    """When a pick counts as delivered, for the manual."""
    REPEATED: ClassVar[str]
    """When a pick arrives twice, for the manual."""
    TOLD_APART: ClassVar[str] = "`stage` of the document"
    """How a reader tells early picks, final ones and what withdraws an early one, for the manual."""

    kind: str
    """Which kind of sink; the first key, as people write it."""
    name: SinkName
    stage: SinkStages

    @model_validator(mode="after")
    def _each_text_once(self) -> Self:
        """Refuse both a text and the file that has it."""
        for key in type(self).model_fields:
            if getattr(self, key) is not None and getattr(self, f"{key}_file", None) is not None:
                raise ValueError(f"{key}_file and {key} are both given; give one")
        return self

    @classmethod
    def kind_name(cls) -> str:
        """The text of ``kind`` that selects this model."""
        [name] = kinds_of(cls)
        return name

    @property
    def wanted(self) -> Wanted:
        """What it takes; picks alone, where there is no key ``of``."""
        wanted: Wanted = getattr(self, "of", "picks")
        return wanted

    @property
    def written_to(self) -> Path | None:
        """The file or folder that this sink writes; None: it writes no files."""
        value = getattr(self, self.DESTINATION, None)
        return value if isinstance(value, Path) else None

    def for_trial(self) -> Self:
        """The same for a trial beside a running daemon, which it must not disturb."""
        return self
