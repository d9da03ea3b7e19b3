"""The sending side of a connection, where link faults act: a cut in the middle of a record, a freeze, lost bytes.

Every reply and every batch of packets leaves in a single write, then waits until the client has read enough:
a client that does not read holds up only itself.
"""

import asyncio
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from xiaod.replay.faults import Faults


class LinkCutError(ConnectionError):
    """The connection has been cut on purpose."""


class LinkFaults:
    """Link faults of the whole server, shared by its connections.

    Args:
        faults: the first set; `change` replaces it.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.cuts_left = faults.cut_connections
        self.losses_left = faults.lose_times
        self.changed = asyncio.Event()

    def refuses(self, network: str, station: str) -> bool:
        """Whether a station, with codes as a client writes them, is refused."""
        return any(fnmatchcase(f"{network}_{station}", pattern) for pattern in self.faults.refuse_stations)

    def change(self, faults: Faults) -> None:
        """Replace the faults, and wake frozen connections."""
        self.faults = faults
        self.cuts_left = faults.cut_connections
        self.losses_left = faults.lose_times
        self.changed.set()
        self.changed = asyncio.Event()


class Link:
    """Sending side of one connection.

    Attributes:
        sent: whole packets handed to the socket.
    """

    def __init__(self, writer: asyncio.StreamWriter, link_faults: LinkFaults) -> None:
        self.sent = 0
        self._writer = writer
        self._link_faults = link_faults
        self._thawed = False
        self._vanishing_bytes = 0

    async def reply(self, answer: bytes) -> None:
        """Send an answer.

        Raises:
            ConnectionError: if the client has gone.
        """
        await self._frozen()
        self._writer.write(answer)
        await self._writer.drain()

    async def send(self, packets: Sequence[bytes]) -> None:
        """Send whole packets, as far as the faults allow.

        Raises:
            LinkCutError: after cutting the connection on purpose.
            ConnectionError: if the client has gone.
        """
        while packets:
            await self._frozen()
            faults = self._link_faults.faults
            room = len(packets)
            if faults.freeze_after_packets is not None and not self._thawed:
                room = min(room, faults.freeze_after_packets - self.sent)
            if faults.cut_after_packets is not None and self._link_faults.cuts_left > 0:
                whole = max(0, faults.cut_after_packets - self.sent)
                if whole < room:
                    await self._cut(packets[: whole + 1])
            self._writer.write(b"".join(self._losing(packets[:room])))
            self.sent += room
            packets = packets[room:]
            await self._writer.drain()

    def _losing(self, packets: Sequence[bytes]) -> Iterator[bytes]:
        """Packets without the bytes that are lost on the way."""
        faults = self._link_faults.faults
        for number, packet in enumerate(packets, self.sent + 1):
            kept, rest = b"", packet
            if faults.lose_every and number % faults.lose_every == 0 and self._link_faults.losses_left > 0:
                self._link_faults.losses_left -= 1
                kept, rest = packet[: faults.lose_from], packet[faults.lose_from :]
                self._vanishing_bytes += faults.lose_bytes
            gone = min(self._vanishing_bytes, len(rest))
            self._vanishing_bytes -= gone
            yield kept + rest[gone:]

    async def _cut(self, packets: Sequence[bytes]) -> None:
        self._link_faults.cuts_left -= 1
        half = packets[-1][: len(packets[-1]) // 2]
        self._writer.write(b"".join([*packets[:-1], half]))
        self.sent += len(packets) - 1
        await self._writer.drain()
        raise LinkCutError("cut on purpose")

    async def _frozen(self) -> None:
        """Wait while the connection is frozen: for the time set, or until the faults change."""
        while not self._thawed:
            faults = self._link_faults.faults
            if faults.freeze_after_packets is None or self.sent < faults.freeze_after_packets:
                return
            try:
                await asyncio.wait_for(self._link_faults.changed.wait(), faults.freeze_s)
            except TimeoutError:
                self._thawed = True
