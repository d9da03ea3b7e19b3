"""How a connection to a broker, a bus or a web service is encrypted."""

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
