"""Fixtures of tests in which a gateway posts callbacks to receivers on loopback, without long waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from core.paths.callbacks import backoff, engine
from tests.plugin_kit import incoming
from tests.service.conftest import ALPHA
from tests.service.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.service.conftest import House

    OpenReceiver = Callable[..., Awaitable[Receiver]]


@pytest.fixture
async def open_receiver(loop: asyncio.AbstractEventLoop) -> AsyncIterator[OpenReceiver]:
    """Receivers that listen until the end of the test."""
    opened: list[Receiver] = []

    async def open_one() -> Receiver:
        opened.append(Receiver())
        await opened[-1].start()
        return opened[-1]

    yield open_one
    for receiver in opened:
        await receiver.close()


@pytest.fixture
async def receiver(open_receiver: OpenReceiver) -> Receiver:
    """One of them."""
    return await open_receiver()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again after hundredths of a second, and looked for as often."""
    monkeypatch.setattr(backoff, "FIRST", 0.02)
    monkeypatch.setattr(backoff, "LONGEST", 0.1)
    monkeypatch.setattr(backoff, "LONGEST_REST", 0.05)
    monkeypatch.setattr(engine, "LOOK_EVERY", 0.05)


async def people_write(house: House, *chats: str, each: int = 1) -> None:
    """So many messages of each of these people to alpha, in turns; the content is their number in the chat."""
    for number in range(each):
        for chat in chats:
            message = incoming(tenant=ALPHA, id=f"{chat}-{number}", chat=chat, sender=chat, content=str(number))
            await house.gateway.store.add_incoming(message)


async def settled(house: House, count: int, status: str = "delivered") -> list[dict[str, Any]]:
    """The deliveries, oldest first, as soon as so many have that status; the test fails after a minute."""
    async with asyncio.timeout(60):
        while True:
            told = (await house.call("GET", "/api/callbacks", params={"limit": 1000})).body["deliveries"]
            if sum(one["status"] == status for one in told) >= count:
                return list(reversed(told))
            await asyncio.sleep(0.02)
