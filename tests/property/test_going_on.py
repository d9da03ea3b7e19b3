"""A record that goes on where the last one ended takes a short way: all is as if it had taken the long one."""

from collections.abc import Sequence

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from xiaod.domain.timegrid import BEFORE_ALL, NS_PER_S
from xiaod.domain.timeliness import TimeLimits
from xiaod.domain.types import Channel, Segment
from xiaod.waveform.channel import ChannelBuffer, Gap, RecordOutcome
from xiaod.waveform.instrument import BufferSettings, Covered, InstrumentChannels

RELAXED = settings(
    max_examples=150,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
BUFFERS = BufferSettings(
    length=300, hop=100, wait_ns=NS_PER_S, max_lead=900, limits=TimeLimits.from_s(None, 60.0)
)
START_NS = 1_700_000_000 * NS_PER_S

Step = tuple[str, str, int, float]
"""Component, what comes, samples, and seconds since the step before."""


class LongWay(ChannelBuffer):
    """Looks at every record as if it might be any."""

    def go_on(self, segment: Segment, delivery_ns: int) -> bool:
        """Never."""
        del segment, delivery_ns
        return False


class LookedAt(InstrumentChannels):
    """Channels of which every record takes the long way."""

    def _new_channel(self, letter: str) -> ChannelBuffer:
        usual = super()._new_channel(letter)
        usual.__class__ = LongWay
        return usual


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    letters = draw(st.sampled_from(["Z", "ZN", "ZNE", "Z12", "ZN1"]))
    kinds = ["goes on"] * 14 + [
        "again",
        "gap",
        "earlier",
        "swapped",
        "drifts",
        "slow",
        "other",
        "odd",
        "future",
    ]
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(letters),
                st.sampled_from(kinds),
                st.integers(1, 400),
                st.sampled_from([0.0, 0.1, 0.1, 1.5]),
            ),
            min_size=1,
            max_size=80,
        )
    )


def records(taken: Sequence[Step]) -> list[tuple[Segment | None, float]]:
    """Each with the seconds since the one before; None: nothing comes."""
    rng = np.random.default_rng(len(taken))
    ends: dict[str, int] = {}
    rates: dict[str, float] = {}
    found: list[tuple[Segment | None, float]] = []
    for letter, kind, length, wait_s in taken:
        rate_hz = rates.setdefault(letter, 100.0)
        if kind == "slow":
            rate_hz = rates[letter] = 50.0 if rate_hz == 100.0 else 100.0
        if kind == "other":
            rate_hz *= 1.0002
        kept = [one for one, _ in found if one is not None]
        if kind == "again" and kept:
            found.append((kept[-1 - length % len(kept)], wait_s))
            continue
        start_ns = ends.setdefault(letter, START_NS)
        start_ns += {"gap": 700_000_000, "earlier": -300_000_000, "drifts": 4_000_000}.get(kind, 0)
        start_ns += 3600 * NS_PER_S if kind == "future" else 0
        samples = rng.integers(-1000, 1000, length).astype(np.int32)
        if kind == "odd":
            samples[length // 2] = 2**31 - 1
        whole = Segment(
            Channel("XX", "A", "", "HH" + letter),
            start_ns,
            rate_hz,
            samples,
            "here",
            START_NS + 30 * NS_PER_S,
        )
        parts = [whole]
        if kind == "swapped" and length > 1:
            half = length // 2
            middle_ns = start_ns + round(half * NS_PER_S / rate_hz)
            parts = [
                whole._replace(start_ns=middle_ns, samples=samples[half:]),
                whole._replace(samples=samples[:half]),
            ]
        found += [(part, wait_s) for part in parts]
        if kind != "future":
            ends[letter] = max(part.next_ns for part in parts)
        found.append((None, wait_s))
    return found


class Delivered:
    """One instrument, and what has become of its records."""

    def __init__(self, kind: type[InstrumentChannels]) -> None:
        self.channels = kind(BUFFERS, BUFFERS.rings())
        self.outcomes: list[RecordOutcome] = []
        self.gaps: list[Gap] = []

    def take(self, segment: Segment | None, delivery_ns: int | None) -> None:
        if segment is not None:
            self.outcomes.append(self.channels.insert(segment, delivery_ns))
        self.gaps += self.channels.release(delivery_ns)

    @property
    def state(self) -> object:
        """Whatever windows depend on."""
        one = self.channels
        held = {
            letter: [
                (
                    (stretch.first, stretch.stop, stretch.began, stretch.length),
                    stretch.read(stretch.first, stretch.stop, level=0.0).tolist(),
                    stretch.arrival_of(stretch.stop - 1),
                    (stretch.offset_at(stretch.first), stretch.offset_at(stretch.stop - 1)),
                )
                if stretch.started
                else None
                for stretch in channel.stretches
            ]
            for letter, channel in one.channels.items()
        }
        leads = [one.led_ns(stop) for stop in range(one.edge - 900, one.edge + 2, 100)]
        numbers = (one.covered, one.edge, one.waits, one.resets, one.rows, one.components, one.release_ns)
        return held, leads, numbers, one.coverage, one.contradictions


@RELAXED
@given(taken=steps(), live=st.booleans())
def test_the_short_way_leads_where_the_long_one_does(taken: list[Step], live: bool) -> None:
    short, long, delivery_ns = Delivered(InstrumentChannels), Delivered(LookedAt), 0
    for segment, wait_s in records(taken):
        delivery_ns += round(wait_s * NS_PER_S)
        for one in (short, long):
            one.take(segment, delivery_ns if live else None)
        assert short.outcomes == long.outcomes
        assert short.gaps == long.gaps
        assert short.state == long.state
        assert short.channels.covered == covered(short.channels)
        assert short.channels.edge == max(
            [BEFORE_ALL, *(one.edge for one in short.channels.channels.values())]
        )


def covered(channels: InstrumentChannels) -> Covered | None:
    """What all components with a row cover, by a look at each of them."""
    newest = [channels.channels[letter].stretches[-1:] for letter, _ in channels.rows]
    if not newest or not all(one and one[0].started for one in newest):
        return None
    stops = [one[0].stop for one in newest]
    return Covered(max(one[0].first for one in newest), min(stops), max(stops))
