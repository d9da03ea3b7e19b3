"""Whatever an endpoint or a broker sends, a sink raises nothing but ``OSError``, which the daemon outlives."""

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.contract.test_sinks import AGENCY, NOW_NS, pick
from tests.datalinkserver import frame
from xiaod.config.sinks.datalink import DataLinkConfig
from xiaod.config.sinks.kafka import KafkaConfig
from xiaod.config.sinks.mqtt import MqttConfig
from xiaod.config.sinks.nats import NatsConfig, StreamConfig
from xiaod.config.sinks.webhook import WebhookConfig
from xiaod.sinks.datalink.sink import DataLinkSink
from xiaod.sinks.kafka.sink import KafkaSink
from xiaod.sinks.mqtt.reader import MqttReader
from xiaod.sinks.mqtt.sink import MqttSink
from xiaod.sinks.nats.sink import NatsSink
from xiaod.sinks.webhook import WebhookSink

INFO = b'INFO {"server_id":"x","version":"2.9.10","proto":1,"headers":true,"max_payload":1048576,"jetstream":true}\r\n'


class Parrot:
    """Sends the same bytes to everybody, hears a bit of what comes back, and hangs up."""

    def __init__(self) -> None:
        self.text = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(60)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                with sock, contextlib.suppress(OSError):
                    sock.sendall(self.text)
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(65536):
                        pass


@pytest.fixture(scope="module")
def parrot() -> Iterator[Parrot]:
    with closing(Parrot()) as running:
        yield running


HEADERS = st.lists(
    st.sampled_from(
        [b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked, x", b"Retry-After: 1e9",
         b"Location: //", b": x", b"\x00: \xff", b"Content-Encoding: gzip", b"Set-Cookie: a=\x01", b"Upgrade: websocket"]
    ) | st.binary(max_size=30)
)  # fmt: skip
ANSWERS = st.binary(max_size=200) | st.builds(
    lambda status, headers, body: b"HTTP/1.1 %d X\r\n%s\r\n\r\n%s" % (status, b"\r\n".join(headers), body),
    st.integers(0, 1000),
    HEADERS,
    st.binary(max_size=50),
)


@settings(max_examples=150)
@given(text=ANSWERS)
def test_any_answer_to_a_webhook(parrot: Parrot, text: bytes) -> None:
    parrot.text = text
    url = SecretStr(f"http://127.0.0.1:{parrot.port}/")
    sink = WebhookSink(WebhookConfig(kind="webhook", url=url, timeout_s=30.0), AGENCY)
    with contextlib.suppress(OSError):
        sink.deliver([pick(1)], NOW_NS)


WORDS = st.lists(
    st.sampled_from(
        [b"PONG\r\n", b"PING\r\n", b"+OK\r\n", b"-ERR 'Authorization Violation'\r\n", b"-ERR\r\n", INFO, b"INFO {\r\n", b"INFO []\r\n",
         b"MSG _INBOX.a 1 5\r\nhello\r\n", b"HMSG a 1 12 2\r\nNATS/1.0\r\n\r\n\r\n", b"MSG a 1 -5\r\n", b"MSG a b c d e\r\n"]
    ) | st.binary(max_size=40)
)  # fmt: skip


@settings(max_examples=100)
@given(begin=st.sampled_from([INFO, INFO + b"PONG\r\n", b""]), words=WORDS)
def test_anything_that_a_broker_says(parrot: Parrot, begin: bytes, words: list[bytes]) -> None:
    parrot.text = begin + b"".join(words)
    config = NatsConfig(
        kind="nats",
        servers=(f"127.0.0.1:{parrot.port}",),
        stream=StreamConfig(create=True),
        timeout_s=0.5,
    )
    with closing(NatsSink(config, AGENCY)) as sink, pytest.raises(OSError, match=r"127\.0\.0\.1"):
        sink.deliver([pick(1)], NOW_NS)


# Which versions a broker speaks, as Kafka says it (answer to ApiVersions, version 0): Produce to 9, Metadata to 8, InitProducerId to 1.
VERSIONS = struct.pack(">ihi9h", 1, 0, 3, 0, 0, 9, 3, 0, 8, 22, 0, 1)
FRAMES = st.lists(
    st.builds(lambda size, content: struct.pack(">i", size) + content, st.integers(-1, 60), st.binary(max_size=60))
    | st.builds(lambda content: struct.pack(">ii", len(content) + 4, 2) + content, st.binary(max_size=60))
)  # fmt: skip


@settings(max_examples=100)
@given(begin=st.sampled_from([b"", struct.pack(">i", len(VERSIONS)) + VERSIONS]), frames=FRAMES)
def test_anything_that_a_broker_of_kafka_says(parrot: Parrot, begin: bytes, frames: list[bytes]) -> None:
    parrot.text = begin + b"".join(frames)
    config = KafkaConfig(kind="kafka", brokers=(f"127.0.0.1:{parrot.port}",), timeout_s=0.5)
    with closing(KafkaSink(config, AGENCY)) as sink, pytest.raises(OSError, match=r"127\.0\.0\.1"):
        sink.deliver([pick(1)], NOW_NS)


