"""Nobody is told anything without a valid key, and keys stay out of URLs and logs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from core.tenants import key_digest, new_key
from tests.service.conftest import ALPHA, NUMBER, UNPACED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.service.conftest import House

    OpenHouse = Callable[..., Awaitable[House]]

ASKED = [
    ("POST", "/api/send-message"),
    ("GET", "/api/messages/0197"),
    ("DELETE", "/api/messages/0197"),
    ("GET", "/api/status"),
    ("HEAD", "/api/status"),
    ("POST", "/api/logout"),
    ("POST", "/api/reconnect"),
    ("GET", "/api/qr"),
    ("GET", "/api/qr/image"),
    ("GET", "/api/qr/page"),
    ("POST", "/api/pair-code"),
    ("POST", "/api/pair-link"),
    ("GET", "/api/whitelist"),
    ("POST", "/api/whitelist"),
    ("DELETE", "/api/whitelist"),
    ("GET", "/api/quota/abc"),
    ("PUT", "/api/whitelist"),
    ("OPTIONS", "/api/send-message"),
    ("GET", "/api/nothing-here"),
    ("GET", "/api/"),
    ("GET", "/%61pi/status"),
]

ROBOT = """
from core import Principal, hookimpl

@hookimpl
def authenticate(request):
    tenant, scopes = request.headers.get("x-robot"), request.headers.get("x-scopes", "")
    return Principal(tenant=tenant, name="robot", scopes=frozenset(scopes.split())) if tenant else None
"""


@pytest.mark.parametrize(("method", "path"), ASKED)
async def test_strangers(house: House, method: str, path: str) -> None:
    """Without a key, with a wrong one, with a key's digest: 401 on every path and method below /api/, before any look
    at the body, and always the same answer."""
    answers = [
        await house.call(method, path, key=key, data=b"\xff" if method == "POST" else None)
        for key in (None, "sk_wrong", key_digest(house.keys[ALPHA]))
    ]
    assert [answer.status for answer in answers] == [401, 401, 401]
    assert len({answer.raw for answer in answers}) == 1
    assert answers[0].headers["WWW-Authenticate"].startswith("Bearer")
    if method != "HEAD":
        assert answers[0].body["code"] == "unauthorized"


async def test_two_ways_to_show_a_key(house: House) -> None:
    """X-API-Key and Authorization: Bearer are equal, whatever the case of their names; two keys that differ are 401."""
    key = house.keys[ALPHA]
    for headers in (
        {"x-api-KEY": key},
        {"AUTHORIZATION": f"bearer {key}"},
        {"X-API-Key": key, "Authorization": f"Bearer {key}"},
    ):
        answer = await house.call("GET", "/api/status", key=None, headers=headers)
        assert (answer.status, answer.body["tenant"]) == (200, ALPHA)
    both = {"X-API-Key": key, "Authorization": f"Bearer {house.keys['beta']}"}
    answer = await house.call("GET", "/api/status", key=None, headers=both)
    assert (answer.status, answer.body["code"]) == (401, "two_keys")


@pytest.mark.parametrize("name", ["api_key", "apikey", "key", "token", "access_token", "x-api-key", "API_Key"])
async def test_a_key_in_the_url(house: House, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """A key in a URL is refused whatever the headers say; the answer tells what to do, and the key is in no log."""
    caplog.set_level(logging.DEBUG)
    key = house.keys[ALPHA]
    for shown in (None, ALPHA):
        for method, path in (("GET", "/api/status"), ("POST", "/api/send-message"), ("GET", "/api/nothing")):
            answer = await house.call(method, f"{path}?{name}={key}", key=shown)
            assert (answer.status, answer.body["code"]) == (400, "key_in_url")
            assert "X-API-Key" in answer.body["detail"]
            assert "rotate" in answer.body["detail"]
            assert key.encode() not in answer.raw
    assert key not in caplog.text
    assert house.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_a_revoked_key(house: House) -> None:
    """A key revoked with psql ends at once on every route, also while this process has not heard of it."""
    message = await house.send()
    house.rows("ALTER TABLE api_keys DISABLE TRIGGER ALL")
    house.rows("UPDATE api_keys SET api_key = %s WHERE tenant_id = %s", (key_digest(new_key()), ALPHA))
    before = house.traces()
    refused = [
        await house.send("62811111111"),
        await house.send("62811111111", params={"dry_run": "1"}),
        await house.call("GET", message.headers["Location"]),
        await house.call("DELETE", message.headers["Location"]),
        await house.call("GET", "/api/status"),
        await house.call("GET", "/api/whitelist"),
        await house.call("POST", "/api/whitelist", json={"number": NUMBER}),
        await house.call("DELETE", "/api/whitelist", json={"number": NUMBER}),
        await house.call("GET", f"/api/quota/{NUMBER}"),
        await house.call("GET", "/api/nothing-here"),
    ]
    assert [answer.status for answer in refused] == [401] * len(refused)
    after = house.traces()
    assert after["whitelist"] == before["whitelist"]
    assert after["daily_limits"] == before["daily_limits"]
    assert len(after["messages"]) == 1


async def test_a_removed_tenant(house: House) -> None:
    """With its row the tenant's key is gone, and with a new row its old key stays gone."""
    house.rows("DELETE FROM api_keys WHERE tenant_id = %s", (ALPHA,))
    assert (await house.send()).status == 401
    house.rows("INSERT INTO api_keys (tenant_id, api_key) VALUES (%s, %s)", (ALPHA, key_digest(new_key())))
    assert (await house.send()).status == 401
    assert (await house.call("GET", "/api/status")).status == 401


