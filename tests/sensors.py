"""StationXML with the response of a well-known sensor and digitizer, as datacentres give it."""

from collections.abc import Mapping

STS2 = """<PolesZeros><InputUnits><Name>M/S</Name></InputUnits><OutputUnits><Name>V</Name></OutputUnits>
<PzTransferFunctionType>LAPLACE (RADIANS/SECOND)</PzTransferFunctionType><NormalizationFactor>60077000.0</NormalizationFactor>
<NormalizationFrequency>1.0</NormalizationFrequency>
<Zero number="0"><Real>0</Real><Imaginary>0</Imaginary></Zero><Zero number="1"><Real>0</Real><Imaginary>0</Imaginary></Zero>
<Pole number="0"><Real>-0.037004</Real><Imaginary>0.037016</Imaginary></Pole>
<Pole number="1"><Real>-0.037004</Real><Imaginary>-0.037016</Imaginary></Pole>
<Pole number="2"><Real>-251.33</Real><Imaginary>0</Imaginary></Pole>
<Pole number="3"><Real>-131.04</Real><Imaginary>-467.29</Imaginary></Pole>
<Pole number="4"><Real>-131.04</Real><Imaginary>467.29</Imaginary></Pole></PolesZeros>"""
"""Streckeisen STS-2, first generation, in radians a second."""
L4C = """<PolesZeros><InputUnits><Name>M/S</Name></InputUnits><OutputUnits><Name>V</Name></OutputUnits>
<PzTransferFunctionType>LAPLACE (RADIANS/SECOND)</PzTransferFunctionType><NormalizationFactor>1.0</NormalizationFactor>
<NormalizationFrequency>15.0</NormalizationFrequency>
<Zero number="0"><Real>0</Real><Imaginary>0</Imaginary></Zero><Zero number="1"><Real>0</Real><Imaginary>0</Imaginary></Zero>
<Pole number="0"><Real>-4.398</Real><Imaginary>4.487</Imaginary></Pole>
<Pole number="1"><Real>-4.398</Real><Imaginary>-4.487</Imaginary></Pole></PolesZeros>"""
"""Sercel L-4C, a geophone of 1 Hz."""
DIGITIZER = """<Stage number="2"><Coefficients><InputUnits><Name>V</Name></InputUnits><OutputUnits><Name>COUNTS</Name></OutputUnits>
<CfTransferFunctionType>DIGITAL</CfTransferFunctionType><Numerator>1.0</Numerator></Coefficients><Decimation>
<InputSampleRate>100</InputSampleRate><Factor>1</Factor><Offset>0</Offset><Delay>0</Delay><Correction>0</Correction></Decimation>
<StageGain><Value>{gain}</Value><Frequency>0</Frequency></StageGain></Stage>"""
PLACE = "<Latitude>47.7372</Latitude><Longitude>12.7957</Longitude><Elevation>860</Elevation>"


def response(sensor: str = STS2, volts: float = 1500.0, counts: float = 419430.0) -> str:
    """A response of counts for each m/s."""
    return (
        f"<Response><InstrumentSensitivity><Value>{volts * counts}</Value><Frequency>1.0</Frequency><InputUnits><Name>M/S</Name>"
        "</InputUnits><OutputUnits><Name>COUNTS</Name></OutputUnits></InstrumentSensitivity>"
        f'<Stage number="1">{sensor}<StageGain><Value>{volts}</Value><Frequency>1.0</Frequency></StageGain></Stage>'
        f"{DIGITIZER.format(gain=counts)}</Response>"
    )


def station_xml(epochs: Mapping[tuple[str, str, str], str], station: str = "RJOB") -> str:
    """StationXML of BW.RJOB, with responses by channel, first and last day (empty: none) of their epochs."""
    channels = "".join(
        f'<Channel code="{code}" locationCode="" startDate="{first}T00:00:00Z"'
        + (f' endDate="{last}T23:59:59Z"' if last else "")
        + f">{PLACE}<Depth>0</Depth><SampleRate>100</SampleRate>{made}</Channel>"
        for (code, first, last), made in epochs.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><FDSNStationXML xmlns="http://www.fdsn.org/xml/station/1" schemaVersion="1.1">'
        '<Source>test</Source><Created>2026-01-01T00:00:00Z</Created><Network code="BW">'
        f'<Station code="{station}" startDate="2001-01-01T00:00:00Z">{PLACE}<Site><Name>Jochberg</Name></Site>{channels}</Station>'
        "</Network></FDSNStationXML>"
    )
