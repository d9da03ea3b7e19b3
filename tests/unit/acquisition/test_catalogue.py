"""``xiaod stations`` with servers that tell less than others."""

import io
import xml.etree.ElementTree as ElementTree

from tests.scripted import Scripted
from xiaod.config import Config, SeedLinkConfig
from xiaod.replay.info import info_packets
from xiaod.tools.list_streams import print_offers


def catalogue(streams: tuple[str, ...], answers: dict[bytes, bytes]) -> tuple[int, list[str]]:
    out = io.StringIO()
    with Scripted(lambda sock: None, answers) as server:
        source = SeedLinkConfig(server=f"127.0.0.1:{server.port}", name="here", streams=streams)
        status = print_offers(Config(sources=(source,)), 5.0, out)
    return status, out.getvalue().splitlines()


def test_stations_without_streams_and_what_cannot_be_read_are_shown() -> None:
    root = ElementTree.Element("seedlink", software="shy", organization="here")
    for name in ("RJOB", "ROTZ", "DAMAGED"):
        ElementTree.SubElement(root, "station", network="BW", name=name)
    listed = info_packets(root, failed=False).replace(b'"DAMAGED"', b'"DAM"<GED')
    status, lines = catalogue(
        ("BW.RJ*.*.EH?", "XX.A.*.*"), {b"INFO STREAMS": b"ERROR\r\n", b"INFO STATIONS": listed}
    )
    assert status == 0
    assert lines[:4] == [
        "here: shy, here", "  + BW.RJOB: listed without streams", "    BW.ROTZ: listed without streams",
        "  ? XX.A: asked for by the configuration, not listed by the server",
    ]  # fmt: skip
    assert lines[4].startswith("  ! stations of the list that cannot be read: 1 (")


def test_a_server_that_denies_everything_is_said_to() -> None:
    status, [line] = catalogue(("BW.RJ*.*.EH?",), {})
    assert status == 1
    assert line.endswith(
        "INFO STREAMS is denied: the server says 'ERROR', INFO STATIONS is denied: the server says 'ERROR'"
    )
