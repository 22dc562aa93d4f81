"""Incoming messages, once each, to the tenant's plugins; their replies through the same door as everything else.

A message is a row before anybody sees it. Whoever claims the row shows it to `on_message` and writes down what came
of it; if that process dies, another shows it again. A reply's id is made of the message's, so that it is stored once
all the same.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING, Any

from core.errors import PluginFailed, Refused, StatementRejected, Unavailable
from core.failpoints import reach
from core.paths.admission import SendRequest

if TYPE_CHECKING:
    from core.clock import Clock
    from core.model import Incoming, Reply
    from core.paths.admission import Admission
    from core.tenants import Tenants
    from db.store import Store

log = logging.getLogger(__name__)

LOOK_ROUND = 2.0
"""Seconds between looks for messages that nobody here was told of."""

AT_MOST = 200
"""Messages in hand at a time; the others wait in their table."""

_RETRY = 0.5
_REPLIES = uuid.UUID("b3a8c6b2-5f0e-4c62-9d0a-6b1f0c8f7a11")
"""The name space of replies' ids."""


class Receiver:
    """Shows incoming messages to plugins, each tenant's in order."""

    def __init__(self, store: Store, clock: Clock, tenants: Tenants, admission: Admission, *, process: int) -> None:
        self._store, self._clock, self._tenants, self._admission = store, clock, tenants, admission
        self._process = process
        self._news = asyncio.Event()
        self._lanes: dict[str, asyncio.Queue[tuple[int, Incoming]]] = {}
        self._in_hand: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """A message was stored."""
        self._news.set()

    async def run(self) -> None:
        """Claim and dispatch, for ever."""
        while True:
            try:
                while messages := await self._claim():
                    for number, message in messages:
                        self._dispatch(number, message)
            except (Unavailable, StatementRejected) as error:
                log.warning("cannot look for incoming messages: %s", error, extra={"action": "receiver.database_away"})
            await self._wait()

    async def _claim(self) -> list[tuple[int, Incoming]]:
        room = AT_MOST - len(self._in_hand)
        return await self._store.claim_incoming(self._process, tuple(self._in_hand), room) if room > 0 else []

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_ROUND):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    def _dispatch(self, number: int, message: Incoming) -> None:
        self._in_hand.add(number)
        if lane := self._lanes.get(message.tenant):
            lane.put_nowait((number, message))
            return
        self._lanes[message.tenant] = lane = asyncio.Queue()
        lane.put_nowait((number, message))
        task = asyncio.create_task(self._serve(message.tenant, lane), name=f"receiver {message.tenant}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, tenant: str, lane: asyncio.Queue[tuple[int, Incoming]]) -> None:
        try:
            while not lane.empty():
                number, message = lane.get_nowait()
                try:
                    await self._handle(message)
                except Exception:
                    # Not again at once, should it always fail; and nobody else's waits for it.
                    log.exception("%s is shown again", message.id,
                                  extra={"action": "receiver.failed", "tenant": tenant})  # fmt: skip
                    await self._clock.sleep(LOOK_ROUND)
                self._in_hand.discard(number)
        finally:
            del self._lanes[tenant]
            self._news.set()  # there is room again

    async def _handle(self, message: Incoming) -> None:
        """Show, reply, write down: again from the start when PostgreSQL was away in between."""
        while True:
            try:
                replies = await self._show(message)
            except Unavailable as error:
                log.warning("incoming message waits: %s", error, extra={"action": "receiver.database_away"})
                await self._clock.sleep(_RETRY)
                continue
            except Exception:
                log.exception("incoming message failed", extra={"action": "receiver.failed", "tenant": message.tenant})
                replies = [{"failed": "internal_error"}]
            reach("replied")
            return await self._write_down(message, replies)

    async def _write_down(self, message: Incoming, replies: list[dict[str, Any]]) -> None:
        while True:
            try:
                return await self._store.incoming_done(message, replies)
            except Unavailable as error:
                log.warning("incoming message waits: %s", error, extra={"action": "receiver.database_away"})
                await self._clock.sleep(_RETRY)
            except StatementRejected as error:  # a plugin's word that PostgreSQL cannot hold
                log.error("cannot write down what came of it: %s", error, extra={"action": "receiver.not_recordable"})
                replies = [{"failed": "not_recordable"}]

    async def _show(self, message: Incoming) -> list[dict[str, Any]]:
        hooks = self._tenants.hooks(message.tenant)
        answers, failures = await hooks.collect_settled("on_message", message=message)
        results: list[dict[str, Any]] = [{"plugin": f.plugin, "failed": str(f)} for f in failures]
        for number, (plugin, reply) in enumerate(answers):
            results.append({"plugin": plugin} | await self._reply(message, plugin, reply, number))
        log.info(
            "%s from %s for %s: %d replies",
            message.id, message.sender, message.tenant, len(answers),
            extra={"action": "message.received", "tenant": message.tenant},
        )  # fmt: skip
        return results

    async def _reply(self, message: Incoming, plugin: str, reply: Reply, number: int) -> dict[str, Any]:
        """{id} of the stored reply, or {refused, detail}. A reply to what is old news is not sent."""
        if message.backlog:
            return self._refused(message, plugin, "backlog", "the message was older than two minutes on arrival")
        request = SendRequest(
            id=str(uuid.uuid5(_REPLIES, f"{message.tenant}\n{message.id}\n{number}")),
            number=reply.to if "@" in reply.to else f"{reply.to}@s.whatsapp.net",
            message=reply.content,
            reply_to=reply.reply_to,
            mentions=tuple(m if "@" in m else f"{m}@s.whatsapp.net" for m in reply.mentions),
            priority=reply.priority,
            answers=message.id,
            author=plugin,
        )
        try:
            return {"id": (await self._admission.send(message.tenant, None, request)).id}
        except Refused as refused:
            return self._refused(message, plugin, refused.code, refused.detail)
        except PluginFailed as failed:
            log.error("%s; the reply is refused", failed, exc_info=failed.__cause__, extra=failed.told)
            return self._refused(message, plugin, "plugin_failed", str(failed))
        except StatementRejected as rejected:
            return self._refused(message, plugin, "not_storable", str(rejected))

    def _refused(self, message: Incoming, plugin: str, code: str, detail: str) -> dict[str, Any]:
        log.warning(
            "reply of %s to %s for %s refused: %s", plugin, message.id, message.tenant, code,
            extra={"action": "reply.refused", "tenant": message.tenant, "plugin": plugin, "code": code},
        )  # fmt: skip
        return {"refused": code, "detail": detail}

    async def close(self) -> None:
        """Finish what is being shown; what was claimed and not shown is shown by another process, or at the next
        start."""
        for lane in self._lanes.values():
            while not lane.empty():
                lane.get_nowait()
        if self._tasks:
            await asyncio.wait(self._tasks)
