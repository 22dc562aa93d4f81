"""What the demo tells: each step really happens, on the wire and over HTTP, and is checked."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from core.cli.demo.cast import BUDI, SARI, SHOP, Cast, check, line
from core.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TO_BUDI = "0822-2222-222"
"""As people write it."""

_MILLISECOND = timedelta(milliseconds=1)

OPENING = """\
Gapura, told by itself. "Toko Melati" is a tenant of this gateway, Budi is its customer.
WhatsApp is played by a server on 127.0.0.1: no account, no network; nothing leaves this machine.
The client that pairs with it and talks to it is the real one."""

CURL = """\
    URL={url} KEY={key}
    curl -s $URL/api/send-message -H "X-API-Key: $KEY" -H "Content-Type: application/json" -d '{{"number": "{sari}", "message": "Hello Sari"}}'
    curl -s $URL/api/status -H "X-API-Key: $KEY"
    curl -s $URL/api/quota/{budi} -H "X-API-Key: $KEY"

All of it stays up until Ctrl-C."""  # noqa: E501 - lines to be pasted


class Story:
    """`page`: the address of the sandbox's page; `data`: the demo's folder."""

    def __init__(self, cast: Cast, page: str, data: Path) -> None:
        self._cast, self._shop, self._budi = cast, cast.shop, cast.budi
        self._page, self._data = page, data
        self._passed = ""

    async def tell(self) -> None:
        """All steps. Raises CommandError when something is not as it should be."""
        say(OPENING)
        steps = (
            self._is_paired, self._sends, self._repeats, self._is_answered,
            self._is_refused, self._is_listed, self._is_left_in_peace, self._explains,
        )  # fmt: skip
        for number, step in enumerate(steps, 1):
            say(f"\n{number}. {step.__doc__}\n")
            await step()
        self._nothing_else_happened()
        say("\ndemo ok: paired, sent, repeated, answered, refused, whitelisted, left in peace, explained")

    async def _is_paired(self) -> None:
        """A phone is linked. The gateway shows a QR code; the shop's phone scans it."""
        shown = (await self._shop.call("GET", "/api/qr")).expect(200).body
        if sys.stdout.isatty():
            from core.cli.pairing_screen import squares

            say(squares(shown["qr"], colours=True))
        line("gateway", "GET /api/qr, /api/qr/page: a QR code, good for a minute at most")
        await self._cast.sandbox.scan(shown["qr"], SHOP)
        line("Toko Melati", "scans it: Settings > Linked devices > Link a device")
        status = await self._shop.until("/api/status", "state", "connected")
        check(status["phone"] == SHOP and status["sandbox"], f"the wrong phone is linked: {status}")
        line("gateway", f"connected as +{status['phone']}")

    async def _sends(self) -> None:
        """The shop sends a message. It is stored before it is answered, and goes out in its own time."""
        sent = (await self._shop.send(TO_BUDI, "Your order 1042 is packed")).expect(202).body
        line("gateway", f"202 {sent['status']}, {_used(sent['quota'])}")
        got = await self._cast.receives(self._budi, "Your order 1042 is packed", reads=False)
        await self._shop.until(f"/api/messages/{sent['id']}", "status", "delivered")
        line("Budi", "reads it")
        await self._budi.read(got.id)
        line("gateway", _steps(await self._shop.until(f"/api/messages/{sent['id']}", "status", "read")))

    async def _repeats(self) -> None:
        """The shop's program is unsure whether it was heard, and says it again: one message."""
        headers = {"Idempotency-Key": "order-1042-sent"}
        once = (await self._shop.send(TO_BUDI, "It is on its way", headers)).expect(202)
        line("gateway", f"202 {once.body['id']}, {_used(once.body['quota'])}")
        again = (await self._shop.send(TO_BUDI, "It is on its way", headers)).expect(202)
        check(once.body["id"] == again.body["id"], "the repeat was stored as another message")
        line("gateway", f"202 {again.body['id']}, Idempotency-Replayed: {again.headers['Idempotency-Replayed']}")
        await self._cast.receives(self._budi, "It is on its way")

    async def _is_answered(self) -> None:
        """Budi writes to the shop, and a bot answers: the plugin parrot, a few lines of Python."""
        await self._cast.writes(self._budi, "ping")
        await self._cast.receives(self._budi, "pong")
        await self._cast.writes(self._budi, "When will it be here?")
        await self._cast.receives(self._budi, "You said: When will it be here?")

    async def _is_refused(self) -> None:
        """Three messages a day to one number: daily_limit. Answers to a person do not count. The fourth is refused."""
        third = (await self._shop.send(TO_BUDI, "Half price today")).expect(202)
        line("gateway", f"202 {third.body['status']}, {_used(third.body['quota'])}")
        await self._cast.receives(self._budi, "Half price today")
        fourth = (await self._shop.send(TO_BUDI, "Half price, only today")).expect(429)
        check(fourth.body["code"] == "limit_reached", f"refused for another reason: {fourth.body}")
        hours = int(fourth.headers["Retry-After"]) / 3600
        line("gateway", f"429 {fourth.body['code']}, Retry-After: {fourth.headers['Retry-After']} s ({hours:.1f} h)")

    async def _is_listed(self) -> None:
        """Budi wants to hear more: on the whitelist neither limit nor delay holds."""
        line("shop", f"POST /api/whitelist: {TO_BUDI}")
        listed = await self._shop.call("POST", "/api/whitelist", {"number": TO_BUDI})
        listed.expect(201)
        passed = (await self._shop.send(TO_BUDI, "Free coffee for you")).expect(202).body
        check(passed["quota"] is None, "the whitelist did not waive the limit")
        line("gateway", f"202 {passed['status']}, {_used(passed['quota'])}")
        self._passed = passed["id"]
        await self._cast.receives(self._budi, "Free coffee for you")

    async def _is_left_in_peace(self) -> None:
        """Budi has had enough. Nobody's whitelist overrides his STOP."""
        await self._cast.writes(self._budi, "Stop!")
        await self._cast.receives(self._budi, "You get no more messages")
        refused = (await self._shop.send(TO_BUDI, "But why?")).expect(403)
        check(refused.body["code"] == "opted_out", f"refused for another reason: {refused.body}")
        line("gateway", f"403 {refused.body['code']}: {refused.body['detail']}")

    async def _explains(self) -> None:
        """Every message can tell why it went as it did: here the one that the whitelist let pass."""
        line("shop", f"GET /api/messages/{self._passed}")
        message = await self._shop.until(f"/api/messages/{self._passed}", "status", "read")
        for said in message["explanation"]:
            about = said.get("code") or said.get("name") or ", ".join(said.get("names", ()))
            when = f", when: {', '.join(said['when'])}" if said.get("when") else ""
            line("gateway", f"{said['plugin']} said {said['decision']} ({about}{when})")
        line("gateway", f"waived: {', '.join(message['waived'])}; {_steps(message)}")

    def _nothing_else_happened(self) -> None:
        sandbox, got = self._cast.sandbox, [received.text for received in self._budi.received]
        check(len(got) == 7, f"Budi's phone got something twice, or something else: {got}")
        check(not sandbox.unhandled and not sandbox.errors, f"the sandbox: {sandbox.unhandled} {sandbox.errors}")

    def invite(self) -> None:
        """What a person can do next, ready to be pasted."""
        say(
            "\nYour turn. The phones are on a page: write as one of them, such as ping to the shop, or START as Budi.\n"
        )
        line("phones", self._page)
        line("gateway", self._shop.url)
        line("files", f"{self._data}: config/, plugins/parrot.py, demo.log")
        say("\nIn another terminal, as the shop:\n")
        say(CURL.format(url=self._shop.url, key=self._shop.key, budi=BUDI, sari=SARI))


def _used(quota: Mapping[str, Any] | None) -> str:
    return f"{quota['used']} of {quota['limit']} today" if quota else "no quota"


def _steps(message: Mapping[str, Any]) -> str:
    """How far it came, in milliseconds since it was queued."""
    first, *others = ((event["status"], datetime.fromisoformat(event["at"])) for event in message["history"])
    return " -> ".join([first[0], *(f"{status} {(at - first[1]) / _MILLISECOND:.0f} ms" for status, at in others)])
