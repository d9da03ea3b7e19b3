"""Advice for an address at which no SeedLink 3 server answers.

>>> foreign(b"HTTP/1.1 400 Bad Request")
'an HTTP server answers; SeedLink has a port of its own, 18000 by custom'
>>> newer("SeedLink v3.1 (2020.122) :: SLPROTO:3.1")
''
"""

import re

from xiaod.domain import seedlink

SHARED_NUMBERS = ("ringserver", "xiaod")
"""Words in the answer to HELLO of servers that number the packets of all stations together."""

_HTTP = re.compile(rb"\s*(?:HTTP/|<!doctype html|<html)", re.IGNORECASE)
_VERSION = re.compile(r"SeedLink v(\d+)", re.IGNORECASE)
_PROTOCOL = re.compile(r"SLPROTO:(\d+)")


def foreign(words: bytes) -> str:
    """What kind of server answers in these words instead, and what to do; empty when it is unknown."""
    if _HTTP.match(words):
        return f"an HTTP server answers; SeedLink has a port of its own, {seedlink.PORT} by custom"
    return ""


def unheard(address: str, tls: bool) -> str:
    """What to do when HELLO is not answered; ``tls``: whether a TLS handshake is."""
    if tls:
        return (
            f"{address} speaks TLS, and SeedLink is spoken in the clear here: write 'tls: {{}}' for this source (option --tls), "
            f"or take the server's plain port ({seedlink.PORT} by custom)"
        )
    return f"whatever listens at {address} does not speak SeedLink, which has port {seedlink.PORT} by custom"


def numbers_together(greeting: str) -> bool:
    """Whether a server that answers HELLO like this numbers the packets of all its stations together.

    Such a server also takes the time that follows a number, and begins at that time where another packet has the number now.

    >>> numbers_together("SeedLink v4.0 (RingServer/4.5.3) :: SLPROTO:4.0 SLPROTO:3.1"), numbers_together("SeedLink v3.1 (2020.122)")
    (True, False)
    """
    return any(word in greeting.lower() for word in SHARED_NUMBERS)


def newer(greeting: str) -> str:
    """What to do about a server that does not speak SeedLink 3, from its answer to HELLO; empty when it does.

    Source: SeedLink 4.0, HELLO: ``SeedLink v4.0 (...) :: SLPROTO:4.0 SLPROTO:3.1``, all protocols of the server.

    >>> newer("SeedLink v4.0 (x) :: SLPROTO:4.0 SLPROTO:3.1"), "SeedLink 4" in newer("SeedLink v4.0 (x) :: SLPROTO:4.0 CAP")
    ('', True)
    """
    version = _VERSION.match(greeting)
    spoken = {int(number) for number in _PROTOCOL.findall(greeting)} or {int(version[1]) if version else 3}
    # Version 2.5 has the commands of version 3 that are needed.
    if min(spoken) <= 3:
        return ""
    complaint = f"the server speaks SeedLink {min(spoken)} only"
    if min(spoken) == 4:
        return f"{complaint}, and SeedLink 3 is spoken here: write 'protocol: 4' for this source (option --protocol 4)"
    return f"{complaint}, and SeedLink 3 and 4 are spoken here: ask its operator for one of these"


def untrusted(reason: str) -> str:
    """What to do about a certificate that is not accepted."""
    return f"certificate not accepted: {reason}; tls.ca_file (option --ca-file) names the file with the authority that signed it"


def no_tls(address: str, reason: str) -> str:
    """What to do about a server that does not speak TLS."""
    return f"no TLS at {address} ({reason}): take the server's port for TLS ({seedlink.TLS_PORT} by custom), or leave out tls"


def refused_by_tls(reason: str) -> str:
    """What to do about a server that ends the TLS connection after the handshake."""
    return f"the server ends the TLS connection ({reason}): where it wants a client certificate, name it in tls.cert_file and tls.key_file"


def nothing_listens(address: str) -> str:
    """What to do about a port that refuses connections."""
    return f"Connection refused: nothing listens on {address}; is the server running? SeedLink's usual port is {seedlink.PORT}"


def unresolved(host: str, reason: str) -> str:
    """What to do about a name that cannot be resolved.

    >>> unresolved("rs.local", "Name or service not known").split(":")[0]
    'the name rs.local has no address here (Name or service not known)'
    """
    if host.lower().rstrip(".").endswith(".local"):
        advice = (
            "names in .local are asked for by multicast DNS: install avahi-daemon and libnss-mdns, or give the IP address of the device; "
            "in a container, and beyond a router, only the address works"
        )
    else:
        advice = "look at its spelling and at the DNS of this machine, or give the IP address"
    return f"the name {host} has no address here ({reason}): {advice}"
