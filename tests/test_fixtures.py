"""The fixtures that other tests stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aioresponses import aioresponses


async def test_http_answers_of_the_tests_choice(mocked_http: aioresponses) -> None:
    """A mocked URL answers as told, with this aiohttp, and nothing leaves the machine."""
    mocked_http.post("https://example.test/callback", status=201, payload={"ok": True})
    async with aiohttp.ClientSession() as session, session.post("https://example.test/callback") as response:
        assert (response.status, await response.json()) == (201, {"ok": True})
