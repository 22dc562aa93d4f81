"""The other routes: messages, status, whitelist, quota, health."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from core.windows import window
from tests.service.conftest import NUMBER, SLOW, UNPACED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest

    from tests.service.conftest import House

    OpenHouse = Callable[..., Awaitable[House]]

CLOSED = """
from core import Deny, hookimpl

@hookimpl
def admit(message):
    return Deny("closed", "we are closed")
"""


async def test_the_story_of_a_message(house: House) -> None:
    """GET tells what was decided, what each plugin said, and every status with its time, oldest first."""
    message = await house.send("+62 812 3456 789", client_ref="a")
    story = (await house.until(message, "sent")).body
    assert (story["id"], story["to"], story["message"], story["cause"]) == (message.body["id"], NUMBER, "hello", None)
    assert (story["gap"], story["gaps"], story["waived"], story["quota"]) == (0.0, {}, [], message.body["quota"])
    assert [said["plugin"] for said in story["explanation"]] == ["whitelist", "daily_limit"]
    assert [event["status"] for event in story["history"]] == ["queued", "sending", "sent"]
    times = [event["at"] for event in story["history"]]
    assert times == sorted(times)
    assert all(at.endswith("Z") for at in times)
    assert story["sent_at"] == times[-1]
    assert story["wa_id"].startswith("DRYRUN-")


async def test_cancelling(open_house: OpenHouse) -> None:
    """DELETE cancels a queued message and gives its count back; again it changes nothing; one that was sent is 409."""
    house = await open_house(alpha={"plugins": SLOW})
    sent, waiting = await house.send(), await house.send()
    await house.until(sent, "sent")
    assert house.rows("SELECT count FROM daily_limits") == [(2,)]
    gone = await house.call("DELETE", waiting.headers["Location"])
    again = await house.call("DELETE", waiting.headers["Location"])
    late = await house.call("DELETE", sent.headers["Location"])
    assert (gone.status, gone.body["status"], again.status) == (200, "cancelled", 200)
    assert again.raw == gone.raw
    assert (late.status, late.body["code"], late.body["state"]) == (409, "not_queued", "sent")
    assert house.rows("SELECT count FROM daily_limits") == [(1,)]


async def test_ids_that_are_none(house: House) -> None:
    """Whatever stands in place of an id: 404, the same for all."""
    answers = [await house.call("GET", f"/api/messages/{i}") for i in ("1", "abc", "%27%3B--", "%00", "x" * 3000)]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.raw for answer in answers}) == 1


async def test_status(open_house: OpenHouse) -> None:
    """The two fields that old callers look at, and why a session is not connected."""
    house = await open_house(beta={"transport": "whatsapp"})
    mine = (await house.call("GET", "/api/status")).body
    theirs = (await house.call("GET", "/api/status", key="beta")).body
    fields = [
        "connected",
        "qrImageUrl",
        "state",
        "reason",
        "phone",
        "phone_last_seen",
        "since",
        "sandbox",
        "tenant",
        "transport",
    ]
    assert list(mine) == list(theirs) == fields
    assert (mine["connected"], mine["qrImageUrl"], mine["state"]) == (True, None, "connected")
    assert (theirs["connected"], theirs["state"]) == (False, "unpaired")
    assert theirs["reason"]


async def test_the_whitelist(house: House) -> None:
    """Numbers come and go in any spelling, in body or query; every spelling is one entry."""
    for answer, status in (
        (await house.call("POST", "/api/whitelist", json={"number": "+62 812-3456-789"}), 201),
        (await house.call("POST", "/api/whitelist", params={"number": "0812 3456 789"}), 200),
        (await house.call("POST", "/api/whitelist", params={"number": NUMBER}, json={"number": "08123456789"}), 200),
        (await house.call("POST", "/api/whitelist", json={"number": "120363000000000000@g.us"}), 201),
    ):
        assert (answer.status, answer.body["whitelisted"]) == (status, True)
    listed = await house.call("GET", "/api/whitelist")
    assert listed.body == {"whitelist": ["120363000000000000@g.us", NUMBER], "total": 2}
    gone = await house.call("DELETE", "/api/whitelist", params={"number": f"{NUMBER}@c.us"})
    again = await house.call("DELETE", "/api/whitelist", json={"number": NUMBER})
    assert (gone.status, gone.body) == (200, {"number": NUMBER, "whitelisted": False})
    assert (again.status, again.body["code"]) == (404, "not_listed")


async def test_bad_whitelist_requests(house: House) -> None:
    """No number, two numbers, no number at all, unknown fields and parameters: refused with the field, and the list
    stays as it is."""
    other = {"number": "0811111111"}
    cases = [
        ({}, 422, "field_missing", "number"),
        ({"json": {}}, 422, "field_missing", "number"),
        ({"json": {"number": 5}}, 422, "field_type", "number"),
        ({"json": {"number": "abc"}}, 422, "number_letters", "number"),
        ({"json": {"number": NUMBER, "note": "x"}}, 422, "field_unknown", "note"),
        ({"json": {"number": "\0"}}, 400, "nul_character", "number"),
        ({"data": "number=62812"}, 415, "content_type", None),
        ({"params": {"numbr": NUMBER}}, 400, "parameter_unknown", "numbr"),
        ({"params": {"number": NUMBER}, "json": other}, 400, "two_numbers", "number"),
    ]
    for options, *expected in cases:
        for method in ("POST", "DELETE"):
            answer = await house.call(method, "/api/whitelist", **options)
            assert [answer.status, answer.body["code"], answer.body.get("field")] == expected, options
    assert (await house.call("GET", "/api/whitelist")).body["total"] == 0


async def test_a_listed_number_passes(open_house: OpenHouse) -> None:
    """A number on the whitelist passes a limit of 0 at once; removed from it, it counts again."""
    house = await open_house(alpha={"plugins": {**UNPACED, "daily_limit": {"limit": 0}}})
    assert (await house.send()).status == 429
    await house.call("POST", "/api/whitelist", json={"number": NUMBER})
    assert (await house.send()).status == 202
    await house.call("DELETE", "/api/whitelist", json={"number": NUMBER})
    assert (await house.send()).status == 429


async def test_quota(house: House) -> None:
    """Limit, used, remaining and the tenant's midnight; looking counts nothing."""
    before = datetime.now(UTC)
    await house.send()
    quota = (await house.call("GET", "/api/quota/+62%20812-3456-789")).body
    ends = {window("day", at, ZoneInfo("Asia/Jakarta")).end for at in (before, datetime.now(UTC))}
    assert datetime.fromisoformat(quota.pop("resets_at")) in ends
    assert quota == {
        "number": NUMBER,
        "limit": 3,
        "used": 1,
        "remaining": 2,
        "whitelisted": False,
        "isInContacts": None,
        "denied": None,
    }
    assert house.rows("SELECT count FROM daily_limits") == [(1,)]


