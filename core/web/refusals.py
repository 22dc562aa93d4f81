"""Why a body was refused, in words and with the field: the second, slow look at what msgspec would not take."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from core.errors import BadRequest, Unprocessable
from core.model import PRIORITIES

if TYPE_CHECKING:
    from core.errors import Refused

_SHOWN = 60

_NEEDED = {
    "priority": f"is one of {', '.join(PRIORITIES)}",
    "send_at": "is a time with its zone, such as 2026-01-05T12:00:00+07:00",
}
"""What a field must be whose value has the right type: the decoder says only that it is not."""

_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_LENGTH = re.compile(r"Expected `(?:str|array)` of length (<=|>=) (\d+)")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def explain(raw: bytes, error: Exception) -> Refused:
    """The refusal of a body on which the decoder raised `error`: BadRequest for what is not JSON or is not text,
    Unprocessable for JSON of another shape."""
    if isinstance(error, msgspec.ValidationError):
        return _of_another_shape(str(error))
    return _not_json(raw, error)


def _of_another_shape(problem: str) -> Refused:
    if missing := _MISSING.fullmatch(problem):
        return Unprocessable("field_missing", f"{missing[1]} is missing", field=missing[1])
    if unknown := _UNKNOWN.fullmatch(problem):
        name = unknown[1][:_SHOWN]
        return Unprocessable("field_unknown", f"there is no field {name!r} here", field=name)
    if not (place := _AT.fullmatch(problem)):
        return Unprocessable("not_an_object", f"the body must be a JSON object: {_plain(problem)}")
    reason, name = place[1], place[2]
    if length := _LENGTH.fullmatch(reason):
        return _wrong_length(name, length[1], int(length[2]))
    if ", got `" in reason:
        return Unprocessable("field_type", f"{name}: {_plain(reason)}", field=name)
    detail = f"{name} {_NEEDED[name]}" if name in _NEEDED else f"{name}: {_plain(reason)}"
    return Unprocessable("field_invalid", detail, field=name)


def _wrong_length(name: str, sign: str, limit: int) -> Refused:
    if sign == ">=":
        return Unprocessable("field_empty", f"{name} is empty", field=name)
    return Unprocessable("field_too_long", f"{name} is longer than {limit:,}", field=name)


def _not_json(raw: bytes, error: Exception) -> Refused:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as bad:
        return BadRequest("not_utf8", f"the body is not UTF-8: byte {raw[bad.start]:#04x} at position {bad.start}")
    if not text.strip():
        return BadRequest("body_empty", "the body is empty; a JSON object is expected")
    if isinstance(error, RecursionError):
        return BadRequest("too_deep", "the body is nested too deeply")
    return _not_text(text) or BadRequest("not_json", f"the body is not JSON: {_plain(str(error))}")


def _not_text(text: str) -> Refused | None:
    """What Python's own decoder finds wrong, or which field holds what JSON can say and UTF-8 cannot."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as bad:
        return BadRequest("not_json", f"the body is not JSON: {bad.msg} at line {bad.lineno} column {bad.colno}")
    except RecursionError:
        return BadRequest("too_deep", "the body is nested too deeply")
    except ValueError:
        return BadRequest("not_json", "the body is not JSON that can be read: a number in it is too long")
    if (name := _half_character(value)) is None:
        return None
    return BadRequest("lone_surrogate", f"{name or 'the body'} contains half of a surrogate pair", field=name or None)


def _half_character(value: Any) -> str | None:
    """The first field in which a surrogate stands alone; "" when that is a name, or there are no fields."""
    pairs = value.items() if isinstance(value, dict) else [("", value)]
    for name, item in pairs:
        if _SURROGATE.search(name):
            return ""
        if _SURROGATE.search(json.dumps(item, ensure_ascii=False)):
            return str(name)
    return None


def _plain(problem: str) -> str:
    """msgspec's words without its backticks."""
    return problem.replace("`", "").replace(" | null", "")
