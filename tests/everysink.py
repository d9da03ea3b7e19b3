"""A sink of every kind with what it delivers to, all real, for tests that say "every sink".

A kind that writes files needs nothing here: its example configuration says where. One that speaks to another program needs a
:class:`Receiver` in :data:`RECEIVERS`.
"""

import csv
import io
import json
import os
import signal
import subprocess
import xml.etree.ElementTree as ElementTree
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Self

from tests.datalinkserver import DataLinkServer
from tests.endpoint import Answer, Endpoint
from tests.kafkabroker import KafkaBroker, broker_is_there
from tests.mosquitto import LIMIT_S, Mosquitto
from tests.natsserver import NatsServer
from xiaod.config import Config
from xiaod.config.sinks import SINKS
from xiaod.config.sinks.kind import SinkModel
from xiaod.config.sinks.notify import TRIAL_TITLE
from xiaod.domain.types import Stages
from xiaod.pipeline.factory import open_sinks
from xiaod.sinks import Sink

TOPIC = "xiaod/+/+/+/+"


class Receiver(ABC):
    """What the sink of some kind delivers to; where a program is missing, the test is skipped."""

    keys: dict[str, Any]
    """Keys of the sink that delivers here, besides its kind."""

    def __init__(self) -> None:
        self.around = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.around.close()

    @abstractmethod
    def arrived(self) -> list[str]:
        """Identifiers of the picks here, as a reader finds them; standard output has a line for each instead."""

    @abstractmethod
    def hindered(self) -> AbstractContextManager[None]:
        """While it is entered, nothing can be delivered."""


class Suspended(Receiver):
    """A program that a test can stop in the midst of everything."""

    @abstractmethod
    def suspended(self) -> AbstractContextManager[None]:
        """While it is entered, it does nothing, and its connections stay."""


class Files(Receiver):
    """A file, or files in a folder, below a folder that the sink makes."""

    def __init__(self, model: type[SinkModel], folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._path = folder / Path(model.EXAMPLE[model.DESTINATION]).name
        self.keys = {**model.EXAMPLE, model.DESTINATION: str(self._path)}

    def arrived(self) -> list[str]:
        files = sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]
        texts = [file.read_text(encoding="utf-8") for file in files if file.exists()]
        return [found for text in texts for found in ids_in(text)]

    @contextmanager
    def hindered(self) -> Iterator[None]:
        self._folder.write_text("a file where a folder should be")
        yield
        assert self._folder.read_text() == "a file where a folder should be"
        self._folder.unlink()


class StandardOutput(Receiver):
    """That of this process."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.keys = {}
        self._shown = io.StringIO()

    def __enter__(self) -> Self:
        self.around.enter_context(redirect_stdout(self._shown))
        return self

    def arrived(self) -> list[str]:
        return self._shown.getvalue().splitlines()

    @contextmanager
    def hindered(self) -> Iterator[None]:
        reader, writer = os.pipe()
        os.close(reader)
        with (
            io.TextIOWrapper(os.fdopen(writer, "wb", buffering=0), write_through=True) as gone,
            redirect_stdout(gone),
        ):
            yield


class Broker(Suspended):
    """Mosquitto."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._broker = Mosquitto(folder / "broker")
        self.keys = {"server": self._broker.server, "timeout_s": LIMIT_S}
        self._seen: list[str] = []

    def __enter__(self) -> Self:
        self.around.enter_context(self._broker)
        self._broker.watch(TOPIC)
        return self

    def arrived(self) -> list[str]:
        self._seen += [json.loads(text)["id"] for text in self._broker.drain(TOPIC)]
        return self._seen

    @contextmanager
    def hindered(self) -> Iterator[None]:
        self._broker.stop()
        yield
        self._broker.start()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        with suspended(self._broker.process):
            yield


class Service(Receiver):
    """An HTTP endpoint."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._endpoint = Endpoint([Answer(200)])

    def __enter__(self) -> Self:
        self.around.enter_context(self._endpoint)
        self.keys = {"url": self._endpoint.url, "timeout_s": LIMIT_S}
        return self

    def arrived(self) -> list[str]:
        return self._endpoint.taken

    @contextmanager
    def hindered(self) -> Iterator[None]:
        self._endpoint.answers = [Answer(503)]
        yield
        self._endpoint.answers = [Answer(200)]


class Bus(Suspended):
    """``nats-server``."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._server = NatsServer(folder / "bus", "-js")
        self.keys = {"servers": [self._server.server], "stream": {"create": True}, "timeout_s": LIMIT_S}

    def __enter__(self) -> Self:
        self.around.enter_context(self._server)
        return self

    def arrived(self) -> list[str]:
        return self._server.ids()

    @contextmanager
    def hindered(self) -> Iterator[None]:
        self._server.kill()
        yield
        self._server.start()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        with suspended(self._server.process):
            yield


