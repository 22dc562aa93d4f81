"""What goes out: JSON, with times in ISO 8601."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web


def answer(value: Any, status: int = 200) -> web.Response:
    """`value` (dicts, lists, dataclasses) as JSON."""
    return web.Response(body=msgspec.json.encode(value) + b"\n", status=status, content_type="application/json")
