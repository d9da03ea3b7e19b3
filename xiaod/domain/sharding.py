"""Which of several processes picks a station: rendezvous hashing, also called highest random weight.

For each station, every shard has a weight: a hash of both. The shard with the largest weight picks the station (Thaler and Ravishankar,
"Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking, 1998). The processes need not talk to each other.
With one shard more, only the stations that the new one takes move: about 1 / (n + 1) of all stations of n + 1 shards. The hash is BLAKE2b
of ``INDEX:NET.STA``, the same on every machine and in every version.

>>> [shard_of("BW", "WETR", count) for count in (1, 2, 3, 4)]
[0, 1, 2, 3]
>>> Shard(3, 4).holds("BW", "WETR"), Shard(0, 4).holds("BW", "WETR"), str(Shard(3, 4))
(True, False, '3/4')
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

WEIGHT_BYTES = 8
CACHED = 65_536
"""Stations whose shard is not computed again."""


@lru_cache(maxsize=CACHED)
def shard_of(network: str, station: str, count: int) -> int:
    """Index of the shard, 0 to ``count`` - 1, that picks a station; ``count`` is at least 1."""
    return max(range(count), key=lambda index: (_weight(index, network, station), index))


def _weight(index: int, network: str, station: str) -> bytes:
    return blake2b(f"{index}:{network}.{station}".encode(), digest_size=WEIGHT_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` processes that share the stations; ``index`` counts from 0."""

    index: int = 0
    count: int = 1

    def holds(self, network: str, station: str) -> bool:
        """Whether a station is picked here."""
        return self.count == 1 or shard_of(network, station, self.count) == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


ALONE = Shard()
"""One process picks everything."""
