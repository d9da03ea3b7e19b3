"""The students as a ``WaveformModel`` of SeisBench: ``annotate`` and ``classify`` in a notebook, beside ``seisbench.models.PhaseNet``.

Front end, resampling, rows of components, lengths of windows and the weights of their samples are those of the daemon
(:meth:`xiaod.library.picker.Picker.annotate`). Where windows begin is not: the daemon cuts them on the grid of absolute time with a phase
for each station, SeisBench from the first sample on. Nor are picks: these are the peaks of the average, as with other models of
SeisBench, where the daemon computes each onset again in windows placed by it. So picks differ by some hundredths, in probability and
in seconds.

>>> from obspy import read
>>> model = XiaoPhaseNet.from_pretrained("micro")
>>> [trace.id for trace in model.annotate(read())]
['BW.RJOB..XiaoPhaseNet_N', 'BW.RJOB..XiaoPhaseNet_P', 'BW.RJOB..XiaoPhaseNet_S']
>>> [(pick.trace_id, pick.phase) for pick in model.classify(read()).picks]
[('BW.RJOB.', 'P'), ('BW.RJOB.', 'S')]
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import seisbench.util
import torch
from obspy import Stream, Trace, UTCDateTime
from seisbench.models.base import WaveformModel

from distill.serving import FINAL
from distill.trainee import exported_net, read_spec
from models.conventions import ONSET
from models.export import WEIGHTS_SUFFIX
from models.frontend import prepare
from models.geometry import NetConfig
from models.small_phasenet import SmallPhaseNet
from models.spec import ModelSpec, SpecError
from models.weights import resolve, shipped
from xiaod.domain.components import MISSING, ROWS, rows_of
from xiaod.domain.timegrid import GRID_NS, GRID_RATE_HZ
from xiaod.domain.types import Instrument, Segment
from xiaod.library.stream_source import segments_of
from xiaod.pipeline.recording import window_weight
from xiaod.waveform.resample import converter_for

CITATION = "xiaod: real-time seismic phase picking on small computers, a student of PhaseNet (doi:10.1093/gji/ggy423)"


class XiaoPhaseNet(WaveformModel):  # type: ignore[misc]  # SeisBench is not analysed
    """A student: :meth:`from_pretrained` gives a shipped one, or one of your own by its path.

    ``annotate`` gives the probabilities of N, P and S of each instrument, at 100 Hz. Instruments of one location, such as HH and HN, are
    annotated apart, but SeisBench has no place for their names. ``classify`` picks with the thresholds of final picks in the file,
    and with those for a vertical alone where an instrument has no horizontals, if ``P_threshold`` and ``S_threshold`` are not given.
    """

    _annotate_args = WaveformModel._annotate_args.copy()
    _annotate_args["*_threshold"] = ("Probability from which a peak is a pick of the phase", "in the file")
    # Windows are weighted by sample: that is an average.
    _stack_options = frozenset({"avg"})

    def __init__(self, metadata: Mapping[str, str]) -> None:
        """Build a network without weights.

        Args:
            metadata: of a weights file, with its specification.

        Raises:
            SpecError: when there is no specification, or it is one of a network that streams.
        """
        self.spec = ModelSpec.from_metadata(metadata)
        if ONSET in self.spec.phases:
            raise SpecError(f"{self.spec.label}: streams, so it notices onsets and picks none")
        length = self.spec.window_samples
        super().__init__(
            citation=CITATION,
            component_order=self.spec.components,
            sampling_rate=self.spec.sampling_rate_hz,
            output_type="array",
            default_args={"overlap": length - FINAL.hop},
            in_samples=length,
            pred_sample=(0, length),
            labels="".join(self.spec.phases),
        )
        self._weights_version = self.spec.version
        self.net = SmallPhaseNet(length, config=NetConfig.from_dict(dict(self.spec.net)))
        settings = FINAL.settings((0.5, 0.5))
        self.register_buffer(
            "weight", torch.from_numpy(window_weight(length, settings).copy()), persistent=False
        )

    @classmethod
    def from_pretrained(cls, name: str | Path = "micro") -> "XiaoPhaseNet":
        """Load a student; nothing is downloaded.

        Args:
            name: a shipped one, ``micro`` or ``small``, or the path of a ``.safetensors`` or of the ``.onnx`` beside it.

        Raises:
            FileNotFoundError: when there is no such file.
            SpecError: when it is not the file of a student that picks.
        """
        path = Path(name)
        if path.suffix != WEIGHTS_SUFFIX:
            path = resolve(str(name)).with_suffix(WEIGHTS_SUFFIX)
        model = cls(read_spec(path).to_metadata())
        model.net.load_state_dict(exported_net("weights", str(path)).state_dict())
        model.eval()
        return model

    @classmethod
    def list_pretrained(cls, details: bool = False, remote: bool = False) -> list[str] | dict[str, str]:
        """Names of the shipped students; with ``details`` with their versions. None is elsewhere, so ``remote`` changes nothing."""
        if not details:
            return list(shipped())
        return {name: read_spec(resolve(name).with_suffix(WEIGHTS_SUFFIX)).label for name in shipped()}

    def get_model_args(self) -> dict[str, Any]:
        """Arguments of the constructor, for SeisBench's ``save``."""
        return {"metadata": self.spec.to_metadata()}

    def forward(self, wave: torch.Tensor, logits: bool = False) -> torch.Tensor:
        """Probabilities, or logits, of prepared windows: ``(n, 3, L)`` -> ``(n, 3, L)``, rows as :attr:`labels`."""
        values: torch.Tensor = self.net.logits(wave) if logits else self.net(wave)
        return values

    def annotate_batch_pre(self, batch: torch.Tensor, argdict: Mapping[str, Any]) -> torch.Tensor:
        """The front end of the daemon."""
        return torch.from_numpy(prepare(self.spec.front_end, batch.cpu().numpy())).to(batch.device)

    def annotate_batch_post(
        self, batch: torch.Tensor, piggyback: Any, argdict: Mapping[str, Any]
    ) -> torch.Tensor:
        """Probabilities times the weight of their sample, for SeisBench's average: ``(n, 3, L)`` -> ``(n, L, 3)``."""
        weighted = torch.where(self.weight > 0, batch * self.weight, torch.nan)
        return weighted.transpose(-1, -2)

    async def annotate_async(self, stream: Stream, copy: bool = True, **kwargs: Any) -> Stream:
        """What ``annotate`` does; the stream stays as it is, whatever ``copy`` says.

        Raises:
            ValueError: when a trace has no usable codes, rate or samples; the message names it.
        """
        annotations = Stream()
        for components, traces in _instruments(stream):
            weighted = await super().annotate_async(traces, copy=False, **kwargs)
            for begin in range(0, len(weighted), len(self.labels)):
                phases = weighted[begin : begin + len(self.labels)]
                # Probabilities of a sample add up to one, so these add up to its weights.
                total = np.sum([trace.data for trace in phases], axis=0)
                for trace in phases:
                    trace.data = trace.data / total
                    trace.stats.components = components
                annotations += phases
        return annotations

    def classify_aggregate(
        self, annotations: Stream, argdict: Mapping[str, Any]
    ) -> seisbench.util.ClassifyOutput:
        """Picks from probabilities, as SeisBench finds them: a peak where the threshold is reached, until half of it."""
        picks = seisbench.util.PickList()
        for trace in annotations:
            phase = trace.stats.channel.rpartition("_")[2]
            if phase != "N":
                own = self.spec.thresholds_of("final", vertical_alone=trace.stats.components.endswith("--"))
                threshold = argdict.get(f"{phase}_threshold", own[phase])
                picks += self.picks_from_annotations(Stream([trace]), threshold, phase)
        return seisbench.util.ClassifyOutput(self.name, picks=seisbench.util.PickList(sorted(picks)))


