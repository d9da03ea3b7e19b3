"""``xiaod version``: version of the program, its libraries and the shipped models."""

import argparse

from xiaod import __version__

HELP = "version of the program, its libraries and the shipped models"


def arguments(_: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(_: argparse.Namespace) -> int:
    """Print versions."""
    import platform
    from importlib.metadata import version as version_of

    from models.weights import shipped

    print(f"xiaod {__version__}")
    print(f"python {platform.python_version()} on {platform.machine()}")
    for package in ("obspy", "onnxruntime", "numpy", "pymseed"):
        print(f"{package} {version_of(package)}")
    for name, sha256 in (shipped() | shipped(stateful=True)).items():
        print(f"model {name} sha256:{sha256}")
    return 0
