"""A keep-alive HTTP/1.1 connection that costs so little that the server is what is measured."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """One request at a time. `on_answer(connection, status)` hears of every whole answer, `on_lost(error)` of a
    connection that the server closed."""

    def __init__(self, on_answer: Callable[[Connection, int], None], on_lost: Callable[[str], None]) -> None:
        self._on_answer, self._on_lost = on_answer, on_lost
        self._transport: asyncio.Transport | None = None
        self._received, self._expected = b"", 0
        self._closing = False
        self.sent_for = 0.0
        """The moment for which the request under way was meant; the caller sets it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The event loop connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: bytes) -> None:
        """Write a whole request."""
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        """Close it without telling `on_lost`."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """A piece of an answer; most come whole."""
        self._received = received = self._received + data if self._received else data
        if not self._expected:
            self._expected = size_of_answer(received)
        if not self._expected or len(received) < self._expected:
            return
        if len(received) > self._expected:
            self._on_lost(f"an answer has {len(received) - self._expected} bytes too many")
            return
        self._received, self._expected = b"", 0
        self._on_answer(self, int(received[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        """The server hung up, or `close` was called."""
        if not self._closing:
            self._on_lost(f"the server closed a connection ({error!r})")


def size_of_answer(received: bytes) -> int:
    """Bytes of the whole answer whose beginning this is; 0 while its header is incomplete. ValueError when the header
    names no Content-Length."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    found = _LENGTH.search(received, 0, end)
    if found is None:
        raise ValueError(f"an answer without Content-Length: {received[:end]!r}")
    return end + 4 + int(found[1])
