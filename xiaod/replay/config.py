"""Settings of a replay server: one frozen dataclass that checks its values.

>>> ReplayConfig(inputs=("example",), speed=10).clock_waits_for_client
True
>>> ReplayConfig(inputs=("example",), shift_to_now=True).clock_waits_for_client
False
>>> ReplayConfig(inputs=("example",), speed=0)
Traceback (most recent call last):
...
xiaod.replay.config.ReplayError: speed must be a number above 0 or 'max'; got 0
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from xiaod.domain.seedlink import PORT, RECORD_BYTES, SEQUENCE_MODULUS
from xiaod.replay.faults import Faults
from xiaod.replay.packet import RECORD_LENGTHS

EXAMPLE = "example"
"""The input that stands for ObsPy's shipped event."""
"""SeedLink's customary port."""
MAX_COPIES = 36**3
"""Synthetic station codes end in three characters of base 36."""

Speed = float | Literal["max"]


class ReplayError(ValueError):
    """The replay cannot start; the text says which input or key is wrong and what to do."""


class AddressError(ReplayError):
    """Its address cannot be listened on now; later it may be free."""


@dataclass(frozen=True)
class ReplayConfig:
    """Settings of one replay server.

    Attributes:
        inputs: miniSEED files, folders (searched to the bottom), or ``example``.
        host: address to listen on.
        port: TCP port; 0 takes any free one.
        speed: seconds of data per second of clock, or ``max``: as fast as each client reads, nothing dropped.
        shift_to_now: move all data by whole seconds so that the first sample lies at the start of the replay.
        loop: repeat the data in cycles, each later than the one before by the span of the data, rounded up
            to whole seconds, plus ``loop_gap_s``, rounded up likewise.
        loop_gap_s: gap between two cycles (s). It is a real gap: joining the ends would invent
            continuity.
        copies: above 1, serve that many copies of every station under synthetic five-character codes.
        start_when_client: start the clock when the first client asks for data, so that it sees everything;
            ``None`` means yes unless ``shift_to_now``.
        ring_packets: number of newest packets a client may still ask for. Not applied at speed ``max``, where
            every client has the whole replay to itself.
        record_bytes: length of the records served, a power of two. Clients that know 512 bytes alone are many, and
            servers that send others as well: a ringserver sends what lies in its ring.
        first_sequence: number of the first packet, 0 to 0xFFFFFF.
        max_clients: connections served at once; more are closed at once.
        miniseed_version: of the records that clients of SeedLink 4 get, 2 or 3; others get miniSEED 2.
        tls_certificate: PEM file with the certificate of the server, and the key, unless that is in ``tls_key``; with it the port speaks
            TLS only.
        tls_key: PEM file with the key of the certificate.
        logins: words after AUTH, each of which lets a client in, such as ``("USERPASS", "me", "secret")``; without any, everybody is.
        organization: text in the HELLO and INFO replies.
        faults: faults to make, for tests.
    """

    inputs: Sequence[str | Path]
    host: str = "127.0.0.1"
    port: int = PORT
    speed: Speed = 1.0
    shift_to_now: bool = False
    loop: bool = False
    loop_gap_s: float = 5.0
    copies: int = 1
    start_when_client: bool | None = None
    ring_packets: int = 1_000_000
    record_bytes: int = RECORD_BYTES
    first_sequence: int = 1
    max_clients: int = 256
    miniseed_version: int = 2
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    logins: Sequence[tuple[str, ...]] = ()
    organization: str = "xiaod replay"
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        if isinstance(self.inputs, str | Path) or not self.inputs:
            raise ReplayError(f"inputs must be a non-empty list of paths or {EXAMPLE!r}; got {self.inputs!r}")
        if self.speed != "max" and not (isinstance(self.speed, int | float) and 0 < self.speed < math.inf):
            raise ReplayError(f"speed must be a number above 0 or 'max'; got {self.speed!r}")
        if self.record_bytes not in RECORD_LENGTHS:
            raise ReplayError(
                f"record_bytes must be one of {', '.join(map(str, RECORD_LENGTHS))}; got {self.record_bytes!r}"
            )
        if self.tls_key is not None and self.tls_certificate is None:
            raise ReplayError("tls_key needs tls_certificate")
        if self.logins and self.tls_certificate is None:
            raise ReplayError("logins need tls_certificate: secrets are not taken in the clear")
        ranges = (
            ("miniseed_version", self.miniseed_version, 2, 3),
            ("port", self.port, 0, 65_535),
            ("loop_gap_s", self.loop_gap_s, 0, math.inf),
            ("copies", self.copies, 1, MAX_COPIES),
            ("ring_packets", self.ring_packets, 1, SEQUENCE_MODULUS // 2),
            ("first_sequence", self.first_sequence, 0, SEQUENCE_MODULUS - 1),
            ("max_clients", self.max_clients, 1, math.inf),
        )
        for key, value, low, high in ranges:
            if not low <= value <= high:
                raise ReplayError(f"{key} must lie between {low} and {high}; got {value!r}")

    @property
    def clock_waits_for_client(self) -> bool:
        """Whether the replay begins with the first request for data instead of with the server."""
        return not self.shift_to_now if self.start_when_client is None else self.start_when_client
