"""The replay server and EarthScope's client of SeedLink 4."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from seedlink_client import Protocol, SeedLink, SeedLinkError

from tests.certificates import certificate
from tests.unit.replay.test_wire import PACKETS, TIMEOUT_S, play, whole
from tests.unit.replay.test_wire_4 import Packet4, fetched
from xiaod.replay import ReplayServer


def received(
    server: ReplayServer, protocol: Protocol | None, **options: Any
) -> list[tuple[str, int | None, bytes]]:
    """What EarthScope's client receives of the whole event."""
    client = SeedLink("127.0.0.1", server.port, timeout=TIMEOUT_S, protocol=protocol, dialup=True, **options)
    client.connect()
    client.add_stream("BW_RJOB", "*_E_H_?", all_data=True)
    found = [(one.station_id, one.seqnum, one.payload) for one in client.collect(reconnect=False)]
    client.close()
    return found


def test_earthscopes_client_receives_the_event() -> None:
    async def body(server: ReplayServer) -> tuple[list[Any], list[Packet4]]:
        by_client = await asyncio.to_thread(received, server, None)
        return by_client, await fetched(server, "STATION *", "DATA ALL")

    by_client, expected = play(body, whole())
    assert by_client == [(one.station, one.number, one.payload) for one in expected]


def test_it_wants_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    made, key = certificate(tmp_path)

    async def body(server: ReplayServer) -> int:
        with pytest.raises(SeedLinkError, match="certificate"):
            await asyncio.to_thread(received, server, Protocol.V4, tls=True)
        return len(await asyncio.to_thread(received, server, Protocol.V4, tls=True, tls_noverify=True))

    assert play(body, whole(tls_certificate=made, tls_key=key)) == PACKETS
