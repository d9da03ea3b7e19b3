"""The encryption of a connection: from the configuration to an ``ssl.SSLContext``.

>>> from xiaod.config.sinks.tls import TlsConfig
>>> tls_context(TlsConfig()).verify_mode.name
'CERT_REQUIRED'
"""

import ssl

from xiaod.config.sinks.tls import TlsConfig


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
