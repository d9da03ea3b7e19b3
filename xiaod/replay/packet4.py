r"""Packets of SeedLink 4: a header of 17 bytes, the station ID, and a payload of any length.

Source: SeedLink 4.0, "Data Transfer": signature ``SE``, format, subformat, length of the payload (32 bits), sequence number
(64 bits), length of the station ID (8 bits), all little-endian.

>>> packet("2D", 7, "BW_RJOB", b"record")
b'SE2D\x06\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x07BW_RJOBrecord'
"""

from struct import Struct

from pymseed import MS3Record

HEADER = Struct("<2s2sIQB")


def packet(kind: str, number: int, station: str, payload: bytes) -> bytes:
    """One packet.

    Args:
        kind: format and subformat.
        number: sequence number.
        station: station ID, ``NET_STA``, or nothing.
        payload: the record or document.
    """
    return HEADER.pack(b"SE", kind.encode(), len(payload), number, len(station)) + station.encode() + payload


def as_version_3(record: bytes) -> bytes:
    """A record of miniSEED 2 as one of miniSEED 3, which is as long as its samples need.

    What is not miniSEED stays as it is.
    """
    try:
        parsed = MS3Record.parse(record, unpack_data=True)
        parsed.formatversion = 3
        parsed.reclen = len(record) * 2
        pieces = list(parsed.generate(parsed.datasamples, parsed.sampletype))
    except (RuntimeError, ValueError):
        return record
    return pieces[0] if len(pieces) == 1 else record
