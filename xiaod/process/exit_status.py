"""The exit statuses of ``xiaod``, in one place: ``docs/commands.md`` and ``--help`` list these.

>>> ExitCode.CONFIGURATION.value
2
>>> print(summary().splitlines()[0])
exit status:
>>> StartError("http: cannot listen", ExitCode.FAILURE).code.value
1
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; ``meaning`` says it in words."""

    _value_: int
    meaning: str

    def __new__(cls, status: int, meaning: str) -> "ExitCode":
        """A status with its meaning."""
        member = int.__new__(cls, status)
        member._value_ = status
        member.meaning = meaning
        return member

    OK = 0, "done, or stopped in order"
    FAILURE = (
        1,
        "a failure that a restart may mend, or a check that failed; log or standard error say what",
    )
    CONFIGURATION = 2, "wrong configuration, model or arguments; a restart does not help"
    CUT_SHORT = 3, "the orderly stop took longer than grace_s"
    SECOND_SIGNAL = 130, "a second signal while stopping, or Ctrl-C where nothing has to be stopped in order"
    TERMINATED = 143, "SIGTERM ended a command that runs others (bench, soak)"


def summary() -> str:
    """All statuses for ``--help``, a line each."""
    return "\n".join(["exit status:", *(f"  {code.value:<4} {code.meaning}" for code in ExitCode)])


class StartError(Exception):
    """The daemon cannot start; the message says why and what helps, ``code`` how to end."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code
