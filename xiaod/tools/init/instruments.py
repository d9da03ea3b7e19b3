"""Chooses the streams of a server to pick: of each station the instrument that suits a picker best.

In: the channels that the server lists. Out: a :class:`ChosenInstrument` for each station that has a suitable one. An instrument needs a
vertical component and a band code of 10 Hz or more (SEED manual, appendix A); a high-gain seismometer is better than a low-gain one or an
accelerometer, then three components better than fewer, then a higher rate better than a lower one. A second instrument of a station would
give every pick twice.

>>> from xiaod.domain.types import Channel
>>> offered = [Channel("AM", "R1", "00", code) for code in ("EHZ", "ENZ", "ENN", "ENE", "HDF", "LHZ")]
>>> [(choice.pattern, choice.components) for choice in choose_instruments(offered)]
[('AM.R1.00.EH?', 'Z')]
"""

from collections.abc import Iterable
from dataclasses import dataclass

from xiaod.domain.codes import EMPTY_LOCATION
from xiaod.domain.components import KNOWN_LETTERS, ROWS, rows_of
from xiaod.domain.types import Channel, Instrument

BANDS = "HECDBS"
"""Band codes: broad band and short period above 80 Hz, then 250 Hz and more, then 10 to 80 Hz."""
INSTRUMENTS = "HLPNG"
"""Instrument codes: seismometer of high gain, of low gain, geophone, accelerometer."""


@dataclass(frozen=True, slots=True)
class ChosenInstrument:
    """One instrument to subscribe to."""

    instrument: Instrument
    components: str
    """Component letters that the server has, in the order of a window's rows."""

    @property
    def pattern(self) -> str:
        """Pattern for the key ``streams``."""
        chosen = self.instrument
        return f"{chosen.network}.{chosen.station}.{chosen.location or EMPTY_LOCATION}.{chosen.band}?"


def choose_instruments(offered: Iterable[Channel]) -> list[ChosenInstrument]:
    """The best instrument of each station, in order of their names."""
    letters: dict[Instrument, set[str]] = {}
    for channel in offered:
        if len(channel.channel) == ROWS and channel.component in KNOWN_LETTERS:
            letters.setdefault(channel.instrument, set()).add(channel.component)
    best: dict[str, ChosenInstrument] = {}
    for instrument, found in sorted(letters.items()):
        rows = rows_of(found)
        band, kind = instrument.band[0], instrument.band[1]
        if 0 not in rows.values() or band not in BANDS or kind not in INSTRUMENTS:
            continue
        choice = ChosenInstrument(instrument, "".join(sorted(rows, key=rows.__getitem__)))
        known = best.get(instrument.station_text)
        if known is None or _rank(choice) < _rank(known):
            best[instrument.station_text] = choice
    return [best[station] for station in sorted(best)]


def largest_network(choices: Iterable[ChosenInstrument]) -> tuple[str, int, list[str]]:
    """The network with most of the stations, how many it has, and patterns that match all that was chosen there.

    Raises:
        ValueError: when nothing was chosen.
    """
    members: dict[str, list[ChosenInstrument]] = {}
    for choice in choices:
        members.setdefault(choice.instrument.network, []).append(choice)
    network, chosen = max(members.items(), key=lambda member: len(member[1]))
    return network, len(chosen), sorted({f"{network}.*.*.{choice.instrument.band}?" for choice in chosen})


def _rank(choice: ChosenInstrument) -> tuple[int, int, int]:
    """Lower is better."""
    band, kind = choice.instrument.band[0], choice.instrument.band[1]
    return INSTRUMENTS.index(kind), -len(choice.components), BANDS.index(band)
