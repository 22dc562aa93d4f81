"""Receivers as they are: they fail, hang, redirect, drip, die and come back; nothing is lost, and nobody else waits."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from core.paths.callbacks import endpoint, posting
from tests.service.callback_houses import people_write, settled
from tests.service.conftest import ALPHA
from tests.service.receiver import Receiver, always

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.conftest import House
    from tests.service.receiver import Call

    OpenHouse = Callable[..., Awaitable[House]]
    OpenReceiver = Callable[..., Awaitable[Receiver]]


def chats(calls: list[Call]) -> dict[str, list[str]]:
    """Chat -> the numbers of its messages, in the order in which they were posted."""
    found: dict[str, list[str]] = {}
    for call in calls:
        found.setdefault(call.body["data"]["chat"], []).append(call.body["data"]["content"])
    return found


@pytest.mark.usefixtures("impatient")
async def test_a_receiver_that_often_fails_gets_all_in_order(open_house: OpenHouse, receiver: Receiver) -> None:
    """Two of three posts fail: every event arrives, under one id however often it is posted, and those of a chat in
    the order in which they happened."""
    accepted: list[Call] = []

    async def moody(call: Call) -> web.Response:
        if len(receiver.calls) % 3:
            return web.Response(status=503 if len(receiver.calls) % 2 else 400)
        accepted.append(call)
        return web.Response(status=202)

    receiver.answer = moody
    house = await open_house(alpha={"callbacks": [receiver.endpoint()]})
    people = [f"62811100{number}" for number in range(4)]
    await people_write(house, *people, each=5)
    deliveries = await settled(house, 20)
    assert chats(accepted) == {person: [*"01234"] for person in people}
    assert {call.body["seq"]: call.id for call in receiver.calls} == {one["seq"]: one["id"] for one in deliveries}
    assert len({call.id for call in receiver.calls}) == 20
    assert sum(one["tries"] for one in deliveries) == len(receiver.calls) > 20


@pytest.mark.usefixtures("impatient")
async def test_a_receiver_that_hangs_is_tried_again(
    open_house: OpenHouse, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time ends; what it says after that counts for nothing."""
    monkeypatch.setattr(posting, "PATIENCE", 3.0)

    async def hangs_at_first(_: Call) -> web.Response:
        if len(receiver.calls) == 1:
            await asyncio.sleep(30)
        return web.Response()

    receiver.answer = hangs_at_first
    house = await open_house(alpha={"callbacks": [receiver.endpoint()]})
    await people_write(house, "628111")
    [delivery] = await settled(house, 1)
    # A machine that stands still may be late for the second one too.
    assert delivery["tries"] == len(receiver.calls) >= 2


