"""Bodies and headers, without a server: whatever comes in, it is understood or refused by name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadRequest, OverLimit, Refused, Unprocessable
from core.web.bodies import NUMBER, SEND, to_request
from core.web.preferences import preferred_wait
from core.web.problems import answer_to

GOOD = {"number": "628123456789", "message": "hello"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)
fields = st.sampled_from(
    ["number", "message", "client_ref", "priority", "send_at", "expires_in", "reply_to", "mentions"]
)


def outcome(raw: bytes, api: str = "v1") -> Any:
    """The body, or the refusal."""
    try:
        return SEND.decode(raw, api)
    except Refused as refused:
        return refused


@given(st.binary(max_size=200), st.sampled_from(["v1", "legacy"]))
def test_any_bytes(raw: bytes, api: str) -> None:
    """Bytes are no request, and the refusal is 400 or 422, never another error."""
    refused = outcome(raw, api)
    assert isinstance(refused, BadRequest | Unprocessable)
    assert refused.code
    assert refused.detail


@given(st.dictionaries(fields, anything), st.sampled_from(["v1", "legacy"]))
def test_any_values(changes: dict[str, Any], api: str) -> None:
    """With any JSON as values a body is taken or refused; what is taken has nothing that PostgreSQL cannot keep."""
    body = outcome(json.dumps({**GOOD, **changes}).encode(), api)
    if isinstance(body, Refused):
        assert type(body) in {BadRequest, Unprocessable}
        return
    for text in (str(body.number), body.message, body.client_ref or "", *(body.mentions or ())):
        assert "\0" not in text
        text.encode()


@given(st.dictionaries(fields, anything, min_size=1))
def test_a_refusal_names_a_field(changes: dict[str, Any]) -> None:
    """When only values of known fields are wrong, the refusal names one of those that were changed."""
    body = outcome(json.dumps({**GOOD, **changes}, allow_nan=False).encode() if _plain(changes) else b"{}")
    if isinstance(body, Refused) and _plain(changes):
        assert body.field is not None
        assert body.field.partition("[")[0].partition(".")[0] in changes


def _plain(changes: dict[str, Any]) -> bool:
    """Whether JSON can say it: not NaN, no infinity."""
    try:
        json.dumps(changes, allow_nan=False)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth(depth: int, opening: str) -> None:
    """However deep it is nested, wherever: a refusal, not a crash."""
    for raw in (opening * depth, '{"number": "1", "message": ' + opening * depth, '{"x": ' + opening * depth):
        for api in ("v1", "legacy"):
            assert isinstance(outcome(raw.encode(), api), BadRequest | Unprocessable)


def test_a_surrogate_is_found() -> None:
    """Half of a pair is refused with its field, in whichever it stands; a whole pair is a character."""
    for name in ("number", "message", "client_ref", "reply_to"):
        refused = outcome(json.dumps({**GOOD, name: "x\ud83dx"}).encode())
        assert (refused.status, refused.code, refused.field) == (400, "lone_surrogate", name)
    assert outcome(b'{"number": "1", "message": "\\ud83d\\ude00"}').message == "😀"


def test_a_refusal_does_not_repeat_the_body() -> None:
    """A name that is not known is told, but never more of it than a line."""
    refused = outcome(json.dumps({**GOOD, "x" * 100_000: 1}).encode())
    assert refused.code == "field_unknown"
    assert len(refused.detail) < 120
    assert len(refused.field) == 60


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"priority": "high"}, "priority is one of urgent, normal, bulk"),
        ({"send_at": "tomorrow"}, "send_at is a time with its zone, such as 2026-01-05T12:00:00+07:00"),
        ({"send_at": "2026-01-05T12:00:00"}, "send_at is a time with its zone, such as 2026-01-05T12:00:00+07:00"),
    ],
)
def test_a_refused_value_says_what_is_taken(change: dict[str, str], told: str) -> None:
    """Who sends a priority or a time that is none is told what it must be, and what is shown is taken."""
    refused = outcome(json.dumps({**GOOD, **change}).encode())
    assert (refused.status, refused.code, refused.field) == (422, "field_invalid", next(iter(change)))
    assert refused.detail == told
    for priority in ("urgent", "normal", "bulk"):
        taken = json.dumps({**GOOD, "priority": priority, "send_at": "2026-01-05T12:00:00+07:00"})
        assert outcome(taken.encode()).priority == priority


def test_defaults() -> None:
    """What is not given is as documented; times are turned into UTC."""
    body = SEND.decode(json.dumps({**GOOD, "send_at": "2026-01-05T12:00:00+07:00"}).encode())
    request = to_request(body, "key")
    assert (request.priority, request.expires_in, request.mentions, request.client_ref) == ("normal", None, (), "key")
    assert request.send_at == datetime(2026, 1, 5, 5, tzinfo=UTC)
    assert request.send_at.tzinfo is UTC


def test_legacy_numbers() -> None:
    """Only `api: legacy` takes a JSON number as a number, and as nothing else."""
    raw = b'{"number": 628123456789, "message": "x", "unknown": {"a": [1]}}'
    assert to_request(SEND.decode(raw, "legacy"), None).number == "628123456789"
    assert outcome(raw).field == "number"
    assert str(NUMBER.decode(b'{"number": 62812, "x": 1}', "legacy").number) == "62812"
    for wrong in (b"-5", b"1.5", b"true", b"null", b"[]"):
        refused = outcome(b'{"number": ' + wrong + b', "message": "x"}', "legacy")
        assert (refused.status, refused.field) == (422, "number")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["wait=10"], 10),
        (["Wait = 10"], 10),
        (['wait="10"'], 10),
        (["wait=10; foo=bar"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10"], 10),
        (["wait=10, wait=20"], 10),
        (["return=minimal;a=b,wait=5"], 5),
        (['foo="a, wait=1", wait=2'], 2),
        (["wait=0"], 0),
        (["wait=61"], 60),
        (["wait=999999999999999"], 60),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait"], None),
        (["wait=soon"], None),
        (["await=10"], None),
        (["wait=\u0661"], None),
        (["wait=" + "0" * 5000 + "7"], 7),
        (["", "wait=5"], 5),
        ([""], None),
        ([",,"], None),
        ([], None),
    ],
)
def test_prefer(headers: list[str], seconds: int | None) -> None:
    """Prefer is read as RFC 7240 writes it; the first `wait` holds, and what is not understood is no error."""
    assert preferred_wait(headers) == seconds


@given(st.lists(st.text(max_size=50), max_size=3))
def test_any_preference(headers: list[str]) -> None:
    """No header makes it fail."""
    seconds = preferred_wait(headers)
    assert seconds is None or 0 <= seconds <= 60


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, 1),
        (0.2, 1),
        (1.0, 1),
        (1.001, 2),
        (86_399.5, 86_400),
        (float("inf"), 31_622_400),
        (float("nan"), 60),
        (-5.0, 1),
    ],
)
def test_retry_after(seconds: float, told: int) -> None:
    """Whole seconds, rounded up, at least one, whatever a plugin says."""
    answer = answer_to(OverLimit("later", "later", retry_after=seconds))
    assert answer.headers["Retry-After"] == str(told)
    assert json.loads(answer.body)["retry_after"] == told  # type: ignore[arg-type]


@pytest.mark.parametrize("extra", [{"a": "\ud800"}, {"a": object()}, {"a": {1j}}, {"a": float("nan")}])
def test_odd_refusals(extra: dict[str, Any]) -> None:
    """Whatever a plugin hangs on its refusal, the refusal goes out with its status."""
    answer = answer_to(OverLimit("odd", "odd", retry_after=5, **extra))
    assert answer.status == 429
    assert json.loads(answer.body)["status"] == 429  # type: ignore[arg-type]
    assert answer.headers["Retry-After"] == "5"
