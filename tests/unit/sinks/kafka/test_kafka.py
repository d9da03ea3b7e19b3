"""The Kafka sink against a broker of others: everything at least once, in order for each station, whatever the broker does meanwhile.

What no broker is needed for is tried on real sockets: nobody there, somebody who speaks something else, TLS where there is none.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import certificate
from tests.contract.test_sinks import AGENCY, EVENT, GONE, NOW_NS, SETTLED, STAGES, pick
from tests.kafkabroker import KafkaBroker
from tests.ports import free_port
from xiaod.config.loader import ConfigError, parse_config
from xiaod.config.sinks.kafka import KafkaConfig
from xiaod.domain.document import pick_from_document
from xiaod.domain.types import Channel
from xiaod.sinks import Refused
from xiaod.sinks.kafka.connection import MAX_MESSAGE_BYTES
from xiaod.sinks.kafka.sink import KafkaSink

HUSH = "hush-hush"


def made(server: str, **keys: Any) -> KafkaSink:
    content = {"kind": "kafka", "brokers": [server], "timeout_s": 30.0, **keys}
    return KafkaSink(KafkaConfig.model_validate(content), AGENCY)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    with KafkaBroker(tmp_path / "kafka") as running:
        yield running


def test_what_is_in_the_topic(broker: KafkaBroker) -> None:
    sink = made(broker.server, topic=broker.topic)
    sink.deliver([], NOW_NS)
    # A tick opens nothing, and makes no topic.
    assert broker.records() == []
    other = Channel("GR", "FUR", "", "HHZ")
    sink.deliver([pick(1), pick(2, channel=other), pick(3)], NOW_NS)
    sink.deliver([], NOW_NS)
    sink.deliver([pick(4, channel=Channel("B*", ">.X", "", "EHZ"))], NOW_NS)
    sink.close()
    sink.close()
    records = broker.records()
    assert sorted((record.key, record.headers) for record in records) == sorted(
        (key, (("id", pick(number).id.encode()),))
        for number, key in [(1, b"BW.RJOB"), (2, b"GR.FUR"), (3, b"BW.RJOB"), (4, b"B_._.X")]
    )
    ours = [document for document in broker.documents() if document["station"] == "RJOB"]
    assert [pick_from_document(document) for document in ours] == [pick(1), pick(3)]
    # All of a station are in one partition.
    assert len({record.partition for record in records if record.key == b"BW.RJOB"}) == 1


def test_stages_and_events_have_topics_of_their_own_where_that_is_wanted(broker: KafkaBroker) -> None:
    name = broker.topic
    sink = made(broker.server, of="all", topic=f"{name}.{{stage}}", event_topic=f"{name}.events")
    sink.deliver([*STAGES, EVENT, SETTLED, GONE], NOW_NS)
    sink.close()
    for stage in ("early", "final", "withdrawn"):
        assert broker.ids(f"{name}.{stage}") == [one.id for one in STAGES if one.stage == stage]
    events = broker.records(f"{name}.events")
    assert [dict(record.headers)["id"].decode() for record in events] == [EVENT.id, SETTLED.id, GONE.id]
    # What is said of one event is in one partition, in order.
    assert {record.key for record in events} == {b"e-early"}


def test_a_connection_that_was_lost_in_a_quiet_time_costs_nothing(broker: KafkaBroker) -> None:
    sink = made(broker.server, topic=broker.topic)
    sink.deliver([pick(0)], NOW_NS)
    broker.stop()
    sink.deliver([], NOW_NS)
    broker.start()
    sink.deliver([], NOW_NS)
    sink.deliver([pick(1)], NOW_NS)
    sink.close()
    assert broker.ids() == [pick(0).id, pick(1).id]


def test_of_several_brokers_one_is_enough(broker: KafkaBroker) -> None:
    sink = made(broker.server, topic=broker.topic, brokers=[f"127.0.0.1:{free_port()}", broker.server])
    for number in range(5):
        sink.deliver([pick(number)], NOW_NS)
        sink.close()
    assert broker.ids() == [pick(number).id for number in range(5)]


def test_one_that_is_too_large_is_refused_and_the_others_are_there_once(broker: KafkaBroker) -> None:
    large = pick(2, model="x" * MAX_MESSAGE_BYTES)
    sink = made(broker.server, topic=broker.topic)
    with pytest.raises(Refused, match=f"larger than {MAX_MESSAGE_BYTES} bytes") as told:
        sink.deliver([pick(1), large, pick(3)], NOW_NS)
    assert told.value.picks == {large.id}
    # As the sink_runner does it: those before, then those behind.
    sink.deliver([pick(1)], NOW_NS)
    sink.deliver([pick(3)], NOW_NS)
    sink.close()
    assert broker.ids() == [pick(1).id, pick(3).id]


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does something with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    threading.Thread(target=use, args=(sock,), daemon=True).start()

        def use(sock: socket.socket) -> None:
            with sock, contextlib.suppress(OSError):
                serve(sock)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(60)


def complaint(server: str, **keys: Any) -> str:
    """Why a pick cannot be delivered there."""
    with closing(made(server, **keys)) as sink, pytest.raises(OSError, match=server) as told:
        sink.deliver([pick(1)], NOW_NS)
    return str(told.value)


def test_nobody_there() -> None:
    server = f"127.0.0.1:{free_port()}"
    assert f"{server}: cannot connect: Connect call failed" in complaint(server)
    unknown = complaint("no-such-host.invalid:9092")
    assert "cannot connect" in unknown
    assert "check brokers and tls" in unknown


def test_somebody_who_speaks_something_else() -> None:
    def http(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def nothing(sock: socket.socket) -> None:
        sock.recv(65536)

    def silent(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass

    with listening(http) as server:
        assert "is this a Kafka broker?" in complaint(server)
    with listening(nothing) as server:
        assert "does this port expect TLS, or a user name?" in complaint(server)
    with listening(silent) as server:
        assert "no answer within 1 s" in complaint(server, timeout_s=1.0)


def test_an_answer_without_end_is_given_up() -> None:
    sent = 0

    def flood(sock: socket.socket) -> None:
        nonlocal sent
        sock.recv(65536)
        sock.sendall(b"\x7f\xff\xff\xff")
        while True:
            sent += sock.send(b"x" * 65536)

    with listening(flood) as server:
        assert "an answer of 2147483647 bytes: is this a Kafka broker?" in complaint(server)
    # What fits into buffers on the way.
    assert sent < 30e6


def test_tls_that_cannot_be_verified_or_is_not_there(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)

    def encrypted(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as inner:
            inner.recv(65536)

    def plain(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"\x00\x00\x00\x05hello")

    with listening(encrypted) as server:
        assert "name its authority in tls.ca_file" in complaint(server, tls={})
        # It is trusted now, but says nothing.
        assert "closed" in complaint(server, tls={"ca_file": str(cert)})
    with listening(plain) as server:
        assert "does this port speak TLS?" in complaint(server, tls={})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (f"brokers: ['me:{HUSH}@there']", "must be HOST or HOST:PORT"),
        ("brokers: ['kafka://there']", "must be HOST or HOST:PORT"),
        ("brokers: ['there:99999']", "must be HOST or HOST:PORT"),
        ("brokers: []", "must have at least one entry"),
        (f"username: me\n    password: [{HUSH}]", "must be"),
        ("mechanism: GSSAPI", "SCRAM-SHA-512"),
        ("topic: 'a/b'", "must be 1 to 249 letters"),
        ("topic: '..'", "must be 1 to 249 letters"),
        ("topic: 'a.{net}'", "{net} is not known; allowed are {network}"),
        ("event_topic: 'a.{station}'", "{station} is not known; allowed are {stage}, {shard}"),
    ],
)
def test_complaints_about_the_file(keys: str, said: str) -> None:
    text = f"sources:\n  - server: there\nsinks:\n  - kind: kafka\n    {keys}\n"
    with pytest.raises(ConfigError) as told:
        parse_config(text, "f")
    assert said in str(told.value)
    assert HUSH not in str(told.value)


def test_addresses() -> None:
    brokers = ["a", "b:9093", "[::1]", "[::1]:9094"]
    config = KafkaConfig.model_validate({"kind": "kafka", "brokers": brokers})
    assert config.brokers == ("a:9092", "b:9093", "[::1]:9092", "[::1]:9094")