@pytest.mark.usefixtures("impatient")
async def test_a_dead_endpoint_holds_nobody_up(
    open_house: OpenHouse, open_receiver: OpenReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hangs for ever, one refuses connections: the third gets everything meanwhile, as does another tenant's."""
    monkeypatch.setattr(posting, "PATIENCE", 3600.0)
    hangs, gone, well, other = [await open_receiver() for _ in range(4)]

    async def for_ever(_: Call) -> web.Response:
        await asyncio.sleep(3600)
        return web.Response()

    hangs.answer = for_ever
    await gone.stop()
    mine = [hangs.endpoint(name="hangs"), gone.endpoint(name="gone"), well.endpoint(name="well")]
    house = await open_house(alpha={"callbacks": mine}, beta={"callbacks": [other.endpoint()]})
    await people_write(house, *(f"62811100{number}" for number in range(10)), each=3)
    await house.send(key="beta")
    assert len(await well.until(30)) == 30
    async with asyncio.timeout(60):
        while (await house.call("GET", "/api/callbacks")).body["endpoints"][2]["pending"]:
            await asyncio.sleep(0.02)
    assert await other.until(1)
    assert len(hangs.calls) == 1
    told = (await house.call("GET", "/api/callbacks")).body["endpoints"]
    assert [(one["name"], one["pending"] > 0, one["dead"]) for one in told] == [
        ("hangs", True, 0), ("gone", True, 0), ("well", False, 0),
    ]  # fmt: skip
    async with asyncio.timeout(60):
        while (await house.call("GET", "/api/callbacks?endpoint=gone")).body["endpoints"][1]["failures"] < 3:
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("impatient")
async def test_one_that_comes_back_is_not_flooded(open_house: OpenHouse, receiver: Receiver) -> None:
    """It is down while fifty chats write; when it is back, it is posted one event, then two, then at most four at a
    time; and everything arrives."""
    port = receiver.port
    await receiver.stop()
    house = await open_house(alpha={"callbacks": [receiver.endpoint(url=f"http://127.0.0.1:{port}/hook")]})
    await people_write(house, *(f"6281110{number:02}" for number in range(50)))
    async with asyncio.timeout(60):
        while (await house.call("GET", "/api/callbacks")).body["endpoints"][0]["failures"] < 4:
            await asyncio.sleep(0.02)
    together: list[int] = []
    under_way = 0

    async def slowly(_: Call) -> web.Response:
        nonlocal under_way
        under_way += 1
        together.append(under_way)
        await asyncio.sleep(0.05)
        under_way -= 1
        return web.Response()

    receiver.answer = slowly
    await receiver.start()
    await settled(house, 50)
    assert together[0] == 1
    assert max(together[:2]) <= 2
    assert max(together) <= endpoint.AT_ONCE
    assert len(receiver.calls) == len({call.id for call in receiver.calls}) == 50


@pytest.mark.usefixtures("impatient")
async def test_redirects_lead_nowhere(open_house: OpenHouse, open_receiver: OpenReceiver) -> None:
    """Neither to another path nor to another host; whoever looks is told why."""
    receiver, elsewhere = await open_receiver(), await open_receiver()
    receiver.answer = always(307, headers={"Location": elsewhere.url()})
    house = await open_house(alpha={"callbacks": [receiver.endpoint()]})
    await people_write(house, "628111")
    await receiver.until(3)
    [delivery] = (await house.call("GET", "/api/callbacks")).body["deliveries"]
    assert (delivery["status"], delivery["last_status"]) == ("pending", 307)
    assert "redirects are not followed" in delivery["last_error"]
    assert elsewhere.calls == []


async def test_an_answer_without_end_is_an_answer(
    open_house: OpenHouse, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says 200 and then talks for ever, or drips, has accepted: it is not posted again, and the next one goes."""
    monkeypatch.setattr(posting, "PATIENCE", 8.0)  # a machine that stands still is no receiver that hangs

    async def chatters(call: Call) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(call.request)
        size, pause = (10_000, 0.0) if len(receiver.calls) == 1 else (1, 0.05)
        with_contents = b"x" * size
        try:
            while True:
                await response.write(with_contents)
                await asyncio.sleep(pause)
        except ConnectionError:
            return response

    receiver.answer = chatters
    house = await open_house(alpha={"callbacks": [receiver.endpoint()]})
    await people_write(house, "628111", each=2)
    deliveries = await settled(house, 2)
    assert [(one["tries"], one["last_status"]) for one in deliveries] == [(1, 200), (1, 200)]


async def test_gone_is_given_up_at_once(
    open_house: OpenHouse, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """410: dead after one post, said in the log, and what is behind it in the chat goes on."""
    receiver.answer = always(410, text="no more of these")
    house = await open_house(alpha={"callbacks": [receiver.endpoint()]})
    with caplog.at_level(logging.ERROR, logger="core.paths.callbacks"):
        await people_write(house, "628111", each=2)
        deliveries = await settled(house, 2, "dead")
    assert [(one["tries"], one["last_status"], one["last_error"]) for one in deliveries] == [
        (1, 410, "no more of these")
    ] * 2
    actions = [getattr(record, "action", "") for record in caplog.records if record.name.startswith("core.")]
    assert actions == ["callback.dead"] * 2
    assert house.keys[ALPHA] not in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_what_was_given_up_is_sent_again_when_asked_for(open_house: OpenHouse, receiver: Receiver) -> None:
    """By POST, under its old id; 409 while it is on its way; what was delivered may be sent again, too."""
    receiver.answer = always(410)
    house = await open_house(alpha={"callbacks": [receiver.endpoint()]})
    await people_write(house, "628111")
    [delivery] = await settled(house, 1, "dead")
    receiver.answer = always(500)
    path = f"/api/callbacks/{delivery['id']}/redeliver"
    again = await house.call("POST", path)
    assert (again.status, again.body["status"], again.body["tries"]) == (202, "pending", 0)
    pending = await house.call("POST", path)
    assert (pending.status, pending.body["code"], pending.body["state"]) == (409, "delivery_pending", "pending")
    receiver.answer = None
    await settled(house, 1)
    count = len(receiver.calls)
    assert (await house.call("POST", path)).status == 202
    await receiver.until(count + 1)
    assert {call.id for call in receiver.calls} == {delivery["id"]}
    await settled(house, 1)


@pytest.mark.usefixtures("impatient")
async def test_addresses_of_this_network_are_not_posted_to(
    open_house: OpenHouse, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless the operator named the network: 127.0.0.1 is in these tests, and 127.0.0.2, the same machine, is not. The
    address is in the log, and in nothing that the tenant can read."""
    inside = receiver.endpoint(url=f"http://127.0.0.2:{receiver.port}/", name="inside")
    house = await open_house(alpha={"callbacks": [inside, receiver.endpoint(name="allowed")]})
    await people_write(house, "628111")
    await receiver.until(1)
    async with asyncio.timeout(60):
        while True:
            [delivery] = (await house.call("GET", "/api/callbacks?endpoint=inside")).body["deliveries"]
            if delivery["tries"]:
                break
            await asyncio.sleep(0.02)
    assert "the host is not allowed" in delivery["last_error"]
    assert "127.0.0.2" not in str(delivery)
    assert "its address is 127.0.0.2" in caplog.text
    assert {call.headers["Host"] for call in receiver.calls} == {f"127.0.0.1:{receiver.port}"}


async def test_two_gateways_share_the_work(open_house: OpenHouse, receiver: Receiver) -> None:
    """Both know the endpoint, and each event is posted once, in order, never more than four at a time."""

    async def slowly(_: Call) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response()

    receiver.answer = slowly
    mine = {"callbacks": [receiver.endpoint()]}
    house, _ = await open_house(alpha=mine), await open_house(alpha=mine)
    people = [f"62811100{number}" for number in range(8)]
    await people_write(house, *people, each=5)
    await settled(house, 40)
    assert len(receiver.calls) == len({call.id for call in receiver.calls}) == 40
    assert chats(receiver.calls) == {person: [*"01234"] for person in people}
    assert receiver.most_at_once <= endpoint.AT_ONCE
