"""How well networks that stream notice onsets: numbers of the report.

>>> import numpy as np
>>> scout = Scout("a", lambda waves: np.full((2, waves.shape[1]), 0.2), delay_samples=10, chunk_samples=20)
>>> quiet = Record("q", "XX.A", "noise", np.zeros((3, 36_000), np.int32), np.zeros((3, 0), np.float16), (), (None, None))
>>> [(one.phase, one.condition, one.metric, one.value, one.count) for one in scout_numbers(scout, {"P": 0.1, "S": 0.5}, {}, [quiet])]
[('P', '0.10 h of noise', 'candidates_per_hour', 10.0, 1), ('S', '0.10 h of noise', 'candidates_per_hour', 0.0, 0)]
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from distill.corpus import Record
from distill.noticing import Scout, candidates_per_hour, noticed
from distill.progress import SILENT, Progress
from distill.report.scoring import Number
from models.conventions import PHASES, RATE_HZ

TABLE = "noticing"


def scout_numbers(
    scout: Scout,
    thresholds: Mapping[str, float],
    labelled: Mapping[str, Sequence[Record]],
    noise: Sequence[Record],
    progress: Progress = SILENT,
) -> Iterator[Number]:
    """Part of the labelled onsets noticed in time, their delay, and candidates an hour of noise.

    Args:
        scout: a network that streams.
        thresholds: from which it notices, for each phase.
        labelled: name of a data set -> its records.
        noise: records of noise.
        progress: shows the stage.
    """
    looks = sum(record.labelled for records in labelled.values() for record in records) + len(noise)
    scout = replace(scout, curves=progress.counted(scout.curves, looks, f"{scout.name}: onsets noticed"))
    for name, records in labelled.items():
        for phase, found in noticed(scout, records, thresholds).items():
            for metric, value, count in (
                ("noticed", found.share, found.labels),
                ("delay_median_s", found.delay_median_s, len(found.delays_s)),
            ):
                yield Number(TABLE, scout.name, phase, name, metric, value, count)
    hours = sum(record.waves.shape[1] for record in noise) / RATE_HZ / 3600
    if hours:
        rates = candidates_per_hour(scout, noise, sorted(set(thresholds.values())))
        for phase in PHASES:
            rate = rates[phase][thresholds[phase]]
            yield Number(
                TABLE,
                scout.name,
                phase,
                f"{hours:.2f} h of noise",
                "candidates_per_hour",
                rate,
                round(rate * hours),
            )
