"""The recent picks of one instrument, so that no onset is picked twice.

A picker remembers them for :data:`~xiaod.domain.resumption.PICKER_MEMORY_S`, and longer by the time that a component may be late. Older
data that come again meet their picks in the store: see :meth:`xiaod.storage.progress.PickingProgress.store`.

>>> recent = RecentPicks()
>>> recent.add(0, 1000)
>>> recent.holds(0, 1050, within=100), recent.holds(0, 1100, within=100), recent.holds(1, 1000, within=100)
(True, False, False)
"""

from collections.abc import Sequence

from xiaod.domain.onsets import PHASES, sample_of
from xiaod.domain.resumption import PICKER_MEMORY_S
from xiaod.domain.timegrid import samples_from_s
from xiaod.domain.types import Pick


class RecentPicks:
    """Grid indices of the picks of P and of S."""

    def __init__(self, known: Sequence[Pick] = (), late: int = 0) -> None:
        """Begin.

        Args:
            known: picks of an earlier run; they may lie far ahead of where this one begins.
            late: samples by which a component may come after the others: windows that lie so far back come again.
        """
        self._memory = samples_from_s(PICKER_MEMORY_S) + late
        self._made: tuple[list[int], list[int]] = ([], [])
        self._known: tuple[list[int], list[int]] = ([], [])
        for pick in known:
            self._known[PHASES.index(pick.phase)].append(sample_of(pick))

    def add(self, phase: int, index: int) -> None:
        """Remember a pick; ``phase`` is 0 for P and 1 for S, here and below."""
        self._made[phase].append(index)

    def holds(self, phase: int, index: int, within: int) -> bool:
        """Whether a pick of the phase is less than ``within`` samples away."""
        made, known = self._made[phase], self._known[phase]
        # Old picks are forgotten; so are those of this run that lie in the future once a clock was set back.
        made[:] = [other for other in made if abs(other - index) < self._memory]
        known[:] = [other for other in known if index - other < self._memory]
        return any(abs(other - index) < within for other in (*made, *known))
