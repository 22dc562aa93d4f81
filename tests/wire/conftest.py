"""The sandbox, and processes with real neonize clients that talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from sandbox import Sandbox
from tests.wire.town import built

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.wire.town import Town

PROGRAM = Path(__file__).with_name("client_process.py")
PATIENCE = 60
"""Seconds until something that should happen in another process counts as not happening."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Many processes start in each of these tests: on a busy machine that takes its time."""
    for item in items:
        if item.path.is_relative_to(PROGRAM.parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(400))


class Refused(Exception):
    """An order was answered with an error; its fields are attributes."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(f"{answer['error']}: {answer.get('cause', '')} {answer.get('detail', '')}")
        self.name, self.cause, self.detail = answer["error"], answer.get("cause"), answer.get("detail")
        self.left, self.retry = answer.get("left"), answer.get("retry")


class ClientProcess:
    """A child with neonize in it; see client_process.py."""

    def __init__(self, child: asyncio.subprocess.Process, log: Path) -> None:
        self.child, self.log = child, log
        self.events: list[dict[str, Any]] = []
        self.over = False
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.child.stdout
        while line := await self.child.stdout.readline():
            said = json.loads(line)
            if "event" in said:
                self.events.append(said)
            else:
                self._answers.pop(said["id"]).set_result(said)
            async with self._news:
                self._news.notify_all()
        self.over = True
        for future in self._answers.values():
            future.cancel()
        async with self._news:
            self._news.notify_all()

    def order(self, do: str, tenant: str = "", **fields: Any) -> asyncio.Future[dict[str, Any]]:
        """Send an order; the future is its raw answer."""
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        assert self.child.stdin
        self.child.stdin.write(json.dumps({"id": number, "do": do, "tenant": tenant, **fields}).encode() + b"\n")
        return self._answers[number]

    async def ask(self, do: str, tenant: str = "", **fields: Any) -> Any:
        """An order's answer; raises Refused."""
        return result(await asyncio.wait_for(self.order(do, tenant, **fields), PATIENCE))

    async def event(self, kind: str, tenant: str, *, skip: int = 0) -> dict[str, Any]:
        """The first event of this kind and tenant (after `skip` others), waited for."""

        def found() -> list[dict[str, Any]]:
            return [e for e in self.events if e["event"] == kind and e["tenant"] == tenant][skip:]

        async with self._news:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait_for(lambda: found() or self.over), PATIENCE)
        told = [(e["tenant"], e["event"]) for e in self.events]
        assert found(), f"no {kind} of {tenant}; there was {told}\n{self.logged()}"
        return found()[0]

    def kinds(self, tenant: str) -> list[str]:
        """What happened to a tenant, in order."""
        return [e["event"] for e in self.events if e["tenant"] == tenant]

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    async def end(self) -> int | None:
        """End it as its worker would; returns its exit status."""
        if self.child.returncode is None:
            self.order("exit")
            try:
                await asyncio.wait_for(self.child.wait(), PATIENCE)
            except TimeoutError:
                self.child.kill()
                await self.child.wait()
        await self._reader
        return self.child.returncode


def result(answer: dict[str, Any]) -> Any:
    """What an order's raw answer holds; raises Refused."""
    if "error" in answer:
        raise Refused(answer)
    return answer["ok"]


async def until(true: Callable[[], bool]) -> None:
    """Look again and again until something in another process has happened."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.02)


class Wire:
    """A sandbox, a database, and as many client processes as a test wants."""

    def __init__(self, sandbox: Sandbox, dsn: str, folder: Path) -> None:
        self.sandbox, self.dsn, self.folder = sandbox, dsn, folder
        self.processes: list[ClientProcess] = []

    async def process(self, *, sessions: int = 4, **environment: str) -> ClientProcess:
        """A new client process, attached to the sandbox."""
        ca = self.folder / "ca.pem"
        ca.write_text(self.sandbox.ca_pem)
        settings = {
            "dsn": self.dsn,
            "proxy": self.sandbox.proxy_url,
            "root_key": self.sandbox.root_key.hex(),
            "sessions": sessions,
        }
        log = self.folder / f"process-{len(self.processes)}.log"
        with log.open("wb") as stderr:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                str(PROGRAM),
                json.dumps(settings),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                limit=1 << 20,
                # Go reads the environment that the process was started with.
                env={**os.environ, "SSL_CERT_FILE": str(ca), **environment},
            )
        process = ClientProcess(child, log)
        self.processes.append(process)
        await process.event("ready", "")
        return process

    def query(self, statement: str) -> list[Any]:
        """The first column of a query's rows."""
        connection = psycopg2.connect(self.dsn)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return [row[0] for row in cursor.fetchall()]
        finally:
            connection.close()

    def devices(self) -> list[str]:
        """The devices that the library has stored."""
        return self.query("SELECT jid FROM whatsmeow_device ORDER BY jid")

    async def pair(self, process: ClientProcess, tenant: str, number: str) -> str:
        """Link a new device of `number` and wait until it is online; returns its jid."""
        await process.ask("open", tenant)
        shown = await process.event("QrShown", tenant)
        await self.sandbox.scan(shown["text"], number, tenant)
        paired = await process.event("Paired", tenant)
        await process.event("Connected", tenant)
        return str(paired["jid"])


@pytest.fixture
async def sandbox(loop: asyncio.AbstractEventLoop) -> AsyncIterator[Sandbox]:
    """A WhatsApp on loopback, which must have known every stanza that it was sent."""
    async with Sandbox() as running:
        yield running
        assert running.unhandled == []
        assert running.errors == []


@pytest.fixture
async def wire(
    loop: asyncio.AbstractEventLoop, sandbox: Sandbox, database_url: str, tmp_path: Path
) -> AsyncIterator[Wire]:
    """A sandbox with real clients; the embedded PostgreSQL has no TLS, which the library must be told."""
    dsn = f"{database_url}{'&' if '?' in database_url else '?'}sslmode=disable"
    made = Wire(sandbox, dsn, tmp_path)
    yield made
    for process in made.processes:
        await process.end()


@pytest.fixture
async def town(
    loop: asyncio.AbstractEventLoop, sandbox: Sandbox, database_url: str, tmp_path: Path
) -> AsyncIterator[Town]:
    """A gateway of one's own on that sandbox; see tests.wire.town."""
    async with built(sandbox, tmp_path, database_url) as town:
        yield town
