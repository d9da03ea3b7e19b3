"""The commands of ``xiaod``: a module each, with ``HELP``, ``arguments(parser)`` and ``run(options)``, which gives the exit status.

Each imports what it needs when it runs, so that ``--help`` answers at once.
"""

COMMANDS = (
    "init",
    "check",
    "show",
    "pick",
    "plot",
    "replay",
    "stations",
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
