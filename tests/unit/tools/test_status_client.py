"""``xiaod status``: what is asked where, what is said when it fails, and what a person reads."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.endpoint import RawEndpoint
from xiaod.cli.commands import status
from xiaod.cli.main import main
from xiaod.config import Config
from xiaod.picking.diagnosis import STATES
from xiaod.process.exit_status import ExitCode
from xiaod.tools.status_client import HEADS, SORTS, StatusError, ask, fitted, report, urls_of

PHASE = {"threshold": 0.7, "highest": 0.1, "reason": "below_threshold", "text": "below threshold"}
STATION = {
    "id": "BW.RJOB..EH", "state": "live", "delay_s": 0.3, "gaps": 2, "picks": 1, "phases": {"P": PHASE, "S": {**PHASE, "text": "other"}},
    "last_pick": {"phase": "S", "time": "2026-11-25T19:57:05.685664Z"}, "early_picks": 3, "withdrawn_picks": 2,
    "pick_latency_s": {"early": 0.82, "final": 5.14},
}  # fmt: skip
ANSWER = {
    "time": "2026-11-25T20:00:00.000000Z", "started": "2026-11-25T19:00:00.000000Z", "version": "0.1.0", "model": "micro-1.1.0",
    "sources": {"demo": "streaming"}, "stations": [STATION],
}  # fmt: skip


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A real server that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def config(**sections: Any) -> Config:
    return Config.model_validate({"sources": [{"server": "localhost"}], **sections})


@pytest.mark.parametrize(
    ("sections", "urls"),
    [
        ({}, ["http://127.0.0.1:9808"]),
        ({"http": {"host": "0.0.0.0", "port": 80}}, ["http://127.0.0.1:80"]),  # noqa: S104  nothing listens
        ({"http": {"host": "::1"}}, ["http://[::1]:9808"]),
        ({"http": {"host": "picker.example"}}, ["http://picker.example:9808"]),
        ({"shard": {"count": 2}}, ["http://127.0.0.1:9808", "http://127.0.0.1:9809"]),
        ({"shard": {"count": 2, "index": 1}}, ["http://127.0.0.1:9808"]),
    ],
)
def test_the_daemon_is_asked_where_the_configuration_says(sections: dict[str, Any], urls: list[str]) -> None:
    assert urls_of(config(**sections)) == urls


@pytest.mark.parametrize(
    ("http", "said"),
    [({"enabled": False}, "http.enabled is false"), ({"port": 0}, "give it with --url")],
)
def test_a_configuration_that_does_not_say_where_is_refused(
    tmp_path: Path, http: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"sources": [{"server": "localhost"}], "http": http}), encoding="utf-8")
    assert main(["status", "--config", str(path)]) == ExitCode.CONFIGURATION
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"404: Not Found", "http.page is false there"),
        (403, b'{"error": "not you"}', "HTTP 403: not you"),
        (500, b"oops", "HTTP 500"),
        (200, b"<html>", "is not xiaod"),
        (200, b'{"hello": 1}', "its answer has no stations"),
        (200, b"[]", "its answer has no stations"),
    ],
)
def test_what_is_not_our_daemon_is_named(
    status: int, body: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(status, body) as url:
        with pytest.raises(StatusError, match=url):
            ask(url, 10.0)
        assert main(["status", "--url", url]) == ExitCode.FAILURE
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    "said", [b"SeedLink v3.1\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"]
)
def test_what_is_not_even_http_is_named(said: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    def then(sock: socket.socket) -> None:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)

    with RawEndpoint(then) as endpoint:
        assert main(["status", "--url", endpoint.url]) == ExitCode.FAILURE
        assert capsys.readouterr().err.startswith(endpoint.url)


def test_an_address_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--url", "file:///etc/passwd"]) == ExitCode.CONFIGURATION
    assert "must be such as http://127.0.0.1:9808" in capsys.readouterr().err


def test_a_table_for_a_person_and_json_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(200, json.dumps(ANSWER).encode()) as url:
        assert main(["status", "--url", url + "/"]) == ExitCode.OK
        lines = capsys.readouterr().out.splitlines()
        assert main(["status", "--url", url, "--format", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == ANSWER
    assert lines[0] == "xiaod 0.1.0, micro-1.1.0, up 60 min; sources: demo streaming"
    assert lines[1] == "1 of 1 stations live; picks: 1 final, 3 early, of which 2 withdrawn"
    cells = {head: lines[4][lines[3].index(head) :].split("  ")[0] for head in HEADS}
    assert (cells["PICKS"], cells["EARLY"], cells["WITHDRAWN"]) == ("1", "3", "2")
    assert cells["LAST PICK"] == "S 2026-11-25T19:57:05"
    assert cells["LATENCY"] == "0.8 s early, 5.1 s final"
    assert lines[4].split("  ")[-1] == "P: below threshold; S: other"
    assert lines[4].index("P: below") == lines[3].index("LAST DECISION")
    assert len(lines) == 5


def test_a_table_of_hundreds_is_sorted_and_filtered() -> None:
    stations = [
        {**STATION, "id": name, "state": state, "delay_s": delay_s, "gaps": gaps}
        for name, state, delay_s, gaps in (
            ("A", "live", 1.0, 5),
            ("B", "stale", 90.0, 0),
            ("C", "gap", None, 9),
        )
    ]

    def shown(*states: str, sort: str = "station") -> str:
        lines = report({**ANSWER, "stations": stations}, states, sort).splitlines()
        assert lines[1].startswith("1 of 3 stations live")
        return "".join(line[0] for line in lines[4:]) or lines[2]

    assert shown() == "ABC"
    assert shown("stale", "gap") == "BC"
    assert shown("waiting", "refused") == "no station is waiting or refused"
    assert (shown(sort="state"), shown(sort="delay"), shown(sort="gaps")) == ("BCA", "BAC", "CAB")
    assert set(SORTS) == set(status.SORTS)
    assert STATES == status.STATES


def test_a_screen_is_filled_again_and_again_until_somebody_ends_it() -> None:
    with answering(200, json.dumps(ANSWER).encode()) as url:
        command = [sys.executable, "-m", "xiaod", "status", "--url", url, "--watch", "0.05"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            times = 0
            while times < 3:
                times += "\x1b[H\x1b[2Jxiaod 0.1.0" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.stdout.read()
        assert process.returncode == ExitCode.OK


def test_a_daemon_of_an_earlier_version_has_final_picks_alone() -> None:
    older = {
        key: value
        for key, value in STATION.items()
        if key not in {"early_picks", "withdrawn_picks", "pick_latency_s"}
    }
    text = report({**ANSWER, "stations": [older]})
    assert "picks: 1 final, 0 early, of which 0 withdrawn" in text
    assert "below threshold" in text


def test_codes_from_the_network_cannot_speak_to_the_terminal() -> None:
    station = {**STATION, "id": "\x1b[2J.\r\n..EH", "delay_s": None, "last_pick": None}
    text = report({**ANSWER, "stations": [station, STATION]})
    assert "\x1b" not in text
    assert "\r" not in text
    assert "?[2J.??..EH" in text
    assert report({**ANSWER, "stations": []}).endswith("0 of 0 stations live")


def test_a_screen_shows_the_beginning_of_a_long_table_a_line_for_each_station() -> None:
    stations = [{**STATION, "id": f"XX.S{number:03}..HH"} for number in range(300)]
    lines = fitted(report({**ANSWER, "stations": stations}), columns=80, rows=24).splitlines()
    # The last row is where the cursor stands.
    assert len(lines) == 23
    assert lines[0].startswith("xiaod 0.1.0")
    assert lines[-2].startswith("XX.S017..HH")
    assert lines[-1].startswith("... 282 more lines")
    assert max(map(len, lines)) <= 80
    assert fitted("all\nof it", columns=80, rows=24) == "all\nof it"
    problem = f"PROBLEM: {'why ' * 30}remedy"
    assert " ".join(fitted(problem, columns=80, rows=24).splitlines()) == problem
