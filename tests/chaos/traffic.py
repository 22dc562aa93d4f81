"""Callers who repeat until they have an answer, and people who write."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

import aiohttp

from tests.chaos.facts import Accepted, Written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.chaos.plan import Letter, Message, Plan
    from tests.chaos.stage import Stage

CALLERS = 16
_AGAIN = 0.3
_AGAIN_STATUSES = (503, 502, 504)


class Callers:
    """Each person's messages are one caller's, who sends the next when the one before was answered."""

    def __init__(self, stage: Stage) -> None:
        self.accepted: list[Accepted] = []
        self.refused: list[str] = []
        self.open = 0
        """Messages that wait for their answer."""
        self.asked = 0
        """Requests that are under way."""
        self._stage = stage
        self._queues: list[asyncio.Queue[Message]] = [asyncio.Queue() for _ in range(CALLERS)]

    def give(self, messages: Iterable[Message]) -> None:
        """Have these sent."""
        for message in messages:
            self.open += 1
            self._queues[zlib.crc32(f"{message.tenant} {message.to}".encode()) % CALLERS].put_nowait(message)

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            for queue in self._queues:
                group.create_task(self._call(queue))

    async def _call(self, queue: asyncio.Queue[Message]) -> None:
        while True:
            message = await queue.get()
            await self._send(message)
            self.open -= 1

    async def _send(self, message: Message) -> None:
        """With the same key until somebody has answered, at one machine and then at the other."""
        for attempt in range(10_000):
            machine = self._stage.machines[(message.machine + attempt) % len(self._stage.machines)]
            self.asked += 1
            try:
                status, answer = await self._stage.ask(
                    machine, message.tenant, "POST", "/api/send-message",
                    json={"number": message.to, "message": message.ref}, headers={"Idempotency-Key": message.ref},
                )  # fmt: skip
            except (aiohttp.ClientError, TimeoutError, ValueError):
                await asyncio.sleep(_AGAIN)
                continue
            finally:
                self.asked -= 1
            if status in (200, 202):
                ids = (str(answer["id"]),)
                self.accepted.append(Accepted(message.ref, message.tenant, message.to, ids, len(self.accepted)))
                return
            if status not in _AGAIN_STATUSES:
                self.refused.append(f"{message.ref} {status} {answer}")
                return
            await asyncio.sleep(_AGAIN)


class People:
    """Their phones are in the sandbox, which nothing strikes."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self.written: list[Written] = []
        self._stage, self._plan = stage, plan
        self._writing: set[asyncio.Task[None]] = set()

    def give(self, letters: Iterable[Letter]) -> None:
        """Have these written."""
        task = asyncio.create_task(self._write(list(letters)))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, letters: list[Letter]) -> None:
        for letter in letters:
            to = self._plan.tenants[letter.tenant]
            answer = await self._stage.ask_sandbox("POST", f"/phones/{letter.person}/messages", to=to, text=letter.text)
            self.written.append(Written(answer["id"], letter.tenant, letter.person, letter.text))

    async def finish(self) -> None:
        """Until everything is written."""
        await asyncio.gather(*self._writing)
