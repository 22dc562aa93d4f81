"""GET /api/events: everything that happens to a tenant, in order, with a cursor that misses nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugin_kit import incoming
from tests.service.conftest import ALPHA, NUMBER, SLOW

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.conftest import Answer, House

    OpenHouse = Callable[..., Awaitable[House]]


async def events(house: House, **params: Any) -> Any:
    """The answer's body."""
    answer = await house.call("GET", "/api/events", params=params)
    assert answer.status == 200, answer.raw
    return answer.body


async def someone_waits(house: House) -> None:
    """Until a reader of alpha's waits for an event; the test fails after a minute."""
    async with asyncio.timeout(60):
        while not house.gateway.news.feed._waiting.get(ALPHA):
            await asyncio.sleep(0.01)


async def read_to_the_end(house: House, limit: int) -> list[dict[str, Any]]:
    """Page by page."""
    found: list[dict[str, Any]] = []
    page = await events(house, limit=limit)
    while page["events"]:
        assert len(page["events"]) <= limit
        found += page["events"]
        page = await events(house, limit=limit, after=page["next"])
    return found


async def test_everything_is_told_in_order(house: House) -> None:
    """Queued, sent, received: numbered from 1 without a gap, the same on pages of any size."""
    sent = await house.send(client_ref="order-7")
    await house.until(sent, "sent")
    await house.gateway.store.add_incoming(incoming(tenant=ALPHA, content="hello", chat=NUMBER, sender=NUMBER))
    found = await read_to_the_end(house, 1000)
    assert [(event["seq"], event["type"]) for event in found] == [
        (1, "message.queued"), (2, "message.sent"), (3, "message.received"),
    ]  # fmt: skip
    assert found == await read_to_the_end(house, 1) == await read_to_the_end(house, 2)
    queued, _, received = (event["data"] for event in found)
    assert (queued["id"], queued["to"], queued["client_ref"]) == (sent.body["id"], NUMBER, "order-7")
    assert (received["chat"], received["content"]) == (NUMBER, "hello")


async def test_types_are_chosen(house: House) -> None:
    """By whole name or by family; `next` passes over what was not asked for."""
    await house.until(await house.send(), "sent")
    for types, expected in (
        ("message.sent", ["message.sent"]),
        ("message.sent,message.queued", ["message.queued", "message.sent"]),
        ("message.*", ["message.queued", "message.sent"]),
        ("*", ["message.queued", "message.sent"]),
        ("session.*", []),
    ):
        page = await events(house, types=types)
        assert ([event["type"] for event in page["events"]], page["next"]) == (expected, 2), types


async def test_latest_is_where_to_begin(house: House) -> None:
    """`after=latest` tells no events, and going on from there what comes later."""
    assert await events(house, after="latest") == {"events": [], "next": 0}
    await house.until(await house.send(), "sent")
    assert await events(house, after="latest", wait=60) == {"events": [], "next": 2}
    await house.until(await house.send(), "sent")
    assert [event["seq"] for event in (await events(house, after=2))["events"]] == [3, 4]


async def test_waiting_ends_with_the_first_event(open_house: OpenHouse) -> None:
    """Who waits behind the newest event is answered when there is one of the wished type; until then not."""
    house = await open_house(alpha={"plugins": SLOW})
    waiting = asyncio.create_task(events(house, after=0, wait=60, types="message.cancelled"))
    first = asyncio.create_task(events(house, wait=60))
    await house.until(await house.send(), "sent")
    assert (await first)["events"][0]["type"] == "message.queued"
    message = await house.send()
    assert not waiting.done()
    await house.call("DELETE", message.headers["Location"])
    [event] = (await waiting)["events"]
    assert (event["type"], event["data"]["id"]) == ("message.cancelled", message.body["id"])


async def test_another_gateways_events_wake_too(open_house: OpenHouse) -> None:
    """What one gateway admits reaches readers of another, also what is announced to nobody."""
    here, there = await open_house(), await open_house(alpha={"plugins": SLOW})
    there.keys = here.keys
    waiting = asyncio.create_task(events(here, wait=60))
    message = await there.send()
    [event, *_] = (await waiting)["events"]
    assert (event["type"], event["data"]["id"]) == ("message.queued", message.body["id"])


