"""Integer nanoseconds UTC, ISO 8601 text, and the 100 Hz sample grid.

Inside the daemon every instant is an ``int`` of nanoseconds since 1970-01-01T00:00:00 UTC (leap seconds are not counted,
as in POSIX time). Text appears only in sinks, logs and the configuration. Samples of the working rate lie on one absolute
grid: index ``k`` stands for the instant ``k * GRID_NS``, whatever the stream and whenever it began.

>>> iso_from_ns(1_251_073_203_000_000_000)
'2009-08-24T00:20:03.000000Z'
>>> ns_from_iso("2009-08-24T00:20:03Z")
1251073203000000000
>>> grid_index(1_251_073_203_004_000_000)
125107320300
"""

from datetime import UTC, datetime

from models.conventions import RATE_HZ

NS_PER_S = 1_000_000_000
NS_PER_HOUR = 3600 * NS_PER_S
EARLIEST_NS, LATEST_NS = -(1 << 63), (1 << 63) - 1
"""The first and last nanosecond that 64 bits can hold."""
YEARS = range(1700, 2250)
"""Years whose nanoseconds fit into the 64 bits of the store, with room around them."""
GRID_RATE_HZ = RATE_HZ
"""The working sampling rate: that of every network."""
GRID_NS = round(NS_PER_S / GRID_RATE_HZ)
"""Nanoseconds between two samples of the grid."""
BEFORE_ALL = -(1 << 62)
"""A grid index before all times: the end of a channel without data. Zero is a time."""
AFTER_ALL = 1 << 62
"""A grid index after all times."""


def iso_from_ns(time_ns: int) -> str:
    """Write an instant as ISO 8601 in UTC with microseconds (rounded half up) and ``Z``."""
    seconds, microseconds = divmod((time_ns + 500) // 1000, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{microseconds:06d}Z"


def ns_from_iso(text: str) -> int:
    """Read ISO 8601; a time without an offset is taken as UTC. Digits beyond microseconds are dropped.

    Raises:
        ValueError: when the text is not an ISO 8601 date and time, or outside of :data:`YEARS`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z") from error
    if moment.year not in YEARS:
        raise ValueError(f"year {moment.year}: must be {YEARS[0]} to {YEARS[-1]}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000


def ns_from_s(seconds: float) -> int:
    """Convert a duration in seconds to nanoseconds.

    >>> ns_from_s(0.25)
    250000000
    """
    return round(seconds * NS_PER_S)


def grid_index(time_ns: int) -> int:
    """Index of the grid sample nearest to an instant (half goes up)."""
    return (time_ns + GRID_NS // 2) // GRID_NS


def samples_from_s(seconds: float) -> int:
    """Number of grid samples in a duration in seconds.

    >>> samples_from_s(0.5)
    50
    """
    return round(seconds * GRID_RATE_HZ)


def span_text(span_s: float) -> str:
    """A length of time for people.

    >>> span_text(9.96), span_text(7200), span_text(-200_000)
    ('10.0 s', '2 h', '-2 d')
    """
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if abs(span_s) >= 2 * unit_s:
            return f"{span_s / unit_s:.0f} {unit}"
    return f"{span_s:.1f} s"
