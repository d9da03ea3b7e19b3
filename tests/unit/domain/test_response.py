"""Responses of channels, against ObsPy's evalresp."""

import io
from collections.abc import Sequence

import numpy as np
import obspy
import pytest
from numpy.typing import NDArray
from obspy.core.inventory import (
    Channel,
    CoefficientsTypeResponseStage,
    FIRResponseStage,
    InstrumentSensitivity,
    Inventory,
    Network,
    PolesZerosResponseStage,
    PolynomialResponseStage,
    Response,
    ResponseListResponseStage,
    ResponseStage,
    Station,
)
from obspy.core.inventory.response import ResponseListElement

from xiaod.config.inventory import stations_of
from xiaod.domain import response as own
from xiaod.domain.types import Channel as Stream

FREQUENCIES_HZ = np.geomspace(0.2, 20, 60)
STREAM = Stream("XX", "A", "", "HHZ")
RADIANS, HERTZ, DIGITAL = "LAPLACE (RADIANS/SECOND)", "LAPLACE (HERTZ)", "DIGITAL (Z-TRANSFORM)"
SHORT_LIST = [ResponseListElement(hz, 1.0, 0.0) for hz in (0.01, 5.0)]
LOW_PASS = np.hanning(33)[1:-1] / np.hanning(33)[1:-1].sum()
UNEVEN = np.array([0.05, 0.3, 0.4, 0.2, 0.04, 0.01])


def poles_and_zeros(
    number: int,
    kind: str,
    zeros: Sequence[complex],
    poles: Sequence[complex],
    unit: str = "M/S",
    **more: float,
) -> PolesZerosResponseStage:
    values = {"stage_gain": 750.0, "stage_gain_frequency": 1.0, "normalization_frequency": 1.0} | more
    rate_hz = {"decimation_input_sample_rate": 200.0} if kind == DIGITAL else {}
    return PolesZerosResponseStage(
        number, values["stage_gain"], values["stage_gain_frequency"], unit, "V", kind,
        values["normalization_frequency"], zeros, poles, normalization_factor=more.get("factor", 1.0),
        **rate_hz,
    )  # fmt: skip


def decimation(rate_hz: float, correction_s: float) -> dict[str, float]:
    return {
        "decimation_input_sample_rate": rate_hz, "decimation_factor": 2, "decimation_offset": 0,
        "decimation_delay": correction_s, "decimation_correction": correction_s,
    }  # fmt: skip


def filters(number: int, values: NDArray[np.float64], correction_s: float) -> CoefficientsTypeResponseStage:
    return CoefficientsTypeResponseStage(
        number, 1.0, 0.0, "COUNTS", "COUNTS", "DIGITAL", numerator=list(values), denominator=[], **decimation(200.0, correction_s)
    )  # fmt: skip


def digitizer(number: int) -> CoefficientsTypeResponseStage:
    return CoefficientsTypeResponseStage(
        number, 4e5, 0.0, "V", "COUNTS", "DIGITAL", numerator=[1.0], denominator=[], **decimation(200.0, 0.0) | {"decimation_factor": 1}
    )  # fmt: skip


SENSOR = ([0j, 0j], [-0.037 + 0.037j, -0.037 - 0.037j, -251.0, -131.0 + 467j, -131.0 - 467j])
"""Poles and zeros of an STS-2, radians a second."""
STAGES = {
    "radians": [poles_and_zeros(1, RADIANS, *SENSOR, factor=6.0e7)],
    "hertz": [poles_and_zeros(1, HERTZ, [0j, 0j], [-0.7 + 0.7j, -0.7 - 0.7j], factor=1.7)],
    "gain at another frequency": [poles_and_zeros(1, RADIANS, *SENSOR, factor=6.0e7, stage_gain_frequency=5.0)],
    "displacement": [poles_and_zeros(1, RADIANS, *SENSOR, unit="NM")],
    "acceleration": [poles_and_zeros(1, RADIANS, [], [-980.0 + 0j], unit="m/s**2", factor=980.0)],
    "centimetres": [poles_and_zeros(1, RADIANS, *SENSOR, unit="CM/S")],
    "digital": [
        poles_and_zeros(1, RADIANS, *SENSOR, factor=6.0e7),
        poles_and_zeros(2, DIGITAL, [1.0 + 0j], [0.99 + 0j], unit="V", factor=0.9, stage_gain=3.0),
    ],
    "an even filter": [
        poles_and_zeros(1, RADIANS, *SENSOR, factor=6e7), digitizer(2), filters(3, LOW_PASS, 15 / 200)
    ],
    "half of an odd filter": [
        poles_and_zeros(1, RADIANS, *SENSOR, factor=6e7), digitizer(2),
        FIRResponseStage(3, 1.0, 0.0, "COUNTS", "COUNTS", "ODD", coefficients=list(LOW_PASS[:16]), **decimation(200.0, 15 / 200)),
    ],
    "a recursive filter": [
        poles_and_zeros(1, RADIANS, *SENSOR, factor=6e7), digitizer(2),
        CoefficientsTypeResponseStage(
            3, 1.0, 0.0, "COUNTS", "COUNTS", "DIGITAL", numerator=[0.3, 0.3], denominator=[1.0, -0.4], **decimation(200.0, 0.0)
        ),
    ],
    "a list": [
        ResponseListResponseStage(
            1, 750.0, 1.0, "M/S", "V",
            response_list_elements=[ResponseListElement(hz, 1 / (1 + hz / 30), -hz) for hz in np.geomspace(0.1, 50, 500)],
        )
    ],
}  # fmt: skip


