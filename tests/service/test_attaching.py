"""`serve --sandbox URL`: what is taken for a sandbox, and in which words everything else is refused."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from core.errors import CommandError
from core.sessions.loopback import fetch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path

TOLD = {"proxy": "http://127.0.0.1:9", "root_key": "00" * 32, "ca": "made up"}


class Stranger:
    """Something on a port of loopback; `says` is its answer to /attach."""

    def __init__(self) -> None:
        self.says: Any = web.json_response(TOLD)
        application = web.Application()
        application.router.add_get("/attach", self._answer)
        application.router.add_get("/elsewhere", self._elsewhere)
        self.server = TestServer(application)

    async def _answer(self, _: web.Request) -> Any:
        return self.says

    async def _elsewhere(self, _: web.Request) -> web.Response:
        return web.json_response(TOLD)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/"))


@pytest.fixture
async def stranger(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Stranger]:
    """It listens."""
    stranger = Stranger()
    await stranger.server.start_server()
    yield stranger
    await stranger.server.close()


async def refusal(url: str, folder: Path) -> str:
    """Why this is no sandbox; nothing is trusted then."""
    with pytest.raises(CommandError) as refused:
        await fetch(url, folder / "ca.pem")
    assert not (folder / "ca.pem").exists()
    return str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:x", "http://192.0.2.1:3100", "http://example.com",
     "ftp://127.0.0.1", "127.0.0.1:3100", "localhost", ""],
)  # fmt: skip
async def test_only_urls_of_loopback(url: str, tmp_path: Path) -> None:
    """Whatever else is typed is refused in words, without asking anybody."""
    assert "takes a loopback URL" in await refusal(url, tmp_path)


async def test_a_sandbox(stranger: Stranger, tmp_path: Path) -> None:
    """It tells where its proxy is and whom to trust; its key is not shown by accident."""
    loopback = await fetch(stranger.url, tmp_path / "ca.pem")
    assert (loopback.proxy, loopback.root_key) == (TOLD["proxy"], TOLD["root_key"])
    assert loopback.ca_file.read_text() == TOLD["ca"]
    assert TOLD["root_key"] not in repr(loopback)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b"", b"null", b'{"proxy": 1, "root_key": "", "ca": ""}'])
async def test_what_answers_but_is_no_sandbox(stranger: Stranger, tmp_path: Path, body: bytes) -> None:
    """It is said to be none, in words."""
    stranger.says = web.Response(body=body)
    assert await refusal(stranger.url, tmp_path) == (
        f"what answers at {stranger.url} is no sandbox; start one with: run.py sandbox"
    )


async def test_a_redirect_is_not_followed(stranger: Stranger, tmp_path: Path) -> None:
    """Or a port of this machine could send the question to any other."""
    stranger.says = web.Response(status=302, headers={"Location": "/elsewhere"})
    assert "is no sandbox" in await refusal(stranger.url, tmp_path)


@pytest.mark.parametrize("proxy", ["http://192.0.2.1:8080", "http://[::1", "socks5://127.0.0.1:1", ""])
async def test_a_proxy_elsewhere(stranger: Stranger, tmp_path: Path, proxy: str) -> None:
    """What leads away from this machine is refused."""
    stranger.says = web.json_response({**TOLD, "proxy": proxy})
    assert "not on loopback" in await refusal(stranger.url, tmp_path)


async def test_nobody_answers(tmp_path: Path) -> None:
    """With what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers, and nobody else can take it
        words = await refusal(f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path)
    assert "no sandbox answers" in words
    assert "run.py sandbox" in words
