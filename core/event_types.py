"""How events are chosen by their type: `message.received`, `message.*`, `*`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FAMILIES = ("message", "session")
"""The first word of every type."""

EVERYTHING = "*"

_PATTERN = re.compile(rf"\*|({'|'.join(FAMILIES)})\.(\*|[a-z_]{{1,40}})")


def check_types(patterns: Iterable[str]) -> None:
    """Raise ValueError for what can be no event's type, so that a slip of the pen does not silently choose nothing."""
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"{pattern[:60]!r} chooses no event; write message.*, session.*, * or a type's whole name")
