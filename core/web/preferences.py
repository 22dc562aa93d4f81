"""`Prefer: wait=10` (RFC 7240): how long a caller would like to wait for the message to be sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_WAIT = 60
"""Seconds; who asks for more waits this long."""

_PREFERENCE = re.compile(
    r"""\s*([!#$%&'*+.^_`|~\w-]*)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s",;]*))?\s*(?:;[^,]*)?(?:,|\Z)"""
)


def preferred_wait(headers: Iterable[str]) -> int | None:
    """Seconds to wait, of the first `wait` in these Prefer headers; None when there is none that can be understood.
    A preference that is not understood is no error."""
    for name, value in _preferences(",".join(headers)):
        if name == "wait":
            return _seconds(value)
    return None


def _seconds(value: str) -> int | None:
    if not (value.isascii() and value.isdigit()):
        return None
    digits = value.lstrip("0")
    return min(int(digits[:3] or "0"), LONGEST_WAIT)


def _preferences(text: str) -> Iterable[tuple[str, str]]:
    position = 0
    while position < len(text) and (found := _PREFERENCE.match(text, position)):
        yield found[1].lower(), (found[2] or "").strip('"')
        position = found.end()
