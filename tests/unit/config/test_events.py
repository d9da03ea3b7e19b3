"""Layers of the crust, from YAML and from a file: what is wrong is named with file, line, value and remedy."""

from pathlib import Path

import pytest

from xiaod.config import Config
from xiaod.config.events import LayerConfig, VelocityError, read_layers
from xiaod.config.loader import ConfigError, parse_config

MINIMAL = "sources: [{server: a}]\nstations_file: st.csv\n"

LAYERS = (LayerConfig(top_km=0, p_km_s=5.5, s_km_s=3.2), LayerConfig(top_km=12.5, p_km_s=6.4, s_km_s=3.7))


def config(text: str) -> Config:
    return parse_config(f"{MINIMAL}events: {{enabled: true, method: pyocto{text}}}\n", "f")


def test_the_default_is_iasp91_and_others_are_given() -> None:
    assert config("").events.velocity_model == ()
    layers = "[{top_km: 0, p_km_s: 5.5, s_km_s: 3.2}, {top_km: 12.5, p_km_s: 6.4, s_km_s: 3.7}]"
    assert config(f", velocity_model: {layers}").events.velocity_model == LAYERS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (", velocity_model: [{top_km: 2, p_km_s: 6, s_km_s: 3}]", "begins at 2 km; it must begin at 0"),
        (", velocity_model: [{top_km: 0, p_km_s: 3, s_km_s: 6}]", "P is always faster"),
        (
            ", velocity_model: [{top_km: 0, p_km_s: 6, s_km_s: 3}, {top_km: 0, p_km_s: 7, s_km_s: 4}]",
            "is not below that of the layer before",
        ),
        (", velocity_model: [{top_km: 0, p_km_s: 6}]", "s_km_s: is missing"),
        (
            ", velocity_model: [{top_km: 0, p_km_s: 6, s_km_s: 3}], velocity_model_file: a.txt",
            "both given; remove one of them",
        ),
        (", stations: 2", "fewer than 3 stations locate nothing"),
        (", stations: 9", "min_picks is 8, less than stations (9)"),
    ],
)
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(text)
    assert said in str(caught.value)
    assert str(caught.value).startswith("f:3: events")


def test_coordinates_are_needed() -> None:
    text = "sources: [{server: a}]\nevents: {enabled: true, method: pyocto}\n"
    with pytest.raises(
        ConfigError, match="needs the coordinates of the stations; name their file with stations_file"
    ):
        parse_config(text, "f")


@pytest.mark.parametrize(
    "content",
    ["0 5.5 3.2\n12.5 6.4 3.7\n", "depth,vp,vs\n0,5.5,3.2\n\n# lower crust\n12.5, 6.4, 3.7  # guessed\n"],
)
def test_a_file_of_layers_is_read(tmp_path: Path, content: str) -> None:
    path = tmp_path / "crust.txt"
    path.write_text(content)
    assert read_layers(path) == LAYERS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no layer; write a line for each"),
        ("# nothing\ndepth vp vs\n", "holds no layer"),
        ("0 5.5 3.2\n12 6.4\n", ":2: 2 values; a layer has 3"),
        ("0 5.5 3.2\n12 6.4 fast\n", ":2: s_km_s: must be a number up to 20; got 'fast'"),
        ("0 5.5 3.2\n12 6400 3700\n", ":2: p_km_s: must be a number up to 20; got '6400'"),
        ("0 5.5 nan\n", ":1: s_km_s: must be a number up to 20; got 'nan'"),
        ("0 0 3.2\n", ":1: p_km_s: must be a number"),
        ("1 5.5 3.2\n", ":1: the first layer begins at 1 km"),
        ("0 5.5 3.2\n9 6 3.4\n5 7 4\n", ":3: its top, 5 km, is not below that of the layer before, 9 km"),
        ("0 3.2 5.5\n", ":1: S has 5.5 km/s and P 3.2"),
    ],
)
def test_a_wrong_file_says_which_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "crust.txt"
    path.write_text(content)
    with pytest.raises(VelocityError) as caught:
        read_layers(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(VelocityError, match="cannot be read: No such file"):
        read_layers(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VelocityError, match="no UTF-8 text"):
        read_layers(tmp_path / "binary")
