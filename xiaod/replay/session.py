r"""The negotiation: from commands to what a client requests. No sockets here.

Source: SeedLink v3.1 as implemented by ringserver and libslink. STATION opens a station's request, SELECT
refines it, DATA, FETCH or TIME closes it; END starts the transfer. Without any STATION, DATA, FETCH or TIME
start it at once for all stations and have no reply. After BATCH nothing but HELLO, CAT and INFO is answered.
A command that cannot be carried out is answered with ERROR, with a reason after CAPABILITIES EXTREPLY.

After SLPROTO 4.0 the commands are those of SeedLink 4 (specification of the FDSN): STATION has one word, SELECT has patterns of stream
IDs, numbers are decimal, errors have a code and a reason. Where the two differ, the specification counts, except that a time after the
number of DATA is that of the client's last packet, as ringserver 4.5 takes it.

>>> session = Session(hello=b"SeedLink v3.1\r\nhere\r\n")
>>> [session.handle(line).reply for line in (b"STATION RJ* BW", b"SELECT ??Z", b"DATA", b"FROB")]
[b'OK\r\n', b'OK\r\n', b'OK\r\n', b'ERROR\r\n']
>>> session.handle(b"END").action, session.request().match("BW", "RJOB", "", "EHZ", "D")
(<Action.STREAM: 2>, 0)
>>> session = Session(hello=b"SeedLink v4.0\r\nhere\r\n")
>>> [session.handle(line).reply for line in (b"SLPROTO 4.0", b"STATION BW_*", b"SELECT *_E_H_Z", b"DATA ALL", b"TIME")]
[b'OK\r\n', b'OK\r\n', b'OK\r\n', b'OK\r\n', b"ERROR UNSUPPORTED unknown command 'TIME'\r\n"]
>>> session.handle(b"END").action, session.request().match("BW", "RJOB", "", "EHZ", "2D")
(<Action.STREAM: 2>, 0)
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum, auto
from fnmatch import fnmatchcase

from xiaod.replay.protocol import (
    Command,
    ProtocolError,
    parse_command,
    parse_decimal,
    parse_sequence,
    parse_time,
)
from xiaod.replay.selection import Selector, SelectorError, parse_code, parse_selector, selects
from xiaod.replay.selection4 import Pattern, parse_pattern, parse_station

MAX_STATIONS, MAX_SELECTORS = 10_000, 1_000
"""Bounds on what one client may ask for."""

FOR_USERS = frozenset({"STATION", "SELECT", "DATA", "FETCH", "TIME", "END", "ENDFETCH", "CAT"})
"""Commands that need a login, where there are any."""
OPEN_TO_ALL = frozenset({"ID", "CAPABILITIES", "FORMATS"})
"""What INFO tells without one."""

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
    """Reply to a command and what follows; ``level`` is the word after INFO, ``patterns`` are those after it."""

    reply: bytes = b""
    action: Action = Action.NOTHING
    level: str = ""
    patterns: tuple[str, ...] = ()


@dataclass
class StationRequest:
    """What a client wants of the stations that fit a pattern.

    Attributes:
        network, station: patterns with ``?`` and ``*``; in SeedLink 4 ``station`` is one of the whole station ID.
        selectors: none means all streams.
        sequence: number to begin at, if asked for; 24 bits in SeedLink 3.
        begin_ns: with ``sequence``, the start of the client's last packet; alone, the begin of a time window.
        oldest: whether to begin at the oldest packet, if there is no other begin.
        end_ns: end of the time window.
    """

    network: str = "*"
    station: str = "*"
    selectors: list[Selector | Pattern] = field(default_factory=list)
    sequence: int | None = None
    begin_ns: int | None = None
    end_ns: int | None = None
    oldest: bool = False

    @property
    def windowed(self) -> bool:
        """Whether packets outside a time window are to be left out."""
        return self.begin_ns is not None and (self.sequence is None or self.end_ns is not None)


@dataclass(frozen=True)
class Request:
    """Everything a client requests, by station, whether to end after the last packet (dial-up), and the version of SeedLink."""

    stations: tuple[StationRequest, ...]
    dialup: bool
    version: int = 3

    def match(self, network: str, station: str, location: str, channel: str, kind: str) -> int | None:
        """Index of the request that matches a stream, or ``None``.

        In SeedLink 3 a later request replaces an earlier one. In SeedLink 4 the first one that matches the station counts.
        """
        if self.version == 4:
            for index, item in enumerate(self.stations):
                if fnmatchcase(f"{network}_{station}", item.station):
                    return index if selects(item.selectors, location, channel, kind) else None
            return None
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
        logins: words after AUTH, each of which lets the client in; without any, it is.
    """

    def __init__(
        self,
        hello: bytes,
        is_refused: Callable[[str, str], bool] = lambda network, station: False,
        logins: Collection[tuple[str, ...]] = (),
    ) -> None:
        self._hello = hello
        self._logins = logins
        self._is_in = not logins
        self._is_refused = is_refused
        self._stations: list[StationRequest] = []
        self._all = StationRequest()
        self._open: StationRequest | None = None
        self._batch = False
        self._extended = False
        self._dialup = False
        self.version = 3
        """Of SeedLink, as the client has asked for it."""
        self.streaming = False

    def request(self) -> Request:
        """What has been requested so far."""
        return Request(tuple(self._stations) or (self._all,), self._dialup, self.version)

    def handle(self, line: bytes) -> Response:
        """Carry out one command; never raises on what a client sends."""
        command = parse_command(line)
        if command.verb == "BYE":
            return Response(action=Action.CLOSE)
        if command.verb == "INFO":
            level, *patterns = command.words or ("",)
            if not self._is_in and level.upper() not in OPEN_TO_ALL:
                level = ""
            return Response(action=Action.INFO, level=level.upper(), patterns=tuple(patterns))
        if self.streaming:  # a reply between packets would be read as a packet
            return Response()
        if not self._is_in and command.verb in FOR_USERS:
            return self._refused("UNAUTHORIZED", "log in first")
        try:
            return self._negotiate(command) if self.version == 3 else self._negotiate_4(command)
        except SelectorError as error:
            return self._refused("ARGUMENTS", str(error))
        except ProtocolError as error:
            return self._refused("ARGUMENTS", str(error))

    def _negotiate(self, command: Command) -> Response:
        match command.verb:
            case "HELLO":
                return Response(self._hello)
            case "SLPROTO":
                return self._switch(command)
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

    def _negotiate_4(self, command: Command) -> Response:
        match command.verb:
            case "HELLO":
                return Response(self._hello)
            case "SLPROTO":
                return self._switch(command)
            case "USERAGENT":
                return self._accepted()
            case "AUTH":
                return self._log_in(command)
            case "STATION":
                return self._station_4(command)
            case "SELECT":
                return self._select_4(command)
            case "DATA":
                return self._begin_4(command)
            case "END" | "ENDFETCH":
                self._dialup = command.verb == "ENDFETCH"
                return self._stream()
        return self._refused("UNSUPPORTED", f"unknown command {command.verb[:20]!a}")

    def _switch(self, command: Command) -> Response:
        """SLPROTO: the version of what follows."""
        versions = {"3.0": 3, "3.1": 3, "4.0": 4}
        version = versions.get("".join(command.words))
        if version is None or self._stations:
            return self._refused("UNSUPPORTED", "versions are 3.0, 3.1 and 4.0, before any station")
        self.version = version
        return self._accepted()

    def _log_in(self, command: Command) -> Response:
        if not self._logins:
            return self._refused("UNSUPPORTED", "everybody is let in")
        if command.words not in self._logins:
            return self._refused("AUTH", "unknown user, password or token")
        self._is_in = True
        return self._accepted()

    def _station_4(self, command: Command) -> Response:
        self._open = None
        if len(command.words) != 1:
            raise ProtocolError("STATION takes a station ID")
        if len(self._stations) >= MAX_STATIONS:
            return self._refused("LIMIT", f"no more than {MAX_STATIONS} stations")
        station = parse_station(command.words[0])
        if self._is_refused(*station.partition("_")[::2]):
            return self._refused("UNAUTHORIZED", "not for you")
        self._open = StationRequest(station=station)
        self._stations.append(self._open)
        return self._accepted()

    def _select_4(self, command: Command) -> Response:
        if self._open is None:
            return self._refused("UNEXPECTED", "SELECT follows STATION")
        if not command.words:
            raise ProtocolError("SELECT takes patterns")
        if len(self._open.selectors) + len(command.words) > MAX_SELECTORS:
            return self._refused("LIMIT", f"no more than {MAX_SELECTORS} selectors")
        self._open.selectors.extend([parse_pattern(word) for word in command.words])
        return self._accepted()

    def _begin_4(self, command: Command) -> Response:
        if self._open is None:
            return self._refused("UNEXPECTED", "DATA follows STATION")
        if len(command.words) > 3:
            raise ProtocolError("DATA takes up to 3 arguments")
        number, begin, end = (*command.words, None, None, None)[:3]
        everything = number == "ALL"
        sequence = None if number is None or everything else parse_decimal(number)
        begin_ns = None if begin is None else parse_time(begin)
        end_ns = None if end is None else parse_time(end)
        request = self._open
        request.sequence, request.begin_ns, request.end_ns, request.oldest = (
            sequence,
            begin_ns,
            end_ns,
            everything,
        )
        return self._accepted()

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
        if self.version == 4:
            return Response(f"ERROR {code} {reason}\r\n".encode("ascii", "backslashreplace"))
        if self._extended:
            return Response(f"ERROR\r{code} {reason}\r\n".encode("ascii", "backslashreplace"))
        return Response(b"ERROR\r\n")
