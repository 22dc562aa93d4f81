"""What POST /api/send-message refuses: precisely, naming the field, and leaving no trace anywhere."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.service.conftest import ALPHA, NUMBER, Answer

if TYPE_CHECKING:
    from tests.service.conftest import House

GOOD = {"number": NUMBER, "message": "hello"}
LIMIT = 2 * 1024 * 1024


def good(**changes: Any) -> bytes:
    """A body that would be taken, but for these changes."""
    return json.dumps({**GOOD, **changes}).encode()


async def post(house: House, body: bytes, kind: str | None = "application/json", **headers: str) -> Answer:
    headers = {**({"Content-Type": kind} if kind else {}), **headers}
    skip = () if kind else ("Content-Type",)
    return await house.call("POST", "/api/send-message", data=io.BytesIO(body), headers=headers, skip_auto_headers=skip)


REFUSED: dict[str, tuple[bytes, int, str, str | None]] = {
    "nothing": (b"", 400, "body_empty", None),
    "blank": (b" \n", 400, "body_empty", None),
    "no JSON": (b"number=62812", 400, "not_json", None),
    "cut off": (b'{"number": "62812', 400, "not_json", None),
    "trailing": (good() + b" x", 400, "not_json", None),
    "control character": (b'{"number": "1", "message": "a\x01"}', 400, "not_json", None),
    "byte order mark": (b"\xef\xbb\xbf" + good(), 400, "not_json", None),
    "not UTF-8": (b'{"number": "1", "message": "\xff"}', 400, "not_utf8", None),
    "surrogate as bytes": (b'{"number": "1", "message": "\xed\xa0\x80"}', 400, "not_utf8", None),
    "array": (b"[]", 422, "not_an_object", None),
    "string": (b'"hello"', 422, "not_an_object", None),
    "null": (b"null", 422, "not_an_object", None),
    "no number": (b'{"message": "hello"}', 422, "field_missing", "number"),
    "no message": (b'{"number": "62812"}', 422, "field_missing", "message"),
    "empty object": (b"{}", 422, "field_missing", "number"),
    "empty message": (good(message=""), 422, "field_empty", "message"),
    "empty number": (good(number=""), 422, "number_empty", "number"),
    "number as number": (good(number=628123456789), 422, "field_type", "number"),
    "number as null": (good(number=None), 422, "field_type", "number"),
    "message as object": (good(message={"text": "hi"}), 422, "field_type", "message"),
    "message as array": (good(message=["hi"]), 422, "field_type", "message"),
    "unknown field": (good(mesage="hi"), 422, "field_unknown", "mesage"),
    "tenant in body": (good(tenant="beta"), 422, "field_unknown", "tenant"),
    "65,537 characters": (good(message="x" * 65_537), 422, "field_too_long", "message"),
    "65,537 of four bytes": (good(message="😀" * 65_537), 422, "field_too_long", "message"),
    "NUL in message": (good(message="a\0b"), 400, "nul_character", "message"),
    "NUL in number": (good(number="62812\0"), 400, "nul_character", "number"),
    "NUL in mentions": (good(mentions=[NUMBER, "\0"]), 400, "nul_character", "mentions"),
    "NUL in client_ref": (good(client_ref="\0"), 400, "nul_character", "client_ref"),
    "NUL in reply_to": (good(reply_to="\0"), 400, "nul_character", "reply_to"),
    "high surrogate": (good(message="a\ud800b"), 400, "lone_surrogate", "message"),
    "low surrogate": (good(message="\udc00"), 400, "lone_surrogate", "message"),
    "surrogate in number": (good(number="\ud83d"), 400, "lone_surrogate", "number"),
    "surrogate in mentions": (good(mentions=["\ud83d"]), 400, "lone_surrogate", "mentions"),
    "surrogate in a name": (b'{"\\ud800": 1}', 400, "lone_surrogate", None),
    "deep array": (b"[" * 100_000, 422, "not_an_object", None),
    "deep message": (b'{"number": "1", "message": ' + b"[" * 100_000, 422, "field_type", "message"),
    "deep unknown": (b'{"number": "1", "x": ' + b'{"a":' * 100_000, 422, "field_unknown", "x"),
    "priority": (good(priority="now"), 422, "field_invalid", "priority"),
    "priority as integer": (good(priority=1), 422, "field_type", "priority"),
    "send_at without zone": (good(send_at="2030-01-01T00:00:00"), 422, "field_invalid", "send_at"),
    "send_at as date": (good(send_at="2030-01-01"), 422, "field_invalid", "send_at"),
    "send_at as integer": (good(send_at=1_900_000_000), 422, "field_type", "send_at"),
    "send_at in the year 1": (good(send_at="0001-01-01T00:00:00+14:00"), 422, "field_invalid", "send_at"),
    "send_at far ahead": (good(send_at="9999-12-31T23:59:59Z"), 422, "send_at_too_far", "send_at"),
    "expires_in zero": (good(expires_in=0), 422, "expires_in_out_of_range", "expires_in"),
    "expires_in below zero": (good(expires_in=-1), 422, "expires_in_out_of_range", "expires_in"),
    "expires_in huge": (b'{"number":"1","message":"x","expires_in":1e999}', 422, "field_invalid", "expires_in"),
    "expires_in as text": (good(expires_in="60"), 422, "field_type", "expires_in"),
    "client_ref empty": (good(client_ref=""), 422, "field_empty", "client_ref"),
    "client_ref long": (good(client_ref="x" * 256), 422, "field_too_long", "client_ref"),
    "client_ref unprintable": (good(client_ref="a\nb"), 422, "field_invalid", "client_ref"),
    "mentions as text": (good(mentions=NUMBER), 422, "field_type", "mentions"),
    "mention as integer": (good(mentions=[NUMBER, 1]), 422, "field_type", "mentions[1]"),
    "mention of nobody": (good(mentions=["abc"]), 422, "number_letters", "mentions"),
    "letters": (good(number="hello"), 422, "number_letters", "number"),
    "five digits": (good(number="+6281"), 422, "number_too_short", "number"),
    "thirty digits": (good(number="6" * 30), 422, "number_too_long", "number"),
    "SQL": (good(number="'; DROP TABLE messages; --"), 422, "number_letters", "number"),
}


async def test_refused_bodies_leave_no_trace(house: House) -> None:
    """Every bad body is refused with the status, the code and the field that the table promises; afterwards all tables
    are as they were."""
    await house.until(await house.send(client_ref="before"), "sent")
    before = house.traces()
    answers = {name: await post(house, case[0]) for name, case in REFUSED.items()}
    got = {name: (a.status, a.body["code"], a.body.get("field")) for name, a in answers.items()}
    assert got == {name: case[1:] for name, case in REFUSED.items()}
    assert {a.headers["Content-Type"] for a in answers.values()} == {"application/problem+json"}
    assert house.traces() == before


async def test_what_is_not_json_says_where(house: House) -> None:
    """A syntax error is answered with its line and column."""
    answer = await post(house, b'{"number": "62812",\n "message" "hi"}')
    assert "line 2 column 12" in answer.body["detail"]


async def test_content_types(house: House) -> None:
    """JSON in UTF-8 is taken under its name and under any +json; everything else is 415 and stores nothing."""
    taken = [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF8",
        "application/a+json",
    ]
    refused = [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json",
               "application/json; charset=latin-1", "json", "application/+jsonx"]  # fmt: skip
    for number, kind in enumerate(taken):
        assert (await post(house, good(number=f"62812345678{number}"), kind)).status == 202, kind
    for kind in refused:
        answer = await post(house, good(), kind)
        assert (answer.status, answer.body["code"]) == (415, "content_type"), kind
    assert house.rows("SELECT count(*) FROM messages") == [(len(taken),)]


async def test_the_longest_message(house: House) -> None:
    """65,536 characters are taken, also of four bytes each."""
    assert (await house.send(text="😀" * 65_536)).status == 202
    assert house.rows("SELECT length(content) FROM messages") == [(65_536,)]


async def test_null_is_absent(house: House) -> None:
    """An optional field that is null is taken as not given."""
    optional = ("client_ref", "priority", "send_at", "expires_in", "reply_to", "mentions")
    answer = await house.send(**dict.fromkeys(optional))
    story = await house.call("GET", answer.headers["Location"])
    assert answer.status == 202
    assert (story.body["priority"], story.body["client_ref"], story.body["mentions"]) == ("normal", None, [])


async def test_duplicate_names(house: House) -> None:
    """Of a name given twice the last one holds, as with most JSON decoders."""
    answer = await post(house, b'{"number": "abc", "message": "hello", "number": "+62 812-3456-789"}')
    assert (answer.status, answer.body["to"]) == (202, NUMBER)


async def test_escaped_backslash_before_u0000(house: House) -> None:
    """The six characters \\u0000 are a text like any other; only the character they stand for is refused."""
    assert (await house.send(text="\\u0000")).status == 202
    assert house.rows("SELECT content FROM messages") == [("\\u0000",)]


async def talk(house: House, *parts: bytes) -> bytes:
    """What the gateway says, to its end, to these bytes."""
    address = urlsplit(house.url)
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for part in parts:
            writer.write(part)
            await writer.drain()
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
        return said


def head(house: House, *lines: str) -> bytes:
    """The beginning of a POST with these header lines."""
    start = "POST /api/send-message HTTP/1.1", "Host: gapura", "Connection: close", "Content-Type: application/json"
    return "\r\n".join((*start, f"X-API-Key: {house.keys[ALPHA]}", *lines, "", "")).encode()


async def test_two_mebibytes(house: House) -> None:
    """A body of exactly 2 MiB is taken; one byte more is 413, known from its Content-Length, and as it grows."""
    exact = good().ljust(LIMIT)
    assert (await post(house, exact)).status == 202
    announced = await talk(house, head(house, f"Content-Length: {LIMIT + 1}"))
    chunk = f"{LIMIT + 1:x}\r\n".encode() + exact + b" \r\n0\r\n\r\n"
    chunked = await talk(house, head(house, "Transfer-Encoding: chunked"), chunk)
    bomb = gzip.compress(b" " * (LIMIT * 4))
    unpacked = await post(house, bomb, **{"Content-Encoding": "gzip"})
    for said in (announced, chunked):
        assert said.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"body_too_large"' in said
    assert (unpacked.status, unpacked.body["code"]) == (413, "body_too_large")
    assert house.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_a_lying_content_length(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """A Content-Length shorter than the body makes the body broken JSON; with a longer one the request never becomes
    whole. Neither leaves a trace, and the log holds nothing of the body."""
    caplog.set_level("INFO")
    before = house.traces()
    shorter = await talk(house, head(house, f"Content-Length: {len(good()) - 5}"), good(message="the secret text"))
    address = urlsplit(house.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head(house, f"Content-Length: {len(good()) + 5}") + good())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert b" 400 Bad Request\r\nContent-Type: application/problem+json\r\n" in shorter
    assert (await house.call("GET", "/healthz")).status == 200
    assert house.traces() == before
    assert "secret" not in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_what_is_no_http(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are no request are answered with a problem like every other, and nothing of them is logged."""
    caplog.set_level("DEBUG")
    for request in (b"hello sk_abc\r\n\r\n", head(house)[:-2] + b"X-Bad: sk_abc\x01\r\n\r\n"):
        said = await talk(house, request)
        assert b" 400 Bad Request\r\nContent-Type: application/problem+json\r\n" in said
        assert said.endswith(b'"code":"bad_http"}')
    assert "sk_" not in caplog.text


