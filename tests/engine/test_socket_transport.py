"""HTTP over the sockets of model servers."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest

import llmops_tui
import screens
from llmops_tui.inference import socket_transport
from llmops_tui.inference.socket_transport import async_socket_transport

_OWN = Path(socket_transport.__file__)


def test_no_certificate_is_read_where_nothing_is_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 ms for each client of a model server, which a user waits for."""

    def read(*_: object, **__: object) -> None:
        pytest.fail("certificates were read")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", read)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", read)
    socket_transport.socket_transport("/nowhere").close()
    async_socket_transport("/nowhere")
    async_socket_transport("/nowhere", most_connections=None)


def test_there_is_one_way_to_a_socket() -> None:
    files = [file for package in (llmops_tui, screens) for file in Path(package.__path__[0]).rglob("*.py")]
    assert len(files) > 100
    made = [file for file in files if re.search(r"HTTPTransport\(\s*uds", file.read_text(encoding="utf-8"))]
    assert made == [_OWN]