async def test_quota_agrees_with_sending(open_house: OpenHouse) -> None:
    """`remaining` is how many sends are accepted; null is no limit: waived on the whitelist, or no plugin."""
    house = await open_house(beta={"plugins": {"api_key": {}}})
    for used in range(4):
        quota = (await house.call("GET", f"/api/quota/{NUMBER}")).body
        assert (quota["used"], quota["remaining"]) == (used, 3 - used)
        assert (await house.send()).status == (202 if quota["remaining"] else 429)
    await house.call("POST", "/api/whitelist", json={"number": NUMBER})
    listed = (await house.call("GET", f"/api/quota/{NUMBER}")).body
    unlimited = (await house.call("GET", f"/api/quota/{NUMBER}", key="beta")).body
    assert (listed["limit"], listed["remaining"], listed["used"], listed["whitelisted"]) == (None, None, 3, True)
    assert (unlimited["limit"], unlimited["remaining"], unlimited["used"]) == (None, None, 0)


async def test_quota_tells_of_refusals(open_house: OpenHouse, tmp_path: Path) -> None:
    """A plugin that refuses every message is shown beside the quota, not hidden behind it."""
    (tmp_path / "closed.py").write_text(CLOSED)
    house = await open_house(plugins_dir=tmp_path, alpha={"plugins": {**UNPACED, "closed": {}}})
    quota = (await house.call("GET", f"/api/quota/{NUMBER}")).body
    refused = await house.send()
    assert quota["denied"] == {"code": "closed", "detail": "we are closed"}
    assert (quota["limit"], quota["remaining"]) == (3, 3)
    assert (refused.status, refused.body["code"], refused.body["detail"]) == (403, "closed", "we are closed")


async def test_quota_of_no_number(house: House) -> None:
    """What is no number is 422."""
    answer = await house.call("GET", "/api/quota/abc")
    assert (answer.status, answer.body["code"], answer.body["field"]) == (422, "number_letters", "number")


async def test_health(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """/healthz says that the process lives; /readyz that it can work, or what keeps it, with Retry-After."""
    assert (await house.call("GET", "/healthz", key=None)).body == {"alive": True}
    assert (await house.call("GET", "/readyz", key=None)).body == {"ready": True}
    assert (await house.call("HEAD", "/readyz", key=None)).status == 200
    monkeypatch.setattr(type(house.gateway.listener), "connected", property(lambda _: False))
    unready = await house.call("GET", "/readyz", key=None)
    assert (unready.status, unready.body["code"], unready.body["ready"]) == (503, "not_ready", False)
    assert unready.body["reasons"]
    assert unready.headers["Retry-After"] == "1"
    assert (await house.call("GET", "/healthz", key=None)).status == 200


async def test_head(house: House) -> None:
    """HEAD answers as GET, without a body."""
    for path in ("/api/status", "/api/whitelist", f"/api/quota/{NUMBER}", "/healthz", "/readyz"):
        got, headed = await house.call("GET", path), await house.call("HEAD", path)
        assert (headed.status, headed.raw) == (200, b"")
        assert headed.headers["Content-Length"] == str(len(got.raw))
