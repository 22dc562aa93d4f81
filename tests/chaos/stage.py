"""All the processes of a run, the tenants linked to their phones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import psycopg2

from core.tenants import key_digest, new_key
from db.database import Database
from db.embedded import EmbeddedPostgres
from db.migrate import migrate
from db.store import Store
from tests.chaos.hearer import TYPES, hearing
from tests.chaos.machines import Machine
from tests.chaos.partition import wire_to
from tests.chaos.plan import MACHINES
from tests.service.gateway_process import ROOT, Installation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from tests.chaos.facts import Posted
    from tests.chaos.partition import Wire
    from tests.chaos.plan import Plan

SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB"}
"""The processes of PostgreSQL are killed; the machine that it runs on is not."""

PLUGINS = "{api_key: , whitelist: , daily_limit: {limit: 1000000}, delay: {min: 0, max: 0}, opt_out: , echo: }"
TENANT = f"""
transport: whatsapp
plugins: {PLUGINS.replace("{", "{{").replace("}", "}}")}
callbacks: [{{{{name: chaos, url: "{{url}}", unsigned: true, events: [{{events}}]}}}}]
"""
SERVICE = """
plugins_dir: ../bots
callbacks: {{allow: [127.0.0.0/8]}}
sessions: {{per_process: {per_process}}}
"""
ECHO = """
from core import hookimpl

@hookimpl
def on_message(message):
    return f"echo {message.content}"
"""

LINK_WITHIN = 180.0
_LOOK = 0.1


@dataclass(frozen=True, slots=True)
class Stage:
    """`keys`: tenant -> API key; `points`: where failpoints are armed; `wire`: from the second machine to
    PostgreSQL; `heard`: callbacks."""

    home: Path
    url: str
    postgres: EmbeddedPostgres
    sandbox: str
    machines: tuple[Machine, ...]
    wire: Wire
    keys: Mapping[str, str]
    points: Path
    heard: list[Posted]
    http: aiohttp.ClientSession

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        """Rows. Raises psycopg2.Error."""
        with contextlib.closing(psycopg2.connect(self.url, connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall())

    async def ask_sandbox(self, method: str, path: str, **body: Any) -> Any:
        """The JSON that the control API answers. Raises aiohttp.ClientError."""
        async with self.http.request(method, self.sandbox + path, json=body or None) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def ask(self, machine: Machine, tenant: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """(status, JSON). Raises aiohttp.ClientError, TimeoutError; the former too while the machine has no URL."""
        if machine.url is None:
            raise aiohttp.ClientError("it is not running")
        headers = {"X-API-Key": self.keys[tenant], **options.pop("headers", {})}
        async with self.http.request(method, machine.url + path, headers=headers, **options) as answer:
            return answer.status, await answer.json()


@contextlib.asynccontextmanager
async def staged(plan: Plan, home: Path, tell: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Everything runs, and every tenant is connected. Raises TimeoutError. To be entered in the main thread, with
    which PostgreSQL dies."""
    async with contextlib.AsyncExitStack() as stack:
        tell("starting PostgreSQL")
        postgres = EmbeddedPostgres(home / "postgres", SETTINGS)
        url = postgres.start()
        stack.callback(postgres.stop)
        await _beside(stack, postgres.supervise())
        wire, url_of_second = await stack.enter_async_context(wire_to(url))
        sandbox = await stack.enter_async_context(_sandbox(home))
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)))
        heard: list[Posted] = []
        callback = await stack.enter_async_context(hearing(heard))
        points = home / "points"
        points.mkdir()
        installations = _installations(home, [url, url_of_second], points, len(plan.tenants))
        tell("making tenants")
        keys = await _tenants(installations[0], url, plan, callback)
        machines = tuple(Machine(installation, sandbox) for installation in installations)
        stage = Stage(home, url, postgres, sandbox, machines, wire, keys, points, heard, http)
        for machine in machines:
            stack.push_async_callback(machine.end)
        for machine in machines:
            await _beside(stack, machine.keep_running())
        await _people(stage, plan)
        await _link(stage, plan, tell)
        yield stage


