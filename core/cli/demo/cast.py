"""Who plays in the demo: the shop's own program, which speaks HTTP to the gateway, and people with phones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.cli.output import say
from core.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from core.clock import Clock
    from sandbox import Phone, Received, Sandbox

WITHIN = 30.0
"""Seconds in which anything in the demo should happen, on a busy machine."""

SHOP, BUDI, SARI = "628111111111", "628222222222", "628333333333"

_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    def expect(self, status: int) -> Answer:
        """The same. Raises CommandError when it has another status."""
        check(self.status == status, f"expected {status}, got {self.status} {json.dumps(self.body)}")
        return self


@dataclass(frozen=True, slots=True)
class Shop:
    """The tenant's program: all it knows of the gateway is `url` and `key`."""

    http: aiohttp.ClientSession
    url: str
    key: str
    clock: Clock

    async def call(
        self, method: str, path: str, body: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A request with the key."""
        everything = {"X-API-Key": self.key, **(headers or {})}
        async with self.http.request(method, self.url + path, json=body, headers=everything) as response:
            return Answer(response.status, response.headers, await response.json(content_type=None))

    async def send(self, number: str, text: str, headers: Mapping[str, str] | None = None) -> Answer:
        """POST /api/send-message, told as a line."""
        line("shop", f"POST /api/send-message: {text!r} to {number}")
        return await self.call("POST", "/api/send-message", {"number": number, "message": text}, headers)

    async def until(self, path: str, member: str, *values: str) -> dict[str, Any]:
        """What GET `path` answers once `member` is one of `values`. Raises CommandError."""
        end = self.clock.monotonic() + WITHIN
        while (told := (await self.call("GET", path)).expect(200).body)[member] not in values:
            check(self.clock.monotonic() < end, f"after {WITHIN:g} s {path} says {told[member]}: {json.dumps(told)}")
            await self.clock.sleep(_POLL)
        return told


class Cast:
    """The shop and the phones: `melati` is the tenant's own, `budi` and `sari` are customers."""

    def __init__(self, shop: Shop, sandbox: Sandbox) -> None:
        self.shop, self.sandbox = shop, sandbox
        self.melati = sandbox.phone(SHOP, "Toko Melati")
        self.budi, self.sari = sandbox.phone(BUDI, "Budi"), sandbox.phone(SARI, "Sari")

    @staticmethod
    async def receives(phone: Phone, text: str, *, reads: bool = True) -> Received:
        """The next message on a phone, whose owner reads it; told as a line. Raises CommandError if it is another."""
        try:
            got = await phone.next(WITHIN)
        except TimeoutError:
            raise CommandError(f"{phone.name}'s phone got nothing in {WITHIN:g} s; it was to get {text!r}") from None
        check(text in got.text, f"{phone.name}'s phone got {got.text!r}, and not {text!r}")
        line(phone.name, f"gets {got.text!r}")
        if reads:
            await phone.read(got.id)
        return got

    @staticmethod
    async def writes(phone: Phone, text: str) -> None:
        """A message to the shop, told as a line."""
        line(phone.name, f"writes {text!r}")
        await phone.send(SHOP, text)


def line(who: str, what: str) -> None:
    """A line of the story."""
    say(f"   {who:>12}  {what}")


def check(holds: bool, otherwise: str) -> None:
    """Raise CommandError unless it is as it should be."""
    if not holds:
        raise CommandError(otherwise)