async def test_readers_who_wait_are_few_and_another_tenant_s_are_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is told to come later; who does not wait is answered, and so is another tenant."""
    monkeypatch.setattr("core.paths.events.MOST_WAITING", 1)
    waiting = asyncio.create_task(events(house, wait=60))
    await someone_waits(house)
    refused = await house.call("GET", "/api/events", params={"wait": 60})
    assert (refused.status, refused.body["code"], refused.headers["Retry-After"]) == (429, "too_many_waiting", "2")
    assert await events(house) == {"events": [], "next": 0}
    other = await house.call("GET", "/api/events", params={"wait": 1}, key="beta")
    assert (other.status, other.body["events"]) == (200, [])
    await house.send()
    assert (await waiting)["events"][0]["type"] == "message.queued"


async def test_waiting_ends_by_itself(house: House) -> None:
    """With no events, and the cursor as it was."""
    assert await events(house, wait=1) == {"events": [], "next": 0}


async def test_shutting_down_answers_who_waits(house: House) -> None:
    """At once, so that nobody's answer is lost with the gateway."""
    waiting = asyncio.create_task(events(house, wait=60))
    await someone_waits(house)
    house.stop.set()
    async with asyncio.timeout(30):
        assert await waiting == {"events": [], "next": 0}


async def test_a_key_revoked_meanwhile_hears_nothing(house: House) -> None:
    """Whoever waits with a key that ends is refused like everybody else with such a key."""
    waiting = asyncio.create_task(house.call("GET", "/api/events", params={"wait": 60}))
    await someone_waits(house)
    await house.gateway.store.rotate_key(ALPHA, "sha256:" + "0" * 64)
    await house.gateway.store.add_incoming(incoming(tenant=ALPHA))
    answer = await waiting
    assert (answer.status, answer.body["code"]) == (401, "invalid_key")


async def test_a_cursor_that_leads_nowhere_is_gone(house: House) -> None:
    """410 for events that were deleted and for numbers of the future, with what there is; without `after` from the
    oldest that is kept."""
    for _ in range(2):
        await house.until(await house.send(), "sent")
    house.rows("DELETE FROM events WHERE seq < 3")
    for after, status in ((0, 410), (1, 410), (2, 200), (4, 200), (5, 410), (2**63 - 1, 410)):
        answer = await house.call("GET", "/api/events", params={"after": after})
        assert answer.status == status, after
        if status == 410:
            said = answer.body
            assert (said["code"], said["field"], said["oldest"], said["newest"]) == ("cursor_gone", "after", 3, 4)
    assert [event["seq"] for event in (await events(house))["events"]] == [3, 4]
    house.rows("DELETE FROM events")
    assert await events(house) == {"events": [], "next": 4}
    assert (await house.call("GET", "/api/events", params={"after": 3})).status == 410


@pytest.mark.parametrize(
    ("params", "code", "field"),
    [
        ({"after": "x"}, "parameter_invalid", "after"),
        ({"after": "-1"}, "parameter_invalid", "after"),
        ({"after": "9" * 30}, "parameter_invalid", "after"),
        ({"after": ""}, "parameter_invalid", "after"),
        ({"limit": "0"}, "parameter_invalid", "limit"),
        ({"limit": "1001"}, "parameter_invalid", "limit"),
        ({"wait": "61"}, "parameter_invalid", "wait"),
        ({"wait": "1.5"}, "parameter_invalid", "wait"),
        ({"types": ""}, "parameter_invalid", "types"),
        ({"types": "messages.*"}, "parameter_invalid", "types"),
        ({"types": "message.sent,%"}, "parameter_invalid", "types"),
        ({"types": "message.sent,\0"}, "parameter_invalid", "types"),
        ({"since": "1"}, "parameter_unknown", "since"),
        ([("after", "1"), ("after", "2")], "parameter_twice", "after"),
    ],
)
async def test_wrong_parameters(house: House, params: Any, code: str, field: str) -> None:
    """400 that names the parameter."""
    answer: Answer = await house.call("GET", "/api/events", params=params)
    assert (answer.status, answer.body["code"], answer.body["field"]) == (400, code, field)