@pytest.mark.parametrize(
    "target",
    [
        "/api/send-message",
        "/api/send-message?",
        "/api/send-message?dry_run=0",
        "/api/%73end-message",
        "http://gapura/api/send-message",
    ],
)
async def test_however_a_route_is_named(house: House, target: str) -> None:
    """A target that is the route's path letter by letter is answered as one with a query, an escape or a host is: taken
    with a key, 401 without one, and 405 with `Allow` for another method."""
    request = head(house, f"Content-Length: {len(good())}").replace(b"/api/send-message", target.encode(), 1)
    taken = await talk(house, request, good())
    unknown = await talk(house, request.replace(b"X-API-Key", b"X-Other"), good())
    wrong = await talk(house, request.replace(b"POST", b"DELETE", 1), good())
    assert taken.startswith(b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nLocation: /api/messages/")
    assert unknown.startswith(b"HTTP/1.1 401 ") and b'"code":"unauthorized"' in unknown
    assert wrong.startswith(b"HTTP/1.1 405 ") and b"\r\nAllow: POST\r\n" in wrong


async def test_a_body_that_never_comes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who announces a body and does not send it is let go with 408."""
    monkeypatch.setattr("core.web.bodies.PATIENCE", 0.05)
    said = await talk(house, head(house, "Content-Length: 100") + b'{"number"')
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in said


async def test_compressed_bodies(house: House) -> None:
    """A gzipped body is unpacked; one that is not what it says is 400."""
    taken = await post(house, gzip.compress(good()), **{"Content-Encoding": "gzip"})
    broken = await post(house, good(), **{"Content-Encoding": "gzip"})
    assert taken.status == 202
    assert (broken.status, broken.body["code"]) == (400, "body_unreadable")


async def test_expectations(house: House) -> None:
    """`Expect: 100-continue` is told to go on; anything else expected is ignored."""
    length = f"Content-Length: {len(good())}"
    told = await talk(house, head(house, "Expect: 100-continue", length), good())
    strange = await talk(house, head(house, "Expect: miracles", length), good())
    assert told.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ")
    assert strange.startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(
    "number", ["0812-3456-789", "+62 812 3456 789", "628123456789@c.us", "628123456789@s.whatsapp.net"]
)
async def test_spellings(house: House, number: str) -> None:
    """Every spelling of a number is one recipient."""
    assert (await house.send(number)).body["to"] == NUMBER


async def test_legacy_bodies(open_house: Any) -> None:
    """`api: legacy` ignores unknown fields and parameters and takes a number that is a JSON number; what it knows it
    checks as strictly as ever."""
    house = await open_house(alpha={"api": "legacy"})
    taken = await house.send(NUMBER, extra={"deep": [1]}, sessionId="x", params={"instance": "7"})
    as_integer = await post(house, good(number=int(NUMBER)))
    listed = await house.call("POST", "/api/whitelist", json={"number": int(NUMBER), "note": "x"})
    deep = await post(house, b'{"number": "1", "message": "x", "y": ' + b"[" * 100_000)
    negative = await post(house, good(number=-int(NUMBER)))
    wrong = await post(house, good(message=5, extra=1))
    assert (taken.status, as_integer.status, as_integer.body["to"]) == (202, 202, NUMBER)
    assert (listed.status, listed.body["number"]) == (201, NUMBER)
    assert (deep.status, deep.body["code"]) == (400, "too_deep")
    assert (negative.status, negative.body["field"]) == (422, "number")
    assert (wrong.status, wrong.body["field"]) == (422, "message")
