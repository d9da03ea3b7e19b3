"""Who may ask for the page and its API, and what every answer of them says to the browser.

While the server listens on loopback only, a request must name this machine in its ``Host`` header: a page from elsewhere whose
name has been made to point at 127.0.0.1 (DNS rebinding) names another. Requests that a browser sends on behalf of another site
are refused too. Metrics and health are not guarded: scrapers name what they like.

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

UNGUARDED = frozenset({"/metrics", "/healthz", "/readyz"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
"""Headers of every answer; the page has a policy of its own."""


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


def guard_of(listening: str) -> "Middleware":
    """The middleware of a server that listens on an address."""
    from aiohttp import web

    @web.middleware
    async def guard(request: web.Request, handler: "Handler") -> web.StreamResponse:
        if request.path in UNGUARDED:
            return await handler(request)
        if not host_is_ours(request.headers.get("Host", ""), listening):
            return refusal(
                403,
                "this server listens on loopback and answers only requests for 127.0.0.1 or localhost; "
                "behind a proxy, let it send such a Host header",
            )
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.path != "/":
            return refusal(403, "not for pages of other sites")
        return await handler(request)

    return guard


async def add_headers(request: "web.Request", response: "web.StreamResponse") -> None:
    """Put the headers on an answer that is about to be sent."""
    if request.path not in UNGUARDED:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)


def refusal(status: int, message: str) -> "web.Response":
    """An answer that says what is wrong."""
    from aiohttp import web

    return web.json_response({"error": message}, status=status)
