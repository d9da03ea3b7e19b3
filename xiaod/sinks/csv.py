"""Picks as CSV, for ``xiaod pick --format csv``: the keys of the JSON document, except its version and what only live picks have.

A number that is not finite is an empty field.

>>> from xiaod.config import AgencyConfig
>>> csv_text([], AgencyConfig(), header=True).split(",")[:3]
['id', 'network', 'station']
"""

import csv
import io
from collections.abc import Sequence

from xiaod.config import AgencyConfig
from xiaod.records import Pick
from xiaod.sinks.document import pick_document

COLUMNS = (
    "id",
    "network",
    "station",
    "location",
    "channel",
    "phase",
    "time",
    "time_uncertainty_s",
    "probability",
    "snr",
    "amplitude",
    "components",
    "model",
    "model_sha256",
    "agency_id",
    "author",
)


def csv_text(picks: Sequence[Pick], agency: AgencyConfig, header: bool) -> str:
    """Lines for picks, after a header if wanted."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(pick_document(pick, agency) for pick in picks)
    return text.getvalue()
