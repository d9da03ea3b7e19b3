"""Picks as SeisComP SCML files.

Picks and their amplitudes are directly under EventParameters, without an event. Each pick has the comments that SeisComP's
deep-learning pickers write: ``dlmodel``, ``confidence`` (the probability), ``SNR``, and on an S pick ``RefPickID``, the identifier of the
P pick before it (in the daemon: before it in the same run). Identifiers are those of the picks: deterministic, and without a slash.

scautoloc uses a pick only if amplitudes of types ``snr`` and ``mb`` refer to it (``autoloc.amplTypeSNR``, ``autoloc.amplTypeAbs``), and
only with a ratio of at least ``autoloc.minPickSNR`` (3; Autoloc3::_tooLowSNR). Both are measured in a band (:mod:`xiaod.picking.measure`),
which ``filterID`` names. The amplitude of type ``mb`` is the peak in counts with a nominal period of 1 s: it compares picks of one
station, is no ground motion, and its unit says so. Where the response of the channel is known, there are two more: the velocity of the
ground, type ``A`` in m/s, and the Wood-Anderson amplitude, type ``AML`` in mm. That is not SeisComP's ``ML``, whose window is as long as
the distance wants: scmag makes no magnitude of either. scautoloc leaves out a pick that is ``rejected`` when it comes, and looks at no pick
twice (AutolocApp::addObject, Autoloc::feed): what withdraws an early pick reaches the database and displays, and not an association that
has been made.

Early and final picks, and what withdraws them, stand as in :mod:`xiaod.sinks.file.evaluation`; no file has two picks of one onset.

Order of elements: SeisComP's schema, version 0.12.

>>> scml_bytes([], AgencyConfig()).splitlines()[-2]
b'  <EventParameters />'
"""

import math
import xml.etree.ElementTree as ElementTree
from collections import deque
from collections.abc import Sequence

from xiaod import __version__
from xiaod.config import AgencyConfig
from xiaod.config.sinks.file import SCML_VERSION, ScmlConfig
from xiaod.domain.codes import safe
from xiaod.domain.document import amplitude_number
from xiaod.domain.onsets import BAND_HZ, SIGNAL_S, WOOD_ANDERSON_HZ, standing
from xiaod.domain.timegrid import NS_PER_S, iso_from_ns
from xiaod.domain.types import Instrument, Pick, Stage
from xiaod.sinks.file.evaluation import MODE, POLARITY, stage_comments, status_of, subject_id
from xiaod.sinks.file.folder import FolderSink

NAMESPACE = f"http://geofon.gfz-potsdam.de/ns/seiscomp3-schema/{SCML_VERSION}"
METHOD = "DL"
"""The method that SeisComP's own deep-learning picker writes."""
FILTER, WOOD_ANDERSON_FILTER = (
    f"BW(4,{low_hz:g},{high_hz:g})" for low_hz, high_hz in (BAND_HZ, WOOD_ANDERSON_HZ)
)
"""The bands of ratio and amplitude, and of the Wood-Anderson amplitude, as SeisComP writes a filter."""
MB_PERIOD_S = 1.0
MAX_S_MINUS_P_S = 60.0
"""An S pick later than this has no P pick: some 500 km."""
MAX_INSTRUMENTS = 10_000
"""Instruments in memory; the one picked longest ago is dropped for a new one."""
REMEMBERED = 8
"""P picks of an instrument that are kept for later S picks."""


class PrecedingP:
    """The P pick before an S pick of the same instrument, among the picks seen.

    Of an early S pick it may be an early or a final one. Of a final S pick it is a final one: final picks do not depend on early ones.

    >>> PrecedingP().see([])
    """

    def __init__(self) -> None:
        self._seen: dict[Instrument, dict[Stage, deque[tuple[int, str]]]] = {}

    def see(self, picks: Sequence[Pick]) -> None:
        """Remember P picks; one that is early, until a final one or what withdraws it is seen."""
        for pick in picks:
            seen = self._seen.pop(pick.channel.instrument, None) or {
                "early": deque(maxlen=REMEMBERED),
                "final": deque(maxlen=REMEMBERED),
            }
            # The instrument picked last is last.
            self._seen[pick.channel.instrument] = seen
            if len(self._seen) > MAX_INSTRUMENTS:
                del self._seen[next(iter(self._seen))]
            if pick.early_id is not None:
                others = [found for found in seen["early"] if found[1] != pick.early_id]
                seen["early"] = deque(others, maxlen=REMEMBERED)
            if pick.stage == "withdrawn" or pick.phase != "P":
                continue
            known = seen[pick.stage]
            if (pick.time_ns, pick.id) not in known:
                known.append((pick.time_ns, pick.id))

    def of(self, pick: Pick) -> str | None:
        """Identifier of the P pick that an S pick belongs to; None when there is none."""
        earliest_ns = pick.time_ns - MAX_S_MINUS_P_S * NS_PER_S
        seen = self._seen.get(pick.channel.instrument)
        if pick.phase != "S" or seen is None:
            return None
        known = [*seen["final"], *(() if pick.stage == "final" else seen["early"])]
        before = [found for found in known if earliest_ns <= found[0] < pick.time_ns]
        return max(before)[1] if before else None


