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
