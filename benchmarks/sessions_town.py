"""Hundreds of linked tenants of one gateway on a PostgreSQL with few connections, and a WhatsApp on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import psycopg2

from benchmarks.linking import Linking
from benchmarks.servers import ROOT, clean_environment, started, temporary_home
from db.database import Database
from db.embedded import EmbeddedPostgres
from db.migrate import migrate
from sandbox import Sandbox
from sandbox.control import serve_control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from benchmarks.servers import Server
    from sandbox import Phone

LIBRARY = "gapura-whatsapp"
"""How the connections of the WhatsApp library call themselves."""

_SERVICE = """\
defaults:
  plugins: {{ api_key: , daily_limit: {{ limit: 1000000 }}, delay: {{ min: 0, max: 0 }} }}
sessions: {{ per_process: {per_process}, keep_connections: {keep_connections} }}
"""
_LOOK_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class SessionsTown:
    """`control`: where the sandbox is asked; `environment`: of every process of the gateway's."""

    sandbox: Sandbox
    control: str
    home: Path
    url: str
    http: aiohttp.ClientSession
    environment: dict[str, str]
    linked: dict[str, str] = field(default_factory=dict)  # tenant -> its number

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        """The rows of a query."""
        with contextlib.closing(psycopg2.connect(self.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall()) if cursor.description else []

    def count(self, statement: str, *parameters: Any) -> int:
        """The one number that a query tells."""
        return int(self.query(statement, *parameters)[0][0])

    async def link(self, count: int) -> None:
        """Add so many tenants, each with a linked device. TimeoutError when one cannot be linked."""
        ca_file = self.home / "ca.pem"
        ca_file.write_text(self.sandbox.ca_pem)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.linking", cwd=ROOT, stdin=-1, stdout=-1, stderr=-3,
            env={**self.environment, "SSL_CERT_FILE": str(ca_file)},
        )  # fmt: skip
        assert process.stdin is not None
        linking = Linking(self.url, self.sandbox.proxy_url, self.sandbox.root_key.hex(), count)
        process.stdin.write(msgspec.json.encode(linking) + b"\n")
        for number in range(len(self.linked), len(self.linked) + count):
            await self._link(process, f"t{number:04}", f"62811{number:07}")
        process.stdin.close()
        await process.wait()

    async def _link(self, process: asyncio.subprocess.Process, tenant: str, number: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        digest = hashlib.sha256(key_of(tenant).encode()).hexdigest()
        self.query("INSERT INTO api_keys (tenant_id, api_key) VALUES (%s, %s)", tenant, f"sha256:{digest}")
        process.stdin.write(f"{tenant}\n".encode())
        async with asyncio.timeout(60):
            await self.sandbox.scan((await process.stdout.readline()).decode().strip(), number, tenant)
            jid = (await process.stdout.readline()).decode().strip()
        self.query("INSERT INTO sessions (tenant_id, jid, sandbox) VALUES (%s, %s, true)", tenant, jid)
        self.linked[tenant] = number

    def phone_of(self, tenant: str) -> Phone:
        """Somebody's who writes with this tenant and with nobody else."""
        return self.sandbox.phone(self.linked[tenant].replace("62811", "62822"))

    async def send(self, server: Server, tenant: str) -> None:
        """POST a message to `phone_of(tenant)`. RuntimeError when it is not accepted."""
        body = {"number": self.phone_of(tenant).number, "message": f"to {tenant}"}
        url = f"http://127.0.0.1:{server.port}/api/send-message"
        async with self.http.post(url, json=body, headers={"X-API-Key": key_of(tenant)}) as answer:
            if answer.status != 202:
                raise RuntimeError(f"a send of {tenant} was answered {answer.status}: {await answer.text()}")

    @contextlib.asynccontextmanager
    async def gateway(self) -> AsyncIterator[Server]:
        """A running gateway. Its commands block and ask the sandbox, which lives in this loop, so they run in
        threads."""
        with contextlib.ExitStack() as stack:
            log = stack.enter_context((self.home / "log").open("ab"))
            serve = started(
                ["run.py", "serve", "--port", "0", "--sandbox", self.control], self.environment, log.fileno()
            )
            server = await asyncio.to_thread(stack.enter_context, serve)
            try:
                yield server
            finally:
                await asyncio.to_thread(stack.close)

    def refused(self) -> int:
        """How often PostgreSQL had no connection left for somebody."""
        logs = self.home.glob("postgres/pg18/cluster/log/*.log")
        return sum(log.read_text(errors="replace").count("too many clients already") for log in logs)


def key_of(tenant: str) -> str:
    """Its API key."""
    return f"sk_{tenant}"


class Connections:
    """The most connections to PostgreSQL that there were at once since the last `reset`, by who made them; `all` are
    everybody's but this one's own."""

    def __init__(self, url: str) -> None:
        self._url, self._over = url, threading.Event()
        self.most: Counter[str] = Counter()

    def reset(self) -> None:
        """Begin to count anew."""
        self.most = Counter()

    @contextlib.contextmanager
    def watched(self) -> Iterator[Connections]:
        """Look ten times a second."""
        thread = threading.Thread(target=self._look, name="connections")
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def _look(self) -> None:
        query = (
            "SELECT application_name, count(*) FROM pg_stat_activity"
            " WHERE datid IS NOT NULL AND pid <> pg_backend_pid() GROUP BY 1"
        )
        with contextlib.closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not self._over.wait(_LOOK_EVERY):
                cursor.execute(query)
                now = Counter(dict(cursor.fetchall()))
                now["all"] = now.total()
                self.most |= now


@contextlib.asynccontextmanager
async def built(max_connections: int, per_process: int, keep_connections: float) -> AsyncIterator[SessionsTown]:
    """Without a tenant and without a gateway; nothing is left afterwards."""
    with temporary_home() as home:
        settings = {"max_connections": f"{max_connections}"}
        postgres = EmbeddedPostgres(home / "postgres", settings)
        url = postgres.start()  # not in a thread, with which it would die
        environment = {**clean_environment(home), "DATABASE_URL": url}
        (home / "config" / "tenants").mkdir(parents=True)
        service = _SERVICE.format(per_process=per_process, keep_connections=keep_connections)
        (home / "config" / "service.yaml").write_text(service, encoding="utf-8")
        try:
            database = await Database.open(url, size=1)
            await migrate(database)
            await database.close()
            async with Sandbox() as sandbox, serve_control(sandbox, 0) as control, aiohttp.ClientSession() as http:
                yield SessionsTown(sandbox, control, home, url, http, environment)
        finally:
            postgres.stop()
