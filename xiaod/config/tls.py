"""How a connection is encrypted: to a server of data, a broker, a bus or a web service.

>>> tls_context(TlsConfig()).verify_mode.name
'CERT_REQUIRED'
"""

import ssl
from pathlib import Path

from pydantic import Field, model_validator

from xiaod.config.model import Model


class TlsConfig(Model):
    """How a connection is encrypted; ``{}`` trusts the authorities that the system trusts."""

    ca_file: Path | None = Field(default=None, strict=False)
    """PEM file with the authority that signed the certificate of the server; null: the authorities that the system trusts."""
    cert_file: Path | None = Field(default=None, strict=False)
    """PEM file with a client certificate, for a server that requires one."""
    key_file: Path | None = Field(default=None, strict=False)
    """PEM file with the key of the client certificate."""
    insecure: bool = False
    """Whether the certificate of the server is not verified: anybody can then read and answer. For trials only."""

    @model_validator(mode="after")
    def _consistent(self) -> "TlsConfig":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both or none")
        if self.insecure and self.ca_file is not None:
            raise ValueError("insecure: with a ca_file the certificate is looked at; leave one of them out")
        return self


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Settings of an encrypted connection.

    Raises:
        OSError: when a file cannot be used; the message names its key.
    """
    key = "ca_file"
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.cert_file is not None:
            key = "cert_file, key_file"
            # An empty password: OpenSSL would ask the terminal for one.
            context.load_cert_chain(config.cert_file, config.key_file, password="")
    except (OSError, ValueError) as error:
        named = ", ".join(str(getattr(config, name)) for name in key.split(", "))
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"tls.{key}: {named}: cannot be used: {reason}; must be PEM") from error
    if config.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
