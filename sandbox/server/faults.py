"""What the server does wrong on purpose, by account."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_BANNED = 402


@dataclass(slots=True)
class _Refusal:
    code: int
    left: int | None  # None: until it is lifted
    more: dict[str, str] = field(default_factory=dict)


class Refusals:
    """Which code to answer with, and how many more times."""

    def __init__(self) -> None:
        self._by_number: dict[str, _Refusal] = {}

    def set(self, number: str, code: int, times: int | None, **more: str) -> None:
        """Refuse with `code`, `times` times or until this is called with code 0."""
        if code and times != 0:
            self._by_number[number] = _Refusal(code, times, more)
        else:
            self._by_number.pop(number, None)

    def take(self, number: str) -> dict[str, str] | None:
        """What to refuse this time with, as attributes: `code` and what else was given; None: nothing."""
        refusal = self._by_number.get(number)
        if refusal is None:
            return None
        if refusal.left is not None:
            refusal.left -= 1
            if refusal.left == 0:
                del self._by_number[number]
        return {"refused": str(refusal.code), **refusal.more}


@dataclass(slots=True)
class Faults:
    """All that tests have asked to go wrong."""

    logins: Refusals = field(default_factory=Refusals)
    sends: Refusals = field(default_factory=Refusals)
    held: dict[str, list[Callable[[], None]]] = field(default_factory=dict)  # acknowledgements not sent, by number

    def hold_acks(self, number: str, hold: bool) -> None:
        """Hold back acknowledgements from now on, or send those that were held."""
        if hold:
            self.held.setdefault(number, [])
        else:
            for acknowledge in self.held.pop(number, []):
                acknowledge()

    def refuse_logins(self, number: str, reason: int, times: int | None, code: int, expire: int) -> None:
        """`code` and `expire` (seconds) tell of a temporary ban and are sent with reason 402 only."""
        more = {"code": str(code), "expire": str(expire)} if reason == _BANNED else {}
        self.logins.set(number, reason, times, **more)
