"""The configuration of a training run: all hyper-parameters, strict."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.conventions import BANDS
from models.geometry import NetConfig
from xiaod.config import loader
from xiaod.config.loader import load_as

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[tuple[float, float], Field(strict=False)]


class ConfigError(ValueError):
    """The training configuration cannot be used."""


class Model(BaseModel):
    """Base of all sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


AnyModel = TypeVar("AnyModel", bound=Model)
Whole = Annotated[int, Field(gt=0)]
SERVICE_SAMPLES = 2000
"""Windows of the daemon, ``windows.length_s`` at 100 Hz, where its configuration says nothing else."""


class NetSection(Model):
    """Sizes of the student, see :class:`models.small_phasenet.NetConfig`."""

    widths: Annotated[tuple[int, ...], Field(strict=False)] = (12, 24, 32)
    kernels: Annotated[tuple[int, ...], Field(strict=False)] = (9, 7, 5)
    strides: Annotated[tuple[int, ...], Field(strict=False)] = ()
    lookahead: Annotated[tuple[int, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.config()
        return self

    def config(self) -> NetConfig:
        """The same as the network's type."""
        return NetConfig(self.widths, self.kernels, self.strides, self.lookahead)


class SourceSection(Model):
    """One source of waveforms, see :mod:`distill.datasets`."""

    kind: Literal["corpus", "seisbench", "miniseed", "example"] = "corpus"
    path: str = ""
    """Folder, below the one that ``XIAO_SHARED`` names unless it is absolute."""
    name: str = ""
    """With ``seisbench``: a dataset by its name in ``seisbench.data``, such as ``ETHZ``, in place of a path."""
    split: Literal["", "train", "dev", "test"] = ""
    """With ``seisbench``: this split alone."""
    quakeml: str = ""
    """With ``miniseed``: file or folder of picks; empty: QuakeML files in the folder itself."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """How much more often its records are drawn."""
    without: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Stations, ``NET.STA``, that are left out."""
    noise_apart_h: Annotated[float, Field(ge=0)] = 0.0
    """Hours without a known earthquake, of stations of which nothing is trained on: on them false picks are counted."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind != "example" and not self.path and not (self.kind == "seisbench" and self.name):
            raise ValueError(f"kind {self.kind} needs a path")
        return self


class DataSection(Model):
    """The training data."""

    folder: str = "data/train"
    """A corpus below the folder that ``XIAO_SHARED`` names, if no sources are given."""
    sources: Annotated[tuple[SourceSection, ...], Field(strict=False)] = ()
    validation_fraction: Fraction = 0.1
    """Fraction of the stations of each source that is held out."""
    split_events: bool = False
    """Whether earthquakes that held-out stations recorded are excluded from training."""
    label_boost: Annotated[float, Field(gt=0)] = 3.0
    """How much more often records with analyst picks are drawn."""

    @property
    def all_sources(self) -> tuple[SourceSection, ...]:
        """The sources; without any, the folder as the only one."""
        return self.sources or (SourceSection(path=self.folder),)


class TeacherSection(Model):
    """The teacher, and how it annotates a record."""

    kind: Literal["onnx", "seisbench", "ensemble"] = "onnx"
    onnx: str = "teacher/phasenet_aligned.onnx"
    """With ``onnx``: file below the folder that ``XIAO_SHARED`` names: input ``wave`` E N Z, output ``prob`` N, P, S."""
    model: str = ""
    """With ``seisbench``: ``MODEL/WEIGHTS``, such as ``PhaseNet/original``, or ``MODEL/PATH`` of your own weights."""
    cache_root: str = "teacher"
    """With ``seisbench``: its cache below the folder that ``XIAO_SHARED`` names; empty: SeisBench's own."""
    aligned: bool = False
    """With ``seisbench`` and PhaseNet: padded as in its training, see :mod:`distill.teachers.seisbench`."""
    members: Annotated[tuple["TeacherSection", ...], Field(strict=False)] = ()
    """With ``ensemble``: the teachers."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Of a member of an ensemble."""
    window_samples: Annotated[int, Field(gt=0)] = 3000
    hop_samples: Annotated[int, Field(gt=0)] = 250
    """Windows overlap; their probabilities are averaged with triangular weights."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "seisbench" and not self.model:
            raise ValueError("kind seisbench needs model: MODEL/WEIGHTS")
        if self.kind == "ensemble" and not self.members:
            raise ValueError("kind ensemble needs members")
        return self

    def paths(self, key: str) -> dict[str, str]:
        """Files and folders that it needs, by their keys below a given one."""
        if self.kind == "ensemble":
            return {
                name: path
                for number, member in enumerate(self.members)
                for name, path in member.paths(f"{key}.members[{number}]").items()
            }
        return {f"{key}.onnx": self.onnx} if self.kind == "onnx" else {f"{key}.cache_root": self.cache_root}


class LabelSection(Model):
    """Labels near an analyst's pick."""

    sigma_samples: Annotated[float, Field(gt=0)] = 10.0
    """Standard deviation of the Gaussian at an analyst's pick."""
    analyst_weight: Fraction = 0.7
    """Weight of this Gaussian; the teacher has the rest."""
    onset_threshold: Fraction = 0.3
    """Teacher's probability above which a peak is an onset to cut windows around."""


class SceneSection(Model):
    """Scenes: pieces of records that are augmented and then labelled by the teacher.

    A student learns most from a teacher when both see the same input, and many different inputs (Beyer et al.
    2022, doi:10.1109/CVPR52688.2022.01065).
    """

    relabel: bool = False
    """Whether the teacher labels augmented scenes; otherwise windows are cut from records labelled before."""
    samples: Whole = 3000
    per_step: Whole = 7
    """New scenes of each step."""
    uses: Whole = 3
    """Steps that see a scene."""
    event: Fraction = 0.7
    """Fraction of scenes around an onset; the others are cut anywhere, or around a false pick."""
    false_pick: Fraction = 0.0
    """Fraction of scenes around a pick of the network of ``optimiser.start`` where the teacher sees no onset."""


class SamplingSection(Model):
    """Where windows are cut."""

    window_samples: Whole = 1000
    lengths: Annotated[tuple[int, ...], Field(strict=False)] = ()
    """Samples of the windows of a step, drawn anew for each step; none given: ``window_samples`` and the length in service.
    A step has as many samples whatever the length."""
    ends_after_onset: Fraction = 0.4
    """Fraction of windows that end soon after an onset: the teacher sees the data after that, the student does not.
    A window as long as a scene ends with it, so that the teacher sees no more: scenes should be some seconds longer."""
    ends_after_s: Range = (0.2, 5.0)
    soon_s: Range = (0.2, 1.2)
    soon: Fraction = 0.5
    """Fraction of these that ends within ``soon_s``."""
    ends_after_false_pick: Fraction = 0.0
    """Fraction of windows that end within ``soon_s`` after a false pick of the network of ``optimiser.start``, so that not all that stands
    at the end of a window is an onset. Needs ``scenes.false_pick``."""
    holds_onset: Fraction = 0.3
    """Fraction of windows with an onset anywhere in them; the others are cut anywhere."""
    front_end: Literal["standardise-1", "bands-1"] = "standardise-1"
    """How the student's input is prepared, see :mod:`models.frontend`. With ``bands-1`` it streams: it notices onsets for others to
    decide."""


class AugmentSection(Model):
    """Probabilities of each augmentation; 0 switches it off."""

    superpose: Fraction = 0.25
    stretch: Fraction = 0.0
    """In time; only where the teacher labels scenes."""
    band: Fraction = 0.0
    site: Fraction = 0.0
    """Synthetic site response; only where the teacher labels scenes."""
    flip: Fraction = 0.5
    gain: Fraction = 0.3
    """Of each component. With ``standardise-1``, which gives each component the same size again, it matters only where components are
    mixed after it: ``rotate``, ``superpose``, ``clip``."""
    rotate: Fraction = 0.1
    swap: Fraction = 0.0
    """Of the horizontals."""
    drop_horizontals: Fraction = 0.12
    """Where the teacher labels scenes, it sees the vertical alone too."""
    drop_one: Fraction = 0.04
    white_noise: Fraction = 0.1
    coloured_noise: Fraction = 0.0
    drift: Fraction = 0.1
    clip: Fraction = 0.0
    spikes: Fraction = 0.0
    gap: Fraction = 0.0


class OptimiserSection(Model):
    """AdamW with a one-cycle learning rate and an average of the weights."""

    start: str = ""
    """The ``.safetensors`` of an exported student whose weights are the first ones; none: drawn by the seed. ``net.widths`` may be larger
    than its own: what is new adds nothing at first."""
    steps: Annotated[int, Field(gt=0)] = 100_000
    batch: Annotated[int, Field(gt=0)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 4e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-3
    warm_up: Fraction = 0.05
    average_decay: Fraction = 0.998
    checkpoint_steps: Annotated[int, Field(gt=0)] = 1000
    patience: Annotated[int, Field(ge=0)] = 0
    """Checkpoints without better picks on the stations held out after which training stops, with the best weights; 0: never."""
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of the gradient; 0: no limit."""
    device: Literal["cpu", "cuda"] = "cpu"


class LossSection(Model):
    """Terms of the loss, see :mod:`distill.losses` and :mod:`distill.trainee`."""

    temperature: Annotated[float, Field(gt=0)] = 1.0
    onset_weight: Annotated[float, Field(ge=0)] = 2.0
    hard_weight: Fraction = 0.0
    """Fraction of hard labels, Gaussians at the onsets; 1: no distillation."""
    logit_weight: Annotated[float, Field(ge=0)] = 0.0
    consistency_weight: Annotated[float, Field(ge=0)] = 0.0
    feature_weight: Annotated[float, Field(ge=0)] = 0.0
    feature_teacher: str = ""
    """The ``.safetensors`` of an exported student whose features are matched."""


class ExportSection(Model):
    """The export of the trained weights; not part of the hash of a run."""

    window_samples: Annotated[int, Field(ge=0)] = 0
    """Length of the windows in service; 0: the daemon's own, :data:`SERVICE_SAMPLES`."""
    chunk_samples: Annotated[int, Field(ge=0)] = 0
    """Of the stateful form; 0: one step of the coarsest level."""
    mean_with: str = ""
    """The ``.safetensors`` of an exported student, of the same sizes or as narrow as ``optimiser.start``, whose weights are averaged with
    those of the run, before anything is calibrated; none: the run's alone. What a run forgets of the student that it began with comes
    back (Wortsman et al. 2022, arXiv:2109.01903)."""
    mean_share: Fraction = 0.5
    """Share of the run in this mean."""
    note: str = ""
    """A remark on this run for the provenance of the file."""
    max_false_per_hour: dict[Literal["P", "S"], Annotated[float, Field(gt=0)]] = {"P": 1.0, "S": 0.5}
    """Most picks per station-hour on the noise of the corpus: as many as PhaseNet makes there with SeisBench at 0.3."""
    max_candidates_per_hour: Annotated[float, Field(gt=0)] = 10.0
    """The same for candidates of a network that streams: one that is missed costs an early pick, one too many a few windows of another
    network."""


class TrainConfig(Model):
    """One training run."""

    name: str = Field(pattern=r"^[a-z0-9_-]{1,32}$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    seed: int = 0
    threads: Annotated[int, Field(ge=1)] = 1
    net: NetSection = NetSection()
    data: DataSection = DataSection()
    teacher: TeacherSection = TeacherSection()
    labels: LabelSection = LabelSection()
    scenes: SceneSection = SceneSection()
    sampling: SamplingSection = SamplingSection()
    augment: AugmentSection = AugmentSection()
    optimiser: OptimiserSection = OptimiserSection()
    loss: LossSection = LossSection()
    export: ExportSection = ExportSection()

    @model_validator(mode="after")
    def _whose_false_picks(self) -> Self:
        if self.scenes.false_pick and not self.optimiser.start:
            raise ValueError(
                "scenes.false_pick needs optimiser.start: the network whose false picks are meant"
            )
        if self.sampling.ends_after_false_pick and not (self.scenes.relabel and self.scenes.false_pick):
            raise ValueError(
                "sampling.ends_after_false_pick needs scenes around false picks: scenes.relabel and scenes.false_pick"
            )
        return self

    @property
    def notices(self) -> bool:
        """Whether it streams and notices onsets, in place of picking in windows."""
        return self.sampling.front_end == BANDS

    @property
    def service_samples(self) -> int:
        """Length of the windows in service."""
        return self.export.window_samples or SERVICE_SAMPLES

    @property
    def lengths(self) -> tuple[int, ...]:
        """Samples of the windows that the student sees in training, as often as they are drawn."""
        ours = {self.sampling.window_samples, self.service_samples}
        return self.sampling.lengths or tuple(sorted(ours))

    @property
    def paths(self) -> dict[str, str]:
        """Files and folders that must exist, by their keys; relative ones are below the folder of data and teachers."""
        found = self.teacher.paths("teacher")
        if not self.data.sources:
            return {"data.folder": self.data.folder} | found
        for number, source in enumerate(self.data.sources):
            key = f"data.sources[{number}]"
            found |= {f"{key}.path": source.path, f"{key}.quakeml": source.quakeml}
        return found

    @property
    def sha256(self) -> str:
        """Hash of the values that differ from their defaults, independent of the form of the file.

        A new key whose default does not change training therefore does not rename older runs. The default of a key must never change.
        """
        sampling = self.sampling.model_copy(update={"lengths": self.lengths})
        resolved = self.model_copy(update={"sampling": sampling})
        return hashlib.sha256(
            resolved.model_dump_json(exclude_defaults=True, exclude={"export"}).encode()
        ).hexdigest()


def load_train_config(path: Path) -> TrainConfig:
    """Read a YAML file.

    Raises:
        ConfigError: ``FILE:LINE: KEY.PATH: what is wrong, what is allowed``, a line for each problem.
    """
    return read_config(path, TrainConfig)


def read_config(path: Path, kind: type[AnyModel]) -> AnyModel:
    """Read a YAML file of a given kind.

    Raises:
        ConfigError: ``FILE:LINE: KEY.PATH: what is wrong, what is allowed``, a line for each problem.
    """
    try:
        return load_as(path, kind)
    except loader.ConfigError as error:
        raise ConfigError(str(error)) from error