async def _beside(stack: contextlib.AsyncExitStack, work: Any) -> None:
    task = asyncio.create_task(work)

    async def cancel() -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    stack.push_async_callback(cancel)


def _installations(home: Path, urls: list[str], points: Path, tenants: int) -> list[Installation]:
    """One for each machine, with one configuration."""
    config = home / "machine-0" / "config"
    environment = {"GAPURA_CONFIG": str(config), "GAPURA_FAILPOINT": f"armed:{points}"}
    found = [
        Installation(home / f"machine-{n}", url, environment) for n, url in zip(range(MACHINES), urls, strict=True)
    ]
    found[0].write("service.yaml", SERVICE.format(per_process=max(2, tenants // 3)))
    found[0].write("../bots/echo.py", ECHO)
    return found


async def _tenants(installation: Installation, url: str, plan: Plan, callback: str) -> dict[str, str]:
    """Their keys. Not by `tenant add`: twenty commands would take longer than twenty strikes."""
    keys = {name: new_key() for name in plan.tenants}
    database = await Database.open(url, size=1, connect_timeout=10)
    try:
        await migrate(database)
        for name, key in keys.items():
            await Store(database).add_tenant(name, key_digest(key))
            installation.write(f"tenants/{name}.yaml", TENANT.format(url=callback, events=", ".join(TYPES)))
    finally:
        await database.close()
    return keys


@contextlib.asynccontextmanager
async def _sandbox(home: Path) -> AsyncIterator[str]:
    """The URL of a sandbox in a process of its own: what is on the phones outlives everything."""
    with (home / "sandbox.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "run.py"), "sandbox", "--port", "0", "--json",
            stdout=asyncio.subprocess.PIPE, stderr=log, env={**os.environ, "GAPURA_DATA": str(home)},
        )  # fmt: skip
    try:
        assert process.stdout is not None
        yield str(json.loads(await process.stdout.readline())["url"])
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _people(stage: Stage, plan: Plan) -> None:
    for people in plan.people.values():
        for number in people:
            await stage.ask_sandbox("POST", "/phones", number=number, name=f"Person {number}")
            if int(number) % 2:
                await stage.ask_sandbox("PATCH", f"/phones/{number}", auto_read=True)


async def _link(stage: Stage, plan: Plan, tell: Callable[[str], None]) -> None:
    """Pair every tenant, half of them by each machine."""
    async with asyncio.timeout(LINK_WITHIN + 5 * len(plan.tenants)), asyncio.TaskGroup() as group:
        for number, machine in enumerate(stage.machines):
            group.create_task(_link_by(stage, machine, list(plan.tenants.items())[number::MACHINES], tell))
    async with asyncio.timeout(LINK_WITHIN):
        await until_connected(stage)


async def _link_by(stage: Stage, machine: Machine, tenants: list[tuple[str, str]], tell: Callable[[str], None]) -> None:
    for tenant, phone in tenants:
        tell(f"linking {tenant}")
        qr = await _qr(stage, machine, tenant)
        await stage.ask_sandbox("POST", "/scan", qr=qr, number=phone, name=tenant)


async def _qr(stage: Stage, machine: Machine, tenant: str) -> str:
    """Its text. On a busy machine it takes longer to show one than HTTP, or a caller, waits."""
    while True:
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            status, answer = await stage.ask(machine, tenant, "GET", "/api/qr")
            if status == 200:
                return str(answer["qr"])
            if status != 503:
                raise RuntimeError(f"no QR code for {tenant}: {answer}")
        await asyncio.sleep(_LOOK)


async def until_connected(stage: Stage) -> None:
    """Wait until every tenant is."""
    while stage.query("SELECT 1 FROM sessions WHERE state <> 'connected'"):
        await asyncio.sleep(_LOOK)
