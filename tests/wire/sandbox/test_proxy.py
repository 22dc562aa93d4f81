"""The proxy leads to WhatsApp's hosts only, which are the sandbox, and leaves nothing open."""

from __future__ import annotations

import asyncio

import pytest

from sandbox import Sandbox


async def ask(sandbox: Sandbox, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.proxy_url.rpartition(":")[2]))
    writer.write(request)
    return reader, writer


@pytest.mark.parametrize(
    "line",
    [
        "CONNECT example.com:443 HTTP/1.1",
        "CONNECT evilwhatsapp.com:443 HTTP/1.1",
        "GET http://web.whatsapp.com/ HTTP/1.1",
        "CONNECT",
        "",
    ],
)
async def test_strangers_are_refused(sandbox: Sandbox, line: str) -> None:
    """What is not a tunnel to a WhatsApp host gets a 403 and a closed line."""
    reader, writer = await ask(sandbox, f"{line}\r\n\r\n".encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
    writer.close()


async def test_lines_in_every_stage_end_with_the_sandbox() -> None:
    """Lines that say nothing, half a request, and open tunnels are all closed when the sandbox stops."""
    async with Sandbox() as sandbox:
        lines = [
            await ask(sandbox, text) for text in (b"", b"CONNECT web", *[b"CONNECT web.whatsapp.com:443 H\r\n\r\n"] * 3)
        ]
        assert (await lines[-1][0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    for reader, writer in lines:
        await reader.read()
        writer.close()
