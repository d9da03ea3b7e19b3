"""The main findings of a report, as sentences made from the numbers."""

from distill.cost import REFERENCE
from distill.report.result import EvaluationResult
from distill.report.scoring import Number
from models.conventions import PHASES

TOLERANCE = "0.5 s"
SHARP = "0.1 s"


def findings(result: EvaluationResult) -> list[tuple[str, list[str]]]:
    """Titles and paragraphs of the questions that the numbers answer."""
    made = [
        ("Who picks best?", _ranking(result)),
        ("How small can a picker be and still beat STA/LTA?", _smallest(result)),
        ("How long should a window be?", _length(result)),
        ("What does distillation do to temporal precision?", _precision(result)),
        ("What does accuracy cost?", _cost(result)),
        ("How soon can a pick be out?", _delay(result)),
    ]
    return [(title, text) for title, text in made if text]


def _ranking(result: EvaluationResult) -> list[str]:
    sentences = []
    for phase in PHASES:
        for tolerance in (SHARP, TOLERANCE):
            numbers = [
                number
                for name in result.contenders
                if (number := result.value("accuracy", name, phase, tolerance, "f1")) is not None
            ]
            if len(numbers) > 1:
                order = sorted(numbers, key=lambda number: -number.value)
                first = order[0]
                overlapping = [
                    one.contender
                    for one in order[1:]
                    if one.high is not None and first.low is not None and one.high >= first.low
                ]
                sentence = f"{phase} within {tolerance}: {first.contender} leads with an F1 of {_with_interval(first)}"
                if overlapping:
                    sentence += f"; the intervals of {', '.join(overlapping)} overlap with its own"
                sentences.append(sentence + f" ({first.count} labels).")
    return [" ".join(sentences)] if sentences else []


def _with_interval(number: Number) -> str:
    text = f"{number.value:.3f}"
    if number.low is not None and number.high is not None:
        text += f" ({number.low:.2f} to {number.high:.2f})"
    return text


def _smallest(result: EvaluationResult) -> list[str]:
    if not result.sizes:
        return []
    paragraphs = []
    for phase in PHASES:
        floors = [
            number
            for number in result.numbers
            if (number.table, number.phase, number.condition, number.metric)
            == ("best threshold", phase, TOLERANCE, "f1")
            and "STA/LTA" in number.contender
        ]
        if not floors:
            continue
        floor = max(floors, key=lambda number: number.value)
        better = [size for size in result.sizes if size.best_f1[f"{phase} {TOLERANCE}"] > floor.value]
        said = (
            f"{phase}: the best of the STA/LTA ratios, {floor.contender}, reaches an F1 of {floor.value:.3f} at {TOLERANCE} "
            f"with the threshold that suits these data best ({floor.count} labels). "
        )
        if better:
            least = better[0]
            said += (
                f"The smallest student above it is {least.name} with {least.parameters} parameters: "
                f"{least.best_f1[f'{phase} {TOLERANCE}']:.3f}, {least.us_per_window:.0f} µs a window of 20 s."
            )
        else:
            said += "No student here is above it."
        paragraphs.append(said)
    return paragraphs


def _length(result: EvaluationResult) -> list[str]:
    if not result.lengths:
        return []
    sentences = []
    for phase in PHASES:
        for tolerance in (SHARP, TOLERANCE):
            key = f"{phase} {tolerance}"
            values = ", ".join(f"{one.f1[key]:.3f} with {one.window_s:g} s" for one in result.lengths)
            sentences.append(
                f"{phase} within {tolerance}: {values} ({result.lengths[0].labels[key]} labels)."
            )
    return [" ".join(sentences)]


def _precision(result: EvaluationResult) -> list[str]:
    sentences = []
    for phase in PHASES:
        scatter = [
            f"{number.contender} {number.value * 1e3:.0f} ms ({number.count})"
            for name in result.contenders
            if (number := result.value("accuracy", name, phase, TOLERANCE, "residual_std_s")) is not None
        ]
        if scatter:
            sentences.append(f"Scatter of {phase} residuals within {TOLERANCE}: {', '.join(scatter)}.")
    trained = [size for size in result.sizes if size.note]
    alike = [size for size in trained if sum(other.parameters == size.parameters for other in trained) > 1]
    if alike:
        rows = "; ".join(
            f"{size.name} ({size.note}): P {size.residual_std_s['P'] * 1e3:.0f} ms and F1 {size.best_f1['P 0.1 s']:.3f} at 0.1 s, "
            f"S {size.residual_std_s['S'] * 1e3:.0f} ms and {size.best_f1['S 0.1 s']:.3f}"
            for size in alike
        )
        sentences.append(f"The same network, trained as long, on different labels: {rows}.")
    return [" ".join(sentences)] if sentences else []


def _cost(result: EvaluationResult) -> list[str]:
    sentences = [
        f"{row['model']}, batch {row['batch']}: {row['times_cheaper']:g} times cheaper than {REFERENCE}"
        for row in result.costs
        if "times_cheaper" in row and row["model"] != REFERENCE
    ]
    return ["; ".join(sentences) + "."] if sentences else []


def _delay(result: EvaluationResult) -> list[str]:
    points = [one for one in result.trade_offs if one.phase == "P"]
    if not points:
        return []
    best = max(points, key=lambda one: one.f1_05)
    early = [one for one in points if one.f1_05 >= best.f1_05 - 0.02]
    first = min(early, key=lambda one: one.delay_median_s)
    said = (
        f"P: the highest F1 at 0.5 s, {best.f1_05:.3f}, comes with a lookahead of {best.lookahead_s:g} s and a hop of "
        f"{best.hop_s:g} s (median delay {best.delay_median_s:.2f} s). Within 0.02 of it, the soonest is a lookahead of "
        f"{first.lookahead_s:g} s and a hop of {first.hop_s:g} s: {first.f1_05:.3f} after {first.delay_median_s:.2f} s in the "
        f"median, {first.delay_p95_s:.2f} s at most for 95 of 100 ({first.labels} labels)."
    )
    return [said]
