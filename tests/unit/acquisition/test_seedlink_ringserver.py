"""Sources against ringserver itself, killed and started again, where ``XIAOD_RINGSERVER`` names its program.

When it is killed it forgets what came since its last orderly end, and numbers its packets anew; records are counted by what they hold. It
never sends the first packet of its ring to a client that begins at a time (``RingAfter``): here that is one of another station.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.certificates import certificate
from tests.datalinkserver import Ringserver, Rules
from tests.end_to_end.harness import wait_until, write_event
from tests.unit.acquisition.test_seedlink_source import Run, contents
from xiaod.acquisition.seedlink.source import SeedLinkSource
from xiaod.config import SeedLinkConfig
from xiaod.domain.types import Channel, Segment, StationPositions
from xiaod.replay.packet import Record
from xiaod.replay.records import load
from xiaod.sinks.datalink.sink import source_id

STATIONS = ("RJOA", "RJOB", "RJOC")
PARTS = 5


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, ...]:
    """Those of three stations, in order of their ends."""
    folder = tmp_path_factory.mktemp("data")
    for number, station in enumerate(STATIONS):
        write_event(folder / f"{station}.mseed", station, shift_s=0.5 * number, quiet_s=60)
    return load([folder]).records


def begin(ring: Ringserver, first: Record) -> None:
    """Write the first packet, as of another station."""
    with ring.client() as datalogger:
        stream_id = "FDSN:XX_OTHER__E_H_Z/MSEED"
        datalogger.write(stream_id, first.start_ns // 1000, first.end_ns // 1000, first.raw, ack=True)


def feed(ring: Ringserver, records: Sequence[Record]) -> None:
    """Write records as a datalogger does."""
    with ring.client() as datalogger:
        for one in records:
            stream_id = f"{source_id(channel_of(one))}/MSEED"
            datalogger.write(stream_id, one.start_ns // 1000, one.end_ns // 1000, one.raw, ack=True)


def channel_of(record: Record) -> Channel:
    return Channel(record.network, record.station, record.location, record.channel)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("protocol", [3, 4, "auto"])
def test_a_ringserver_that_is_killed_and_started_again_loses_nothing(
    tmp_path: Path, records: tuple[Record, ...], protocol: object, encrypted: bool
) -> None:
    pem, key = certificate(tmp_path)
    rules = Rules(packet_size=512, certificate=(pem, key) if encrypted else None)
    size = -(-len(records) // PARTS)
    parts = [records[begin : begin + size] for begin in range(0, len(records), size)]
    with Ringserver(tmp_path / "ring", rules) as ring:
        begin(ring, records[0])
        config = SeedLinkConfig.model_validate(
            {
                "server": ring.server,
                "protocol": protocol,
                "tls": {"ca_file": str(pem)} if encrypted else None,
                "streams": ["BW.*.*.*"],
                "begin": "2009-08-24T00:00:00Z",
                "reconnect_min_s": 0.05,
                "reconnect_max_s": 0.2,
            }
        )
        feed(ring, parts[0])
        came: list[Segment] = []
        fed = list(parts[0])
        positions: StationPositions | None = None
        # One run and then a later one, and the server is killed within each and between them.
        for own in (parts[1:3], parts[3:]):
            source = SeedLinkSource(config, resume=positions)
            with Run(source) as run:
                for part in own:
                    wait_until(lambda: keys_of(came + run.segments) == expected(fed), "what there is")
                    ring.kill()
                    ring.start()
                    begin(ring, part[0])
                    feed(ring, part)
                    fed.extend(part)
                wait_until(lambda: keys_of(came + run.segments) == expected(fed), "what came after a kill")
                came.extend(run.segments)
            positions = source.newest_positions()
            ring.kill()
            ring.start()
            begin(ring, records[-1])
    assert len(set(contents(came))) == len(records)


def keys_of(segments: list[Segment]) -> set[tuple[str, int]]:
    return set(contents(segments))


def expected(records: Sequence[Record]) -> set[tuple[str, int]]:
    """What :func:`contents` says of them."""
    return {(str(channel_of(one)), one.start_ns) for one in records}
