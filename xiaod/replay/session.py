r"""The negotiation: from commands to what a client requests. No sockets here.

Source: SeedLink v3.1 as implemented by ringserver and libslink. STATION opens a station's request, SELECT
refines it, DATA, FETCH or TIME closes it; END starts the transfer. Without any STATION, DATA, FETCH or TIME
start it at once for all stations and have no reply. After BATCH nothing but HELLO, CAT and INFO is answered.
A command that cannot be carried out is answered with ERROR, with a reason after CAPABILITIES EXTREPLY.

>>> session = Session(hello=b"SeedLink v3.1\r\nhere\r\n")
>>> [session.handle(line).reply for line in (b"STATION RJ* BW", b"SELECT ??Z", b"DATA", b"FROB")]
[b'OK\r\n', b'OK\r\n', b'OK\r\n', b'ERROR\r\n']
>>> session.handle(b"END").action, session.request().match("BW", "RJOB", "", "EHZ", "D")
(<Action.STREAM: 2>, 0)
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from fnmatch import fnmatchcase

from xiaod.replay.protocol import Command, ProtocolError, parse_command, parse_sequence, parse_time
from xiaod.replay.selection import Selector, SelectorError, parse_code, parse_selector, selects

MAX_STATIONS, MAX_SELECTORS = 10_000, 1_000
"""Bounds on what one client may ask for."""

_OK = b"OK\r\n"


class Action(Enum):
    """What the connection has to do after a command, beside sending the reply."""

    NOTHING = auto()
    STREAM = auto()
    INFO = auto()
    CAT = auto()
    CLOSE = auto()


@dataclass(frozen=True)
class Response:
    """Reply to a command and what follows; ``level`` is the word after INFO."""

    reply: bytes = b""
    action: Action = Action.NOTHING
    level: str = ""


@dataclass
class StationRequest:
    """What a client wants of the stations that fit a pattern.

    Attributes:
        network, station: patterns with ``?`` and ``*``.
        selectors: none means all streams.
        sequence: 24-bit number to begin at, if asked for.
        begin_ns: with ``sequence``, the start of the client's last packet; alone, the begin of a time window.
        end_ns: end of the time window.
    """

    network: str = "*"
    station: str = "*"
    selectors: list[Selector] = field(default_factory=list)
    sequence: int | None = None
    begin_ns: int | None = None
    end_ns: int | None = None

    @property
    def windowed(self) -> bool:
        """Whether packets outside a time window are to be left out."""
        return self.sequence is None and self.begin_ns is not None


@dataclass(frozen=True)
class Request:
    """Everything a client requests, by station, and whether to end after the last packet (dial-up)."""

    stations: tuple[StationRequest, ...]
    dialup: bool

    def match(self, network: str, station: str, location: str, channel: str, kind: str) -> int | None:
        """Index of the last request that matches a stream, or ``None``: a later request replaces an earlier one."""
        for index in reversed(range(len(self.stations))):
            item = self.stations[index]
            fits = fnmatchcase(network, item.network) and fnmatchcase(station, item.station)
            if fits and selects(item.selectors, location, channel, kind):
                return index
        return None


class Session:
    """State of one negotiation.

    Args:
        hello: the two lines that answer HELLO.
        is_refused: whether a station (codes as they are asked for) is refused.
    """

    def __init__(
        self, hello: bytes, is_refused: Callable[[str, str], bool] = lambda network, station: False
    ) -> None:
        self._hello = hello
        self._is_refused = is_refused
        self._stations: list[StationRequest] = []
        self._all = StationRequest()
        self._open: StationRequest | None = None
        self._batch = False
        self._extended = False
        self._dialup = False
        self.streaming = False

    def request(self) -> Request:
        """What has been requested so far."""
        return Request(tuple(self._stations) or (self._all,), self._dialup)

    def handle(self, line: bytes) -> Response:
        """Carry out one command; never raises on what a client sends."""
        command = parse_command(line)
        if command.verb == "BYE":
            return Response(action=Action.CLOSE)
        if command.verb == "INFO":
            return Response(action=Action.INFO, level=command.words[0].upper() if command.words else "")
        if self.streaming:  # a reply between packets would be read as a packet
            return Response()
        try:
            return self._negotiate(command)
        except SelectorError as error:
            return self._refused("ARGUMENTS", str(error))
        except ProtocolError as error:
            return self._refused("ARGUMENTS", str(error))

    def _negotiate(self, command: Command) -> Response:
        match command.verb:
            case "HELLO":
                return Response(self._hello)
            case "CAT":
                return Response(action=Action.CAT)
            case "BATCH":
                self._batch = True
                return Response(_OK)
            case "CAPABILITIES":
                self._extended = self._extended or "EXTREPLY" in (word.upper() for word in command.words)
                return self._accepted()
            case "STATION":
                return self._station(command)
            case "SELECT":
                return self._select(command)
            case "DATA" | "FETCH" | "TIME":
                return self._begin(command)
            case "END" | "ENDFETCH":
                self._dialup = self._dialup or command.verb == "ENDFETCH"
                return self._stream()
        return self._refused("UNSUPPORTED", f"unknown command {command.verb[:20]!a}")

    def _station(self, command: Command) -> Response:
        if not 1 <= len(command.words) <= 2:
            raise ProtocolError("STATION takes a station code and a network code")
        if len(self._stations) >= MAX_STATIONS:
            return self._refused("LIMIT", f"no more than {MAX_STATIONS} stations")
        station, network = (*map(parse_code, command.words), "*")[:2]
        if self._is_refused(network, station):
            return self._refused("UNAUTHORIZED", "not for you")
        known = (item for item in self._stations if (item.network, item.station) == (network, station))
        self._open = next(known, None)
        if self._open is None:
            self._open = StationRequest(network, station)
            self._stations.append(self._open)
        return self._accepted()

    def _select(self, command: Command) -> Response:
        request = self._open or self._all
        if not command.words:
            request.selectors.clear()
            return self._accepted()
        if len(request.selectors) + len(command.words) > MAX_SELECTORS:
            return self._refused("LIMIT", f"no more than {MAX_SELECTORS} selectors")
        request.selectors.extend([parse_selector(word) for word in command.words])
        return self._accepted()

    def _begin(self, command: Command) -> Response:
        words = command.words
        if len(words) > 2 or (command.verb == "TIME" and not words):
            raise ProtocolError(
                f"{command.verb} takes {'1 to 2' if command.verb == 'TIME' else 'up to 2'} arguments"
            )
        # Everything is parsed before anything changes: a refused command has no effect.
        sequence: int | None = None
        begin_ns: int | None = None
        end_ns: int | None = None
        if command.verb == "TIME":
            begin_ns = parse_time(words[0])
            end_ns = parse_time(words[1]) if len(words) > 1 else None
        else:
            sequence = parse_sequence(words[0]) if words else None
            begin_ns = parse_time(words[1]) if len(words) > 1 else None
        self._dialup = self._dialup or command.verb == "FETCH"
        request = self._open or self._all
        request.sequence, request.begin_ns, request.end_ns = sequence, begin_ns, end_ns
        if self._open is None:
            return self._stream()
        self._open = None
        return self._accepted()

    def _stream(self) -> Response:
        self.streaming = True
        return Response(action=Action.STREAM)

    def _accepted(self) -> Response:
        return Response(b"" if self._batch else _OK)

    def _refused(self, code: str, reason: str) -> Response:
        if self._batch:
            return Response()
        if self._extended:
            return Response(f"ERROR\r{code} {reason}\r\n".encode("ascii", "backslashreplace"))
        return Response(b"ERROR\r\n")
