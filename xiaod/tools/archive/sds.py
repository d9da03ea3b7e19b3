"""Names of the SeisComP Data Structure: ``YEAR/NET/STA/CHAN.D/NET.STA.LOC.CHAN.D.YEAR.DAY``, a file for each channel and day.

Source: https://www.seiscomp.de/seiscomp3/doc/applications/slarchive/SDS.html. Only the file's own name is read, so that parts of an
archive, copied anywhere, are known too. Other types than ``D`` (logs, detections, ...) are none of ours.

>>> sds_name("BW.RJOB..EHZ.D.2009.236")
SdsName(channel=Channel(network='BW', station='RJOB', location='', channel='EHZ'), day=14480)
>>> sds_name("event.mseed") is None
True
"""

import re
from dataclasses import dataclass
from datetime import date

from xiaod.domain.codes import EMPTY_LOCATION
from xiaod.domain.timegrid import YEARS
from xiaod.domain.types import Channel

EPOCH = date(1970, 1, 1)

_NAME = re.compile(
    r"([A-Z0-9-]{1,8})\.([A-Z0-9-]{1,8})\.([A-Z0-9-]{0,8})\.([A-Z0-9]{3})\.D\.([0-9]{4})\.([0-9]{3})"
)


@dataclass(frozen=True, slots=True)
class SdsName:
    """What the name of a file says of its content."""

    channel: Channel
    day: int
    """Days since 1970-01-01; negative before."""


def sds_name(name: str) -> SdsName | None:
    """What a file's name says; None when it is not one of SDS."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    network, station, location, channel, year, day = found.groups()
    if not (int(year) in YEARS and 1 <= int(day) <= 366):
        return None
    return SdsName(
        Channel(network, station, "" if location == EMPTY_LOCATION else location, channel),
        date(int(year), 1, 1).toordinal() - EPOCH.toordinal() + int(day) - 1,
    )
