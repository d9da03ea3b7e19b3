"""Certificates made for a test."""

import subprocess
from pathlib import Path


def certificate(folder: Path, name: str = "server") -> tuple[Path, Path]:
    """A certificate that signs itself, for 127.0.0.1 and localhost, and its key: PEM files."""
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", str(key), "-out", str(made)],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key