CONNACK = b"\x20\x03\x00\x00\x00"
PACKETS = st.lists(
    st.sampled_from(
        [b"\x40\x02\x00\x01", b"\x40\x04\x00\x01\x10\x01", b"\x40\x00", b"\x90\x04\x00\x01\x00\x01", b"\x90\x00", b"\xd0\x00",
         b"\x32\x08\x00\x01\xff\x00\x01\x00{}", b"\x32\xff\xff\xff\x7f", b"\xe0\x03\x8e\x05\x01", b"\x20\x06\x00\x00\x03\x21\x00\x00"]
    ) | st.binary(max_size=20)
)  # fmt: skip


@settings(max_examples=100)
@given(begin=st.sampled_from([CONNACK, b""]), packets=PACKETS)
def test_anything_that_a_broker_of_mqtt_says(parrot: Parrot, begin: bytes, packets: list[bytes]) -> None:
    parrot.text = begin + b"".join(packets)
    config = MqttConfig(kind="mqtt", server=f"127.0.0.1:{parrot.port}", timeout_s=0.5)
    with closing(MqttSink(config, AGENCY)) as sink, pytest.raises(OSError, match=r"127\.0\.0\.1"):
        sink.deliver([pick(number) for number in range(60)], NOW_NS)
    with closing(MqttReader(config, {})) as reader, pytest.raises(OSError, match=r"127\.0\.0\.1"):
        # It may have brought messages before.
        deque((reader.read(10, 30.0) for _ in range(100)), maxlen=0)


CAPABLE = frame("ID DataLink x :: PACKETSIZE:4096 WRITE")
REPLIES = st.lists(
    st.sampled_from(
        [CAPABLE, b"DL", b"DL\xff", frame("OK 1 0"), frame("OK x -1"), frame("OK 1 4000000000"), frame("ERROR 0 5") + b"\xffhush",
         frame("PACKET a b c"), frame("ENDSTREAM"), frame("INFO X 3") + b"abc", frame(""), frame("ID DataLink :: PACKETSIZE:-1 WRITE"),
         frame("ID DataLink :: PACKETSIZE:\x00 WRITE")]
    ) | st.binary(max_size=40)
)  # fmt: skip


@settings(max_examples=150)
@given(begin=st.sampled_from([CAPABLE, b""]), replies=REPLIES)
def test_anything_that_a_ringserver_says(parrot: Parrot, begin: bytes, replies: list[bytes]) -> None:
    parrot.text = begin + b"".join(replies)
    config = DataLinkConfig(kind="datalink", server=f"127.0.0.1:{parrot.port}", timeout_s=30.0)
    with closing(DataLinkSink(config, AGENCY)) as sink:
        for _ in range(2):
            # So many acknowledgments never happen to be there.
            with pytest.raises(OSError, match=r"127\.0\.0\.1"):
                sink.deliver([pick(number) for number in range(60)], NOW_NS)


def test_attempts_leave_nothing_open(parrot: Parrot) -> None:
    parrot.text = INFO + b"PONG\r\n"
    server = f"127.0.0.1:{parrot.port}"
    stream = StreamConfig(create=True)
    sinks = (
        NatsSink(NatsConfig(kind="nats", servers=(server,), stream=stream, timeout_s=30.0), AGENCY),
        WebhookSink(
            WebhookConfig(kind="webhook", url=SecretStr(f"http://{server}/"), timeout_s=30.0), AGENCY
        ),
        DataLinkSink(DataLinkConfig(kind="datalink", server=server, timeout_s=30.0), AGENCY),
        KafkaSink(KafkaConfig(kind="kafka", brokers=(server,), timeout_s=30.0), AGENCY),
    )
    for sink in sinks:
        counts = []
        for number in range(60):
            with pytest.raises(OSError, match=server):
                sink.deliver([pick(number)], NOW_NS)
            counts.append((len(list(Path("/proc/self/fd").iterdir())), threading.active_count()))
        # The first ones open what stays: the event loop's own.
        assert max(counts[30:]) <= tuple(number + 3 for number in max(counts[:10]))
        sink.close()


def test_a_message_without_end_from_a_broker_is_given_up() -> None:
    sent = 0

    def flood(sock: socket.socket) -> None:
        nonlocal sent
        sock.sendall(INFO)
        sock.sendall(b"PONG\r\nMSG _INBOX.x 1 9999999999\r\n")
        with contextlib.suppress(OSError):
            while True:
                sent += sock.send(b"x" * 65536)

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            sock, _ = listening.accept()
            with sock:
                flood(sock)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        server = f"127.0.0.1:{listening.getsockname()[1]}"
        config = NatsConfig(kind="nats", servers=(server,), timeout_s=30.0)
        with closing(NatsSink(config, AGENCY)) as sink, pytest.raises(OSError, match=server):
            sink.deliver([pick(1)], NOW_NS)
        thread.join(60)
    # What fits into buffers on the way.
    assert sent < 30e6
