"""A stream of sends that remembers every answer, to be held against the database afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import psycopg2

from tests.service.gateway_process import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


def rows(database_url: str, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """One statement on a connection of its own, as an operator with psql would run it."""
    connection = psycopg2.connect(database_url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@dataclass
class Load:
    """Sends from `workers` connections until stopped, each to a number of its own, each message with another text."""

    urls: Sequence[str]
    key: str
    accepted: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    without_retry_after: int = 0
    _stopped: bool = False

    @contextlib.asynccontextmanager
    async def running(self, workers: int = 16) -> AsyncIterator[Load]:
        """While inside, it sends; afterwards every request has its answer."""
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as group:
            for worker in range(workers):
                group.create_task(self._send(http, worker))
            try:
                yield self
            finally:
                self._stopped = True

    async def until_accepted(self, more: int) -> None:
        """Until `more` messages have been accepted from now on; fails after a minute."""
        enough = len(self.accepted) + more
        async with asyncio.timeout(60):
            while len(self.accepted) < enough:
                await asyncio.sleep(0.01)

    async def until_status(self, status: int) -> None:
        """Until an answer with that status came; fails after a minute."""
        seen = self.statuses[status]
        async with asyncio.timeout(60):
            while self.statuses[status] == seen:
                await asyncio.sleep(0.01)

    async def _send(self, http: aiohttp.ClientSession, worker: int) -> None:
        number = 0
        while not self._stopped:
            number += 1
            body = {"number": f"62812340{worker:05}", "message": f"{worker}/{number}"}
            url = self.urls[(worker + number) % len(self.urls)]
            try:
                async with http.post(f"{url}/api/send-message", json=body, headers={"X-API-Key": self.key}) as response:
                    answer = await response.json(content_type=None)
                    self._note(response, answer)
            except (aiohttp.ClientError, TimeoutError):
                self.unanswered += 1
                await asyncio.sleep(0.05)

    def _note(self, response: aiohttp.ClientResponse, answer: Any) -> None:
        self.statuses[response.status] += 1
        if response.status == 202:
            self.accepted.add(answer["id"])
        elif response.status == 503 and "Retry-After" not in response.headers:
            self.without_retry_after += 1


def check_books(database_url: str, load: Load) -> None:
    """Every 202 has its row, every row has its 202 or has expired, and counters are what the rows counted."""
    deadline = time.monotonic() + PATIENCE
    while True:
        stored = dict(rows(database_url, "SELECT id::text, status FROM messages"))
        assert load.accepted <= stored.keys()
        if {stored[i] for i in stored.keys() - load.accepted} <= {"expired"}:
            break
        # A gateway that told its caller to try again withdraws the message when no attempt can be under way any more.
        assert time.monotonic() < deadline, {i: stored[i] for i in stored.keys() - load.accepted}
        time.sleep(0.1)
    assert {stored[i] for i in load.accepted} <= {"queued", "sending", "sent", "unknown"}
    [(counted,)] = rows(database_url, "SELECT coalesce(sum(count), 0) FROM daily_limits")
    assert counted == len(load.accepted)
