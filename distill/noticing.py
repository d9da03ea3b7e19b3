"""How well a network that streams notices onsets: it decides nothing, so it must miss few, soon, and call seldom in quiet data.

An onset is *noticed* when the curve reaches the threshold within :data:`NEAR_S` of it, in output that is there :data:`WITHIN_S` after
it. Output comes with the chunk that completes it, ``delay_samples`` late; where a chunk begins relative to an onset is drawn from the
name of the record, since onsets lie at the same sample in many records.

A *candidate* is a sample that reaches the threshold when none did for :data:`APART_S` before.

>>> curve = np.zeros(1000, np.float32)
>>> curve[496:520] = 0.4
>>> scout = Scout("example", lambda waves: curve, delay_samples=16, chunk_samples=32)
>>> record = Record("a", "XX.A", "event", np.zeros((3, 1000), np.int32), np.zeros((3, 0), np.float16), (), (500.0, None))
>>> found = noticed(scout, [record], 0.05)["P"]
>>> found.labels, found.share, 0.12 < found.delay_median_s < 0.49
(1, 1.0, True)
>>> candidates(curve, 0.05)
[496]
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.annotators import Annotate, open_session
from distill.corpus import Record
from models.chunks import StatefulNet, in_chunks
from models.conventions import BANDS, FRONT_ENDS, ONSET, PHASES, RATE_HZ
from models.frontend import STEP, bands, fresh_state
from models.spec import ModelSpec, SpecError

WITHIN_S = 1.0
"""Data after an onset until which it must be noticed."""
NEAR_S = 0.5
APART_S = 0.5
CHUNKS = 256
"""Of one call."""

Curve = Callable[[NDArray[np.generic]], NDArray[np.floating]]
"""A record ``(3, n)``, Z N E, counts -> probability of an onset ``(n,)``; zero where the record ends before it is known."""


@dataclass(frozen=True)
class Scout:
    """A network that streams, and how late its output is."""

    name: str
    curve: Curve
    delay_samples: int
    chunk_samples: int

    def known_at(self, sample: int, record: str) -> int:
        """First sample of a record that is not needed for the output of another one."""
        begins = zlib.crc32(record.encode()) % self.chunk_samples // STEP * STEP
        chunks = -(-(sample + self.delay_samples + 1 - begins) // self.chunk_samples)
        return begins + chunks * self.chunk_samples


@dataclass(frozen=True)
class Noticed:
    """What was noticed of the labelled onsets of a phase."""

    labels: int
    delays_s: tuple[float, ...]
    """Data after the onset when it was noticed, of each one that was."""

    @property
    def share(self) -> float:
        """Part of the labels that was noticed in time."""
        return round(len(self.delays_s) / max(self.labels, 1), 3)

    @property
    def delay_median_s(self) -> float:
        """Median of the delays; zero without any."""
        return round(float(np.median(self.delays_s)), 2) if self.delays_s else 0.0


def open_scout(path: Path, threads: int = 1) -> tuple[Scout, ModelSpec]:
    """Open a file of the stateful form.

    Raises:
        FileNotFoundError: when it does not exist.
        SpecError: when it is not a model of that form.
        ValueError: when it was written by another version.
    """
    session, spec = open_session(path, threads)
    if spec.form != "stateful":
        raise SpecError(f"{path}: of the form {spec.form}; only a stateful one notices onsets")
    row, net = spec.phases.index(ONSET), StatefulNet(session)
    columns = spec.chunk_samples // STEP

    def curve(waves: NDArray[np.generic]) -> NDArray[np.floating]:
        samples = waves.shape[1]
        whole = waves[None, :, : samples // spec.chunk_samples * spec.chunk_samples].astype(np.float32)
        chunks = in_chunks(bands(whole, fresh_state(1))[0][0], columns)
        state, pieces = np.zeros((1, spec.state_size), np.float32), [np.zeros(0, np.float32)]
        for begin in range(0, len(chunks), CHUNKS):
            some = chunks[begin : begin + CHUNKS]
            values, state = net(some, state, np.array([len(some)]))
            pieces.append(values[:, row].flatten())
        return _of_samples(np.concatenate(pieces), samples, spec.delay_samples)

    return Scout(spec.name, curve, spec.delay_samples, spec.chunk_samples), spec


def scout_in_training(name: str, annotate: Annotate, delay_samples: int, chunk_samples: int) -> Scout:
    """A network as it will stream: its stateful form gives the output of the one-shot form, later."""
    net_late = delay_samples - FRONT_ENDS[BANDS].late

    def curve(waves: NDArray[np.generic]) -> NDArray[np.floating]:
        samples = waves.shape[1]
        values = annotate(waves[None].astype(np.float32))[0, FRONT_ENDS[BANDS].phases.index(ONSET)]
        known = max(0, samples // chunk_samples * chunk_samples - net_late)
        return _of_samples(values[: known // STEP], samples, FRONT_ENDS[BANDS].late)

    return Scout(name, curve, delay_samples, chunk_samples)


def _of_samples(steps: NDArray[np.floating], samples: int, late: int) -> NDArray[np.floating]:
    """A curve with a value for each sample, that is said of what was so long before; zero where it is not known."""
    given = np.repeat(steps, STEP)[late:]
    return np.pad(given, (0, samples - len(given)))


def noticed(scout: Scout, records: Sequence[Record], threshold: float) -> dict[str, Noticed]:
    """How many of the analysts' picks were noticed in time, for each phase.

    Picks so near the end of their record that they could not be noticed are left out.
    """
    labels, delays = dict.fromkeys(PHASES, 0), {phase: list[float]() for phase in PHASES}
    near, within = round(NEAR_S * RATE_HZ), round(WITHIN_S * RATE_HZ)
    for record in records:
        if not record.labelled:
            continue
        curve = scout.curve(record.waves)
        for phase, pick in zip(PHASES, record.analyst, strict=True):
            if pick is None or pick + within > record.waves.shape[1]:
                continue
            labels[phase] += 1
            begin = max(0, round(pick) - near)
            reached = np.flatnonzero(curve[begin : round(pick) + near + 1] >= threshold)
            if len(reached):
                delay_s = (scout.known_at(begin + int(reached[0]), record.name) - pick) / RATE_HZ
                if delay_s <= WITHIN_S:
                    delays[phase].append(delay_s)
    return {phase: Noticed(labels[phase], tuple(delays[phase])) for phase in PHASES}


def candidates(curve: NDArray[np.floating], threshold: float) -> list[int]:
    """Samples at which a curve calls."""
    reached = np.flatnonzero(curve >= threshold)
    apart = round(APART_S * RATE_HZ)
    first = np.diff(reached, prepend=-apart - 1) > apart
    return [int(sample) for sample in reached[first]]


def candidates_per_hour(
    scout: Scout, records: Sequence[Record], thresholds: Sequence[float]
) -> dict[float, float]:
    """Candidates per station-hour of records of noise, for each threshold."""
    counts = dict.fromkeys(thresholds, 0)
    for record in records:
        curve = scout.curve(record.waves)
        for threshold in thresholds:
            counts[threshold] += len(candidates(curve, threshold))
    hours = sum(record.waves.shape[1] for record in records) / RATE_HZ / 3600 or 1.0
    return {threshold: round(count / hours, 2) for threshold, count in counts.items()}
