"""The fixtures that other tests stand on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from aioresponses import aioresponses

ROOT = Path(__file__).parents[1]
FAILS = """
import asyncio
import socket

SERVER = socket.create_server(("127.0.0.1", 0))
PORT = SERVER.getsockname()[1]

async def listens():
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
        await server.serve_forever()

async def test_fails():
    asyncio.create_task(listens())
    async with asyncio.TaskGroup() as group:
        group.create_task(listens())
        await asyncio.sleep(0.1)
        raise ValueError

async def test_fails_too(loop):
    asyncio.create_task(listens())
    reader, writer = await asyncio.open_connection(sock=socket.create_connection(("127.0.0.1", PORT)))
    raise ValueError

async def test_next():
    await asyncio.sleep(0)
"""


def test_a_test_fails_alone(tmp_path: Path) -> None:
    """What it has left open (its loop, its tasks' sockets) is not held against the test after it."""
    (tmp_path / "test_it.py").write_text(FAILS)
    options = ["-p", "no:cacheprovider", "-p", "tests.conftest", "--basetemp", str(tmp_path / "base"), "-q"]
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), *options, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "2 failed, 1 passed" in done.stdout, done.stdout + done.stderr


async def test_http_answers_of_the_tests_choice(mocked_http: aioresponses) -> None:
    """A mocked URL answers as told, with this aiohttp, and nothing leaves the machine."""
    mocked_http.post("https://example.test/callback", status=201, payload={"ok": True})
    async with aiohttp.ClientSession() as session, session.post("https://example.test/callback") as response:
        assert (response.status, await response.json()) == (201, {"ok": True})


@given(st.booleans())
def test_no_example_is_too_slow(_: bool) -> None:
    """However slow the machine is, no property fails for the time that its examples take."""
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check
