"""Makes engine, scout and sinks of a configuration.

>>> from xiaod.config import SeedLinkConfig
>>> config = Config(sources=(SeedLinkConfig(server="localhost"),))
>>> open_engine(config).spec.name, open_sinks(config)
('micro', [])
"""

from importlib.util import find_spec

from models.weights import resolve, streams
from xiaod.config import Config, SinkConfig
from xiaod.domain.timegrid import samples_from_s
from xiaod.inference import Engine
from xiaod.inference.errors import ModelError
from xiaod.inference.onnx import OnnxEngine
from xiaod.inference.scout import Scout
from xiaod.pipeline.events import open_associator
from xiaod.process.plugins import MissingExtraError, imported, missing
from xiaod.sinks import Sink, SinkError

DRAWING = "matplotlib"


def open_engine(config: Config) -> Engine:
    """Load the configured model.

    Raises:
        ModelError: when the model cannot be used, or does not fit the configured windows; the message begins with the place in the
            configuration.
    """
    where = config.origin.where("engine", "model")
    try:
        path = resolve(config.engine.model)
        if streams(path):
            raise ModelError(
                f"{config.engine.model}: a model that streams notices onsets and does not pick; engine.scout takes it"
            )
        engine = OnnxEngine(path, threads=config.engine.threads)
    except (FileNotFoundError, ModelError) as error:
        raise ModelError(f"{where}: {error}") from error
    _fit(config, engine)
    return engine


def open_scout(config: Config) -> Scout | None:
    """Load the configured net that notices onsets; None where none is needed.

    Raises:
        ModelError: when it cannot be used; the message begins with the place in the configuration.
    """
    if config.early != "scout":
        return None
    try:
        return Scout(resolve(config.engine.scout, stateful=True), threads=config.engine.threads)
    except (FileNotFoundError, ModelError) as error:
        raise ModelError(f"{config.origin.where('engine', 'scout')}: {error}") from error


def _fit(config: Config, engine: Engine) -> None:
    """Refuse windows of a length that the model cannot use."""
    length, spec = samples_from_s(config.windows.length_s), engine.spec
    rate_hz = spec.sampling_rate_hz
    lengths = sorted({spec.window_samples, *spec.lengths})
    if lengths[0] <= length <= lengths[-1]:
        return
    where = config.origin.where("windows", "length_s")
    taken = " to ".join(f"{samples / rate_hz:g}" for samples in dict.fromkeys((lengths[0], lengths[-1])))
    nearest = min(max(length, lengths[0]), lengths[-1]) / rate_hz
    raise ModelError(
        f"{where}: {config.windows.length_s:g} s; model {spec.name} takes windows of {taken} s, as it was trained: "
        f"windows: {{length_s: {nearest:.1f}}} uses it"
    )


def check_snippets(config: Config) -> None:
    """Make sure that pictures of snippets can be drawn, if they are wanted.

    Raises:
        MissingExtraError: when the package is not installed; the message begins with file and line of the configuration.
    """
    if config.snippets.enabled and config.snippets.pictures and find_spec(DRAWING) is None:
        raise MissingExtraError(
            f"{config.origin.where('snippets', 'pictures')}: {missing('a picture', DRAWING, 'plot')}; "
            "or write pictures: false, which keeps miniSEED alone"
        )


def check_events(config: Config) -> None:
    """Make sure that this process can make events, if it has to.

    Raises:
        AssociationError: when a package is missing, or the velocity model cannot be used; the message begins with file and line of the
            configuration.
    """
    if config.events.enabled and config.events.bus is None:
        open_associator(config)


def open_sinks(config: Config) -> list[Sink]:
    """Make the configured sinks.

    Raises:
        SinkError: when one cannot be made.
    """
    return [open_sink(config, sink) for sink in config.sinks]


def open_sink(config: Config, sink: SinkConfig) -> Sink:
    """Make one sink; nothing is opened before it delivers.

    Raises:
        SinkError: when a package is missing or cannot be loaded, or a secret cannot be read; the message begins with file and line of
            the configuration.
    """
    try:
        more = (*([config.stations] if sink.LOCATED else []), *([config.snippets] if sink.ATTACHING else []))
        made: Sink = imported(sink.CODE, f"kind {sink.kind}", sink.EXTRA)(sink, config.agency, *more)
    except (MissingExtraError, ImportError) as error:
        # ImportError: a library that is installed and cannot be loaded. A reload that needs it is then refused.
        raise SinkError(f"{_place_of(config, sink, 'kind')}: {error}") from error
    except (SinkError, OSError) as error:
        key, _, rest = str(error).partition(": ")
        if key.partition(".")[0] not in type(sink).model_fields:
            key, rest = "kind", str(error)
        raise SinkError(f"{_place_of(config, sink, key)}: {rest}") from error
    return made


def _place_of(config: Config, sink: SinkConfig, key: str) -> str:
    number = next((number for number, one in enumerate(config.sinks) if one.name == sink.name), 0)
    return config.origin.where("sinks", number, *key.split("."))
