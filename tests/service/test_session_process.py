"""The program that a gateway starts to hold sessions, alone."""

from __future__ import annotations

import asyncio
import os
import sys

from core.sessions.protocol import DATABASE_AWAY, Begin, line
from tests.service.gateway_process import ROOT


async def test_without_postgresql_it_ends_with_one_clear_line() -> None:
    """It says why, with no traceback, and its exit status tells the supervisor that nobody is to blame."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "run.py"), "session-process", str(os.getpid()),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    begin = Begin("postgresql://nobody:secret@127.0.0.1:1/none", 7, 60.0, 60.0)
    _, said = await asyncio.wait_for(process.communicate(line(begin)), 60)
    assert process.returncode == DATABASE_AWAY, said.decode()
    lines = said.decode().splitlines()
    assert [text for text in lines if "worker.database_away" in text] == lines
    assert len(lines) == 1
    assert "secret" not in lines[0]
