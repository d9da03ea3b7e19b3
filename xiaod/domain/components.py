"""Which component goes into which row of a window.

Windows have the rows Z, N, E. Instruments name their components ZNE, or Z12 and Z23 where the horizontals are not aligned with
north and east, or 123 where no component is vertical by name (SEED manual, appendix A). The rows follow from all letters that an
instrument has sent: ``2`` is row N of a Z23 sensor, and row E of a Z12 sensor.

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
"""Letters that may have a row; others (pressure, hydrophone, raw UVW) are counted and left out."""
MISSING = "-"
"""Letter for a row without a component."""
ROWS = 3


def rows_of(letters: Collection[str]) -> dict[str, int]:
    """Row of each component letter; a letter for which no row is left is omitted.

    Aligned names go before numbered ones: of Z, N, E, 1, 2 only Z, N and E get a row.
    """
    rows = {letter: row for row, letter in enumerate("ZNE") if letter in letters}
    numbered = sorted(letter for letter in letters if letter in "123")
    if numbered == ["1", "2", "3"] and not rows:
        return {"1": 0, "2": 1, "3": 2}
    if numbered == ["3"] and not rows.keys() & {"N", "E"}:
        return rows | {"3": 2}
    # Two numbered horizontals are N and E in their order; a lone 1 or 2 has the row it has in Z12.
    numbered_rows = (
        {letter: index + 1 for index, letter in enumerate(numbered)}
        if len(numbered) > 1
        else {"1": 1, "2": 2}
    )
    for letter in numbered:
        row = numbered_rows.get(letter, ROWS)
        if row < ROWS and row not in rows.values():
            rows[letter] = row
    return rows


def moving_components(components: str, samples: NDArray[np.floating]) -> str:
    """Components of a window without constant ones: a sensor that is dead or not plugged in counts as missing.

    Args:
        components: letters of the rows.
        samples: shape ``(3, n)``, n >= 1.

    Returns:
        ``components`` with :data:`MISSING` for constant rows; unchanged where all rows are constant.

    >>> moving_components("ZNE", np.array([[1, 2, 1], [5, 5, 5], [0, 0, 0]], np.float32))
    'Z--'
    """
    moving = "".join(
        letter if letter == MISSING or _moves(samples[row]) else MISSING
        for row, letter in enumerate(components)
    )
    return components if moving == MISSING * ROWS else moving


def _moves(samples: NDArray[np.floating]) -> bool:
    # Two samples nearly always tell.
    return bool(samples[0] != samples[-1] or (samples != samples[0]).any())
