"""Runs a record through the daemon's own picker, in overlapping windows, as it makes early picks or final ones.

>>> import numpy as np
>>> def annotate(windows):
...     position = windows[:, :1]  # these samples hold their own index
...     curve = np.exp(-0.5 * ((position - 1234) / 10) ** 2)
...     return np.concatenate([1 - curve, curve, 0 * curve], axis=1)
>>> picks = windowed(annotate)(np.tile(np.arange(3000), (3, 1)), 0.5)
>>> [(round(pick.time_ns / 1e7), pick.phase, round(pick.probability, 2)) for pick in picks]
[(1234, 'P', 1.0)]
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.annotators import WINDOW, Annotate
from distill.calibration import NEAR_S, Judged
from distill.corpus import Record, hours_of, onsets_of
from distill.scores import f_measure
from models.conventions import RATE_HZ
from xiaod.domain.timegrid import GRID_NS
from xiaod.domain.types import Instrument, Pick, Probabilities, Stage, Window
from xiaod.picking.picker import NOTICE, Candidate, InstrumentPicker, Onset, PickerSettings, compute_again
from xiaod.waveform.instrument import history_of

NEAR = round(NEAR_S * RATE_HZ)
"""Samples within which a pick matches an onset."""
DOUBTFUL = 0.1
"""Probability of the teacher from which it does not contradict a pick; from its own threshold on there is an onset."""
SCORED_AT_S = (0.1, 0.5)
"""Tolerances of the scores by which thresholds are chosen."""
PHASE_ROWS = ((1, "P"), (2, "S"))
NOWHERE = Instrument("", "", "", "")


@dataclass(frozen=True)
class Serving:
    """How picks of a stage are made; the daemon's defaults."""

    stage: Stage
    lookahead: int
    """Samples after an onset that are needed."""
    hop: int
    """Samples between windows."""
    beta: float
    """How much recall counts, in terms of precision, when thresholds are chosen; see :func:`distill.scores.f_measure`."""

    def settings(self, thresholds: tuple[float, float]) -> PickerSettings:
        """Of the daemon's picker."""
        return PickerSettings(
            thresholds, self.hop, "evaluated", "", lookahead=self.lookahead, stage=self.stage
        )


