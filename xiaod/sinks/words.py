"""What stands for the names in a template of words between full stops: a subject of NATS, a topic of Kafka.

>>> words_of(Channel("A B", "X.*", "", "EHZ"), "P", "final")["station"]
'X__'
"""

from xiaod.domain.codes import EMPTY_LOCATION, safe
from xiaod.domain.types import Channel, DocumentStage


def words_of(channel: Channel, phase: str, stage: DocumentStage) -> dict[str, str]:
    """The words of a pick by their names; what a word cannot hold becomes ``_``."""
    codes = {
        "network": channel.network,
        "station": channel.station,
        "location": channel.location or EMPTY_LOCATION,
        "channel": channel.channel,
        "phase": phase,
        "stage": stage,
    }
    return {name: safe(code).replace(".", "_") or "_" for name, code in codes.items()}
