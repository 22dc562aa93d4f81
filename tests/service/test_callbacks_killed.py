"""A gateway is killed while it posts: every event arrives at least once, and always under one id."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from db.database import Database
from db.store import Store
from tests.plugin_kit import incoming
from tests.service.gateway_process import Installation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.service.gateway_process import GatewayProcess
    from tests.service.receiver import Call, Receiver

PEOPLE, EACH = ("628111", "628222", "628333"), 4


@pytest.fixture
async def store(loop: asyncio.AbstractEventLoop, database_url: str) -> AsyncIterator[Store]:
    """A hand on the database that the gateways have."""
    database = await Database.open(database_url, connect_timeout=10)
    yield Store(database)
    await database.close()


async def serve(installation: Installation) -> GatewayProcess:
    """Another gateway, without holding up the receiver, which lives in this process."""
    return await asyncio.to_thread(installation.serve)


async def all_told(receiver: Receiver) -> None:
    """Until every message has been posted; the test fails after a minute."""
    async with asyncio.timeout(60):
        while len({call.id for call in receiver.calls}) < len(PEOPLE) * EACH:
            await asyncio.sleep(0.02)


def first_posts(calls: list[Call]) -> dict[str, list[str]]:
    """Chat -> its messages in the order in which each was first posted."""
    found: dict[str, list[str]] = {}
    for call in calls:
        said = found.setdefault(call.body["data"]["chat"], [])
        if call.body["data"]["content"] not in said:
            said.append(call.body["data"]["content"])
    return found


@pytest.mark.parametrize(("point", "twice"), [("callback_answered=kill:3", True), ("callback_posting=kill:4", False)])
async def test_a_gateway_that_is_killed_while_it_posts(  # noqa: PLR0917 - fixtures and parameters
    tmp_path: Path, database_url: str, receiver: Receiver, store: Store, point: str, twice: bool
) -> None:
    """Another one goes on: nothing is left out, the order of each chat is kept, and what was answered just before the
    end and had not been written down is posted once more under its old id."""
    doomed = Installation(tmp_path, database_url, {"GAPURA_FAILPOINT": point})
    doomed.write("service.yaml", "callbacks: {allow: [127.0.0.1/32]}")
    callbacks = json.dumps([receiver.endpoint(events=["message.received"])])
    doomed.add_tenant("shop", plugins="{api_key: }", callbacks=callbacks)
    gateway = await serve(doomed)
    for number in range(EACH):
        for person in PEOPLE:
            message = incoming(
                tenant="shop", id=f"{person}-{number}", chat=person, sender=person, content=str(number)
            )  # fmt: skip
            await store.add_incoming(message)
    await asyncio.to_thread(gateway.logs, "failpoint.struck")
    await asyncio.to_thread(gateway.kill)
    before = list(receiver.calls)
    heir = await serve(Installation(tmp_path, database_url))
    await all_told(receiver)
    await asyncio.to_thread(heir.stop)
    ids = {(call.body["seq"], call.id) for call in receiver.calls}
    assert len(ids) == len({seq for seq, _ in ids}) == len(PEOPLE) * EACH
    assert first_posts(receiver.calls) == {person: [str(number) for number in range(EACH)] for person in PEOPLE}
    again = [call.id for call in receiver.calls[len(before) :] if call.id in {one.id for one in before}]
    assert len(again) == len(set(again))
    assert bool(again) or not twice
