"""What the demo tells: each step really happens, over HTTP, and is checked."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.cli.demo_files import TENANT
from core.cli.output import say
from core.cli.send import add_incoming, replies_to
from core.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import aiohttp

    from core.app import Gateway

SENT_WITHIN = 30.0
"""Seconds in which a message of the demo should be sent, on a busy machine."""

_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class Story:
    """One telling, with a phone number of its own, so that it can be told again on the same day."""

    gateway: Gateway
    http: aiohttp.ClientSession
    data: Path
    url: str
    key: str
    number: str = field(default_factory=lambda: f"0812{10_000_000 + secrets.randbelow(90_000_000)}")
    first: str = ""
    passed: str = ""

    async def tell(self) -> None:
        """All steps. Raises CommandError when something is not as it should be."""
        say("Gapura, told by itself. Transport: dry_run, so nothing leaves this machine.")
        say("What you need to try along, in another terminal:")
        say(f"\n    URL={self.url} KEY={self.key}")
        steps = (self._sends, self._repeats, self._is_refused, self._is_listed, self._answers, self._explains)
        for number, step in enumerate(steps, 1):
            say(f"\n{number}. {step.__doc__}")
            await step()

    async def _sends(self) -> None:
        """A shop sends a message. It is stored before it is answered, and goes out in its own time."""
        answer = await self._send("Your order is on its way")
        _expect(answer, 202)
        self.first = answer.body["id"]
        say(f"    202 {_some(answer.body, 'status', 'expected_at', 'ahead')}, quota {_quota(answer.body['quota'])}")
        message = await self._wait_until_sent(self.first)
        say(f"    sent at {message['sent_at']}")

    async def _repeats(self) -> None:
        """The shop's server is unsure and sends its order number's message twice: one message."""
        headers = {"Idempotency-Key": f"order-{self.number}"}
        once, again = [await self._send("Your order has arrived", headers, show=n == 0) for n in range(2)]
        _expect(once, 202)
        _expect(again, 202)
        _check(once.body["id"] == again.body["id"], "the repeat was stored as another message")
        _check(again.headers.get("Idempotency-Replayed") == "true", "the repeat was not called a replay")
        say(f"    202 {once.body['id']}")
        say(f"    202 {again.body['id']}, Idempotency-Replayed: true")

    async def _is_refused(self) -> None:
        """daily_limit: 3. The third message to one number passes, the fourth must wait for the tenant's midnight."""
        third, fourth = [await self._send(f"Offer {n}", show=n == 1) for n in (1, 2)]
        _expect(third, 202)
        _expect(fourth, 429)
        say(f"    202 quota {_quota(third.body['quota'])}")
        say(f"    429 {fourth.body['code']}: {fourth.body['detail']}; Retry-After: {fourth.headers['Retry-After']} s")

    async def _is_listed(self) -> None:
        """The customer asked for more: on the whitelist neither limit nor delay holds."""
        listed = await self._call("POST", "/api/whitelist", {"number": self.number})
        _check(listed.status in {200, 201}, f"whitelist: {listed.status} {listed.body}")
        answer = await self._send("Offer 3")
        _expect(answer, 202)
        self.passed = answer.body["id"]
        _check(answer.body["quota"] is None, "the whitelist did not waive the limit")
        say(f"    202 {_some(answer.body, 'status', 'expected_at')}, no quota")
        await self._wait_until_sent(self.passed)

    async def _answers(self) -> None:
        """The customer writes "ping". A bot, the plugin parrot, answers."""
        options = f"--data {self.data} --config {self.data / 'config'}"
        say(f"    .venv/bin/python run.py {options} inject {TENANT} {self.number} ping")
        store, clock = self.gateway.store, self.gateway.clock
        sender = (await self._message(self.first))["to"]
        message_id = await add_incoming(store, clock, TENANT, sender, "ping")
        replies = await replies_to(store, clock, TENANT, message_id)
        _check(bool(replies) and "id" in (replies or [{}])[0], f"no bot answered: {replies}")
        reply = await self._wait_until_sent((replies or [{}])[0]["id"])
        _check(reply["message"] == "pong", f"the bot said {reply['message']}")
        say(f"    {(replies or [{}])[0]['plugin']}: {reply['message']!r}, {reply['status']}")

    async def _explains(self) -> None:
        """Every message tells why it went as it did."""
        message = await self._message(self.passed, show=True)
        for said in message["explanation"]:
            about = {name: value for name, value in said.items() if name not in {"plugin", "decision"} and value}
            say(f"    {said['plugin']} said {said['decision']} {json.dumps(about)}")
        _check("daily_limit" in message["waived"], "the explanation does not tell what was waived")
        say(f"    waived: {', '.join(message['waived'])}")
        say("    " + " -> ".join(f"{event['status']} {event['at'][11:23]}" for event in message["history"]))

    async def _send(self, text: str, headers: Mapping[str, str] | None = None, *, show: bool = True) -> Answer:
        return await self._call("POST", "/api/send-message", {"number": self.number, "message": text}, headers, show)

    async def _message(self, message_id: str, *, show: bool = False) -> dict[str, Any]:
        answer = await self._call("GET", f"/api/messages/{message_id}", show=show)
        _expect(answer, 200)
        return answer.body

    async def _wait_until_sent(self, message_id: str) -> dict[str, Any]:
        clock = self.gateway.clock
        end = clock.monotonic() + SENT_WITHIN
        while (message := await self._message(message_id))["status"] != "sent":
            _check(clock.monotonic() < end, f"the message is {message['status']} after {SENT_WITHIN:g} s")
            await clock.sleep(_POLL)
        return message

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        show: bool = True,
    ) -> Answer:
        if show:
            say(f"    {curl(method, path, body, headers)}")
        everything = {"X-API-Key": self.key, **(headers or {})}
        async with self.http.request(method, self.url + path, json=body, headers=everything) as response:
            return Answer(response.status, response.headers, await response.json(content_type=None))


def curl(
    method: str, path: str, body: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> str:
    """The same request for a terminal in which URL and KEY are set."""
    words = ["curl -s"] if method in {"GET", "POST"} else [f"curl -s -X {method}"]
    words += [f"$URL{path}", '-H "X-API-Key: $KEY"']
    words += [f"-H '{name}: {value}'" for name, value in (headers or {}).items()]
    if body is not None:
        words += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(body)}'"]
    return " ".join(words)


def _expect(answer: Answer, status: int) -> None:
    _check(answer.status == status, f"expected {status}, got {answer.status} {json.dumps(answer.body)}")


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CommandError(otherwise)


def _some(body: Mapping[str, Any], *names: str) -> str:
    return ", ".join(f"{name} {body[name]}" for name in names)


def _quota(quota: Mapping[str, Any] | None) -> str:
    return f"{quota['used']} of {quota['limit']}" if quota else "none"
