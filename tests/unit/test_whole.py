"""An answer in one piece is the answer that aiohttp would have given."""

from __future__ import annotations

import asyncio
import re

import pytest
from aiohttp import web

from core.web.whole import Whole

HEADERS = {"Content-Type": "application/json", "Location": "/api/messages/1"}


BODY = b'{"id":1}'


async def exchange(
    kind: type[web.Response] | type[Whole], request: bytes, *, force_close: bool = False, body: bytes = BODY
) -> bytes:
    """Everything that a server which answers with `kind` says until it closes the connection: to `request`, and, if it
    is still listening then, to one for a path that there is not."""

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        response = kind(status=202, body=body, headers=HEADERS)
        if force_close:
            response.force_close()
        return response

    app = web.Application()
    app.router.add_route("*", "/send", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(request + b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        return said
    finally:
        await runner.cleanup()


def timeless(said: bytes) -> bytes:
    """Without the second in which it was said."""
    return re.sub(rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", b"Date", said)


REQUESTS = {
    "kept open": b"POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "two at once": b"POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" * 2,
    "closed by the caller": b"POST /send HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    "HEAD": b"HEAD /send HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/1.0": b"POST /send HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0, kept open": b"POST /send HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("force_close", [False, True])
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_it_says_what_aiohttp_says(request_: bytes, force_close: bool) -> None:
    """Byte for byte, and the connection stays open or closes for the same requests."""
    ours = await exchange(Whole, request_, force_close=force_close)
    assert ours.startswith(b"HTTP/1.") and b"Date: " in ours
    assert timeless(ours) == timeless(await exchange(web.Response, request_, force_close=force_close))


async def test_a_big_one() -> None:
    """What is too big to leave at once arrives as well, and the connection goes on."""
    request, body = REQUESTS["two at once"], b"x" * 10_000_000
    ours = await exchange(Whole, request, body=body)
    assert timeless(ours) == timeless(await exchange(web.Response, request, body=body))


@pytest.mark.parametrize("size", [1000, 100_000])
async def test_answers_that_nobody_reads(size: int) -> None:
    """Who sends request upon request and reads no answer is not answered any more at some point: what waits for them
    in memory stays small."""
    transports: list[asyncio.Transport | None] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        transports.append(request.transport)
        return Whole(body=b"x" * size, headers=HEADERS)

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, writer = await asyncio.open_connection(*runner.addresses[0][:2], limit=1)
    try:
        requests = 32_000_000 // size
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * requests)
        answered = 0
        while len(transports) > answered or not answered:
            answered = len(transports)
            await asyncio.sleep(0.2)
        waiting = transports[-1]
        assert waiting is not None and waiting.get_write_buffer_size() < 65_536 + 2 * size
        assert answered < requests
    finally:
        writer.transport.abort()
        await runner.cleanup()


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\n"])
async def test_no_header_begins_another(value: str) -> None:
    """A line break in a header is refused: nothing of it is sent."""

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        return Whole(body=b"{}", headers={"X": value})

    server = web.Server(handle)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        assert b"Set-Cookie" not in said and b"X:" not in said
    finally:
        await runner.cleanup()
