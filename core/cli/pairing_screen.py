"""How pairing looks in a terminal, and to a program that reads it."""

from __future__ import annotations

import io
import math
import sys
from typing import TYPE_CHECKING, Protocol

import msgspec
import segno

from core.cli.output import note, say

if TYPE_CHECKING:
    from datetime import datetime

    from core.session_rows import Pairing
    from core.transport.base import SessionStatus

_QUIET = 2
"""Squares of white around the code."""

_LIGHT = "\x1b[97;40m{0}\x1b[0m"
"""White squares on black, whatever the terminal's own colours are: not every phone reads a negative."""


class Screen(Protocol):
    """What is told while a phone is being linked. `show` is called again and again, `now` being the present."""

    def link(self, url: str, until: datetime) -> None: ...

    def show(self, pairing: Pairing, now: datetime) -> None: ...

    def state(self, status: SessionStatus) -> None: ...

    def connected(self, status: SessionStatus) -> None: ...


class Lines:
    """One JSON object per line and event."""

    def __init__(self) -> None:
        self._qr: str | None = None
        self._code: str | None = None

    def link(self, url: str, until: datetime) -> None:
        """A page that shows the same."""
        self._say(event="link", url=url, expires_at=until)

    def show(self, pairing: Pairing, now: datetime) -> None:
        """Each code once."""
        if pairing.qr and pairing.qr != self._qr:
            self._qr = pairing.qr
            self._say(event="qr", qr=pairing.qr, expires_at=pairing.qr_until)
        if pairing.code and pairing.code != self._code:
            self._code = pairing.code
            self._say(event="code", code=pairing.code, expires_at=pairing.code_until)

    def state(self, status: SessionStatus) -> None:
        """The session goes on."""
        self._say(event="state", state=status.state, reason=status.reason)

    def connected(self, status: SessionStatus) -> None:
        """The end that was wanted."""
        self._say(event="connected", phone=status.phone, state=status.state, reason=status.reason)

    def _say(self, **event: object) -> None:
        say(msgspec.json.encode(event).decode())


class Drawing:
    """For people: codes and the countdown on stderr, what came of it on stdout. In a terminal the drawing of a new code
    takes the place of the old one."""

    def __init__(self, *, by_code: bool) -> None:
        self._by_code, self._is_terminal = by_code, sys.stderr.isatty()
        self._drawn: str | None = None
        self._height = 0

    def link(self, url: str, until: datetime) -> None:
        """A page that shows the same."""
        note(f"Or open this page (it is good until {until:%H:%M} UTC, for whoever has the address):\n  {url}\n")

    def show(self, pairing: Pairing, now: datetime) -> None:
        """The code if it is new, and for how long it is good."""
        wanted, until = (pairing.code, pairing.code_until) if self._by_code else (pairing.qr, pairing.qr_until)
        if wanted is None:
            return
        if wanted != self._drawn:
            self._draw(typed(wanted) if self._by_code else drawing(wanted, colours=self._is_terminal))
            self._drawn = wanted
        if self._is_terminal and until is not None:
            left = max(0, math.ceil((until - now).total_seconds()))
            self._write(f"\r\x1b[Kgood for {left} s; Ctrl-C to leave")

    def state(self, status: SessionStatus) -> None:
        """The session goes on."""
        self._end()
        note(f"{status.state}" + (f": {status.reason}" if status.reason else ""))

    def connected(self, status: SessionStatus) -> None:
        """The end that was wanted."""
        self._end()
        say(f"connected as +{status.phone}" if status.phone else "connected")
        if status.state == "restricted":
            note(f"but WhatsApp restricts this number: {status.reason}")

    def _draw(self, text: str) -> None:
        if self._is_terminal and self._height:
            self._write(f"\r\x1b[{self._height}A\x1b[J")
        self._height = text.count("\n")
        self._write(text)

    def _end(self) -> None:
        if self._is_terminal and self._height:
            self._write("\r\x1b[K")
        self._height = 0

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def drawing(text: str, *, colours: bool) -> str:
    """The QR code, and what to do with it."""
    how = "WhatsApp on the phone: Settings > Linked devices > Link a device, and scan this."
    return f"{squares(text, colours=colours)}\n{how}\n"


def squares(text: str, *, colours: bool) -> str:
    """The QR code in half blocks, two rows of squares a line."""
    drawn = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(drawn, border=_QUIET, compact=True)
    return "\n".join(_LIGHT.format(line) if colours else line for line in drawn.getvalue().splitlines())


def typed(code: str) -> str:
    """A pairing code, and what to do with it."""
    how = "WhatsApp on the phone: Settings > Linked devices > Link a device > Link with phone number instead."
    return f"{how}\nType this code:  {code}\n"
