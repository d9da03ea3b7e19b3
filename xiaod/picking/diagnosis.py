"""Why an instrument gives no pick: the state of its data, and what the picker saw of each phase in the last minute.

In: what a picker tells a :class:`PhaseView` with each window (two comparisons), and the :class:`Condition` of the data. Out: a
:class:`Reason` for each phase, the first that applies: no data, stale, refused, gap, window not full yet; then the last decision of the
picker: a pick, the same onset as a pick, an onset too close to the beginning of the data, one below the threshold. The reason never
contradicts the highest probability shown beside it.

>>> view = PhaseView()
>>> view.saw(index=100_000, threshold=0.3, probability=0.12)
>>> condition = Condition(arrived=True, silent_s=1.0, stale=False, down=False, refused="", filled_s=20.0, window_s=20.0, gap_s=None)
>>> explain(condition, "P", view, newest=100_100)
Reason(code='below_threshold', text='below threshold: at most 0.12 in the last minute, the threshold is 0.30')
>>> condition.state
'live'
"""

from dataclasses import dataclass
from enum import Enum

from xiaod.domain.timegrid import GRID_NS, iso_from_ns, samples_from_s

HALF_S = 30.0
"""The highest probability is that of the last one to two such spans."""
RECENT_S = 60.0
"""For so long a decision is the reason, counted in data."""


class OnsetOutcome(Enum):
    """What a picker decided about an onset; of several, the first in this order is the reason."""

    PICKED = "picked"
    REFRACTORY = "refractory"
    """Closer than ``min_separation_s`` to a pick of the same phase: the same onset."""
    SETTLING = "settling"
    """Less than ``settle_s`` after the beginning of the data."""
    BELOW = "below_threshold"
    """It was noticed, and did not reach the threshold when it was to be confirmed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The last decision of a phase."""

    outcome: OnsetOutcome
    index: int
    """Grid index of the onset."""
    probability: float
    """What decided: the probability when it was confirmed, where that was tried."""
    noticed: float
    """The probability with which it was noticed."""
    time_ns: int
    """Of the onset: of a pick its own, of others that of the sample."""


class PhaseView:
    """What the picker of one instrument saw of one phase."""

    __slots__ = ("_before", "_decisions", "_half", "_now", "decision", "threshold")

    def __init__(self) -> None:
        self.threshold: float | None = None
        """The one in force with the last window; None before the first."""
        self.decision: Decision | None = None
        self._decisions: dict[OnsetOutcome, Decision] = {}
        self._half = -1
        self._now = 0.0
        self._before = 0.0

    def saw(self, index: int, threshold: float, probability: float) -> None:
        """Take the highest probability of the samples that were searched, up to a grid index."""
        half = index // samples_from_s(HALF_S)
        if half != self._half:
            self._before = self._now if half == self._half + 1 else 0.0
            self._half, self._now = half, 0.0
        if probability > self._now:
            self._now = probability
        self.threshold = threshold

    def decided(
        self,
        outcome: OnsetOutcome,
        index: int,
        probability: float,
        noticed: float | None = None,
        time_ns: int | None = None,
    ) -> None:
        """Take the decision about an onset.

        Args:
            outcome: the decision.
            index: grid index of the onset.
            probability: what decided.
            noticed: the probability before it was to be confirmed; None: the same.
            time_ns: of the pick; None: there is none.
        """
        decision = Decision(
            outcome,
            index,
            probability,
            probability if noticed is None else noticed,
            index * GRID_NS if time_ns is None else time_ns,
        )
        self.decision = decision
        kept = self._decisions.get(outcome)
        if (
            outcome is not OnsetOutcome.BELOW
            or kept is None
            or not _is_recent(kept, index)
            or decision.noticed >= kept.noticed
        ):
            self._decisions[outcome] = decision

    def deciding(self, newest: int) -> Decision | None:
        """The recent decision that is the reason, or an older one to which the highest probability belongs; None when there is none."""
        made = [self._decisions[outcome] for outcome in OnsetOutcome if outcome in self._decisions]
        recent = [decision for decision in made if _is_recent(decision, newest)]
        if self.threshold is None or self.highest_at(newest) < self.threshold:
            return recent[0] if recent else None
        # An onset below the threshold is no reason beside a probability above it, which belongs to another onset.
        reasons = [one for one in (recent or made) if max(one.noticed, one.probability) >= self.threshold]
        return reasons[0] if reasons else None

    @property
    def highest(self) -> float:
        """Highest probability of the last 30 to 60 s that were searched."""
        return max(self._now, self._before)

    def highest_at(self, newest: int) -> float:
        """Highest probability of the last 30 to 60 s of data, up to a grid index."""
        passed = newest // samples_from_s(HALF_S) - self._half
        return 0.0 if passed > 1 else self._now if passed == 1 else self.highest