class Cluster(Suspended):
    """A broker that speaks Kafka's protocol."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._broker = KafkaBroker(folder / "kafka")
        self.keys = {
            "brokers": [self._broker.server],
            "topic": self._broker.topic,
            "event_topic": self._broker.topic,
            "timeout_s": LIMIT_S,
        }

    def __enter__(self) -> Self:
        self.around.enter_context(self._broker)
        return self

    def arrived(self) -> list[str]:
        return self._broker.ids()

    @contextmanager
    def hindered(self) -> Iterator[None]:
        self._broker.stop()
        yield
        self._broker.start()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        with suspended(self._broker.process):
            yield


class Ring(Receiver):
    """A DataLink server."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._ring = DataLinkServer()
        self.keys = {"server": self._ring.server, "timeout_s": LIMIT_S}

    def __enter__(self) -> Self:
        self.around.enter_context(self._ring)
        return self

    def arrived(self) -> list[str]:
        return self._ring.ids()

    @contextmanager
    def hindered(self) -> Iterator[None]:
        self._ring.kill()
        yield
        self._ring.start()


class Phone(Service):
    """An HTTP endpoint that Apprise posts JSON to; a title is the identifier of what the message is about, after a word in a trial."""

    def __enter__(self) -> Self:
        super().__enter__()
        texts = {key: {"title": "{id}"} for key in ("announced", "settled", "withdrawn", "pick")}
        url = self.keys["url"].replace("http://", "json://")
        self.keys.update({"url": f"{url}/hush", "of": "picks", "texts": texts, "max_per_hour": 1000})
        return self

    def arrived(self) -> list[str]:
        return [title.removeprefix(TRIAL_TITLE) for title in super().arrived()]


RECEIVERS: dict[str, Callable[[Path], Receiver]] = {
    "console": StandardOutput,
    "mqtt": Broker,
    "webhook": Service,
    "nats": Bus,
    "kafka": Cluster,
    "datalink": Ring,
    "notify": Phone,
}
"""Kind of sink -> what it delivers to, where that is no file."""
NETWORK = [model for model in SINKS if model.kind_name() in RECEIVERS and model.DESTINATION]
"""Kinds that speak to another program."""
SUSPENDED = ("mqtt", "nats", "kafka")
"""Those whose program a test can stop in the midst."""
SINKS_HERE = [model for model in SINKS if model.kind_name() != "kafka" or broker_is_there()]
"""Kinds whose receivers tests can have; Kafka only where there is a broker."""


def receiver_of(model: type[SinkModel], folder: Path) -> Receiver:
    """What the sink of some kind delivers to."""
    kind = model.kind_name()
    return RECEIVERS[kind](folder) if kind in RECEIVERS else Files(model, folder)


@contextmanager
def delivering(model: type[SinkModel], folder: Path, **keys: object) -> Iterator[tuple[Sink, Receiver]]:
    """The sink of some kind with further keys, as the daemon makes it, and what it delivers to; below ``folder``."""
    with receiver_of(model, folder / "new") as receiver, ExitStack() as stack:
        config = Config.model_validate(
            {
                "sources": [{"server": "localhost"}],
                "sinks": [{"kind": model.kind_name(), **receiver.keys, **keys}],
                "events": {"enabled": True},
                "rsam": {"enabled": True},
            }
        )
        [sink] = open_sinks(config)
        stack.callback(sink.close)
        yield sink, receiver


class EverySink:
    """What all kinds deliver to, at once; standard output is that of the daemon."""

    def __init__(self, folder: Path) -> None:
        self._receivers = {
            model.kind_name(): receiver_of(model, folder) for model in SINKS_HERE if model.DESTINATION
        }

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for receiver in self._receivers.values():
                stack.enter_context(receiver)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def configuration(self, stage: Stages = "final") -> list[dict[str, Any]]:
        """One sink of each kind, named as its kind; all take the same picks."""
        keys = {kind: receiver.keys for kind, receiver in self._receivers.items()}
        kinds = [model.kind_name() for model in SINKS_HERE]
        return [{"kind": kind, "name": kind, "stage": stage, **keys.get(kind, {})} for kind in kinds]

    def arrived(self) -> dict[str, list[str]]:
        """Identifiers of the picks at each receiver."""
        return {kind: sorted(receiver.arrived()) for kind, receiver in self._receivers.items()}


@contextmanager
def suspended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Stop a process in the midst of everything; it goes on afterwards."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def ids_in(text: str) -> list[str]:
    """Identifiers of the picks in a file, by the form of its text.

    >>> ids_in('<a xmlns="b"><pick publicID="smi:local/xiaod/pick/1"><pickID>2</pickID></pick></a>'), ids_in("id,p\\n3,P\\n")
    (['1'], ['3'])
    """
    if text.startswith("<"):
        root = ElementTree.fromstring(text)  # noqa: S314  our own
        picks = [element for element in root.iter() if element.tag.rpartition("}")[2] == "pick"]
        return [pick.attrib["publicID"].rpartition("/")[2] for pick in picks]
    if text.startswith("{"):
        return [json.loads(line)["id"] for line in text.splitlines()]
    return [row["id"] for row in csv.DictReader(io.StringIO(text))]