def as_read(
    stages: Sequence[ResponseStage], sensitivity_hz: float = 1.0
) -> tuple[Response, own.Response | str | None]:
    """A response as ObsPy reads it from StationXML, and as it is made of that."""
    whole = InstrumentSensitivity(1.0, sensitivity_hz, stages[0].input_units, "COUNTS")
    channel = Channel(
        "HHZ", "", 0.0, 0.0, 0.0, 0.0, sample_rate=100.0, response=Response(None, whole, None, list(stages))
    )
    inventory = Inventory([Network("XX", [Station("A", 0.0, 0.0, 0.0, [channel])])], "test")
    content = io.BytesIO()
    inventory.write(content, "STATIONXML")
    content.seek(0)
    read = obspy.read_inventory(content)
    return read[0][0][0].response, stations_of(read).response(STREAM, 0)


def evalresp(response: Response) -> NDArray[np.complex128]:
    values: NDArray[np.complex128] = response.get_evalresp_response_for_frequencies(
        FREQUENCIES_HZ, output="VEL", hide_sensitivity_mismatch_warning=True
    )
    return values


@pytest.mark.parametrize("name", STAGES)
def test_stages_are_those_of_evalresp(name: str) -> None:
    given, made = as_read(STAGES[name])
    assert isinstance(made, own.Response)
    np.testing.assert_allclose(made.at(FREQUENCIES_HZ), evalresp(given), rtol=1e-3)


def test_the_delay_of_a_filter_without_symmetry_is_corrected() -> None:
    sensor = poles_and_zeros(1, RADIANS, *SENSOR, factor=6e7)
    given, made = as_read([sensor, digitizer(2), filters(3, UNEVEN, 0.01)])
    assert isinstance(made, own.Response)
    np.testing.assert_allclose(made.at(FREQUENCIES_HZ), evalresp(given), rtol=1e-6)


def test_obspy_s_example_inventory_has_the_responses_of_evalresp() -> None:
    inventory, compared = obspy.read_inventory(), 0
    stations = stations_of(inventory)
    assert stations.have_responses
    for network in inventory:
        for station in network:
            for channel in station:
                stream = Stream(network.code, station.code, channel.location_code, channel.code)
                made = stations.response(stream, channel.start_date.ns)
                assert isinstance(made, own.Response)
                wanted = evalresp(channel.response)
                below = 0.4 * channel.sample_rate > FREQUENCIES_HZ
                np.testing.assert_allclose(abs(made.at(FREQUENCIES_HZ))[below], abs(wanted)[below], rtol=5e-3)
                compared += 1
    assert compared > 20


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([poles_and_zeros(1, RADIANS, [], [-1.0 + 0j], unit="PA")], "its input is in PA, not in M, M/S"),
        ([poles_and_zeros(1, RADIANS, *SENSOR, stage_gain=0.0)], "it is zero, or not finite"),
        (
            [ResponseListResponseStage(1, 1.0, 1.0, "M/S", "V", response_list_elements=SHORT_LIST)],
            r"a list that does not go from 0\.5 to 20 Hz",
        ),
        (
            [ResponseListResponseStage(1, 1.0, 1.0, "M/S", "V", response_list_elements=[])],
            r"a list that does not go from 0\.5 to 20 Hz",
        ),
    ],
)  # fmt: skip
def test_what_is_no_response_to_motion_is_told(stages: Sequence[ResponseStage], said: str) -> None:
    _, made = as_read(stages)
    assert isinstance(made, own.Response)
    with pytest.raises(ValueError, match=said):
        made.at(FREQUENCIES_HZ)


def test_a_polynomial_is_told() -> None:
    polynomial = PolynomialResponseStage(1, 1.0, 0.0, "M/S", "V", 0.0, 1.0, 0.0, 1.0, 0.1, [0.0, 1.0])
    _, made = as_read([polynomial])
    assert made == "stage 1: is a polynomial, which is no response to motion"


def test_an_overall_sensitivity_alone_is_no_response() -> None:
    channel = Channel("HHZ", "", 0.0, 0.0, 0.0, 0.0, sample_rate=100.0)
    channel.response = Response(None, InstrumentSensitivity(1e9, 1.0, "M/S", "COUNTS"))
    stations = stations_of(Inventory([Network("XX", [Station("A", 0.0, 0.0, 0.0, [channel])])], "test"))
    assert not stations.have_responses
    assert stations.response(STREAM, 0) is None
    assert not stations.responses_sha256
