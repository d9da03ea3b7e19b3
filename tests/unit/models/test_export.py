"""From torch to ONNX: the same numbers, the specification on board, rows that do not depend on their batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.export import ExportError, export_onnx
from models.small_phasenet import PRESETS, SmallPhaseNet, fresh_net
from models.spec import ModelSpec

SPEC = ModelSpec("example", "1.0.0", thresholds={"P": 0.4, "S": 0.25}, provenance={"teacher": "none"})


def trained_a_little(preset: str) -> SmallPhaseNet:
    """A net whose batch normalisation has seen data: folding it must not change anything."""
    torch.set_num_threads(1)
    net = fresh_net(PRESETS[preset], seed=2)
    generator = torch.Generator().manual_seed(4)
    for _ in range(3):
        net(torch.randn(8, 3, 1000, generator=generator) * 2 + 0.3)
    net.eval()
    return net


def session_of(path: Path):  # type: ignore[no-untyped-def]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_file_gives_what_the_net_gives(preset: str, tmp_path: Path) -> None:
    net = trained_a_little(preset)
    path = export_onnx(net, SPEC, tmp_path / "example.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["example.onnx"]
    assert path.stat().st_size < 300_000
    session = session_of(path)
    assert ModelSpec.from_metadata(session.get_modelmeta().custom_metadata_map) == SPEC
    for count in (1, 5):
        waves = np.random.default_rng(count).normal(size=(count, 3, 1000)).astype(np.float32)
        with torch.no_grad():
            wanted = net(torch.from_numpy(waves)).numpy()
        [given] = session.run(None, {"wave": waves})
        assert np.abs(given - wanted).max() < 1e-5


def test_a_row_has_the_same_bits_in_any_batch(tmp_path: Path) -> None:
    session = session_of(export_onnx(trained_a_little("micro"), SPEC, tmp_path / "example.onnx"))
    waves = np.random.default_rng(0).normal(size=(16, 3, 1000)).astype(np.float32)
    [together] = session.run(None, {"wave": waves})
    for index, wave in enumerate(waves):
        [alone] = session.run(None, {"wave": wave[None]})
        assert np.array_equal(alone[0], together[index])


def test_a_net_that_still_trains_is_refused(tmp_path: Path) -> None:
    net = trained_a_little("nano").train()
    with pytest.raises(ExportError, match="differs"):
        export_onnx(net, SPEC, tmp_path / "example.onnx")
    assert not (tmp_path / "example.onnx").exists()
