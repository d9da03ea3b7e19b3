"""The configuration of ``xiao-distill report``: pickers and data to compare.

>>> ReportConfig(contenders=[{"name": "a", "kind": "run"}])
Traceback (most recent call last):
pydantic_core._pydantic_core.ValidationError: 1 validation error for ReportConfig
contenders.0
  Value error, kind run needs model...
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from distill.config import Model, SourceSection, TeacherSection, Whole, read_config

Level = Annotated[float, Field(gt=0, lt=1)]
Seconds = Annotated[tuple[float, ...], Field(strict=False, min_length=1)]
Items = Field(strict=False)


class ContenderSection(Model):
    """One picker."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    kind: Literal["student", "run", "teacher", "onnx", "classic"]
    model: str = ""
    """``student``: a shipped model or the path of a ``.onnx`` file; ``run``: the folder of a finished run; ``onnx``: a file below
    the folder that ``XIAO_SHARED`` names; ``classic``: all of ObsPy's if empty, or one by its name."""
    teacher: TeacherSection = TeacherSection()
    """With ``teacher``: a SeisBench model, an ONNX file or an ensemble, as in a training configuration."""
    overlapping: bool = True
    """With ``student`` and ``run``: whether it computes overlapping windows, as in service, or the window as a whole."""
    window_samples: Annotated[int, Field(ge=0)] = 0
    """Length of those windows, 0: its own; with ``onnx``: samples of the input, 0: any number."""
    threshold_p: Level | None = None
    """None: the model's own; for other networks 0.3."""
    threshold_s: Level | None = None
    layout: Literal["channels-first", "samples-first"] = "channels-first"
    """With ``onnx``: input ``(n, 3, samples)``, or ``(samples, 3)`` without a batch."""
    components: Literal["ZNE", "ENZ"] = "ENZ"
    """With ``onnx``: order of the input."""
    normalise: Literal["standard", "none"] = "standard"
    """With ``onnx``: each component minus its mean, divided by its standard deviation; or counts without change."""
    pad_samples: Annotated[int, Field(ge=0)] = 0
    """With ``onnx``: the input is continued with its mean up to this length."""
    phases: Annotated[str, Field(pattern="^[NPS-]+$")] = "NPS"
    """With ``onnx``: rows of the output."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind in ("student", "run", "onnx") and not self.model:
            raise ValueError(f"kind {self.kind} needs model")
        if self.kind == "onnx" and not {"P", "S"} <= set(self.phases):
            raise ValueError(f"phases must hold P and S; got {self.phases!r}")
        return self


class LatencySection(Model):
    """The trade-off between accuracy and delay, for one student."""

    model: str = "micro"
    """A shipped model or the path of an ``.onnx`` file; empty: left out."""
    lookaheads_s: Seconds = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
    hops_s: Seconds = (0.25, 0.5, 1.0)


class NoticingSection(Model):
    """Networks that stream: how many of the labelled onsets they notice, and how often they call in noise."""

    models: Annotated[tuple[str, ...], Items] = ()
    """Shipped ones by their names, or paths of ``.stateful.onnx`` files."""
    data: Annotated[tuple[SourceSection, ...], Items] = ()
    """More labelled records beside those of the report."""


class ReportConfig(Model):
    """One evaluation."""

    title: str = "Evaluation of phase pickers"
    data: SourceSection = SourceSection(path="data/dev_eval")
    """Labelled records, below the folder that ``XIAO_SHARED`` names."""
    training: str = ""
    """Training configuration that names the records for tuning classic pickers, and the noise; a path relative to
    this file, empty: ``micro.yaml`` beside the package."""
    contenders: Annotated[tuple[ContenderSection, ...], Items] = ()
    reference: str = ""
    """Name of the contender to which others are compared; empty: the first."""
    window_samples: Whole = 3000
    """Windows have P at a random 2 to 15 s from their start; four a record, seeded by its name."""
    tolerances_s: Seconds = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    continuous: str = "data/continuous_dev"
    """Folder of continuous miniSEED with an ``index.csv``; empty: left out."""
    latency: LatencySection = LatencySection()
    noticing: NoticingSection = NoticingSection()
    lengths_of: str = "micro"
    """The student whose accuracy is measured against the length of its windows; empty: left out."""
    lengths_samples: Annotated[tuple[int, ...], Items] = (1000, 1500, 2000, 2500, 3000)
    sizes: str | None = ""
    """Folder of ``.onnx`` students of several sizes; empty: ``sizes`` beside the package; null: left out."""
    threads: Whole = 1

    @model_validator(mode="after")
    def _known(self) -> Self:
        names = [one.name for one in self.contenders]
        if len(set(names)) < len(names):
            raise ValueError(f"contenders: names must differ; got {names}")
        if self.reference and self.reference not in names:
            raise ValueError(f"reference: {self.reference!r} is none of the contenders {names}")
        return self


def load_report_config(path: Path) -> ReportConfig:
    """Read a YAML file.

    Raises:
        ConfigError: naming the file, each key, and what is wrong with it.
    """
    return read_config(path, ReportConfig)
