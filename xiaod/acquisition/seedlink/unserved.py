"""Unserved patterns: those of the configuration that bring no packet, since some servers accept selectors that they do not serve.

>>> unserved = UnservedPatterns(["BW.RJOB..EHZ", "BW.RJOB..EHN"])
>>> unserved.brought(Channel("BW", "RJOB", "", "EHZ"))
>>> asked = [Subscription("BW", "RJOB", ("EHN.D", "EHZ.D"))]
>>> unserved.complaint(asked, asked, listed=[])
'BW.RJOB..EHN (requested as EHN.D), and the server does not list it: see xiaod stations'
"""

from collections.abc import Collection, Sequence

from xiaod.acquisition.patterns import Subscription, matches, selector_of, serves
from xiaod.domain.types import Channel

UNSERVED_S = 600.0
"""A pattern without a packet for so long is named in the log."""
SHOWN_PATTERNS = 5


class UnservedPatterns:
    """The patterns of one source that have brought no packet yet, until they have been named once."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = list(patterns)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._patterns)

    def brought(self, channel: Channel) -> None:
        """A packet of a channel has come."""
        self._patterns = [one for one in self._patterns if not matches(channel, [one])]

    def complaint(
        self,
        matching: Collection[Subscription],
        taken: Collection[Subscription],
        listed: Collection[Channel],
    ) -> str:
        """A complaint that names them, once; empty when there is none.

        Args:
            matching: all subscriptions that match the patterns, those of other shards too.
            taken: those of them that were made.
            listed: channels that the server lists.
        """
        patterns, self._patterns = self._patterns, []
        complaints = []
        for pattern in patterns:
            serving = [one for one in matching if serves(one, pattern)]
            if serving and not any(one in taken for one in serving):
                # Other shards have all of it, or it is too much.
                continue
            found = [str(channel) for channel in listed if matches(channel, [pattern])]
            complaints.append(
                f"{pattern} (requested as {selector_of(pattern)}), though the server lists {' '.join(found[:3])}: "
                "it may not serve such selectors, so name channels, or all of them (NET.STA.*.*)"
                if found
                else f"{pattern} (requested as {selector_of(pattern)}), and the server does not list it: see xiaod stations"
            )
        more = len(complaints) - SHOWN_PATTERNS
        text = "; from ".join(complaints[:SHOWN_PATTERNS])
        return f"{text}; and from {more} more patterns" if more > 0 else text
