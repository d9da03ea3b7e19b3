"""A model is one file, of so many bytes, that takes so much memory."""

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from models.spec import ModelSpec
from models.weights import weights_path
from xiaod.inference.errors import ModelError
from xiaod.inference.model_file import EXTERNAL, MAX_BYTES, MESSAGES, names_other_files
from xiaod.inference.onnx import OnnxEngine

MICRO = weights_path("micro").read_bytes()


def saved(graph: onnx.GraphProto, path: Path, window_samples: int = 1000, **options: object) -> Path:
    """A graph with a specification, as a file."""
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    for key, value in ModelSpec("example", "1.0.0", window_samples=window_samples).to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path, **options)
    return path


def graph_of(nodes: list[onnx.NodeProto], *tensors: onnx.TensorProto) -> onnx.GraphProto:
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3, "samples"])
        for name in ("wave", "prob")
    ]
    return onnx.helper.make_graph(nodes, "example", ends[:1], ends[1:], tensors)


def test_data_in_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factor = onnx.numpy_helper.from_array(np.full((1, 3, 1000), 0.1, np.float32), "factor")
    graph = graph_of([onnx.helper.make_node("Mul", ["wave", "factor"], ["prob"])], factor)
    whole = saved(graph, tmp_path / "whole.onnx")
    # Where it would be found.
    monkeypatch.chdir(tmp_path)
    assert OnnxEngine(whole).spec.name == "example"
    parted = saved(graph, tmp_path / "parted.onnx", save_as_external_data=True, location="data.bin")
    assert (tmp_path / "data.bin").stat().st_size >= 12_000
    with pytest.raises(
        ModelError, match=r"parted\.onnx: has its data in other files, .* save the model as one"
    ):
        OnnxEngine(parted)


@pytest.mark.parametrize("mega", [1, 2000])
def test_a_graph_that_takes_too_much_memory_is_refused(tmp_path: Path, mega: int) -> None:
    size = onnx.helper.make_tensor("size", onnx.TensorProto.INT64, [1], [mega * 1_000_000 // 4])
    nodes = [
        onnx.helper.make_node("ConstantOfShape", ["size"], ["large"]),
        onnx.helper.make_node("ReduceMax", ["large"], ["none"], keepdims=0),
        onnx.helper.make_node("Add", ["wave", "none"], ["prob"]),
    ]
    path = saved(graph_of(nodes, size), tmp_path / "large.onnx")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if mega == 1:
        OnnxEngine(path)
    else:
        with pytest.raises(ModelError, match="one window needs more than 500 MB of memory"):
            OnnxEngine(path)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_specification_of_a_window_without_end_is_refused(tmp_path: Path) -> None:
    graph = graph_of([onnx.helper.make_node("Identity", ["wave"], ["prob"])])
    path = saved(graph, tmp_path / "long.onnx", window_samples=10**9)
    with pytest.raises(ModelError, match="one window needs more than 500 MB of memory"):
        OnnxEngine(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(100 * MAX_BYTES)
    with pytest.raises(ModelError, match=r"large\.onnx: not a model for this program: more than 50 MB"):
        OnnxEngine(path)


def test_every_place_of_a_tensor_is_known() -> None:
    """The table says of each message what the description of the format says."""
    holders = {"TensorProto"}
    messages = dict(onnx.ModelProto.DESCRIPTOR.file.message_types_by_name)
    for _ in messages:
        holders |= {
            name
            for name, message in messages.items()
            if any(
                field.message_type is not None and field.message_type.name in holders
                for field in message.fields
            )
        }
    known = {
        name: {
            field.number: field.message_type.name
            for field in messages[name].fields
            if field.message_type is not None and field.message_type.name in holders
        }
        for name in holders
    }
    assert known == MESSAGES
    fields = messages["TensorProto"].fields_by_name
    assert {fields["external_data"].number, fields["data_location"].number} == EXTERNAL


def tensors_in(message: object) -> Iterator[onnx.TensorProto]:
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        if field.message_type is None:
            continue
        for inner in value if field.is_repeated else [value]:
            if isinstance(inner, onnx.TensorProto):
                yield inner
            yield from tensors_in(inner)


@settings(max_examples=100)
@given(data=st.data())
def test_whatever_onnx_reads_is_read_alike(data: st.DataObject) -> None:
    model = onnx.load_from_string(MICRO)
    drawn = data.draw(st.sampled_from(["nothing", "initializer", "constant", "sparse", "branch", "function"]))
    tensor = onnx.TensorProto(name="t", dims=[1], data_type=1)
    tensor.external_data.add(key="location", value="other")
    tensor.data_location = data.draw(st.sampled_from([onnx.TensorProto.EXTERNAL, onnx.TensorProto.DEFAULT]))
    if drawn == "initializer":
        model.graph.initializer.insert(data.draw(st.integers(0, 3)), tensor)
    elif drawn == "sparse":
        model.graph.sparse_initializer.add(values=tensor)
    elif drawn == "constant":
        model.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=tensor))
    elif drawn == "branch":
        inner = onnx.helper.make_graph([], "inner", [], [], [tensor])
        model.graph.node.append(
            onnx.helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner)
        )
    elif drawn == "function":
        function = model.functions.add(name="f", domain="d")
        function.node.append(onnx.helper.make_node("Constant", [], ["c"], value=tensor))
    assert names_other_files(model.SerializeToString()) == (drawn != "nothing")


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_files_are_refused_or_read_as_onnx_reads_them(data: st.DataObject) -> None:
    content = bytearray(MICRO[:2000] if data.draw(st.booleans()) else MICRO)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    try:
        found = names_other_files(bytes(content))
    except ValueError:
        return
    try:
        model = onnx.load_from_string(bytes(content))
    except DecodeError:
        return
    elsewhere = any(tensor.external_data or tensor.data_location for tensor in tensors_in(model))
    assert found or not elsewhere
