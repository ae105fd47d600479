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
    async_socket_transport("/nowhere")._make()


async def test_connections_are_as_many_as_requests_at_once_and_are_used_again(tmp_path: Path) -> None:
    import asyncio

    import httpx

    opened, at_once, most = 0, 0, 0
    going = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened, at_once, most
        opened += 1
        while line := await reader.readline():
            while (await reader.readline()) != b"\r\n":
                pass
            at_once += 1
            most = max(most, at_once)
            if at_once == 3:
                going.set()
            await going.wait()
            at_once -= 1
            body = line.split()[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    async with server:
        transport = async_socket_transport(str(tmp_path / "s"))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            first = await asyncio.gather(*(client.get(f"/{n}") for n in range(3)))
            assert [one.text for one in first] == ["/0", "/1", "/2"]
            for n in range(5):
                assert (await client.get(f"/again{n}")).text == f"/again{n}"
            assert (opened, most, transport.made, len(transport._idle)) == (3, 3, 3, 3)
            # An answer that is left gives its connection back, too.
            async with client.stream("GET", "/left"):
                assert len(transport._idle) == 2
            assert (len(transport._idle), transport.made) == (3, 3)
        assert transport._idle == []


async def test_whoever_finds_nobody_says_so_and_may_try_again(tmp_path: Path) -> None:
    import httpx

    transport = async_socket_transport(str(tmp_path / "nobody"))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for _ in range(2):
            with pytest.raises(httpx.ConnectError):
                await client.get("/")
    # What failed is not used again.
    assert (transport.made, transport._idle) == (2, [])


async def test_connections_that_broke_or_were_left_or_closed_by_the_server_cost_nobody_an_answer(
    tmp_path: Path,
) -> None:
    import asyncio

    import httpx

    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        line = await reader.readline()
        while (await reader.readline()) != b"\r\n":
            pass
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
        if b"broken" in line:
            writer.write(head + b"ha")
        elif b"slow" in line:
            await reader.read()
        else:
            writer.write(head + b"well")
        await writer.drain()
        # Without a word that it is so.
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    async with server:
        transport = async_socket_transport(str(tmp_path / "s"))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for _ in range(2):
                assert (await client.get("/")).text == "well"
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get("/broken")
                with pytest.raises(httpx.ReadTimeout):
                    await client.get("/slow", timeout=0.01)
                waiting = asyncio.ensure_future(client.get("/slow"))
                await asyncio.sleep(0.01)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
        assert (opened, transport._idle) == (8, [])


def test_there_is_one_way_to_a_socket() -> None:
    files = [file for package in (llmops_tui, screens) for file in Path(package.__path__[0]).rglob("*.py")]
    assert len(files) > 100
    made = [file for file in files if re.search(r"HTTPTransport\(\s*uds", file.read_text(encoding="utf-8"))]
    assert made == [_OWN]
