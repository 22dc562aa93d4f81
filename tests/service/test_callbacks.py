"""Callbacks as their receivers see them: a real gateway posts to real servers on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.version import VERSION
from tests.plugin_kit import incoming
from tests.service.conftest import ALPHA, BETA, UNPACED
from tests.service.receiver import SECRET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.conftest import House
    from tests.service.receiver import Call, Receiver

    OpenHouse = Callable[..., Awaitable[House]]

PLENTY = {"plugins": {**UNPACED, "daily_limit": {"limit": 1000}}}


def types(calls: list[Call]) -> list[str]:
    """What was told."""
    return [call.body["type"] for call in calls]


async def test_everything_is_posted_signed_and_in_order(open_house: OpenHouse, receiver: Receiver) -> None:
    """Each event once, whole, with the three headers of Standard Webhooks, which its own library verifies; the
    endpoint's headers beside them, and no API key anywhere."""
    house = await open_house(alpha={**PLENTY, "callbacks": [receiver.endpoint(headers={"X-Shop": "1"})]})
    message = await house.send(client_ref="order-7")
    calls = await receiver.until(2)
    await house.until(message, "sent")
    assert types(calls) == ["message.queued", "message.sent"]
    events = (await house.call("GET", "/api/events")).body["events"]
    for call, event in zip(calls, events, strict=True):
        assert Webhook(SECRET).verify(call.raw, dict(call.headers)) == call.body
        assert call.body == {"id": call.id, "tenant": ALPHA, **event}
        assert list(call.body) == ["id", "type", "at", "tenant", "seq", "data"]
        assert (call.headers["X-Shop"], call.headers["User-Agent"]) == ("1", f"Gapura/{VERSION}")
        assert call.headers["Content-Type"] == "application/json"
        assert house.keys[ALPHA] not in str(call)
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(call.raw + b" ", dict(call.headers))
    assert len({call.id for call in calls}) == 2


async def test_whoever_wants_no_signature_gets_none(open_house: OpenHouse, receiver: Receiver) -> None:
    """`unsigned: true`; the id and the time are there."""
    house = await open_house(alpha={"callbacks": [{"url": receiver.url(), "unsigned": True}]})
    await house.send()
    [call, *_] = await receiver.until(1)
    assert "webhook-signature" not in call.headers
    assert call.headers["webhook-timestamp"].isdigit()


async def test_an_endpoint_is_sent_what_it_asked_for(open_house: OpenHouse, receiver: Receiver) -> None:
    """Of its own tenant, and of its types; another tenant's events do not reach it, nor the other endpoint's."""
    mine = [
        receiver.endpoint(name="received", url=receiver.url("/received"), events=("message.received",)),
        receiver.endpoint(name="sent", url=receiver.url("/sent"), events=("message.sent", "session.*")),
    ]
    house = await open_house(alpha={**PLENTY, "callbacks": mine}, beta=PLENTY)
    for tenant in (BETA, ALPHA):
        await house.until(await house.send(key=tenant), "sent", key=tenant)
        await house.gateway.store.add_incoming(incoming(tenant=tenant, content=f"to {tenant}"))
    calls = await receiver.until(2)
    found = {(call.path, call.body["type"], call.body["tenant"]) for call in calls}
    assert found == {("/received", "message.received", ALPHA), ("/sent", "message.sent", ALPHA)}
    assert house.rows("SELECT count(*) FROM callback_deliveries") == [(2,)]