FINAL = Serving("final", lookahead=4 * round(RATE_HZ), hop=4 * round(RATE_HZ), beta=1.0)
EARLY = Serving("early", lookahead=round(RATE_HZ) // 2, hop=round(RATE_HZ) // 2, beta=0.5)
"""An onset without an early pick has its final pick seconds later; a false early pick alarms and must be withdrawn: recall counts half."""

Serve = Callable[[NDArray[np.generic], float], list[Pick]]
"""A record ``(3, n)``, Z N E, that begins at time zero, and a threshold for both phases -> picks."""


def windowed(annotate: Annotate, length: int = WINDOW, serving: Serving = FINAL) -> Serve:
    """Pick as the daemon does in overlapping windows.

    What the network says of the last record is kept: to pick it with another threshold costs little.
    """
    last: list[Computed] = []

    def serve(waves: NDArray[np.generic], threshold: float) -> list[Pick]:
        if not last or last[0].waves is not waves:
            last[:] = [Computed(annotate, waves, length, serving.hop, serving.stage)]
        settings = serving.settings((threshold, threshold))
        return [pick for _, pick in decisions(last[0], settings)]

    return serve


class Computed:
    """What a student says of a record, in windows on the grid and in those that confirm."""

    def __init__(
        self,
        annotate: Annotate,
        waves: NDArray[np.generic],
        length: int,
        hop: int,
        stage: Stage,
        first: int = 0,
        last: int | None = None,
    ) -> None:
        """Compute the windows on the grid; as when the data of a station end, the last one ends with the record.

        Args:
            annotate: the student.
            waves: record ``(3, n)``, Z N E, that begins at time zero.
            length: samples of a window.
            hop: samples between windows.
            stage: of the picks that are made of them.
            first: sample before which no window begins.
            last: sample after which none ends.
        """
        self.waves = waves
        self._annotate = annotate
        self._onsets: dict[tuple[int, int, int, int], Onset] = {}
        samples = waves.astype(np.float32)
        begin = -(-max(first, 0) // hop) * hop
        stop = samples.shape[1] if last is None else min(last, samples.shape[1])
        starts = list(range(begin, stop - length + 1, hop))
        if last is None and starts and starts[-1] + length < stop:
            starts.append(stop - length)
        self.probabilities = []
        self.highest: list[float] = []
        """Of P and S together, in each window."""
        if not starts:
            return
        history = history_of(hop)
        given = annotate(np.stack([samples[:, start : start + length] for start in starts]))
        for start, values in zip(starts, given, strict=True):
            window = Window(
                NOWHERE,
                start,
                0,
                samples[:, start : start + length],
                "ZNE",
                discontinuous=start == begin,
                history=samples[:, max(0, start - history) : start],
                stage=stage,
            )
            self.probabilities.append(Probabilities(window, values[1:]))
            self.highest.append(float(values[1:].max()))

    def onsets(self, candidates: Sequence[Candidate]) -> list[Onset]:
        """Candidates computed again, each once."""
        keys = [_key(one) for one in candidates]
        new = [one for key, one in zip(keys, candidates, strict=True) if key not in self._onsets]
        for onset in compute_again(new, lambda windows: self._annotate(windows)[:, 1:]):
            self._onsets[_key(onset.candidate)] = onset
        return [self._onsets[key] for key in keys]


def _key(candidate: Candidate) -> tuple[int, int, int, int]:
    """What a candidate is computed again by; the threshold decides at most whether in four windows more."""
    return candidate.window.index, candidate.phase, candidate.peak, candidate.lookahead


def decisions(computed: Computed, settings: PickerSettings) -> Iterator[tuple[int, Pick]]:
    """Picks of a record, and the sample at which each is decided."""
    picker = InstrumentPicker(settings)
    # Most windows of a record show nothing: a picker that looks at them finds no candidate, and takes most of the time.
    least = NOTICE * min(*settings.thresholds, *(settings.vertical_thresholds or ()))
    for result, highest in zip(computed.probabilities, computed.highest, strict=True):
        if highest < least:
            continue
        for onset in computed.onsets(picker.notice(result)):
            pick = picker.confirm(onset)
            if pick is not None:
                yield result.window.stop, pick


def sample_of(pick: Pick) -> float:
    """Sample of a record that begins at time zero."""
    return pick.time_ns / GRID_NS


def judged(serve: Serve, records: Sequence[Record], threshold: float) -> list[Judged]:
    """Picks of records, with the nearest onset of the phase, if any is near."""
    found = []
    for record in records:
        for pick in serve(record.waves, threshold):
            onsets = [
                exact
                for onset, row in record.onsets
                if "NPS"[row] == pick.phase
                for exact in [_exact(record, onset, row)]
            ]
            nearest = min(onsets, key=lambda onset: abs(onset - sample_of(pick)), default=None)
            residual = None if nearest is None else (sample_of(pick) - nearest) / RATE_HZ
            near = residual is not None and abs(residual) <= NEAR_S
            found.append(
                Judged(pick.phase, pick.probability, pick.time_uncertainty_s, residual if near else None)
            )
    return found


def _exact(record: Record, onset: int, row: int) -> float:
    """Exact time of an onset: the analyst's pick, if the onset is one."""
    pick = record.analyst[row - 1]
    return pick if pick is not None and round(pick) == onset else float(onset)


Counted = Mapping[tuple[str, float], Mapping[str, NDArray[np.float64]]]
"""Phase and threshold -> origin -> for each tolerance of :data:`SCORED_AT_S` onsets met, false picks, onsets; shape ``(2, 3)``."""


def service_counts(
    serve: Serve, records: Sequence[Record], thresholds: Sequence[float], serving: Serving = FINAL
) -> Counted:
    """Count picks against onsets, the teacher's and the analysts'.

    A record is picked with each threshold anew: with a lower one an onset is picked sooner, on less data, with another probability.

    An onset is met by the nearest pick; every other pick is false, but where the teacher sees another onset less than surely
    (:data:`DOUBTFUL`). Onsets with too little data after them for a pick of the stage are left out.

    Records count by the square root of their station's share, as in training: a busy station does not rule, and false picks count
    at stations without onsets too.
    """
    stations = Counter(record.station for record in records)
    counts: dict[tuple[str, float], dict[str, NDArray[np.float64]]] = {}
    for record in records:
        weight = stations[record.station] ** -0.5
        last = record.waves.shape[1] - serving.lookahead
        judges = {
            phase: _Judge.of([onset for onset, of in record.onsets if of == row], record.labels[row], last)
            for row, phase in PHASE_ROWS
        }
        for threshold in thresholds:
            picked = serve(record.waves, threshold)
            for phase, judge in judges.items():
                picks = [sample_of(pick) for pick in picked if pick.phase == phase]
                of_origin = counts.setdefault((phase, threshold), {})
                total = of_origin.setdefault(record.origin, np.zeros((len(SCORED_AT_S), 3)))
                total += weight * np.array([judge.counts(picks, tolerance_s) for tolerance_s in SCORED_AT_S])
    return counts


def scores_of(counts: Counted, beta: float, without: str | None = None) -> dict[str, dict[float, float]]:
    """F-measure at 0.1 and 0.5 s, their mean, for each phase and threshold.

    Args:
        counts: by origin.
        beta: how much recall counts, :attr:`Serving.beta`.
        without: origin that is left out.
    """
    scores: dict[str, dict[float, float]] = {"P": {}, "S": {}}
    for (phase, threshold), origins in counts.items():
        kept = [count for origin, count in origins.items() if origin != without]
        total = np.sum(kept, axis=0) if kept else np.zeros((len(SCORED_AT_S), 3))
        found = [f_measure(met, false, onsets, beta) for met, false, onsets in total if onsets]
        scores[phase][threshold] = round(float(np.mean(found)), 4) if found else 0.0
    return scores


def service_scores(
    serve: Serve, records: Sequence[Record], thresholds: Sequence[float], serving: Serving = FINAL
) -> dict[str, dict[float, float]]:
    """F-measure of each phase and threshold on all records, see :func:`service_counts`; the stage says how much recall counts."""
    return scores_of(service_counts(serve, records, thresholds, serving), serving.beta)


@dataclass(frozen=True)
class _Judge:
    """What is right, and what is neither right nor false, for one phase of a record."""

    wanted: Sequence[int]
    open: Sequence[int]

    @classmethod
    def of(cls, onsets: Sequence[int], curve: NDArray[np.floating], last: int) -> "_Judge":
        """Sort the onsets, and those that the teacher doubts.

        Args:
            onsets: those that are sure.
            curve: probabilities of the teacher.
            last: sample after which an onset has too little data.
        """
        doubtful = [
            peak for peak in onsets_of(curve, DOUBTFUL) if all(abs(peak - onset) > NEAR for onset in onsets)
        ]
        return cls(
            [onset for onset in onsets if onset <= last],
            [*doubtful, *(onset for onset in onsets if onset > last)],
        )

    def counts(self, picks: Sequence[float], tolerance_s: float) -> tuple[int, int, int]:
        """Onsets met, false picks, onsets."""
        rest, met = list(picks), 0
        for onset in self.wanted:
            nearest = min(rest, key=lambda pick: abs(pick - onset), default=None)
            if nearest is not None and abs(nearest - onset) <= tolerance_s * RATE_HZ:
                rest.remove(nearest)
                met += 1
        false = sum(not any(abs(pick - onset) <= NEAR for onset in self.open) for pick in rest)
        return met, false, len(self.wanted)


def picks_per_hour(
    serve: Serve, records: Sequence[Record], thresholds: Mapping[str, float]
) -> dict[str, float]:
    """Count picks per station-hour of records of noise: all of them count as false."""
    rates = false_rates(serve, records, sorted(set(thresholds.values())))
    result: dict[str, float] = {"hours": round(hours_of(records), 2), "records": len(records)}
    return result | {phase: rates[phase][threshold] for phase, threshold in thresholds.items()}


def false_rates(
    serve: Serve, records: Sequence[Record], thresholds: Sequence[float]
) -> dict[str, dict[float, float]]:
    """Count picks per station-hour of noise, for each phase and threshold."""
    counts = {phase: dict.fromkeys(thresholds, 0) for _, phase in PHASE_ROWS}
    for record in records:
        for threshold in thresholds:
            for pick in serve(record.waves, threshold):
                counts[pick.phase][threshold] += 1
    hours = hours_of(records) or 1.0
    return {
        phase: {threshold: round(count / hours, 2) for threshold, count in found.items()}
        for phase, found in counts.items()
    }
