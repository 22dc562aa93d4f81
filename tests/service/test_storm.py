"""Many at once, through two gateway processes on one database."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.service.gateway_process import Installation
from tests.service.load import rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPELLINGS = (
    "081234567890",
    "0812-3456-7890",
    "+62 812-3456-7890",
    "6281234567890",
    "006281234567890",
    "6281234567890@c.us",
    "6281234567890@s.whatsapp.net",
)


class Pair:
    """Two gateways, one database, one tenant `shop`."""

    def __init__(self, urls: tuple[str, str], key: str, database_url: str, installation: Installation) -> None:
        self.urls, self.key, self.database_url, self.installation = urls, key, database_url, installation

    async def post(self, http: aiohttp.ClientSession, gateway: int, body: dict[str, Any], **headers: str) -> Any:
        """(status, headers, JSON) of a send through one of the two."""
        url = f"{self.urls[gateway % 2]}/api/send-message"
        async with http.post(url, json=body, headers={"X-API-Key": self.key} | headers) as response:
            return response.status, response.headers, await response.json(content_type=None)


@pytest.fixture
def pair(database_url: str, tmp_path: Path) -> Iterator[Pair]:
    installation = Installation(tmp_path, database_url)
    plugins = "{api_key: {}, whitelist: {}, daily_limit: {limit: 100}, delay: {min: 30, max: 60}}"
    key = installation.add_tenant("shop", plugins=plugins)
    with ExitStack() as stack:
        one, two = stack.enter_context(installation.serve()), stack.enter_context(installation.serve())
        yield Pair((one.url, two.url), key, database_url, installation)


async def test_500_sends_at_once_to_one_number_in_many_spellings_are_accepted_exactly_100_times(pair: Pair) -> None:
    """From 500 connections, through both gateways: 100 answers 202 and 400 answers 429, the counter is 100, and
    there are 100 rows."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        answers = await asyncio.gather(
            *(pair.post(http, n, {"number": SPELLINGS[n % len(SPELLINGS)], "message": f"{n}"}) for n in range(500))
        )
    assert Counter(status for status, _, _ in answers) == {202: 100, 429: 400}
    assert {body["to"] for status, _, body in answers if status == 202} == {"6281234567890"}
    assert all(int(headers["Retry-After"]) > 0 for status, headers, _ in answers if status == 429)
    assert rows(pair.database_url, "SELECT phone_number, count FROM daily_limits") == [("6281234567890", 100)]
    assert rows(pair.database_url, "SELECT count(*) FROM messages") == [(100,)]


async def test_the_same_key_50_times_at_once_through_both_gateways_is_one_message(pair: Pair) -> None:
    """One row, one id; every answer but the first says that it is a replay."""
    # So that its status does not change meanwhile.
    later = {"send_at": (datetime.now(UTC) + timedelta(days=2)).isoformat()}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        body = {"number": SPELLINGS[0], "message": "once", **later}
        answers = await asyncio.gather(*(pair.post(http, n, body, **{"Idempotency-Key": "order-7"}) for n in range(50)))
        other = await pair.post(http, 1, body | {"message": "twice"}, **{"Idempotency-Key": "order-7"})
    assert {status for status, _, _ in answers} == {202}
    assert len({str(body) for _, _, body in answers}) == 1
    assert sum(headers.get("Idempotency-Replayed") == "true" for _, headers, _ in answers) == 49
    assert rows(pair.database_url, "SELECT count(*) FROM messages") == [(1,)]
    assert rows(pair.database_url, "SELECT sum(count) FROM daily_limits") == [(1,)]
    assert other[0] == 409


async def test_a_key_revoked_with_psql_ends_at_once_in_both_gateways(pair: Pair) -> None:
    """No moment in which either takes it, for sending or for reading."""
    async with aiohttp.ClientSession() as http:
        for gateway in (0, 1):  # both know the key
            assert (await pair.post(http, gateway, {"number": SPELLINGS[0], "message": "x"}))[0] == 202
        rows(pair.database_url, "DELETE FROM api_keys")
        for gateway in (0, 1):
            assert (await pair.post(http, gateway, {"number": SPELLINGS[0], "message": "x"}))[0] == 401
            async with http.get(f"{pair.urls[gateway]}/api/whitelist", headers={"X-API-Key": pair.key}) as response:
                assert response.status == 401
    assert rows(pair.database_url, "SELECT count(*) FROM messages") == [(2,)]


async def test_a_rotated_key_ends_at_once_and_the_new_one_works_at_once(pair: Pair) -> None:
    """In both processes, without a restart."""
    old, pair.key = pair.key, pair.installation.answer("tenant", "rotate-key", "shop")["api_key"]
    async with aiohttp.ClientSession() as http:
        for gateway in (0, 1):
            assert (await pair.post(http, gateway, {"number": SPELLINGS[0], "message": "x"}))[0] == 202
            new, pair.key = pair.key, old
            assert (await pair.post(http, gateway, {"number": SPELLINGS[0], "message": "x"}))[0] == 401
            pair.key = new
