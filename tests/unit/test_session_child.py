"""A session process as its supervisor sees it, with programs of the test's own in its place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from core.clock import Clock
from core.sessions.child import Child, starter
from core.sessions.protocol import Answered, Closed, Open, Reconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

SPEAKS = """
import sys
sys.stdin.readline()
print("what a library prints", flush=True)
print('{"type": "Opening", "tenant": "a"}', flush=True)
print('{"type": "Opened", "tenant": "a"}', flush=True)
print('{"type": "Opening", "tenant": "b"}', flush=True)
print('{"type": "Closed", "tenant": "c", "rests": true}', flush=True)
print('{"type": "Answered", "call": 7}', flush=True)
"""
TELLS_ITS_ENVIRONMENT = """
import json, os
print(json.dumps({"type": "Opened", "tenant": " ".join(sorted(os.environ))}), flush=True)
"""
SILENT = "import time\ntime.sleep(600)\n"
ALIVE_ONCE = """
import time
print('{"type": "Alive"}', flush=True)
time.sleep(600)
"""
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + ALIVE_ONCE
CLOSES_ITS_STDOUT = "import os, time\nos.close(1)\ntime.sleep(600)\n"
ABORTS = """
import sys
sys.stdin.readline()
sys.stderr.write("a line of its log\\nfatal error: concurrent map writes\\ngoroutine 1: secret\\nsecret\\n")
sys.stderr.flush()
sys.exit(2)
"""


class HandClock(Clock):
    at = 1000.0

    def monotonic(self) -> float:
        return self.at


class Nursery:
    """Starts programs as children, and kills what is left of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.reports = folder, HandClock(), asyncio.Event()
        self.children: list[Child] = []

    async def start(self, program: str) -> Child:
        file = self.folder / "program.py"
        file.write_text(program)
        start: Callable[[int, Callable[[], None]], Awaitable[Child]] = starter(
            file, "postgres://nowhere/db", self.clock, None, timelock_pause=60, keep_connections=6, stuck_after=20
        )
        self.children.append(await start(7, self.reports.set))
        return self.children[-1]

    async def heard(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                await asyncio.sleep(0.01)


@pytest.fixture
async def nursery(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> AsyncIterator[Nursery]:
    made = Nursery(tmp_path)
    yield made
    for child in made.children:
        child.kill()
        await made.heard(lambda c=child: c.gone)


async def test_its_reports_are_kept_until_the_supervisor_hears_them(nursery: Nursery) -> None:
    """What is no report is passed over; who was opening at the end is still known then."""
    child = await nursery.start(SPEAKS)
    child.tell(Open("c"))
    child.tell(Reconnect("a", 7))
    assert (child.tenants, child.calls) == ({"c"}, {7})
    await nursery.heard(lambda: child.gone)
    assert (child.opening, list(child.opened)) == ({"b"}, ["a"])
    assert (list(child.closed), list(child.answers)) == ([Closed("c", rests=True)], [Answered(7)])
    assert (child.calls, child.status, child.was_useful) == (set(), 0, True)
    assert nursery.reports.is_set()
    child.tell(Open("nobody hears it"))


async def test_silence_ends_it_but_not_the_supervisor_s_own_sleep(nursery: Nursery) -> None:
    """A gateway that stood still for a minute has heard nothing in that time either."""
    child = await nursery.start(ALIVE_ONCE)
    await nursery.heard(lambda: child._stuck_after == 20)
    nursery.clock.at += 600
    child.kill_if_stuck()
    assert not child.gone
    for _ in range(9):
        nursery.clock.at += 2
        child.kill_if_stuck()
    await nursery.heard(lambda: child.gone)
    assert child.status == -9


async def test_a_process_that_is_being_born_has_more_time(nursery: Nursery) -> None:
    """It loads the library first, on a machine that may be busy."""
    child = await nursery.start(SILENT)
    for _ in range(29):
        nursery.clock.at += 2
        child.kill_if_stuck()
    await asyncio.sleep(0.1)
    assert not child.gone
    for _ in range(2):
        nursery.clock.at += 2
        child.kill_if_stuck()
    await nursery.heard(lambda: child.gone)


async def test_one_that_does_not_end_in_time_is_killed(nursery: Nursery) -> None:
    """SIGTERM first; after `within` seconds SIGKILL."""
    child = await nursery.start(DEAF)
    await nursery.heard(lambda: child._stuck_after == 20)
    await child.stop(0.2)
    assert (child.gone, child.status) == (True, -9)


async def test_one_that_can_no_longer_be_heard_is_killed(nursery: Nursery) -> None:
    """Nobody would know whose sessions it holds."""
    child = await nursery.start(CLOSES_ITS_STDOUT)
    await nursery.heard(lambda: child.gone)
    assert child.status == -9


async def test_of_a_death_of_the_library_only_the_first_line_is_told(
    nursery: Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """What hundreds of threads were doing may hold what no log shall."""
    child = await nursery.start(ABORTS)
    await nursery.heard(lambda: child.gone)
    assert "concurrent map writes" in caplog.text
    assert "secret" not in caplog.text


async def test_secrets_of_the_configuration_are_not_handed_over(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`{ $env: NAME }` may name any variable: a process gets those that it is known to need, and no others."""
    needed = ("PATH", "HOME", "TZ", "LC_ALL", "SSL_CERT_DIR", "https_proxy", "PGSSLROOTCERT", "GAPURA_LOG_LEVEL")
    for name in needed:
        monkeypatch.setenv(name, "C" if name == "LC_ALL" else "value")
    for name in ("ERP_SECRET", "DATABASE_URL", "GAPURA_IMPORT_FROM", "GAPURA_ERP_SECRET", "MY_PATH"):
        monkeypatch.setenv(name, "a secret")
    child = await nursery.start(TELLS_ITS_ENVIRONMENT)
    await nursery.heard(lambda: child.gone)
    has = set(child.opened[0].split())
    assert set(needed) | {"NEONIZE_BOT_TAG"} <= has
    assert not {"ERP_SECRET", "DATABASE_URL", "GAPURA_IMPORT_FROM", "GAPURA_ERP_SECRET", "MY_PATH"} & has
