"""Protection of the page and its API: the check of the ``Host`` header, and security headers of every answer.

While the server listens on loopback only, the ``Host`` header of a request must name this machine. A page of another site that has made
its name resolve to 127.0.0.1 (DNS rebinding) fails this check. Requests that a browser sends for a page of another site are refused too.
Metrics and health are not checked: scrapers reach them under many names.

>>> is_local("127.0.0.1"), is_local("::1"), is_local("localhost"), is_local("0.0.0.0")
(True, True, True, False)
>>> host_is_ours("localhost:9808", "127.0.0.1"), host_is_ours("evil.example:9808", "127.0.0.1"), host_is_ours("any.name", "0.0.0.0")
(True, False, True)
"""

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler, Middleware

UNCHECKED_PATHS = frozenset({"/metrics", "/healthz", "/readyz"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
"""Headers of every answer; the page has a content policy of its own."""


def is_local(host: str) -> bool:
    """Whether a name or address is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def host_is_ours(header: str, listening: str) -> bool:
    """Whether a ``Host`` header may be answered by a server that listens on an address."""
    if not is_local(listening):
        return True
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    return is_local(name)


def host_check(listening: str) -> "Middleware":
    """The middleware that refuses foreign requests, for a server that listens on an address."""
    from aiohttp import web

    @web.middleware
    async def check(request: web.Request, handler: "Handler") -> web.StreamResponse:
        if request.path in UNCHECKED_PATHS:
            return await handler(request)
        if not host_is_ours(request.headers.get("Host", ""), listening):
            return error_response(
                403,
                "this server listens on loopback and answers only requests for 127.0.0.1 or localhost; "
                "behind a proxy, let it send such a Host header",
            )
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.path != "/":
            return error_response(403, "not for pages of other sites")
        return await handler(request)

    return check


async def add_headers(request: "web.Request", response: "web.StreamResponse") -> None:
    """Add the headers to an answer that is about to be sent."""
    if request.path not in UNCHECKED_PATHS:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)


def error_response(status: int, message: str) -> "web.Response":
    """A JSON answer that says what is wrong."""
    from aiohttp import web

    return web.json_response({"error": message}, status=status)
