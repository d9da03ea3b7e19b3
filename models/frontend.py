"""The front end: how raw counts are prepared for a network, the same code for training and for serving.

``standardise-1``: each component of each window loses its mean and is divided by its standard deviation, as
in Zhu & Beroza (2019, doi:10.1093/gji/ggy423). A component without signal, such as one that is missing, stays
zero. What a window gives does not depend on the batch it is in.

>>> import numpy as np
>>> out = standardise(np.array([[[5, 7], [3, 3], [0, 0]]], np.float32))
>>> out.tolist()
[[[-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]
"""

import numpy as np
from numpy.typing import NDArray

RELATIVE_FLOOR = 1e-7
"""A component whose standard deviation is below this part of its level counts as constant: the resolution of
float32."""


def standardise(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove the mean and divide by the standard deviation, for each component of each window.

    Args:
        windows: shape ``(n, components, samples)``, float32.

    Returns:
        The same shape, float32, always finite: a component that holds NaN or infinity, or whose range float32
        cannot hold, gives zeros as a missing one does.
    """
    windows = np.ascontiguousarray(windows)
    with np.errstate(over="ignore", invalid="ignore"):
        # Taking the first sample out makes single precision enough for sensors with a large offset.
        centred = windows - windows[..., :1]
        centred -= centred.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True))
        live = (deviation > RELATIVE_FLOOR * np.abs(windows[..., :1])) & np.isfinite(deviation)
        scale = np.divide(np.float32(1), deviation, out=np.zeros_like(deviation), where=live)
        # The reciprocal of a subnormal number is infinite.
        live &= np.isfinite(scale)
        centred *= scale
    if not live.all():
        centred[~live[..., 0]] = 0
    return centred
