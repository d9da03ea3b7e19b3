"""Time and station code of a miniSEED version 2 record, changed in place of re-encoding.

Source: SEED Reference Manual 2.4, chapter 8, "Fixed Section of Data Header": station code at byte 8, start
time (BTIME) at byte 20, to 0.0001 s. Finer digits live in blockette 1001, which a shift by whole 0.0001 s
leaves untouched; so do the samples.

>>> header = BTIME_BIG.pack(2009, 236, 0, 20, 3, 0, 0)
>>> ticks = ticks_of(header, BTIME_BIG)
>>> btime_of(ticks + 86_400 * TICKS_PER_S, BTIME_BIG) == BTIME_BIG.pack(2009, 237, 0, 20, 3, 0, 0)
True
"""

from datetime import date
from functools import lru_cache
from struct import Struct

STATION = slice(8, 13)
BTIME = slice(20, 30)
BTIME_BIG = Struct(">HHBBBBH")
BTIME_LITTLE = Struct("<HHBBBBH")
TICK_NS = 100_000
"""Resolution of BTIME: 0.0001 s."""
TICKS_PER_S = 10_000
TICKS_PER_DAY = 86_400 * TICKS_PER_S

_EPOCH_DAY = date(1970, 1, 1).toordinal()


def btime_struct(raw: bytes) -> Struct:
    """Tell the byte order of a version 2 header by whether year and day make sense.

    Raises:
        ValueError: in neither order.
    """
    for order in (BTIME_BIG, BTIME_LITTLE):
        year, day = order.unpack(raw[BTIME])[:2]
        if 1900 <= year <= 2100 and 1 <= day <= 366:
            return order
    raise ValueError(f"not a miniSEED 2 start time: {raw[BTIME].hex()}")


def ticks_of(btime: bytes, order: Struct) -> int:
    """Start time of a record in units of 0.0001 s since 1970, without what blockette 1001 adds."""
    year, day, hour, minute, second, _, fraction = map(int, order.unpack(btime))
    days = date(year, 1, 1).toordinal() - _EPOCH_DAY + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60 * TICKS_PER_S + second * TICKS_PER_S + fraction


def btime_of(ticks: int, order: Struct) -> bytes:
    """Inverse of `ticks_of`: ten bytes."""
    days, rest = divmod(ticks, TICKS_PER_DAY)
    seconds, fraction = divmod(rest, TICKS_PER_S)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return order.pack(*_year_and_day(days), hour, minute, second, 0, fraction)


@lru_cache(maxsize=64)
def _year_and_day(days: int) -> tuple[int, int]:
    moment = date.fromordinal(days + _EPOCH_DAY)
    return moment.year, moment.timetuple().tm_yday


def shift_record(raw: bytes, shift_ns: int) -> bytes:
    """Move a version 2 record in time.

    Args:
        raw: the whole record.
        shift_ns: a multiple of 100 000 ns.

    Raises:
        ValueError: if the shift is finer than BTIME, or the header is not one of version 2.
    """
    ticks, rest = divmod(shift_ns, TICK_NS)
    if rest:
        raise ValueError(f"shift must be a multiple of {TICK_NS} ns; got {shift_ns}")
    order = btime_struct(raw)
    btime = btime_of(ticks_of(raw[BTIME], order) + ticks, order)
    return raw[: BTIME.start] + btime + raw[BTIME.stop :]


def rename_station(raw: bytes, station: str) -> bytes:
    """Give a version 2 record another station code of up to five characters.

    Raises:
        ValueError: if the code is longer or not ASCII.
    """
    code = station.encode("ascii").ljust(5)
    if len(code) > 5:
        raise ValueError(f"station codes of miniSEED 2 have up to 5 characters; got {station!r}")
    return raw[: STATION.start] + code + raw[STATION.stop :]
