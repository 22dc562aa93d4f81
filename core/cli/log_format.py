"""Log lines on stderr: for people, or one JSON object each.

    2026-01-05T05:00:00.123Z INFO    send.sent  sent 0197… to 628123456789 for shop in 3 ms  tenant=shop message=0197…

A record is one line, whatever its message holds; only a traceback follows it, indented.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from core.cli.invocation import LogFormat, LogLevel

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"action", "message", "asctime", "taskName"}


def set_up_logging(level: LogLevel, form: LogFormat) -> None:
    """Everything of `level` and above, of all libraries, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class TextLines(logging.Formatter):
    """time, level, action, message, extras."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback on indented lines below."""
        extras = "".join(f" {name}={_on_one_line(str(value))}" for name, value in _extras(record).items())
        line = f"{_time(record)} {record.levelname:7} {_action(record)}  {_on_one_line(record.getMessage())}"
        line += f" {extras}" if extras else ""
        trace = _traceback(self, record)
        return line + "".join(f"\n    {below}" for below in trace.splitlines()) if trace else line


class JsonLines(logging.Formatter):
    """{time, level, action, message, logger, traceback?, extras…}"""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object on one line; a value that JSON does not know stands as its text."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "action": _action(record),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if trace := _traceback(self, record):
            line["traceback"] = trace
        return _encoded({**_extras(record), **line})


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _action(record: logging.LogRecord) -> str:
    """Records of libraries have no action: their logger's name stands for it."""
    return str(getattr(record, "action", record.name))


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[0]:
        return formatter.formatException(record.exc_info)
    return record.exc_text or ""


def _encoded(line: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(line, enc_hook=str).decode()
    except (TypeError, ValueError):  # a lone surrogate, a key that is no text
        plain = {str(name): str(value).encode(errors="backslashreplace").decode() for name, value in line.items()}
        return msgspec.json.encode(plain).decode()
