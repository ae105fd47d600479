"""HTTP over the Unix socket of a model server.

httpx reads all certificates of the system for each transport that it makes, 30 ms of processor time, also where nothing is
ever encrypted: a socket of the same user's. These are made without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from llmops_tui.inference.spread_connections import SpreadConnections


def socket_transport(path: str) -> httpx.HTTPTransport:
    """A transport to who listens at this path, for a client that blocks."""
    import httpx

    return httpx.HTTPTransport(uds=path, verify=False)


def async_socket_transport(path: str) -> SpreadConnections:
    """A transport to who listens at this path, for an event loop; it has as many connections as requests at once."""
    import ssl

    import httpx

    from llmops_tui.inference.spread_connections import SpreadConnections

    # Nothing is encrypted, and a context of its own would be made for each connection.
    unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    one = httpx.Limits(max_connections=1)
    return SpreadConnections(lambda: httpx.AsyncHTTPTransport(uds=path, verify=unused, limits=one))
