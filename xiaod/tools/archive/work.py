"""Pieces to outcomes, in the order of the plan, whoever works on them: what the journal has is not done again.

Pieces are given out ahead of the oldest one that is not done, as many as the crew says, so that all work and memory stays bounded.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from xiaod.tools.archive.crew import Crew, CrewError
from xiaod.tools.archive.journal import Journal
from xiaod.tools.archive.piece import Outcome
from xiaod.tools.archive.plan import Piece

MAX_REDONE = 3
"""How often a piece is picked again because its files change meanwhile."""

Told = Callable[[Outcome, bool], None]
"""Called with each outcome as it comes, and whether the journal had it."""


class Work:
    """One run's pieces, journal and crew."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        crew: Crew,
        journal: Journal | None,
        told: Told = lambda outcome, found: None,
    ) -> None:
        self._pieces = pieces
        self._crew = crew
        self._journal = journal
        self._told = told
        self._given = 0
        self._keys: dict[int, str] = {}
        self._redone: Counter[int] = Counter()
        self._ready: dict[int, Outcome] = {}

    @property
    def left(self) -> int:
        """Pieces that nobody has been given yet."""
        return len(self._pieces) - self._given

    def outcomes(self) -> Iterator[tuple[Piece, Outcome]]:
        """Every piece with its outcome, in order.

        Raises:
            CrewError, ModelError, OSError: see :meth:`xiaod.tools.archive.crew.Crew.take`; also when the journal cannot be written.
        """
        for head, piece in enumerate(self._pieces):
            self._give(head)
            while head not in self._ready:
                self._take()
                self._give(head)
            yield piece, self._ready.pop(head)

    def _give(self, head: int) -> None:
        """Give out what may be under way; what the journal has is ready at once."""
        ahead = self._crew.ahead if self.left else 0
        while self.left and self._given - head < ahead:
            number, piece = self._given, self._pieces[self._given]
            self._given += 1
            known = None
            if self._journal is not None:
                self._keys[number] = self._journal.key(piece)
                known = self._journal.find(piece, self._keys[number])
            if known is None:
                self._crew.give(number, piece)
            else:
                self._finish(number, known, found=True)

    def _take(self) -> None:
        number, outcome = self._crew.take()
        if self._journal is not None:
            piece = self._pieces[number]
            key = self._journal.key(piece)
            if key == self._keys[number]:
                try:
                    self._journal.keep(piece, key, outcome)
                except OSError as error:
                    raise CrewError(f"--resume: cannot keep what is finished: {error}") from error
            elif self._redone[number] < MAX_REDONE:
                # Its files have changed while they were read.
                self._redone[number] += 1
                self._keys[number] = key
                self._crew.give(number, piece)
                return
        self._finish(number, outcome, found=False)

    def _finish(self, number: int, outcome: Outcome, found: bool) -> None:
        self._keys.pop(number, None)
        self._ready[number] = outcome
        self._told(outcome, found)
