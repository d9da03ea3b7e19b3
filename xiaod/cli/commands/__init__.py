"""The commands of ``xiaod``: one module each, with ``HELP``, ``arguments(parser)`` and ``run(options)``, which returns the exit status.

A command imports its modules when it runs, so that ``--help`` is fast.
"""

COMMANDS = (
    "init",
    "check",
    "show",
    "pick",
    "plot",
    "replay",
    "stations",
    "events",
    "status",
    "picks",
    "selftest",
    "bench",
    "soak",
    "schema",
    "completion",
    "version",
)
"""In the order of ``--help``."""
