"""Other pickers on the same machine, if installed: ObsPy's STA/LTA, PhaseNet in SeisBench.

PhaseNet has random weights: its cost does not depend on them. ``python -m xiaod.tools.bench.others FILE`` picks a file with it.
"""

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np

from xiaod.tools.bench.timer import LEAST_S, median_us

RATE_HZ = 100.0
SECONDS = 60.0
BAND_HZ = (2.0, 15.0)
STA_S, LTA_S = 0.5, 10.0
PHASENET_SAMPLES = 3001
NOISE_BIAS = 20.0


def sta_lta_cost(least_s: float = LEAST_S) -> dict[str, Any]:
    """Filter and recursive STA/LTA of three components, each sample once."""
    from obspy.signal.filter import bandpass
    from obspy.signal.trigger import recursive_sta_lta, trigger_onset

    waves = np.random.default_rng(0).normal(size=(3, round(SECONDS * RATE_HZ)))

    def work() -> None:
        for wave in waves:
            ratio = recursive_sta_lta(
                bandpass(wave, *BAND_HZ, df=RATE_HZ), round(STA_S * RATE_HZ), round(LTA_S * RATE_HZ)
            )
            trigger_onset(ratio, 4.0, 1.5)

    return {
        "picker": "STA/LTA (ObsPy)",
        "form": "each sample once",
        "us_per_station_s": round(median_us(work, least_s)[0] / SECONDS, 1),
    }


def has_phasenet() -> bool:
    """Whether SeisBench and torch are installed."""
    return find_spec("seisbench") is not None and find_spec("torch") is not None


def classify_file(path: str) -> int:
    """Pick a file with PhaseNet by ``classify`` of SeisBench with its defaults, in one thread; the number of picks."""
    import torch
    from obspy import read
    from seisbench.models import PhaseNet

    torch.set_num_threads(1)
    model = PhaseNet(phases="NPS").eval()
    with torch.no_grad():
        # Random weights call anything an onset: all of it is called noise.
        model.out.bias[0] += NOISE_BIAS
    return len(model.classify(read(path)).picks)


def phasenet_cost(hop_s: float, batch: int, least_s: float = LEAST_S) -> dict[str, Any] | None:
    """PhaseNet in windows of 30 s, or None where SeisBench is not installed."""
    if not has_phasenet():
        return None
    import torch
    from seisbench.models import PhaseNet

    torch.set_num_threads(1)
    model = PhaseNet(phases="NPS").eval()
    waves = torch.from_numpy(
        np.random.default_rng(0).normal(size=(batch, 3, PHASENET_SAMPLES)).astype(np.float32)
    )

    def work() -> None:
        with torch.no_grad():
            model(model.annotate_batch_pre(waves, {}))

    return {
        "picker": "PhaseNet (SeisBench, torch)",
        "form": f"windows of 30 s every {hop_s:g} s, batch {batch}",
        "us_per_station_s": round(median_us(work, least_s)[0] / batch / hop_s, 1),
    }


if __name__ == "__main__":
    print(classify_file(sys.argv[1]))  # noqa: T201  the answer
