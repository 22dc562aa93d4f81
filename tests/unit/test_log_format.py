"""One record is one line, for people and for programs, whatever stands in it."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import pytest

from core.cli.log_format import JsonLines, TextLines


def record(message: str, *args: object, **extra: Any) -> logging.LogRecord:
    """A warning of 2026-01-05 05:00:00.123 UTC."""
    made = logging.getLogger("core.test").makeRecord("core.test", logging.WARNING, "f.py", 1, message, args, None)
    made.created = 1767589200.123
    vars(made).update(extra)
    return made


def test_text() -> None:
    """Time in UTC, level, action, message, extras."""
    line = TextLines().format(record("sent %s", "it", action="send.sent", tenant="shop", message_id=7))
    assert line == "2026-01-05T05:00:00.123Z WARNING send.sent  sent it  tenant=shop message_id=7"


def test_records_of_libraries() -> None:
    """Without an action the logger's name stands in its place, and nothing else is added."""
    assert TextLines().format(record("hello")) == "2026-01-05T05:00:00.123Z WARNING core.test  hello"


@pytest.mark.parametrize("evil", ["a\nb", "a\r\x1b[2J", "a\u2028b"])
def test_nobody_forges_a_line(evil: str) -> None:
    """Line ends and terminal commands in messages and extras are spelled out."""
    line = TextLines().format(record("%s", evil, tenant=evil))
    assert len(line.splitlines()) == 1
    assert line.isprintable()


def test_json() -> None:
    """An object with time, level, action, message, logger and the extras."""
    line = JsonLines().format(record("sent\n%s", "it", action="send.sent", tenant="shop", when={1, 2}.__class__))
    assert "\n" not in line
    told = msgspec.json.decode(line)
    assert told.pop("when") == "<class 'set'>"
    assert told == {
        "time": "2026-01-05T05:00:00.123Z",
        "level": "warning",
        "action": "send.sent",
        "message": "sent\nit",
        "logger": "core.test",
        "tenant": "shop",
    }


def test_json_takes_everything() -> None:
    """A lone surrogate is no reason to lose a line."""
    told = msgspec.json.decode(JsonLines().format(record("%s", "a\ud800", tenant="shop")))
    assert told["message"] == "a\\ud800"
    assert told["tenant"] == "shop"


def test_tracebacks() -> None:
    """A traceback follows its line, indented; in JSON it is a field."""
    try:
        raise LookupError("gone")
    except LookupError:
        failed = record("it failed")
        failed.exc_info = sys.exc_info()
    first, *trace = TextLines().format(failed).splitlines()
    assert first.endswith("it failed")
    assert trace
    assert all(line.startswith("    ") for line in trace)
    assert trace[-1].strip() == "LookupError: gone"
    assert msgspec.json.decode(JsonLines().format(failed))["traceback"].endswith("LookupError: gone")
