"""What comes in: bodies, numbers, queries. Whatever is not usable is refused with the name of the field."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from sandbox.control.refusals import Refusal

if TYPE_CHECKING:
    from aiohttp import web

T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Seconds that a long poll takes at most."""


async def body(request: web.Request, kind: type[T]) -> T:
    """The request's JSON as `kind`; no body at all is {}. Raises Refusal 400 for what is no JSON, 422 for a field."""
    raw = await request.read()
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise Refusal(422, "field_not_valid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, "not_json", f"the body is not JSON: {error}") from None


def digits(text: str, field: str = "number") -> str:
    """A phone number in digits; a plus, spaces, dots, hyphens and brackets are taken away. Raises Refusal 422."""
    number = re.sub(r"[\s+().\u2010-\u2015-]", "", text)
    if not re.fullmatch(r"[1-9][0-9]{4,14}", number):
        raise Refusal(
            422,
            "number_not_valid",
            f"{field}: 5 to 15 digits with the country code, as 628123456789, not {text[:40]!r}",
        )
    return number


def mentioned(text: str) -> str:
    """A phone number in digits, or a hidden user's `…@lid` as it is. Raises Refusal 422."""
    return text if re.fullmatch(r"[0-9]{5,20}@lid", text) else digits(text, "mentions")


def counted(request: web.Request, name: str) -> int:
    """The query's whole number `name`, by default 0. Raises Refusal 422."""
    text = request.query.get(name, "0")
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise Refusal(422, "query_not_valid", f"{name}: a whole number, not {text[:40]!r}")
    return int(text)


def patience(request: web.Request) -> float:
    """The query's `wait` in seconds, by default 0. Raises Refusal 422."""
    text = request.query.get("wait", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT:
        raise Refusal(422, "query_not_valid", f"wait: seconds from 0 to {LONGEST_WAIT:g}, not {text[:40]!r}")
    return seconds
