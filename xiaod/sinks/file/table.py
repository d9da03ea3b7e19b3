"""Picks as CSV with the columns that another program reads, appended (:mod:`xiaod.sinks.file.appended`).

=============  =================================================  ===========================================================
style          columns                                            for
=============  =================================================  ===========================================================
``csv``        the keys of the JSON document                      spreadsheets, pandas
``gamma``      id, timestamp, type, prob, pick_id, amp            GaMMA; amp is the velocity of the ground in m/s
``pyocto``     station, phase, time, probability, pick_id         PyOcto
``quakeflow``  station_id, phase_time, phase_type, phase_score,   QuakeFlow, and GaMMA after it
               pick_id, phase_amplitude
=============  =================================================  ===========================================================

Stations are named ``NET.STA.LOC`` for PyOcto, as SeisBench names them, and ``NET.STA.LOC.BI`` (band and instrument) for the others; the
consumer's table of stations must use the same names. Times without a zone are UTC. A number that is not finite is an empty field, and so is
an amplitude where no response is known (GaMMA, gamma/utils.py: convert_picks_csv takes ``log10(amp * 1e2)``, cm/s).

With ``of: rsam`` it is one of means of the amplitude, with :data:`RSAM_COLUMNS`.

``csv`` has a row for each document. An associator takes each row for an onset of its own, so its styles have final picks only.

>>> from xiaod.domain.types import Channel
>>> pick = Pick("20090824.002007.73-P-BW.RJOB..EH-micro-0.1.0", Channel("BW", "RJOB", "", "EHZ"), "P",
...     1_251_073_207_731_250_000, 0.1, 0.9, 5.0, 1200.0, "ZNE", "micro-0.1.0", "0" * 64)
>>> TableLines("pyocto", AgencyConfig()).line(pick)[:38]
b'BW.RJOB.,P,1251073207.731250,0.900000,'
"""

import csv
import io
import math
from collections.abc import Sequence

from xiaod.config import AgencyConfig
from xiaod.config.sinks.file import TableConfig, TableStyle
from xiaod.domain.document import pick_document
from xiaod.domain.rsam import rsam_document
from xiaod.domain.timegrid import iso_from_ns
from xiaod.domain.types import Pick, RsamValue
from xiaod.sinks.file.appended import AppendingSink

DOCUMENT_COLUMNS = (
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
    "stage",
    "early_id",
    "outcome",
    "moved_s",
    "raw_amplitude",
    "polarity",
    "velocity_m_s",
    "wood_anderson_mm",
    "wood_anderson_noise_mm",
    "motion_window_s",
)
"""All keys but the version of the document and those of live picks; new ones stand at the end."""
RSAM_COLUMNS = (
    "time",
    "network",
    "station",
    "location",
    "channel",
    "minutes",
    "low_hz",
    "high_hz",
    "value",
    "unit",
    "share",
    "id",
)
COLUMNS: dict[TableStyle, tuple[str, ...]] = {
    "csv": DOCUMENT_COLUMNS,
    "gamma": ("id", "timestamp", "type", "prob", "pick_id", "amp"),
    "pyocto": ("station", "phase", "time", "probability", "pick_id"),
    "quakeflow": ("station_id", "phase_time", "phase_type", "phase_score", "pick_id", "phase_amplitude"),
}


def _row(fields: Sequence[str]) -> bytes:
    text = io.StringIO()
    # A damaged record can hold any code, even a line break.
    clean = ["".join(letter if letter.isprintable() else "_" for letter in field) for field in fields]
    csv.writer(text, lineterminator="\n").writerow(clean)
    return text.getvalue().encode("ascii", "backslashreplace")


def _fields(line: bytes, width: int) -> list[str]:
    """The fields of a row.

    Raises:
        ValueError: when it has another number of them.
    """
    rows = list(csv.reader([line.decode("ascii")]))
    if len(rows) != 1 or len(rows[0]) != width:
        raise ValueError(f"not a row of {width} fields")
    return rows[0]


class TableLines:
    """Rows of a table; implements :class:`xiaod.sinks.file.tail.LineFormat`."""

    closed = False
    """A number that lost its last digits is still a number."""

    def __init__(self, style: TableStyle, agency: AgencyConfig) -> None:
        self._style = style
        self._agency = agency
        columns = COLUMNS[style]
        self.header = _row(columns)
        self._width = len(columns)
        self._identity = columns.index("id" if style == "csv" else "pick_id")

    def line(self, pick: Pick) -> bytes:
        """A pick as one row, newline included; nothing for a pick that is not final, in a style for associators."""
        if self._style != "csv" and pick.stage != "final":
            return b""
        channel, probability = pick.channel, _number(pick.probability)
        instrument = channel.instrument.text
        zoneless = iso_from_ns(pick.time_ns).removesuffix("Z")
        velocity = "" if pick.motion is None else f"{pick.motion.velocity_m_s:.4g}"
        if self._style == "gamma":
            return _row((instrument, zoneless, pick.phase.lower(), probability, pick.id, velocity))
        if self._style == "quakeflow":
            return _row((instrument, zoneless, pick.phase, probability, pick.id, velocity))
        if self._style == "pyocto":
            station = f"{channel.network}.{channel.station}.{channel.location}"
            return _row((station, pick.phase, _seconds(pick.time_ns), probability, pick.id))
        document = pick_document(pick, self._agency)
        values = map(document.get, DOCUMENT_COLUMNS)
        return _row(["" if value is None else str(value) for value in values])

    def identity(self, line: bytes) -> str:
        """The pick's ``id``.

        Raises:
            ValueError: when it is not a row of this table.
        """
        return _fields(line, self._width)[self._identity]


class RsamLines:
    """Rows of means of the amplitude; implements :class:`xiaod.sinks.file.tail.LineFormat`."""

    closed = False
    header = _row(RSAM_COLUMNS)

    def __init__(self, agency: AgencyConfig) -> None:
        self._agency = agency

    def line(self, value: RsamValue) -> bytes:
        """A mean as one row, newline included."""
        document = rsam_document(value, self._agency)
        return _row(["" if (one := document[key]) is None else str(one) for key in RSAM_COLUMNS])

    def identity(self, line: bytes) -> str:
        """The ``id``.

        Raises:
            ValueError: when it is not a row of this table.
        """
        return _fields(line, len(RSAM_COLUMNS))[RSAM_COLUMNS.index("id")]


class TableSink(AppendingSink):
    """Appends to a file, with a header in each; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: TableConfig, agency: AgencyConfig) -> None:
        """Set up; the file is opened when there is something to write."""
        super().__init__(
            config, RsamLines(agency) if config.of == "rsam" else TableLines(config.style, agency)
        )


def _seconds(time_ns: int) -> str:
    """Seconds since 1970 with six decimals; a float cannot hold them all."""
    microseconds = (time_ns + 500) // 1000
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    return f"{'-' if microseconds < 0 else ''}{seconds}.{rest:06d}"


def _number(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else ""
