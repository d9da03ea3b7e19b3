"""What this process has open, as the kernel tells it (proc_pid_fd(5))."""

from collections.abc import Iterator
from pathlib import Path

OPEN = Path("/proc/self/fd")


def _targets() -> Iterator[tuple[int, str]]:
    for link in OPEN.iterdir():
        try:
            yield int(link.name), str(link.readlink())
        except FileNotFoundError:
            # That of the folder itself.
            continue


def open_in(folder: Path) -> list[int]:
    """Descriptors of the files in a folder."""
    return [number for number, target in _targets() if Path(target).parent == folder]


def open_sockets() -> int:
    """How many sockets are open."""
    return sum(target.startswith("socket:") for _, target in _targets())
