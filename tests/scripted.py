"""A SeedLink server with scripted answers, over real sockets."""

import contextlib
import socket
import threading
from collections.abc import Callable


class Scripted:
    """Answers each command from a table; ``then`` takes over the socket at END, and ``heard`` is called before each answer."""

    def __init__(
        self,
        then: Callable[[socket.socket], None],
        answers: dict[bytes, bytes] | None = None,
        piecewise: bool = False,
        port: int = 0,
        heard: Callable[["Scripted"], None] = lambda server: None,
    ) -> None:
        self.commands: list[bytes] = []
        self._heard = heard
        self.connections = 0
        self.held = b""
        """Packets that ENDFETCH sends."""
        self._then = then
        # By whole command or by its first word; a test may replace entries while the server runs.
        self.answers = {
            b"HELLO": b"SeedLink v3.1 (scripted) :: SLPROTO:3.1\r\ntest\r\n",
            b"INFO": b"ERROR\r\n",
            **(answers or {}),
        }
        self._piecewise = piecewise
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []

    def __enter__(self) -> "Scripted":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in [self._socket, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                self._open.append(sock)
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            received = b""
            while piece := sock.recv(4096):
                received += piece
                while b"\r" in received:
                    command, _, received = received.partition(b"\r")
                    if not command.strip():
                        continue
                    self.commands.append(command.strip())
                    self._heard(self)
                    word = command.split()[0]
                    if word == b"END":
                        self._then(sock)
                        continue
                    if word == b"ENDFETCH":
                        sock.sendall(self.held + b"END")
                        sock.close()
                        return
                    # The answer to a whole command comes before that to its first word.
                    whole = command.strip() in self.answers
                    answer = self.answers.get(command.strip() if whole else word, b"OK\r\n")
                    for part in (
                        [answer[index : index + 1] for index in range(len(answer))]
                        if self._piecewise
                        else [answer]
                    ):
                        sock.sendall(part)
