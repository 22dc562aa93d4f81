"""GET /api/callbacks and POST /api/callbacks/{id}/redeliver: pages, filters, refusals, and no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.service.callback_houses import people_write, settled
from tests.service.receiver import SECRET, always

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.service.conftest import House
    from tests.service.receiver import Receiver

    OpenHouse = Callable[..., Awaitable[House]]

NOBODYS = "01970000-0000-4000-8000-000000000000"


async def test_pages_and_filters(open_house: OpenHouse, receiver: Receiver) -> None:
    """The newest event first, in pages that lose nothing; by status and by endpoint."""
    mine = [receiver.endpoint(name="one"), receiver.endpoint(name="two", url=receiver.url("/two"))]
    house = await open_house(alpha={"callbacks": mine})
    await people_write(house, "628111", "628222", "628333")
    deliveries = list(reversed(await settled(house, 6)))
    assert [(one["seq"], one["endpoint"]) for one in deliveries] == [
        (3, "two"), (3, "one"), (2, "two"), (2, "one"), (1, "two"), (1, "one"),
    ]  # fmt: skip
    page = (await house.call("GET", "/api/callbacks?limit=4")).body
    rest = (await house.call("GET", f"/api/callbacks?limit=4&after={page['next']}")).body
    assert (page["deliveries"] + rest["deliveries"], rest["next"]) == (deliveries, None)
    for query, count in (("status=delivered", 6), ("status=dead", 0), ("endpoint=two", 3), ("endpoint=none", 0)):
        assert len((await house.call("GET", f"/api/callbacks?{query}")).body["deliveries"]) == count, query


async def test_no_secret_is_told(open_house: OpenHouse, receiver: Receiver) -> None:
    """Neither the signing secret nor headers, nor what of the URL is behind the host."""
    receiver.answer = always(410)
    secret = receiver.endpoint(url=receiver.url("/hidden-path?hidden=1"), headers={"X-Hidden": "hidden-value"})
    house = await open_house(alpha={"callbacks": [secret]})
    await people_write(house, "628111")
    await settled(house, 1, "dead")
    raw = (await house.call("GET", "/api/callbacks")).raw.decode()
    assert receiver.url("") in raw
    assert not any(word in raw for word in (SECRET, "hidden", "Hidden"))


@pytest.mark.parametrize(
    ("params", "code", "field"),
    [
        ({"status": "lost"}, "parameter_invalid", "status"),
        ({"limit": "0"}, "parameter_invalid", "limit"),
        ({"limit": "x"}, "parameter_invalid", "limit"),
        ({"after": "1"}, "parameter_invalid", "after"),
        ({"endpoint": "\0"}, "parameter_invalid", "endpoint"),
        ({"tenant": "beta"}, "parameter_unknown", "tenant"),
    ],
)
async def test_wrong_parameters(house: House, params: dict[str, Any], code: str, field: str) -> None:
    """400 that names the parameter."""
    answer = await house.call("GET", "/api/callbacks", params=params)
    assert (answer.status, answer.body["code"], answer.body["field"]) == (400, code, field)


async def test_deliveries_that_cannot_be_sent_again(open_house: OpenHouse, receiver: Receiver) -> None:
    """404 for whatever is no delivery's id; 409 for an endpoint that the YAML does not name any more."""
    house = await open_house(alpha={"callbacks": [receiver.endpoint(name="old")]})
    await people_write(house, "628111")
    [delivery] = await settled(house, 1)
    for name in (NOBODYS, "1", "%00", delivery["id"].upper(), "x" * 3000):
        answer = await house.call("POST", f"/api/callbacks/{name}/redeliver")
        assert (answer.status, answer.body["code"]) == (404, "delivery_not_found"), name
    later = await open_house(alpha={"callbacks": [receiver.endpoint(name="new")]})
    later.keys = house.keys
    answer = await later.call("POST", f"/api/callbacks/{delivery['id']}/redeliver")
    assert (answer.status, answer.body["code"]) == (409, "endpoint_gone")
