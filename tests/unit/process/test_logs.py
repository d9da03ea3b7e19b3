"""What stands in the log: lines of libraries too, not too many of them, and nothing ends because it cannot be written."""

import contextlib
import json
import logging
import sys
from pathlib import Path
from typing import Literal

import pytest

from xiaod.process.logs import LIBRARY_LINES, configure_logs, get_logger


def test_what_a_library_says_is_a_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    # As a reload does.
    configure_logs("warning", "json")
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("some.library").exception("Error handling %s", "it")
    logging.getLogger("some.library").info("not told")
    [line] = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["event"], line["level"], line["library"], line["text"]) == (
        "library.message", "error", "some.library", "Error handling it",
    )  # fmt: skip
    assert "ValueError: inside" in line["exception"]


def test_a_library_does_not_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    for number in range(100 * LIBRARY_LINES):
        logging.getLogger("asyncio").warning("socket.accept() out of system resource, number %d", number)
    logging.getLogger("asyncio").warning("something else")
    texts = [json.loads(line)["text"] for line in capsys.readouterr().err.splitlines()]
    assert len(texts) == LIBRARY_LINES + 1
    assert texts[-1] == "something else"


def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.suppress(OSError), Path("/dev/full").open("w", encoding="utf-8", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        configure_logs("info", "json")
        with pytest.raises(OSError, match="No space left"):
            full.write("a line\n")
        for _ in range(1000):
            get_logger("test").info("something.happened", detail="x" * 100)
    assert full.closed
    get_logger("test").info("something.happened")


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_tells_no_variables(
    style: Literal["json", "console"], capsys: pytest.CaptureFixture[str]
) -> None:
    # Without the package rich nothing ever did.
    configure_logs("info", style)

    def log_in(password: str) -> None:
        raise ValueError(f"{len(password)} letters")

    secret = "".join(("hu", "sh"))
    try:
        log_in(secret)
    except ValueError:
        get_logger("test").exception("service.failed")
    said = capsys.readouterr().err
    assert "4 letters" in said
    assert secret not in said
