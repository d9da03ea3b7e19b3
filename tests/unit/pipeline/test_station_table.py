"""The station table: which stations send data, as sinks are told."""

import numpy as np

from xiaod.domain.types import Channel, Segment
from xiaod.pipeline.station_table import StationTable

MINUTE_NS = 60_000_000_000


def segment(channel: Channel) -> Segment:
    return Segment(channel, 0, 100.0, np.zeros(100, np.float32), "server")


def test_a_station_sends_while_one_of_its_instruments_does() -> None:
    table = StationTable(MINUTE_NS)
    geophone, accelerometer = Channel("AM", "R1", "00", "EHZ"), Channel("AM", "R1", "00", "ENZ")
    other = Channel("BW", "RJOB", "", "EHZ")
    table.expect("server", [geophone, accelerometer, other], now_ns=0)
    assert table.sending() == {("AM", "R1"): None, ("BW", "RJOB"): None}
    table.received(segment(geophone), now_ns=0, host_ns=0)
    table.review(MINUTE_NS)
    assert table.sending() == {("AM", "R1"): True, ("BW", "RJOB"): None}
    table.received(segment(accelerometer), now_ns=MINUTE_NS, host_ns=0)
    table.review(2 * MINUTE_NS)
    # The geophone is silent, the accelerometer is not; the other station has never sent anything.
    assert table.sending() == {("AM", "R1"): True, ("BW", "RJOB"): False}
    table.review(3 * MINUTE_NS)
    assert table.sending() == {("AM", "R1"): False, ("BW", "RJOB"): False}
    # A silent station that nobody subscribes any more has departed.
    table.expect("server", [other], now_ns=3 * MINUTE_NS)
    assert table.sending() == {("BW", "RJOB"): False}
