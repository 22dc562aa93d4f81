"""Which types of events there are, and that nobody chooses one that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.event_types import TYPES, check_types

ROOT = Path(__file__).resolve().parents[2]
_TOLD_IN_SQL = re.compile(r"'((?:message|session)\.[a-z_]+)'")
_TOLD_IN_DOCS = re.compile(r"`((?:message|session)\.[a-z_]+)`")


def test_every_type_that_is_written_or_documented_can_be_chosen() -> None:
    """The names that SQL writes whole, and those of the table in docs/api.md."""
    sql = " ".join(path.read_text("utf-8") for path in (ROOT / "db").rglob("*.sql"))
    table = [line for line in (ROOT / "docs/api.md").read_text("utf-8").splitlines() if line.startswith("| `")]
    named = {*_TOLD_IN_SQL.findall(sql), *_TOLD_IN_DOCS.findall(" ".join(line.split("|")[1] for line in table))}
    assert {"message.received", "message.reply_refused", "session.phone_not_seen", "message.unknown"} <= named
    assert named <= TYPES
    check_types([*named, "*", "message.*", "session.*"])


@pytest.mark.parametrize(
    "wrong", ["message.recieved", "message.sending", "message.ack", "session.status", "message", "", "Message.sent"]
)
def test_a_name_that_no_event_has_is_refused(wrong: str) -> None:
    """Whoever mistypes one would otherwise wait for ever."""
    with pytest.raises(ValueError, match="chooses no event"):
        check_types(["message.received", wrong])
