"""HTTP over the Unix socket of a model server.

httpx reads all certificates of the system for each transport that it makes, 30 ms of processor time, also where nothing is
ever encrypted: a socket of the same user's. These are made without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


def socket_transport(path: str) -> httpx.HTTPTransport:
    """A transport to who listens at this path, for a client that blocks."""
    import httpx

    return httpx.HTTPTransport(uds=path, verify=False)


def async_socket_transport(path: str, *, most_connections: int | None = 100) -> httpx.AsyncHTTPTransport:
    """A transport to who listens at this path, for an event loop; of so many connections at once, None for any number."""
    import httpx

    return httpx.AsyncHTTPTransport(uds=path, verify=False, limits=httpx.Limits(max_connections=most_connections))
