"""Which component goes into which row of a window.

Windows have the rows Z, N, E. Instruments name their components ZNE, or Z12 and Z23 where the horizontals are not aligned with
north and east, or 123 where no component is vertical by name (SEED manual, appendix A). Rows are decided from all letters that an
instrument has shown, so a ``2`` stands in the row N of a Z23 sensor and in the row E of a Z12 sensor.

>>> rows_of({"Z", "1", "2"})
{'Z': 0, '1': 1, '2': 2}
>>> rows_of({"Z", "2", "3"})
{'Z': 0, '2': 1, '3': 2}
>>> rows_of({"1", "2", "3"})
{'1': 0, '2': 1, '3': 2}
>>> rows_of({"Z"})
{'Z': 0}
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

KNOWN_LETTERS = frozenset("ZNE123")
"""Letters that have a row; others (pressure, hydrophone, raw UVW) are counted and left out."""
MISSING = "-"
"""Stands for a missing row in the text of a window's components."""
ROWS = 3


def rows_of(letters: Collection[str]) -> dict[str, int]:
    """Row of each component letter; a letter that finds no row of its own is left out.

    Aligned names go before numbered ones: of Z, N, E, 1, 2 only Z, N and E get a row.
    """
    rows = {letter: row for row, letter in enumerate("ZNE") if letter in letters}
    numbered = sorted(letter for letter in letters if letter in "123")
    if numbered == ["1", "2", "3"] and not rows:
        return {"1": 0, "2": 1, "3": 2}
    if numbered == ["3"] and not rows.keys() & {"N", "E"}:
        return rows | {"3": 2}
    # Two numbered horizontals stand for N and E in their order; a lone 1 or 2 keeps the row it has in Z12.
    places = (
        {letter: index + 1 for index, letter in enumerate(numbered)}
        if len(numbered) > 1
        else {"1": 1, "2": 2}
    )
    for letter in numbered:
        row = places.get(letter, ROWS)
        if row < ROWS and row not in rows.values():
            rows[letter] = row
    return rows


def live_components(components: str, samples: NDArray[np.floating]) -> str:
    """Components of a window without those that never move: a sensor that is dead or not plugged in is as one that is not there.

    Args:
        components: letters of the rows.
        samples: shape ``(3, n)``, n >= 1.

    Returns:
        ``components`` with :data:`MISSING` for rows that are constant; as they were where all are.

    >>> live_components("ZNE", np.array([[1, 2, 1], [5, 5, 5], [0, 0, 0]], np.float32))
    'Z--'
    """
    live = "".join(
        letter if letter == MISSING or _moves(samples[row]) else MISSING
        for row, letter in enumerate(components)
    )
    return components if live == MISSING * ROWS else live


def _moves(samples: NDArray[np.floating]) -> bool:
    # Nearly always two samples are enough to know.
    return bool(samples[0] != samples[-1] or (samples != samples[0]).any())
