"""What the server does wrong on purpose, by account."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BANNED = 402


@dataclass(frozen=True, slots=True)
class Refusal:
    """A code, how many more times it is given (None: until it is lifted), and what is said besides."""

    code: str
    left: int | None
    more: Mapping[str, str]


class Refusals:
    """Which code to answer with, and how many more times."""

    def __init__(self) -> None:
        self._by_number: dict[str, Refusal] = {}

    def set(self, number: str, code: int, times: int | None, more: Mapping[str, str] = MappingProxyType({})) -> None:
        """Refuse with `code`, `times` times or until this is called with code 0."""
        if code and times != 0:
            self._by_number[number] = Refusal(str(code), times, more)
        else:
            self._by_number.pop(number, None)

    def take(self, number: str) -> Refusal | None:
        """What to refuse this time with; None: nothing."""
        refusal = self._by_number.get(number)
        if refusal is not None and refusal.left is not None:
            self.set(number, int(refusal.code), refusal.left - 1, refusal.more)
        return refusal


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
        self.logins.set(number, reason, times, more)