class ScmlSink(FolderSink):
    """Writes files into a folder; implements :class:`xiaod.sinks.Sink`."""

    def __init__(self, config: ScmlConfig, agency: AgencyConfig) -> None:
        super().__init__(
            config,
            lambda picks: scml_bytes(picks, agency, config.mb_amplitudes, self._before),
        )
        self._before = PrecedingP()

    def deliver(self, picks: Sequence[Pick], now_ns: int) -> None:
        """As any sink of a folder; P picks are remembered for later S picks.

        Raises:
            OSError: when a file cannot be written; no pick is lost.
        """
        self._before.see(picks)
        super().deliver(picks, now_ns)


def scml_bytes(
    picks: Sequence[Pick],
    agency: AgencyConfig,
    mb_amplitudes: bool = True,
    before: PrecedingP | None = None,
) -> bytes:
    """Picks as one SCML document.

    Args:
        picks: what to write.
        agency: who signs.
        mb_amplitudes: whether picks get an amplitude of type mb.
        before: the P picks seen; None: those among ``picks``.
    """
    picks = standing(picks)
    if before is None:
        before = PrecedingP()
        before.see(picks)
    root = ElementTree.Element("seiscomp", {"xmlns": NAMESPACE, "version": SCML_VERSION})
    parameters = ElementTree.SubElement(root, "EventParameters")
    for pick in picks:
        _pick(parameters, pick, agency, before.of(pick))
    for pick in picks:
        if pick.stage == "withdrawn":
            continue
        if math.isfinite(pick.snr):
            _amplitude(parameters, pick, agency, "snr", f"{pick.snr:.3f}", SIGNAL_S)
        amplitude = amplitude_number(pick.amplitude)
        if mb_amplitudes and amplitude is not None:
            text = f"{amplitude:.3f}" if amplitude >= 1 else f"{amplitude:g}"
            _amplitude(parameters, pick, agency, "mb", text, SIGNAL_S, "count")
        if (motion := pick.motion) is not None:
            velocity, trace = f"{motion.velocity_m_s:.4g}", f"{motion.wood_anderson_mm:.4g}"
            _amplitude(parameters, pick, agency, "A", velocity, motion.window_s, "m/s")
            _amplitude(parameters, pick, agency, "AML", trace, motion.window_s, "mm", WOOD_ANDERSON_FILTER)
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return content + b"\n"


def _pick(parent: ElementTree.Element, pick: Pick, agency: AgencyConfig, p_pick: str | None) -> None:
    made = ElementTree.SubElement(parent, "pick", {"publicID": safe(subject_id(pick))})
    time = ElementTree.SubElement(made, "time")
    _text(time, "value", iso_from_ns(pick.time_ns))
    if math.isfinite(pick.time_uncertainty_s):
        _text(time, "uncertainty", f"{pick.time_uncertainty_s:.6f}")
    _waveform(made, pick)
    _text(made, "methodID", METHOD)
    _text(made, "phaseHint", pick.phase)
    if (polarity := POLARITY[pick.polarity]) is not None:
        _text(made, "polarity", polarity)
    _text(made, "evaluationMode", MODE)
    _text(made, "evaluationStatus", status_of(pick))
    _creation(made, pick, agency)
    for key, text in (
        ("dlmodel", pick.model),
        ("confidence", f"{pick.probability:.3f}"),
        ("SNR", f"{pick.snr:.3f}"),
        ("RefPickID", None if p_pick is None else safe(p_pick)),
        *stage_comments(pick, safe(pick.early_id or "")),
    ):
        if text is not None:
            comment = ElementTree.SubElement(made, "comment")
            _text(comment, "text", text)
            _text(comment, "id", key)


def _amplitude(
    parent: ElementTree.Element,
    pick: Pick,
    agency: AgencyConfig,
    kind: str,
    value: str,
    until_s: float,
    unit: str | None = None,
    of_filter: str = FILTER,
) -> None:
    made = ElementTree.SubElement(parent, "amplitude", {"publicID": f"{safe(pick.id)}.{kind}"})
    _text(made, "type", kind)
    _text(ElementTree.SubElement(made, "amplitude"), "value", value)
    window = ElementTree.SubElement(made, "timeWindow")
    _text(window, "reference", iso_from_ns(pick.time_ns))
    # Begin and end in seconds from the reference.
    _text(window, "begin", "0")
    _text(window, "end", f"{until_s:g}")
    if kind == "mb":
        _text(ElementTree.SubElement(made, "period"), "value", f"{MB_PERIOD_S:g}")
    if math.isfinite(pick.snr):
        _text(made, "snr", f"{pick.snr:.3f}")
    if unit is not None:
        _text(made, "unit", unit)
    _text(made, "pickID", safe(pick.id))
    _waveform(made, pick)
    _text(made, "filterID", of_filter)
    _text(made, "evaluationMode", MODE)
    _creation(made, pick, agency)


def _waveform(parent: ElementTree.Element, pick: Pick) -> None:
    channel = pick.channel
    codes = {
        "networkCode": channel.network,
        "stationCode": channel.station,
        "locationCode": channel.location,
        "channelCode": channel.channel,
    }
    ElementTree.SubElement(parent, "waveformID", {key: safe(code) for key, code in codes.items()})


def _creation(parent: ElementTree.Element, pick: Pick, agency: AgencyConfig) -> None:
    made = ElementTree.SubElement(parent, "creationInfo")
    _text(made, "agencyID", agency.agency_id)
    _text(made, "author", agency.author)
    if pick.created_ns is not None:
        _text(made, "creationTime", iso_from_ns(pick.created_ns))
    _text(made, "version", __version__)


def _text(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text
