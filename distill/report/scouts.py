"""How well networks that stream notice onsets: numbers of the report.

>>> import numpy as np
>>> scout = Scout("a", lambda waves: np.full(waves.shape[1], 0.2), delay_samples=10, chunk_samples=20)
>>> quiet = Record("q", "XX.A", "noise", np.zeros((3, 36_000), np.int32), np.zeros((3, 0), np.float16), (), (None, None))
>>> [(one.phase, one.condition, one.metric, one.value, one.count) for one in scout_numbers(scout, 0.1, {}, [quiet])]
[('P or S', '0.10 h of noise', 'candidates_per_hour', 10.0, 1)]
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from distill.corpus import Record
from distill.noticing import Scout, candidates_per_hour, noticed
from distill.progress import SILENT, Progress
from distill.report.scoring import Number
from models.conventions import RATE_HZ

TABLE = "noticing"
EITHER = "P or S"
"""A network that notices does not say which."""


def scout_numbers(
    scout: Scout,
    threshold: float,
    labelled: Mapping[str, Sequence[Record]],
    noise: Sequence[Record],
    progress: Progress = SILENT,
) -> Iterator[Number]:
    """Part of the labelled onsets noticed in time, their delay, and candidates an hour of noise.

    Args:
        scout: a network that streams.
        threshold: from which it notices.
        labelled: name of a data set -> its records.
        noise: records of noise.
        progress: shows the stage.
    """
    looks = sum(record.labelled for records in labelled.values() for record in records) + len(noise)
    scout = replace(scout, curve=progress.counted(scout.curve, looks, f"{scout.name}: onsets noticed"))
    for name, records in labelled.items():
        for phase, found in noticed(scout, records, threshold).items():
            for metric, value, count in (
                ("noticed", found.share, found.labels),
                ("delay_median_s", found.delay_median_s, len(found.delays_s)),
            ):
                yield Number(TABLE, scout.name, phase, name, metric, value, count)
    hours = sum(record.waves.shape[1] for record in noise) / RATE_HZ / 3600
    if hours:
        rate = candidates_per_hour(scout, noise, (threshold,))[threshold]
        condition, count = f"{hours:.2f} h of noise", round(rate * hours)
        yield Number(TABLE, scout.name, EITHER, condition, "candidates_per_hour", rate, count)