def _instruments(stream: Stream) -> Iterator[tuple[str, Stream]]:
    """Components and samples of each instrument, as the daemon's windows have them: on the 100 Hz grid, named after their rows."""
    segments: dict[Instrument, list[Segment]] = {}
    for segment in segments_of(stream.copy().split().merge(-1)):
        segments.setdefault(segment.channel.instrument, []).append(segment)
    for _, own in sorted(segments.items()):
        rows = rows_of({segment.channel.component for segment in own})
        used = [segment for segment in own if segment.channel.component in rows]
        letters = [MISSING] * ROWS
        for segment in used:
            # As in the daemon, a component that never moves is missing.
            if (segment.samples != segment.samples[0]).any():
                letters[rows[segment.channel.component]] = segment.channel.component
        yield (
            "".join(letters),
            Stream([_on_grid(segment, rows[segment.channel.component]) for segment in used]),
        )


def _on_grid(segment: Segment, row: int) -> Trace:
    channel = segment.channel
    try:
        converter = converter_for(segment.sampling_rate_hz, segment.start_ns)
    except ValueError as error:
        raise ValueError(f"trace {channel}: {error}") from error
    first, samples = converter.push(segment.samples.astype(np.float64))
    return Trace(
        samples,
        {
            "network": channel.network,
            "station": channel.station,
            "location": channel.location,
            "channel": channel.instrument.band + "ZNE"[row],
            "sampling_rate": GRID_RATE_HZ,
            "starttime": UTCDateTime(ns=first * GRID_NS + converter.offset_ns),
        },
    )