async def test_a_plugin_that_is_not_enabled(open_house: OpenHouse, tmp_path: Path) -> None:
    """Who is authenticated by a plugin gets into the tenants that enable it, and into no other."""
    (tmp_path / "robot.py").write_text(ROBOT)
    house = await open_house(plugins_dir=tmp_path, alpha={"plugins": {**UNPACED, "robot": {}}})
    status = {}
    for tenant in ("alpha", "beta", "nobody"):
        headers = {"X-Robot": tenant, "X-Scopes": "read"}
        status[tenant] = (await house.call("GET", "/api/status", key=None, headers=headers)).status
    assert status == {"alpha": 200, "beta": 401, "nobody": 401}


async def test_scopes(open_house: OpenHouse, tmp_path: Path) -> None:
    """A caller may do what the scopes allow, and hears 403 for the rest; nothing is done."""
    (tmp_path / "robot.py").write_text(ROBOT)
    house = await open_house(plugins_dir=tmp_path, alpha={"plugins": {**UNPACED, "robot": {}}})
    message = await house.send(send_at="2026-01-01T00:00:00Z")
    body = {"number": NUMBER, "message": "x"}
    needs = {
        ("POST", "/api/send-message"): "send",
        ("DELETE", message.headers["Location"]): "send",
        ("GET", message.headers["Location"]): "read",
        ("GET", "/api/status"): "read",
        ("GET", "/api/whitelist"): "read",
        ("GET", f"/api/quota/{NUMBER}"): "read",
        ("POST", "/api/logout"): "manage",
        ("POST", "/api/reconnect"): "manage",
        ("GET", "/api/qr"): "manage",
        ("GET", "/api/qr/image"): "manage",
        ("GET", "/api/qr/page"): "manage",
        ("POST", "/api/pair-code"): "manage",
        ("POST", "/api/pair-link"): "manage",
        ("POST", f"/api/whitelist?number={NUMBER}"): "manage",
        ("DELETE", f"/api/whitelist?number={NUMBER}"): "manage",
    }
    for scope in ("send", "read", "manage"):
        for (method, path), needed in needs.items():
            headers = {"X-Robot": "alpha", "X-Scopes": scope}
            json = body if path == "/api/send-message" else None
            answer = await house.call(method, path, key=None, headers=headers, json=json)
            refused = answer.status == 403 and answer.body["code"] == "scope_missing"
            assert refused == (needed != scope), (method, path, scope)


async def test_the_log_line(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """One line per request, with method, path, status, ms and tenant, and without query, headers, body and keys."""
    caplog.set_level(logging.DEBUG, "core")
    await house.send(text="the secret text", params={"dry_run": "1"}, headers={"X-Other": "header text"})
    await house.call("GET", f"/api/{house.keys[ALPHA]}", key=None)
    await house.call("GET", "/%0aforged", key=None)
    lines = [record for record in caplog.records if getattr(record, "action", "") == "http.request"]
    told = [(line.method, line.path, line.status, line.tenant) for line in lines]  # type: ignore[attr-defined]
    assert told == [
        ("POST", "/api/send-message", 200, ALPHA),
        ("GET", "/api/sk_…", 401, None),
        ("GET", "/%0Aforged", 404, None),
    ]
    assert [line.levelname for line in lines] == ["DEBUG", "INFO", "INFO"]
    assert all(line.ms >= 0 for line in lines)  # type: ignore[attr-defined]
    for secret in ("secret", "header text", "dry_run=", house.keys[ALPHA], key_digest(house.keys[ALPHA])):
        assert secret not in caplog.text


@pytest.mark.parametrize("query", [{"api-key": "x"}, {"API_KEY": "x"}, {"anything": "sk_abc"}])
async def test_no_spelling_of_a_key_in_a_url_passes(house: House, query: dict[str, str]) -> None:
    """Whatever the name, and whatever the headers say."""
    answer = await house.call("GET", "/api/status", params=query)
    assert (answer.status, answer.body["code"]) == (400, "key_in_url")


async def test_one_header_twice_with_two_keys(house: House) -> None:
    """Nobody guesses which one was meant."""
    headers = [("X-API-Key", house.keys[ALPHA]), ("X-API-Key", house.keys["beta"])]
    async with house.http.get(f"{house.url}/api/status", headers=headers) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (401, "two_keys")
