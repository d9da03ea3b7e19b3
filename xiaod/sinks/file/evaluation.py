"""How the stage of a pick, and its first motion, stand in QuakeML and SCML, which share their terms.

=====================  ====================  ==========================================================================
pick                   evaluationStatus      publicID
=====================  ====================  ==========================================================================
early                  ``preliminary``       its own
final                  ``confirmed``         its own; its comments name the early pick of the same onset, if there was one
withdrawn              ``rejected``          that of the early pick, so that a reader changes the pick that it has
=====================  ====================  ==========================================================================

Terms: EvaluationStatus and PickPolarity of QuakeML-BED 1.2 and of SeisComP's schema.
"""

from xiaod.domain.types import DocumentStage, Pick, Polarity

MODE = "automatic"
STATUS: dict[DocumentStage, str] = {"early": "preliminary", "final": "confirmed", "withdrawn": "rejected"}
POLARITY: dict[Polarity | None, str | None] = {
    "up": "positive",
    "down": "negative",
    "undecidable": "undecidable",
    None: None,
}
"""None: there is no such element."""


def status_of(pick: Pick) -> str:
    """The evaluationStatus."""
    return STATUS[pick.stage]


def subject_id(pick: Pick) -> str:
    """Identifier of the pick that a pick element describes."""
    return pick.early_id if pick.stage == "withdrawn" and pick.early_id else pick.id


def stage_comments(pick: Pick, early_public_id: str) -> list[tuple[str, str]]:
    """Names and texts of the comments on the early pick; the names are those of the JSON document."""
    comments = []
    if pick.stage == "final" and pick.early_id is not None:
        comments.append(("early_id", early_public_id))
    if pick.outcome is not None:
        comments.append(("outcome", pick.outcome))
    if pick.moved_s is not None:
        comments.append(("moved_s", f"{pick.moved_s:.6f}"))
    return comments
