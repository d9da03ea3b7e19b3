"""Where windows of one instrument are wanted: for some time after a net that follows the stream has noticed something.

Such a net looks at each sample once, and a little late. What it has noticed up to a sample does not change, so the windows that are wanted
are the same however the data came.

>>> awake = Awake(ahead=50, hold=300)
>>> awake.note(looked_until=1000, spans=[(700, 720)])
>>> awake.first_wanted(600), awake.first_wanted(900), awake.first_wanted(1100)
(750, 900, None)
>>> awake.looked_until
1050
"""

from collections import deque
from collections.abc import Sequence

from xiaod.domain.timegrid import BEFORE_ALL


class Awake:
    """Spans of the grid in which a window that ends there is wanted."""

    def __init__(self, ahead: int, hold: int) -> None:
        """Begin asleep.

        Args:
            ahead: samples by which the end of a window lies after the onset that it is cut for, at least.
            hold: samples after that for which windows are wanted.
        """
        self.ahead = ahead
        """As above; may be changed."""
        self._hold = hold
        self.forget()

    def forget(self) -> None:
        """Begin anew: a clock was set back."""
        self.looked_until = BEFORE_ALL
        """Grid index before which ends of windows are known to be wanted or not."""
        self._spans: deque[tuple[int, int]] = deque()

    def note(self, looked_until: int, spans: Sequence[tuple[int, int]]) -> None:
        """The net has looked at all before a sample; in these spans, first and last sample, it has noticed something.

        Spans that lie after what it has looked at are of data before a clock was set back: they are of no use.
        """
        self.looked_until = looked_until + self.ahead
        for first, last in spans:
            if last > looked_until:
                continue
            begin, end = first + self.ahead, last + self.ahead + self._hold
            if self._spans and begin <= self._spans[-1][1]:
                begin = min(begin, self._spans.pop()[0])
            self._spans.append((begin, end))

    def __bool__(self) -> bool:
        """Whether any window may be wanted."""
        return bool(self._spans)

    def noticed_in(self, start: int, stop: int) -> bool:
        """Whether a window is wanted for anything that was noticed in it; what was wanted before it is forgotten."""
        while self._spans and self._spans[0][1] < start:
            self._spans.popleft()
        return bool(self._spans) and self._spans[0][0] <= stop

    def first_wanted(self, stop: int) -> int | None:
        """End of the first window that is wanted, of those that end at ``stop`` or later; None: none of those that are known.

        What was wanted before ``stop`` is forgotten.
        """
        while self._spans and self._spans[0][1] < stop:
            self._spans.popleft()
        return max(stop, self._spans[0][0]) if self._spans else None