STATES = ("refused", "stale", "down", "waiting", "gap", "filling", "live")
"""Of the data of an instrument, the worst first."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of the data of an instrument."""

    arrived: bool
    """Whether it has sent any usable data."""
    silent_s: float
    stale: bool
    down: bool
    """Whether no source that brings it has a connection."""
    refused: str
    """Why its last record was refused; empty when it was not."""
    filled_s: float
    """Data without a gap up to the newest sample, a window at most."""
    window_s: float
    gap_s: float | None
    """Length of the last gap; None when there was none."""

    @property
    def state(self) -> str:
        """One of :data:`STATES`.

        ``down``: its source has no connection, so nothing can come; ``waiting``: nothing has come yet; ``gap`` or ``filling``: the window
        is not full yet.
        """
        if self.refused and (self.stale or not self.arrived):
            return "refused"
        if self.stale:
            return "stale"
        if self.down:
            return "down"
        if not self.arrived:
            return "waiting"
        if self.filled_s < self.window_s:
            return "filling" if self.gap_s is None else "gap"
        return "live"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why no pick came, or that one did."""

    code: str
    """One of :data:`STATES` but ``live``; or ``picked``, ``below_threshold``, ``refractory`` or ``settling``."""
    text: str


def explain(condition: Condition, phase: str, view: PhaseView | None, newest: int) -> Reason:
    """The reason for one phase.

    Args:
        condition: of the data.
        phase: ``P`` or ``S``.
        view: what the picker saw; None when there was no window yet.
        newest: grid index of the newest sample.
    """
    if (reason := _of_the_data(condition)) is not None:
        return reason
    if view is None or view.threshold is None:
        return Reason("filling", "the first window is not computed yet")
    if (decision := view.deciding(newest)) is not None:
        return _of_the_decision(decision, phase, view.threshold)
    highest = view.highest_at(newest)
    if highest >= view.threshold:
        # A pick of an earlier run, or an onset that has not reached its highest point yet.
        return Reason(
            OnsetOutcome.REFRACTORY.value,
            f"same onset as an earlier pick, or not decided yet: {highest:.2f} in the last minute",
        )
    return Reason(
        OnsetOutcome.BELOW.value,
        f"below threshold: at most {highest:.2f} in the last minute, the threshold is {view.threshold:.2f}",
    )


def _is_recent(decision: Decision, newest: int) -> bool:
    return abs(newest - decision.index) <= samples_from_s(RECENT_S)


def _of_the_data(condition: Condition) -> Reason | None:
    state = condition.state
    if state == "live":
        return None
    text = {
        "refused": f"records arrive but are refused: {condition.refused}",
        "stale": f"stale: no new samples for {_spoken(condition.silent_s)}",
        "down": "its source has no connection",
        "waiting": f"subscribed, but no data for {_spoken(condition.silent_s)}",
        "gap": f"gap of {condition.gap_s or 0.0:.1f} s; since then {condition.filled_s:.1f} of {condition.window_s:g} s of a window",
        "filling": f"window not full yet: {condition.filled_s:.1f} of {condition.window_s:g} s",
    }[state]
    return Reason(state, text)


def _spoken(duration_s: float) -> str:
    """A duration in its largest unit, so that the text does not change every second."""
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if duration_s >= unit_s:
            return f"{duration_s // unit_s:.0f} {unit}"
    return f"{duration_s:.0f} s"


def _of_the_decision(decision: Decision, phase: str, threshold: float) -> Reason:
    time = iso_from_ns(decision.time_ns)[:-5] + "Z"
    onset = f"{phase} at {time} with {decision.probability:.2f}"
    text = {
        OnsetOutcome.PICKED: f"picked at {time}, {decision.probability:.2f}",
        OnsetOutcome.BELOW: f"below threshold: {phase} at {time} with {_looks(decision)}, the threshold is {threshold:.2f}",
        OnsetOutcome.REFRACTORY: f"same onset as the previous pick: {onset}",
        OnsetOutcome.SETTLING: f"too soon after the beginning of the data: {onset}",
    }[decision.outcome]
    return Reason(decision.outcome.value, text)


def _looks(decision: Decision) -> str:
    first, again = f"{decision.noticed:.2f}", f"{decision.probability:.2f}"
    return again if first == again else f"{first} when noticed and {again} when computed again"
